//! The tiny models of the fixture against what transformers recorded with them, and folders that
//! must be refused.

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};

use candle_core::{Device, Tensor};
use laioncele_bert_ner::{BertNer, Entity, Error};
use laioncele_ner::{FindPersons, code_points};
use proptest::prelude::*;
use serde::Deserialize;
use tempfile::TempDir;

type Load = fn(&Path) -> Result<BertNer, Error>;

/// How a folder is loaded for each engine that was built.
const ENGINES: &[Load] = &[
    BertNer::load,
    #[cfg(feature = "rust-bert")]
    BertNer::load_rust_bert,
];

/// A line of captions.jsonl; spans are code points and group.
#[derive(Deserialize)]
struct Recorded {
    text: String,
    ids: Vec<u32>,
    spans: Vec<(usize, usize, String)>,
}

fn fixture(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/fixtures")
        .join(path)
}

/// A copy of a model folder: cased, or its weights with the uncased vocabulary.
fn folder(kind: &str) -> TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    let mut files = vec!["cased/config.json", "cased/model.safetensors"];
    files.extend(match kind {
        "cased" => ["cased/tokenizer.json", "cased/tokenizer_config.json"],
        _ => ["uncased/vocab.txt", "uncased/tokenizer_config.json"],
    });
    for file in files {
        let from = fixture(file);
        let name = from.file_name().expect("a name");
        fs::copy(&from, folder.path().join(name)).expect("copied");
    }
    folder
}

fn recorded(kind: &str) -> Vec<Recorded> {
    let text = fs::read_to_string(fixture(&format!("{kind}/captions.jsonl"))).expect("captions");
    let lines = text.lines();
    lines
        .map(|line| serde_json::from_str(line).expect("JSON"))
        .collect()
}

fn recorded_logits(kind: &str) -> HashMap<String, Tensor> {
    let path = fixture(&format!("{kind}/logits.safetensors"));
    candle_core::safetensors::load(path, &Device::Cpu).expect("logits")
}

fn in_code_points(text: &str, entity: &Entity) -> (usize, usize, String) {
    let offsets = code_points(text, [entity.start, entity.end]);
    (offsets[0], offsets[1], entity.group.to_owned())
}

/// Each model by each engine, with its kind's name.
fn models() -> impl Iterator<Item = (&'static str, BertNer)> {
    ["cased", "uncased"].into_iter().flat_map(|kind| {
        let folder = folder(kind);
        ENGINES
            .iter()
            .map(move |load| (kind, load(folder.path()).expect("a model")))
    })
}

#[test]
fn tokens_and_spans_equal_the_pipelines() {
    for (kind, ner) in models() {
        let captions = recorded(kind);
        assert!(captions.len() > 50);
        for Recorded { text, ids, spans } in captions {
            assert_eq!(
                ner.logits(&text).expect("logits").ids,
                ids,
                "{kind}: {text:?}"
            );
            let found = ner.entities(&text).expect("entities");
            let found: Vec<_> = found.iter().map(|e| in_code_points(&text, e)).collect();
            assert_eq!(found, spans, "{kind}: {text:?}");
        }
    }
}

#[test]
fn logits_match_transformers() {
    for (kind, ner) in models() {
        let captions = recorded(kind);
        let logits = recorded_logits(kind);
        let longest = logits.values().map(|t| t.dims()[0]).max();
        assert_eq!(longest, Some(512));
        for (number, expected) in logits {
            let text = &captions[number.parse::<usize>().expect("a number")].text;
            let ours = ner.logits(text).expect("logits").values;
            let expected: Vec<f32> = expected
                .flatten_all()
                .and_then(|t| t.to_vec1())
                .expect("numbers");
            assert_eq!(ours.len(), expected.len(), "{kind}: {text:?}");
            let mut pairs = ours.iter().zip(&expected);
            let close = pairs.all(|(a, b)| (a - b).abs() <= 1e-4);
            assert!(close, "{kind}: {text:?}: {ours:?} instead of {expected:?}");
        }
    }
}

#[test]
fn persons_are_the_entities_of_persons() {
    for load in ENGINES {
        persons_are_the_entities_of(&load(&fixture("cased")).expect("a model"));
    }
}

fn persons_are_the_entities_of(ner: &BertNer) {
    let captions = recorded("cased");
    let texts: Vec<&str> = captions.iter().map(|c| c.text.as_str()).collect();
    let together = ner.persons(&texts).expect("persons");
    assert!(together.iter().flatten().count() > 30);
    for (text, persons) in texts.iter().zip(together) {
        let alone = ner.persons(&[text]).expect("persons").remove(0);
        assert_eq!(alone, persons);
        let entities = ner.entities(text).expect("entities");
        let of_persons = entities.iter().filter(|e| e.group == "PER");
        let bytes = |spans: &mut dyn Iterator<Item = std::ops::Range<usize>>| -> Vec<usize> {
            let mut bytes: Vec<usize> = spans.flatten().collect();
            bytes.dedup();
            bytes
        };
        let expected = bytes(&mut of_persons.map(|e| e.start..e.end));
        assert_eq!(bytes(&mut persons.into_iter()), expected, "{text:?}");
    }
}

#[test]
fn texts_are_truncated_at_the_smaller_limit() {
    let folder = folder("cased");
    edit(
        &folder,
        "tokenizer_config.json",
        "\"model_max_length\": 512",
        "\"model_max_length\": 5",
    );
    let ner = BertNer::load(folder.path()).expect("a model");
    let text = "Mira Castellan at the premiere in Paris";
    assert_eq!(ner.logits(text).expect("logits").ids.len(), 5);
    let long = format!("\"model_max_length\": {}", "1".repeat(31));
    edit(
        &folder,
        "tokenizer_config.json",
        "\"model_max_length\": 5",
        &long,
    );
    let ner = BertNer::load(folder.path()).expect("a model");
    let ids = ner.logits(&text.repeat(200)).expect("logits").ids;
    assert_eq!(ids.len(), 512);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(100))]

    /// Whatever the text: spans in order, disjoint, not empty, on character boundaries.
    #[test]
    fn any_text_has_proper_spans(text in "(\\PC|[ \\t\\n]|Mira|Zoë|각|İ|\u{301}|\u{0}|\\[SEP\\]){0,60}", uncased: bool) {
        thread_local!(static MODELS: [BertNer; 2] = ["cased", "uncased"].map(|kind| {
            BertNer::load(folder(kind).path()).expect("a model")
        }));
        MODELS.with(|models| {
            let persons = models[usize::from(uncased)].persons(&[&text]).expect("persons").remove(0);
            let mut end = 0;
            for span in persons {
                assert!(end <= span.start && text.get(span.clone()).is_some_and(|name| !name.is_empty()), "{span:?}");
                end = span.end;
            }
        });
    }
}

fn edit(folder: &TempDir, file: &str, from: &str, to: &str) {
    let path = folder.path().join(file);
    let text = fs::read_to_string(&path).expect("a file");
    assert!(text.contains(from), "{text}");
    fs::write(path, text.replace(from, to)).expect("written");
}

/// What a folder spoilt by one edit says.
fn refusal(kind: &str, file: &str, from: &str, to: &str) -> String {
    let folder = folder(kind);
    edit(&folder, file, from, to);
    let refusals = ENGINES.iter().map(|load| {
        let error = load(folder.path()).err().expect("refused");
        error.to_string()
    });
    let mut texts: Vec<String> = refusals.collect();
    texts.dedup();
    assert_eq!(texts.len(), 1, "every engine says the same: {texts:?}");
    let text = texts.remove(0);
    assert!(text.contains(&*folder.path().to_string_lossy()), "{text}");
    text
}

#[test]
fn load_rejects_other_models_by_key_and_value() {
    let config = |from, to| refusal("cased", "config.json", from, to);
    let text = config("\"model_type\": \"bert\"", "\"model_type\": \"roberta\"");
    assert!(
        text.contains("model_type = \"roberta\" is not supported (expected \"bert\")"),
        "{text}"
    );
    let text = config("BertForTokenClassification", "BertForMaskedLM");
    assert!(
        text.contains("architectures = [\"BertForMaskedLM\"]")
            && text.contains("BertForTokenClassification"),
        "{text}"
    );
    let text = config("\"hidden_act\": \"gelu\"", "\"hidden_act\": \"relu\"");
    assert!(text.contains("hidden_act = \"relu\""), "{text}");
    let text = config("\"0\": \"O\"", "\"12\": \"O\"");
    assert!(
        text.contains("id2label = 1, 2, 3, 4, 5, 6, 7, 8, 12"),
        "{text}"
    );
    let text = config("\"vocab_size\": 251", "\"vocab_size\": 250");
    assert!(
        text.contains("has the id 250, but config.json has vocab_size = 250"),
        "{text}"
    );
    let text = config("\"num_hidden_layers\": 2", "\"num_hidden_layers\": 3");
    assert!(
        text.contains(
            "missing bert.encoder.layer.2.attention.self.query.weight: expected [16, 16]"
        ),
        "{text}"
    );
}

#[cfg(feature = "rust-bert")]
#[test]
fn rust_bert_refuses_what_it_would_not_read() {
    let folder = folder("cased");
    edit(&folder, "config.json", "1e-12", "1e-5");
    BertNer::load(folder.path()).expect("candle reads it");
    let error = BertNer::load_rust_bert(folder.path()).err();
    let text = error.expect("refused").to_string();
    assert!(
        text.contains("layer_norm_eps = 0.00001") && text.contains("expected 1e-12"),
        "{text}"
    );
}

#[test]
fn load_rejects_labels_without_a_person() {
    let text = refusal("cased", "config.json", "-PER\"", "-ACTOR\"");
    let labels = "id2label = O, B-MISC, I-MISC, B-ACTOR, I-ACTOR, B-ORG, I-ORG, B-LOC, I-LOC";
    assert!(
        text.contains(labels) && text.contains("expected a label PER or PERSON"),
        "{text}"
    );
    let other = folder("cased");
    edit(&other, "config.json", "-PER\"", "-PERSON\"");
    BertNer::load(other.path()).expect("PERSON will do");
}

#[test]
fn load_rejects_other_tokenizers() {
    let text = refusal("cased", "tokenizer.json", "\"WordPiece\"", "\"WordLevel\"");
    assert!(
        text.contains("model.type = \"WordLevel\"") && text.contains("WordPiece"),
        "{text}"
    );
    let text = refusal(
        "cased",
        "tokenizer_config.json",
        "\"do_lower_case\": false",
        "\"do_lower_case\": true",
    );
    assert!(
        text.contains("do_lower_case = true")
            && text.contains("expected false, which tokenizer.json has"),
        "{text}"
    );
    let text = refusal(
        "cased",
        "tokenizer_config.json",
        "\"model_max_length\": 512",
        "\"model_max_length\": 2",
    );
    assert!(text.contains("cut to 2 tokens"), "{text}");
    let text = refusal("uncased", "vocab.txt", "[CLS]\n", "[cls]\n");
    assert!(text.contains("vocab.txt: no line [CLS]"), "{text}");
    let text = refusal(
        "uncased",
        "tokenizer_config.json",
        "{",
        "{\"cls_token\": \"<s>\", ",
    );
    assert!(text.contains("cls_token = \"<s>\""), "{text}");
}

#[test]
fn load_names_missing_and_damaged_files() {
    for file in ["config.json", "vocab.txt", "model.safetensors"] {
        let folder = folder("uncased");
        fs::remove_file(folder.path().join(file)).expect("it was there");
        let text = BertNer::load(folder.path())
            .err()
            .expect("refused")
            .to_string();
        assert!(text.contains(file), "{text}");
    }
    let folder = folder("cased");
    let path = folder.path().join("model.safetensors");
    let bytes = fs::read(&path).expect("weights");
    fs::write(&path, &bytes[..bytes.len() - 1]).expect("written");
    let error = BertNer::load(folder.path()).err().expect("refused");
    assert!(matches!(error, Error::Safetensors { .. }), "{error}");
}

/// The files that are said to be read are those of the folder, and nothing beside them.
#[test]
fn the_files_that_are_read_are_known() {
    for kind in ["cased", "uncased"] {
        let folder = folder(kind);
        let entries = fs::read_dir(folder.path()).expect("files").flatten();
        let mut all: Vec<PathBuf> = entries.map(|entry| entry.path()).collect();
        all.sort();
        fs::write(folder.path().join("pytorch_model.bin"), b"x").expect("written");
        let mut read = BertNer::files_read(folder.path()).expect("files");
        read.sort();
        assert_eq!(read, all, "{kind}");
        let aside = folder.path().join("aside");
        for file in all {
            fs::rename(&file, &aside).expect("moved");
            // Without its choices a tokenizer has others, or the defaults.
            let optional = file.ends_with("tokenizer_config.json");
            assert!(optional || BertNer::load(folder.path()).is_err(), "{kind}");
            fs::rename(&aside, &file).expect("moved back");
        }
    }
}
