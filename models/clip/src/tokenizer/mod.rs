//! CLIP's tokenizer exactly as transformers runs it: special tokens, normalization, splitting,
//! byte-level pair encoding, start and end tokens, padding.

mod bpe;
mod built_in;
mod own_tokens;
mod split;

use std::path::{Path, PathBuf};

use serde_json::Value;
use unicode_normalization::UnicodeNormalization;

use bpe::{BytePairs, VocabularyFiles};
use laioncele_nn::config::JsonFile;
use laioncele_nn::{Error, Result};
use own_tokens::OwnTokens;

/// One encoded text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Encoding {
    /// Start token, text, end token, padding: always [`Tokenizer::length`] ids.
    pub ids: Vec<u32>,
    /// Tokens of the text itself, before truncation.
    pub token_count: usize,
}

/// One CLIP tokenizer folder.
#[derive(Debug)]
pub struct Tokenizer {
    pairs: BytePairs,
    length: usize,
    bos: u32,
    eos: u32,
    pad: u32,
    /// Special tokens cut from the raw text, with their ids.
    raw: Vec<(String, u32)>,
    /// Special tokens cut from the normalized text.
    late: Vec<(String, u32)>,
    /// Tokens behind the vocabulary, cut from the raw text before all else.
    own: OwnTokens,
}

/// What `tokenizer_config.json` says of the special tokens.
struct SpecialTokens {
    bos: String,
    eos: String,
    unk: String,
    pad: String,
    /// Content and whether it is matched after normalization.
    normalized: Vec<(String, bool)>,
}

impl Tokenizer {
    /// Loads `tokenizer_config.json` with `tokenizer.json`, or with `vocab.json` and `merges.txt`.
    ///
    /// # Errors
    /// A file that is missing, damaged or not supported; a special token that the vocabulary lacks.
    pub fn load(folder: &Path) -> Result<Self> {
        let json = JsonFile::read(&config_file(folder))?;
        Self::with_vocabulary(&json, folder, |unk| BytePairs::load(folder, unk))
    }

    /// CLIP's own, which pads with `pad`: `<|endoftext|>` for SDXL's first text encoder, `!` for
    /// its second.
    ///
    /// # Errors
    /// None but a defect of the program.
    pub fn built_in(pad: &str) -> Result<Self> {
        let place = Path::new("the built-in tokenizer");
        let config = serde_json::json!({ "pad_token": pad }).to_string();
        let json = JsonFile::built_in(place, &config)?;
        Self::with_vocabulary(&json, place, |unk| built_in::byte_pairs(place, unk))
    }

    fn with_vocabulary(
        json: &JsonFile,
        folder: &Path,
        load: impl FnOnce(&str) -> Result<BytePairs>,
    ) -> Result<Self> {
        json.require("do_lower_case", &["true"])?;
        json.require("add_prefix_space", &["false"])?;
        let length = match json.get("model_max_length") {
            Some(length) => length
                .as_u64()
                .and_then(|n| usize::try_from(n).ok())
                .unwrap_or(0),
            None => 77,
        };
        if !(3..=4096).contains(&length) {
            return Err(json.unsupported("model_max_length", length, "3 to 4096"));
        }
        let special = SpecialTokens::read(json)?;
        let pairs = load(&special.unk)?;
        let id = |content: &str| {
            pairs.id(content).ok_or_else(|| Error::Tokenizer {
                path: PathBuf::from(folder),
                reason: format!("the special token {content:?} is not in the vocabulary"),
            })
        };
        let with_ids = |late: bool| {
            let chosen = special
                .normalized
                .iter()
                .filter(|(content, normalized)| *normalized == late && !content.is_empty());
            chosen
                .map(|(content, _)| Ok((content.clone(), id(content)?)))
                .collect::<Result<Vec<_>>>()
        };
        Ok(Self {
            length,
            bos: id(&special.bos)?,
            eos: id(&special.eos)?,
            pad: id(&special.pad)?,
            raw: with_ids(false)?,
            late: with_ids(true)?,
            own: OwnTokens::default(),
            pairs,
        })
    }

    /// The files that [`Tokenizer::load`] reads.
    pub fn files_read(folder: &Path) -> Vec<PathBuf> {
        let vocabulary = VocabularyFiles::of(folder).paths();
        std::iter::once(config_file(folder))
            .chain(vocabulary)
            .collect()
    }

    /// Ids per text, padding included.
    pub fn length(&self) -> usize {
        self.length
    }

    /// The largest id that [`Tokenizer::encode`] can give.
    pub fn largest_id(&self) -> u32 {
        self.pairs.largest_id()
    }

    /// Makes `token`, wherever it stands and in any letter case, the `count` ids behind the
    /// vocabulary and the tokens that were added before; returns the first of them.
    ///
    /// # Errors
    /// [`Error::OwnToken`] of a token that is empty, in the vocabulary, or added already.
    pub fn add_token(&mut self, token: &str, count: usize) -> Result<usize> {
        let word = token.to_lowercase();
        let known = [word.clone(), format!("{word}</w>"), token.to_owned()];
        if known.iter().any(|text| self.pairs.id(text).is_some()) {
            return Err(own_tokens::refused(
                token,
                "an ordinary word of the vocabulary",
            ));
        }
        self.own.add(token, self.pairs.len(), count)
    }

    /// The ids of a text alone: no ends, no padding, nothing cut off.
    pub fn text_ids(&self, text: &str) -> Vec<u32> {
        let mut ids = Vec::new();
        for piece in self.own.cut(text) {
            match piece {
                own_tokens::Piece::Ids(own) => ids.extend(own),
                own_tokens::Piece::Text(text) => self.encode_piece(text, &mut ids),
            }
        }
        ids
    }

    /// Encodes one text; what does not fit is cut off, as `token_count` shows.
    pub fn encode(&self, text: &str) -> Encoding {
        self.enclose(self.text_ids(text))
    }

    /// The encoding of a text's ids: between start and end token, padded; what does not fit is cut
    /// off before the end token.
    pub fn enclose(&self, mut ids: Vec<u32>) -> Encoding {
        let token_count = ids.len();
        ids.truncate(self.length - 2);
        ids.insert(0, self.bos);
        ids.push(self.eos);
        ids.resize(self.length, self.pad);
        Encoding { ids, token_count }
    }

    /// As [`Tokenizer::enclose`], but what does not fit is cut off with the end token: ids that are
    /// changed after tokenization are cut so (PhotoMaker).
    pub fn enclose_and_cut(&self, ids: Vec<u32>) -> Vec<u32> {
        let mut row = Vec::with_capacity(self.length);
        row.push(self.bos);
        row.extend(ids);
        row.push(self.eos);
        row.resize(self.length, self.pad);
        row
    }

    /// Whether the end of a text of this many tokens was cut off.
    pub fn is_truncated(&self, token_count: usize) -> bool {
        token_count > self.length - 2
    }

    fn encode_piece(&self, text: &str, ids: &mut Vec<u32>) {
        for piece in split::cut(text, &self.raw) {
            match piece {
                split::Piece::Special(id) => ids.push(id),
                split::Piece::Text(text) => self.encode_raw(text, ids),
            }
        }
    }

    fn encode_raw(&self, text: &str, ids: &mut Vec<u32>) {
        let normalized = normalize(text);
        for piece in split::cut(&normalized, &self.late) {
            match piece {
                split::Piece::Special(id) => ids.push(id),
                split::Piece::Text(text) => split::words(text, |word| self.pairs.encode(word, ids)),
            }
        }
    }
}

fn config_file(folder: &Path) -> PathBuf {
    folder.join("tokenizer_config.json")
}

/// NFC, every run of white space one space, lower case code point by code point (so no final
/// sigma).
fn normalize(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut after_space = false;
    for c in text.nfc() {
        // char::is_whitespace is Unicode's White_Space, which leaves out U+001C to U+001F, as it
        // must.
        let space = c.is_whitespace();
        if !space {
            out.extend(c.to_lowercase());
        } else if !after_space {
            out.push(' ');
        }
        after_space = space;
    }
    out
}

impl SpecialTokens {
    fn read(json: &JsonFile) -> Result<Self> {
        let token = |key: &str, default: &str| match json.get(key) {
            None | Some(Value::Null) => Ok((default.to_string(), None)),
            Some(Value::String(content)) => Ok((content.clone(), None)),
            Some(object) => match (
                object.get("content").and_then(Value::as_str),
                object.get("normalized"),
            ) {
                (Some(content), flag) => Ok((
                    content.to_string(),
                    Some(flag.and_then(Value::as_bool).unwrap_or(false)),
                )),
                (None, _) => {
                    Err(json.unsupported(key, object, "a string or an object with a content"))
                }
            },
        };
        let (bos, eos) = (
            token("bos_token", "<|startoftext|>")?,
            token("eos_token", "<|endoftext|>")?,
        );
        let (unk, pad) = (
            token("unk_token", "<|endoftext|>")?,
            token("pad_token", "<|endoftext|>")?,
        );
        let mut normalized: Vec<(String, bool)> = Vec::new();
        // In this order, a later flag for the same content replacing an earlier one: a token given
        // as a bare string is matched in the raw text, and the pad token, which comes last, decides
        // for its content.
        for (content, flag) in [&bos, &eos, &unk, &pad] {
            set(&mut normalized, content, flag.unwrap_or(false));
        }
        if let Some(Value::Object(added)) = json.get("added_tokens_decoder") {
            for token in added.values() {
                if let Some(content) = token.get("content").and_then(Value::as_str) {
                    set(
                        &mut normalized,
                        content,
                        token
                            .get("normalized")
                            .and_then(Value::as_bool)
                            .unwrap_or(false),
                    );
                }
            }
        }
        Ok(Self {
            bos: bos.0,
            eos: eos.0,
            unk: unk.0,
            pad: pad.0,
            normalized,
        })
    }
}

fn set(flags: &mut Vec<(String, bool)>, content: &str, normalized: bool) {
    match flags.iter_mut().find(|(known, _)| known == content) {
        Some(known) => known.1 = normalized,
        None => flags.push((content.into(), normalized)),
    }
}

#[cfg(test)]
mod tests {
    use super::normalize;

    #[test]
    fn normalization_is_transformers_own() {
        assert_eq!(normalize("ΟΔΟΣ"), "οδοσ");
        assert_eq!(normalize("İ"), "i\u{307}");
        assert_eq!(normalize("a \t\u{3000}\u{85}b\u{1c}c"), "a b\u{1c}c");
        assert_eq!(normalize("Jose\u{301}"), "jos\u{e9}");
    }
}
