//! Byte-level pair encoding with the end-of-word mark `</w>`.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};
use std::path::{Path, PathBuf};

use serde::Deserialize;

use laioncele_nn::config::{JsonFile, read_text};
use laioncele_nn::{Error, Result};

/// The mark on the last symbol of a word.
pub(super) const END_OF_WORD: &str = "</w>";

/// Vocabulary and merges. Symbols are numbered apart from the vocabulary, because a merge may make
/// a symbol that the vocabulary lacks.
#[derive(Debug)]
pub(super) struct BytePairs {
    vocabulary: HashMap<String, u32>,
    /// Symbol → vocabulary id (the unknown token's, if it has none).
    ids: Vec<u32>,
    /// (left symbol, right symbol) → (rank, merged symbol).
    merges: HashMap<(u32, u32), (u32, u32)>,
    /// Byte → its symbol inside a word, and at its end.
    bytes: Vec<[u32; 2]>,
}

/// The `model` part of a tokenizer.json.
#[derive(Deserialize)]
struct TokenizerJson {
    model: ModelJson,
}

#[derive(Deserialize)]
struct ModelJson {
    vocab: HashMap<String, u32>,
    merges: Vec<MergeJson>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum MergeJson {
    Line(String),
    Pair(String, String),
}

/// Where a folder has its vocabulary and merges.
pub(super) enum VocabularyFiles {
    /// `tokenizer.json`, which has both.
    Whole(PathBuf),
    /// `vocab.json` and `merges.txt`.
    Pair {
        vocabulary: PathBuf,
        merges: PathBuf,
    },
}

impl VocabularyFiles {
    pub(super) fn of(folder: &Path) -> Self {
        let whole = folder.join("tokenizer.json");
        if whole.is_file() {
            return Self::Whole(whole);
        }
        Self::Pair {
            vocabulary: folder.join("vocab.json"),
            merges: folder.join("merges.txt"),
        }
    }

    pub(super) fn paths(self) -> Vec<PathBuf> {
        match self {
            Self::Whole(path) => vec![path],
            Self::Pair { vocabulary, merges } => vec![vocabulary, merges],
        }
    }
}

impl BytePairs {
    pub(super) fn load(folder: &Path, unk: &str) -> Result<Self> {
        let (vocabulary, path) = match VocabularyFiles::of(folder) {
            VocabularyFiles::Whole(path) => return Self::load_whole(&path, unk),
            VocabularyFiles::Pair { vocabulary, merges } => (vocabulary, merges),
        };
        let vocabulary: HashMap<String, u32> = JsonFile::read(&vocabulary)?.parse()?;
        let text = read_text(&path)?;
        let lines = text
            .split('\n')
            .filter(|line| !line.starts_with("#version"));
        Self::new(
            &path,
            vocabulary,
            lines.filter_map(split_pair).collect(),
            unk,
        )
    }

    fn load_whole(path: &Path, unk: &str) -> Result<Self> {
        let json: TokenizerJson = JsonFile::read(path)?.parse()?;
        let merges = json.model.merges.into_iter();
        let merges = merges.filter_map(|merge| match merge {
            MergeJson::Line(line) => split_pair(&line),
            MergeJson::Pair(left, right) => Some((left, right)),
        });
        Self::new(path, json.model.vocab, merges.collect(), unk)
    }

    pub(super) fn new(
        path: &Path,
        vocabulary: HashMap<String, u32>,
        pairs: Vec<(String, String)>,
        unk: &str,
    ) -> Result<Self> {
        let unknown = *vocabulary.get(unk).ok_or_else(|| Error::Tokenizer {
            path: path.into(),
            reason: format!("the unknown token {unk:?} is not in the vocabulary"),
        })?;
        let mut symbols: HashMap<String, u32> = HashMap::new();
        let mut ids = Vec::new();
        let mut number = |text: String| {
            let next = ids.len() as u32;
            *symbols.entry(text).or_insert_with_key(|text| {
                ids.push(vocabulary.get(text).copied().unwrap_or(unknown));
                next
            })
        };
        let bytes = byte_symbols()
            .map(|c| [number(c.to_string()), number(format!("{c}{END_OF_WORD}"))])
            .to_vec();
        let mut merges = HashMap::with_capacity(pairs.len());
        for (rank, (left, right)) in pairs.into_iter().enumerate() {
            let merged = number(format!("{left}{right}"));
            let pair = (number(left), number(right));
            // Of a pair that is listed twice the last rank counts, as in a Python dictionary.
            merges.insert(pair, (rank as u32, merged));
        }
        Ok(Self {
            vocabulary,
            ids,
            merges,
            bytes,
        })
    }

    /// The id of a vocabulary entry.
    pub(super) fn id(&self, content: &str) -> Option<u32> {
        self.vocabulary.get(content).copied()
    }

    /// Entries of the vocabulary.
    pub(super) fn len(&self) -> usize {
        self.vocabulary.len()
    }

    pub(super) fn largest_id(&self) -> u32 {
        self.vocabulary.values().copied().max().unwrap_or(0)
    }

    /// Appends the ids of one word. Time n log n in the word's bytes: a caption may be one huge
    /// word.
    pub(super) fn encode(&self, word: &str, out: &mut Vec<u32>) {
        let mut chain = Chain::new(word.as_bytes(), &self.bytes);
        let mut queue = BinaryHeap::new();
        let offer = |chain: &Chain, queue: &mut BinaryHeap<_>, left: usize| {
            if let Some((pair, (rank, merged))) = chain
                .pair(left)
                .and_then(|pair| Some((pair, *self.merges.get(&pair)?)))
            {
                queue.push(Reverse((rank, left, pair, merged)));
            }
        };
        for left in 0..word.len() {
            offer(&chain, &mut queue, left);
        }
        while let Some(Reverse((_, left, pair, merged))) = queue.pop() {
            // Entries for pairs that another merge has changed meanwhile are stale.
            if chain.pair(left) != Some(pair) {
                continue;
            }
            chain.merge(left, merged);
            offer(&chain, &mut queue, left);
            if let Some(before) = chain.before(left) {
                offer(&chain, &mut queue, before);
            }
        }
        out.extend(chain.symbols().map(|symbol| self.ids[symbol as usize]));
    }
}

/// The symbols of a word, linked so that two of them merge in constant time.
struct Chain {
    /// At the start of each symbol, the symbol; `None` inside of one.
    symbols: Vec<Option<u32>>,
    next: Vec<usize>,
    previous: Vec<usize>,
}

impl Chain {
    fn new(word: &[u8], bytes: &[[u32; 2]]) -> Self {
        let last = word.len().saturating_sub(1);
        let symbols = word
            .iter()
            .enumerate()
            .map(|(i, byte)| Some(bytes[usize::from(*byte)][usize::from(i == last)]));
        Self {
            symbols: symbols.collect(),
            next: (1..=word.len()).collect(),
            previous: (0..word.len()).map(|i| i.wrapping_sub(1)).collect(),
        }
    }

    fn pair(&self, left: usize) -> Option<(u32, u32)> {
        let right = *self.symbols.get(*self.next.get(left)?)?;
        Some((self.symbols[left]?, right?))
    }

    fn before(&self, at: usize) -> Option<usize> {
        Some(self.previous[at]).filter(|before| *before < self.symbols.len())
    }

    fn merge(&mut self, left: usize, merged: u32) {
        let right = self.next[left];
        self.symbols[left] = Some(merged);
        self.symbols[right] = None;
        self.next[left] = self.next[right];
        if let Some(previous) = self.previous.get_mut(self.next[left]) {
            *previous = left;
        }
    }

    fn symbols(&self) -> impl Iterator<Item = u32> + '_ {
        self.symbols.iter().flatten().copied()
    }
}

pub(super) fn split_pair(line: &str) -> Option<(String, String)> {
    let (left, right) = line.trim_end_matches('\r').split_once(' ')?;
    Some((left.into(), right.into()))
}

/// GPT-2's printable stand-in for every byte.
pub(super) fn byte_symbols() -> [char; 256] {
    let mut next = 256u32;
    std::array::from_fn(|byte| match byte {
        33..=126 | 161..=172 | 174..=255 => byte as u8 as char,
        _ => {
            let symbol = char::from_u32(next).unwrap_or('\u{fffd}');
            next += 1;
            symbol
        }
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn pairs(merges: &[(&str, &str)]) -> BytePairs {
        let mut vocabulary: HashMap<String, u32> = HashMap::new();
        let mut add = |text: String| {
            let id = vocabulary.len() as u32;
            vocabulary.entry(text).or_insert(id);
        };
        for c in byte_symbols() {
            add(c.to_string());
        }
        for c in byte_symbols() {
            add(format!("{c}{END_OF_WORD}"));
        }
        for (left, right) in merges {
            add(format!("{left}{right}"));
        }
        add("?".repeat(3));
        let merges = merges
            .iter()
            .map(|(left, right)| (left.to_string(), right.to_string()))
            .collect();
        BytePairs::new(Path::new("test"), vocabulary, merges, "???").expect("a vocabulary")
    }

    /// The rule itself: merge the lowest-ranked adjacent pair, leftmost of equals, until none is
    /// left.
    fn plain(merges: &[(&str, &str)], word: &str) -> Vec<String> {
        let mut symbols: Vec<String> = word.chars().map(String::from).collect();
        symbols.last_mut().expect("a letter").push_str(END_OF_WORD);
        loop {
            let rank = |i: &usize| {
                merges
                    .iter()
                    .position(|m| m.0 == symbols[*i] && m.1 == symbols[*i + 1])
            };
            let best = (0..symbols.len() - 1)
                .filter_map(|i| Some((rank(&i)?, i)))
                .min();
            let Some((_, i)) = best else { return symbols };
            let right = symbols.remove(i + 1);
            symbols[i].push_str(&right);
        }
    }

    proptest! {
        #[test]
        fn the_queue_merges_as_the_plain_rule(word in "[abc]{1,40}") {
            let merges = [("a", "b"), ("b", "a"), ("ab", "c"), ("a", "a"), ("aa", "aa"), ("ba", "b</w>"), ("b", "c</w>"), ("ab", "ab")];
            let pairs = pairs(&merges);
            let mut ids = Vec::new();
            pairs.encode(&word, &mut ids);
            let expected: Vec<u32> = plain(&merges, &word).iter().map(|s| pairs.id(s).expect("in the vocabulary")).collect();
            prop_assert_eq!(ids, expected);
        }
    }

    #[test]
    fn a_huge_word_ends_in_time() {
        let pairs = pairs(&[("a", "a"), ("aa", "aa"), ("aaaa", "aaaa")]);
        let mut ids = Vec::new();
        pairs.encode(&"a".repeat(1 << 20), &mut ids);
        assert_eq!(ids.len(), (1 << 17) + 3);
    }
}
