//! spaCy's English tokenizer: chunks between blanks, affixes, exceptions, and the pass that joins
//! exceptions again.

use foldhash::{HashMap, HashMapExt};

use crate::affix::{infixes, is_url, prefix_len, suffix_len};
use crate::chars::TABLES;
use crate::hash::string_id;
use crate::lexeme::{Features, Norms, features, is_space};

/// A token without its place.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Piece {
    /// Bytes.
    length: u32,
    features: Features,
    is_space: bool,
    starts_sequence: bool,
}

/// A token in its text.
#[derive(Clone, Copy, Debug)]
pub(crate) struct TokenAt {
    /// First byte.
    pub(crate) start: usize,
    piece: Piece,
    /// Whether one blank follows that belongs to no token.
    space_after: bool,
}

impl TokenAt {
    /// One past the last byte.
    pub(crate) fn end(&self) -> usize {
        self.start + self.piece.length as usize
    }

    /// What the network sees.
    pub(crate) fn features(&self) -> &Features {
        &self.piece.features
    }

    /// Whether it is white space.
    pub(crate) fn is_space(&self) -> bool {
        self.piece.is_space
    }

    fn text<'t>(&self, text: &'t str) -> &'t str {
        &text[self.start..self.end()]
    }

    /// A token of no text that the network sees so.
    #[cfg(test)]
    pub(crate) fn seen_as(features: Features) -> Self {
        let piece = Piece {
            length: 1,
            features,
            is_space: false,
            starts_sequence: false,
        };
        Self {
            start: 0,
            piece,
            space_after: false,
        }
    }
}

/// An exception's token as the package has it.
pub(crate) struct ExceptionToken {
    /// Its text.
    pub(crate) text: String,
    /// Its norm, where it has one of its own.
    pub(crate) norm: Option<String>,
}

/// A thread's cache: chunk → its tokens. Never changes a result.
#[derive(Default)]
pub(crate) struct Words {
    chunks: HashMap<Box<str>, Box<[Piece]>>,
}

/// Chunks that a thread keeps; the cache starts anew when it is full.
const CACHED_CHUNKS: usize = 50_000;
/// Chunks of more bytes, or of more tokens, are not kept.
const CACHED_LENGTH: usize = 64;
const CACHED_TOKENS: usize = 8;

/// The tokenizer of one package.
pub(crate) struct Tokenizer {
    norms: Norms,
    exceptions: HashMap<Box<str>, Box<[Piece]>>,
    /// Bytes of the longest of them.
    longest_exception: usize,
    sequences: Sequences,
}

/// Token texts that exceptions fall apart into: first text → the rests of the sequences that start
/// with it.
type Sequences = HashMap<Box<str>, Vec<Vec<Box<str>>>>;

impl Tokenizer {
    pub(crate) fn new(
        exceptions: std::collections::HashMap<String, Vec<ExceptionToken>>,
        norms: Norms,
    ) -> Self {
        let mut tokenizer = Self {
            norms,
            exceptions: HashMap::new(),
            longest_exception: 0,
            sequences: Sequences::new(),
        };
        tokenizer.sequences = tokenizer.find_sequences(exceptions.keys());
        let piece = |tokenizer: &Self, token: &ExceptionToken| {
            let mut piece = tokenizer.piece(&token.text);
            if let Some(norm) = &token.norm {
                piece.features[0] = string_id(norm);
            }
            piece
        };
        tokenizer.longest_exception = exceptions.keys().map(String::len).max().unwrap_or(0);
        tokenizer.exceptions = exceptions
            .iter()
            .map(|(text, tokens)| {
                let pieces = tokens.iter().map(|t| piece(&tokenizer, t)).collect();
                (text.as_str().into(), pieces)
            })
            .collect();
        tokenizer
    }

    /// The tokens of `text`.
    pub(crate) fn tokens(&self, text: &str, words: &mut Words) -> Vec<TokenAt> {
        let tokens = self.chunked(text, words);
        match self.joins(text, &tokens) {
            joins if joins.is_empty() => tokens,
            joins => self.join(text, &tokens, &joins),
        }
    }

    fn piece(&self, text: &str) -> Piece {
        Piece {
            length: text.len() as u32,
            features: features(text, &self.norms),
            is_space: is_space(text),
            starts_sequence: self.sequences.contains_key(text),
        }
    }

    /// Cuts the text where white space begins and ends; a single blank after a word disappears.
    fn chunked(&self, text: &str, words: &mut Words) -> Vec<TokenAt> {
        let mut tokens = Vec::with_capacity(text.len() / 5 + 1);
        let mut space = text.chars().next().is_some_and(|c| TABLES.is_space.has(c));
        let mut start = 0;
        for (at, c) in text.char_indices() {
            if TABLES.is_space.has(c) == space {
                continue;
            }
            if start < at {
                self.push_chunk(&text[start..at], start, &mut tokens, words);
            }
            start = at;
            if c == ' ' {
                start += 1;
                if let Some(last) = tokens.last_mut() {
                    last.space_after = true;
                }
            }
            space = !space;
        }
        if start < text.len() {
            self.push_chunk(&text[start..], start, &mut tokens, words);
        }
        tokens
    }

    fn push_chunk(&self, chunk: &str, start: usize, tokens: &mut Vec<TokenAt>, words: &mut Words) {
        // Exceptions are never cached, so either may be asked first: most chunks have been met.
        if let Some(pieces) = words
            .chunks
            .get(chunk)
            .or_else(|| self.exceptions.get(chunk))
        {
            return place(pieces, start, tokens);
        }
        let pieces = self.split_chunk(chunk);
        place(&pieces, start, tokens);
        if chunk.len() <= CACHED_LENGTH && pieces.len() <= CACHED_TOKENS {
            if words.chunks.len() >= CACHED_CHUNKS {
                words.chunks.clear();
            }
            words.chunks.insert(chunk.into(), pieces.into());
        }
    }

    /// Cuts affixes off a chunk, from both ends inwards, then its core where that is neither
    /// exception nor url. Affixes and parts between infixes are plain tokens, even where an
    /// exception reads the same.
    fn split_chunk(&self, chunk: &str) -> Vec<Piece> {
        let Affixes {
            core,
            prefixes,
            suffixes,
        } = self.strip(chunk);
        let mut pieces: Vec<Piece> = prefixes.iter().map(|p| self.piece(p)).collect();
        match self.exceptions.get(core) {
            Some(own) => pieces.extend_from_slice(own),
            None if is_url(core) => pieces.push(self.piece(core)),
            None => split_infixes(core, &mut |part| pieces.push(self.piece(part))),
        }
        pieces.extend(suffixes.iter().rev().map(|s| self.piece(s)));
        pieces
    }

    fn strip<'t>(&self, chunk: &'t str) -> Affixes<'t> {
        let (mut t, mut last) = (chunk, usize::MAX);
        let (mut prefixes, mut suffixes) = (Vec::new(), Vec::new());
        // A megabyte of brackets is asked for as often as there are brackets: only what may be one
        // is hashed.
        let is_exception =
            |t: &str| t.len() <= self.longest_exception && self.exceptions.contains_key(t);
        while !t.is_empty() && t.len() != last && !is_exception(t) {
            last = t.len();
            let p = prefix_len(t);
            if p > 0 && is_exception(&t[p..]) {
                prefixes.push(&t[..p]);
                t = &t[p..];
                break;
            }
            let q = suffix_len(&t[p..]);
            let head = &t[..t.len() - q];
            if q > 0 && is_exception(head) {
                suffixes.push(&t[head.len()..]);
                t = head;
                break;
            }
            if q > 0 {
                suffixes.push(&t[head.len()..]);
            }
            if p > 0 {
                prefixes.push(&t[..p]);
            }
            // The suffix was searched behind the prefix, so the two never overlap.
            t = &t[p..t.len() - q];
        }
        Affixes {
            core: t,
            prefixes,
            suffixes,
        }
    }

    /// The token sequences that exceptions fall apart into when no exception is known.
    fn find_sequences<'e>(&self, exceptions: impl Iterator<Item = &'e String>) -> Sequences {
        let mut sequences = Sequences::new();
        for text in exceptions {
            let cut = prefix_len(text) > 0 || suffix_len(text) > 0 || !infixes(text).is_empty();
            if !cut && !text.contains(' ') {
                continue;
            }
            let tokens = self.chunked(text, &mut Words::default());
            let mut texts = tokens.iter().map(|t| Box::<str>::from(t.text(text)));
            let Some(first) = texts.next() else { continue };
            let (rest, known) = (texts.collect(), sequences.entry(first).or_default());
            if !known.contains(&rest) {
                known.push(rest);
            }
        }
        sequences
    }

    /// The token ranges to be joined, in order: of overlapping matches the longest, then the first.
    fn joins(&self, text: &str, tokens: &[TokenAt]) -> Vec<(usize, usize)> {
        let mut matches = Vec::new();
        for (i, token) in tokens
            .iter()
            .enumerate()
            .filter(|(_, t)| t.piece.starts_sequence)
        {
            for rest in self.sequences.get(token.text(text)).into_iter().flatten() {
                let after = tokens[i + 1..].iter().map(|t| t.text(text));
                if rest.len() < tokens.len() - i && rest.iter().zip(after).all(|(a, b)| **a == *b) {
                    matches.push((i, i + 1 + rest.len()));
                }
            }
        }
        if matches.is_empty() {
            return matches;
        }
        matches.sort_unstable_by_key(|(i, j)| (std::cmp::Reverse(j - i), *i));
        let (mut marked, mut kept) = (vec![false; tokens.len()], Vec::new());
        for (i, j) in matches {
            if !marked[i] && !marked[j - 1] {
                kept.push((i, j));
            }
            marked[i..j].fill(true);
        }
        kept.sort_unstable();
        kept
    }

    /// Replaces the ranges whose text is an exception by its tokens.
    fn join(&self, text: &str, tokens: &[TokenAt], joins: &[(usize, usize)]) -> Vec<TokenAt> {
        let (mut joined, mut at) = (Vec::with_capacity(tokens.len()), 0);
        for &(i, j) in joins {
            joined.extend_from_slice(&tokens[at..i]);
            at = j;
            let (first, last) = (&tokens[i], &tokens[j - 1]);
            match self.exceptions.get(&text[first.start..last.end()]) {
                Some(pieces) => {
                    place(pieces, first.start, &mut joined);
                    if let Some(token) = joined.last_mut() {
                        token.space_after = last.space_after;
                    }
                }
                None => joined.extend_from_slice(&tokens[i..j]),
            }
        }
        joined.extend_from_slice(&tokens[at..]);
        joined
    }
}

/// A chunk without its affixes; suffixes from the outermost inwards.
struct Affixes<'t> {
    core: &'t str,
    prefixes: Vec<&'t str>,
    suffixes: Vec<&'t str>,
}

fn place(pieces: &[Piece], mut start: usize, tokens: &mut Vec<TokenAt>) {
    for piece in pieces {
        tokens.push(TokenAt {
            start,
            piece: *piece,
            space_after: false,
        });
        start += piece.length as usize;
    }
}

fn split_infixes(core: &str, give: &mut dyn FnMut(&str)) {
    let mut start = 0;
    for (a, b) in infixes(core) {
        // An infix at the very front stays with what follows it.
        if a == 0 {
            continue;
        }
        if start < a {
            give(&core[start..a]);
        }
        give(&core[a..b]);
        start = b;
    }
    if start < core.len() {
        give(&core[start..]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shipped() -> Tokenizer {
        let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("../../manifests/mini/ner/en_core_web_sm");
        let package = crate::package::Package::read(&folder).expect("the shipped package");
        Tokenizer::new(package.exceptions, package.norms)
    }

    #[test]
    fn features_are_spacys() {
        let lines = |text: &'static str| text.split('\n').filter(|l| !l.is_empty());
        let parse = |line: &str| serde_json::from_str::<serde_json::Value>(line).expect("a line");
        let captions: Vec<_> = lines(include_str!("../tests/fixtures/golden.jsonl"))
            .take(600)
            .map(parse)
            .collect();
        let tokenizer = shipped();
        for recorded in lines(include_str!("../tests/fixtures/features.jsonl")).map(parse) {
            let caption = captions
                .iter()
                .find(|c| c["id"] == recorded["id"])
                .expect("its caption");
            let tokens = tokenizer.tokens(
                caption["text"].as_str().expect("text"),
                &mut Words::default(),
            );
            let ours: Vec<Vec<String>> = tokens
                .iter()
                .map(|t| t.features().iter().map(u64::to_string).collect())
                .collect();
            assert_eq!(serde_json::json!(ours), recorded["features"], "{caption}");
        }
    }

    #[test]
    fn sequences_are_spacys() {
        let tokenizer = shipped();
        let mut ours: Vec<Vec<String>> = Vec::new();
        for (first, rests) in &tokenizer.sequences {
            for rest in rests {
                ours.push(
                    std::iter::once(first)
                        .chain(rest)
                        .map(ToString::to_string)
                        .collect(),
                );
            }
        }
        ours.sort();
        let recorded: Vec<serde_json::Value> =
            serde_json::from_str(include_str!("../tests/fixtures/special_sequences.json"))
                .expect("a fixture");
        let mut expected: Vec<Vec<String>> = recorded
            .iter()
            .map(|v| serde_json::from_value(v["tokens"].clone()).expect("token texts"))
            .collect();
        expected.sort();
        expected.dedup();
        assert_eq!(ours, expected);
    }
}
