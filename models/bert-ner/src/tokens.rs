//! The tokenizer of a folder: BERT's cleaning, splitting and word pieces, cut where the model's
//! positions end.

use std::path::{Path, PathBuf};

use laioncele_nn::config::JsonFile;
use laioncele_nn::{Error, Result};
use serde::Deserialize;
use serde_json::{Map, Value, json};
use tokenizers::{Tokenizer, TruncationParams};

use crate::config::Config;

/// The tokens that `vocab.txt` must have.
const SPECIAL: [(&str, &str); 5] = [
    ("pad_token", "[PAD]"),
    ("unk_token", "[UNK]"),
    ("cls_token", "[CLS]"),
    ("sep_token", "[SEP]"),
    ("mask_token", "[MASK]"),
];

/// `[CLS]`, `[SEP]` and a token between them.
const LEAST_TOKENS: usize = 3;

/// `tokenizer_config.json`: what BertTokenizer is made with.
#[derive(Deserialize)]
#[serde(default)]
struct Choices {
    do_lower_case: bool,
    tokenize_chinese_chars: bool,
    strip_accents: Option<bool>,
    /// 1e30 where it is not limited.
    model_max_length: f64,
}

impl Default for Choices {
    fn default() -> Self {
        Self {
            do_lower_case: true,
            tokenize_chinese_chars: true,
            strip_accents: None,
            model_max_length: f64::INFINITY,
        }
    }
}

impl Choices {
    /// The file if there is one, and what it says.
    fn read(folder: &Path) -> Result<(Option<JsonFile>, Self)> {
        let path = choices_file(folder);
        if !path.exists() {
            return Ok((None, Self::default()));
        }
        let json = JsonFile::read(&path)?;
        let choices = json.parse()?;
        Ok((Some(json), choices))
    }

    fn normalizer(&self) -> Value {
        json!({
            "type": "BertNormalizer",
            "clean_text": true,
            "handle_chinese_chars": self.tokenize_chinese_chars,
            "strip_accents": self.strip_accents,
            "lowercase": self.do_lower_case,
        })
    }
}

/// The files that [`load`] reads.
pub(crate) fn files_read(folder: &Path) -> Vec<PathBuf> {
    let choices = choices_file(folder);
    let choices = choices.exists().then_some(choices);
    choices
        .into_iter()
        .chain([vocabulary_file(folder).0])
        .collect()
}

fn choices_file(folder: &Path) -> PathBuf {
    folder.join("tokenizer_config.json")
}

/// The file of the vocabulary, and whether it is a whole definition.
fn vocabulary_file(folder: &Path) -> (PathBuf, bool) {
    let whole = folder.join("tokenizer.json");
    match whole.exists() {
        true => (whole, true),
        false => (folder.join("vocab.txt"), false),
    }
}

/// Loads `tokenizer.json`, or makes the same of `vocab.txt`.
pub(crate) fn load(folder: &Path, config: &Config) -> Result<Tokenizer> {
    let (choices_json, choices) = Choices::read(folder)?;
    if let Some(json) = &choices_json {
        json.require("truncation_side", &["\"right\""])?;
    }
    let (path, whole) = vocabulary_file(folder);
    let definition = if whole {
        let json = JsonFile::read(&path)?;
        check_definition(&json, choices_json.as_ref(), &choices)?;
        json.value().clone()
    } else {
        if let Some(json) = &choices_json {
            check_special_tokens(json)?;
        }
        let vocabulary = read_vocabulary(&path)?;
        definition(&vocabulary, &choices)
    };
    let tokenizer = Tokenizer::from_bytes(definition.to_string());
    let mut tokenizer = tokenizer.map_err(|e| error(&path, e))?;
    check_ids(&path, &tokenizer, config)?;
    cut(&mut tokenizer, &path, &choices, config)?;
    Ok(tokenizer)
}

/// What the tokenizers crate says of `path`.
#[allow(clippy::needless_pass_by_value, reason = "an error of `map_err`")]
pub(crate) fn error(path: &Path, source: tokenizers::Error) -> Error {
    Error::Tokenizer {
        path: path.to_owned(),
        reason: source.to_string(),
    }
}

/// Refuses a `tokenizer.json` that is not BERT's, or not what `tokenizer_config.json` says.
fn check_definition(json: &JsonFile, choices: Option<&JsonFile>, read: &Choices) -> Result<()> {
    let at = |pointer| json.value().pointer(pointer).unwrap_or(&Value::Null);
    for (pointer, key, expected) in [
        ("/model/type", "model.type", "WordPiece"),
        ("/normalizer/type", "normalizer.type", "BertNormalizer"),
        (
            "/pre_tokenizer/type",
            "pre_tokenizer.type",
            "BertPreTokenizer",
        ),
    ] {
        if at(pointer) != expected {
            return Err(json.unsupported(key, at(pointer), expected));
        }
    }
    let Some(choices) = choices else {
        return Ok(());
    };
    let wanted = read.normalizer();
    for (key, part) in [
        ("do_lower_case", "lowercase"),
        ("tokenize_chinese_chars", "handle_chinese_chars"),
        ("strip_accents", "strip_accents"),
    ] {
        let found = at("/normalizer").get(part).unwrap_or(&Value::Null);
        if choices.get(key).is_some() && *found != wanted[part] {
            let expected = format!("{found}, which tokenizer.json has as normalizer.{part}");
            return Err(choices.unsupported(key, &wanted[part], &expected));
        }
    }
    Ok(())
}

/// Refuses other special tokens than BERT's own, which a folder with `tokenizer.json` may have.
fn check_special_tokens(json: &JsonFile) -> Result<()> {
    for (key, token) in SPECIAL {
        let found = json.get(key).map(|v| v.get("content").unwrap_or(v));
        if let Some(found) = found.filter(|v| **v != token) {
            let expected = format!("{token}, or a tokenizer.json");
            return Err(json.unsupported(key, found, &expected));
        }
    }
    Ok(())
}

/// A token a line; its id is the line's number, of equal lines the last's.
fn read_vocabulary(path: &Path) -> Result<Map<String, Value>> {
    let text = std::fs::read_to_string(path).map_err(|source| Error::Io {
        path: path.to_owned(),
        source,
    })?;
    let numbered = text.lines().enumerate();
    let vocabulary: Map<_, _> = numbered
        .map(|(i, line)| (line.to_owned(), i.into()))
        .collect();
    match SPECIAL
        .iter()
        .find(|(_, token)| !vocabulary.contains_key(*token))
    {
        Some((_, missing)) => Err(Error::Tokenizer {
            path: path.to_owned(),
            reason: format!("no line {missing}"),
        }),
        None => Ok(vocabulary),
    }
}

/// The `tokenizer.json` that transformers' BertTokenizer would write for a vocabulary.
fn definition(vocabulary: &Map<String, Value>, choices: &Choices) -> Value {
    let id = |token: &str| vocabulary[token].clone();
    let added = SPECIAL.map(|(_, token)| {
        json!({
            "id": id(token), "content": token, "special": true, "normalized": false,
            "single_word": false, "lstrip": false, "rstrip": false,
        })
    });
    let special = |token: &str| json!({ "SpecialToken": { "id": token, "type_id": 0 } });
    let listed = |token: &str| json!({ "id": token, "ids": [id(token)], "tokens": [token] });
    let sequence = |name: &str| json!({ "Sequence": { "id": name, "type_id": 0 } });
    json!({
        "version": "1.0",
        "truncation": null,
        "padding": null,
        "added_tokens": added,
        "normalizer": choices.normalizer(),
        "pre_tokenizer": { "type": "BertPreTokenizer" },
        "post_processor": {
            "type": "TemplateProcessing",
            "single": [special("[CLS]"), sequence("A"), special("[SEP]")],
            "pair": [special("[CLS]"), sequence("A"), special("[SEP]"), sequence("B"), special("[SEP]")],
            "special_tokens": { "[CLS]": listed("[CLS]"), "[SEP]": listed("[SEP]") },
        },
        "decoder": null,
        "model": {
            "type": "WordPiece",
            "unk_token": "[UNK]",
            "continuing_subword_prefix": "##",
            "max_input_chars_per_word": 100,
            "vocab": vocabulary,
        },
    })
}

/// Refuses tokens that the network has no embedding for.
fn check_ids(path: &Path, tokenizer: &Tokenizer, config: &Config) -> Result<()> {
    let vocabulary = tokenizer.get_vocab(true);
    match vocabulary.iter().max_by_key(|(_, id)| **id) {
        Some((token, id)) if *id as usize >= config.vocab_size => Err(Error::Tokenizer {
            path: path.to_owned(),
            reason: format!(
                "token {token:?} has the id {id}, but config.json has vocab_size = {}",
                config.vocab_size
            ),
        }),
        _ => Ok(()),
    }
}

/// Cuts texts where `model_max_length` or the model's positions end; never pads.
fn cut(tokenizer: &mut Tokenizer, path: &Path, choices: &Choices, config: &Config) -> Result<()> {
    let positions = config.max_position_embeddings;
    let most = choices.model_max_length.min(positions as f64) as usize;
    if most < LEAST_TOKENS {
        return Err(Error::Tokenizer {
            path: path.to_owned(),
            reason: format!(
                "texts would be cut to {most} tokens; at least {LEAST_TOKENS} are needed"
            ),
        });
    }
    let truncation = TruncationParams {
        max_length: most,
        ..TruncationParams::default()
    };
    tokenizer.with_padding(None);
    let done = tokenizer.with_truncation(Some(truncation)).map(|_| ());
    done.map_err(|e| error(path, e))
}
