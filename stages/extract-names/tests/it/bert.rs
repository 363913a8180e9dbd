//! The stage with a BERT engine: the tiny random model of laioncele-bert-ner and what transformers
//! recorded with it.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, StringArray};
use laioncele_core::Partition;
use laioncele_core::file_digests::FileDigests;
use laioncele_core::table::Mention;
use laioncele_core::testing::StepHarness;
use laioncele_core::{Digest, Part, Step, TableId};
use parquet::arrow::ArrowWriter;
use serde_json::Value;

fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../models/bert-ner/tests/fixtures/cased")
}

fn harness(folder: &Path, model: &Path, engine: &str) -> StepHarness {
    let sections = format!(
        "[models.ner]\nfolder = \"{}\"\nengine = \"{engine}\"\n",
        model.display()
    );
    StepHarness::new(folder, &sections).expect("a harness")
}

fn step() -> Box<dyn Step> {
    laioncele_extract_names::steps().remove(0)
}

/// The recorded captions that are not blank, each with the names of its persons in transformers'
/// spans.
fn recorded() -> Vec<(String, Vec<String>)> {
    let text = fs::read_to_string(fixtures().join("captions.jsonl")).expect("captions");
    let caption = |line: &str| {
        let line: Value = serde_json::from_str(line).expect("JSON");
        let text = line["text"].as_str().expect("a text").to_owned();
        let spans = line["spans"].as_array().expect("spans").iter();
        let name = |span: &Value| {
            let at = |i: usize| span[i].as_u64().expect("an offset") as usize;
            text.chars().skip(at(0)).take(at(1) - at(0)).collect()
        };
        let names = spans.filter(|span| span[2] == "PER").map(name).collect();
        (text, names)
    };
    let captions = text.lines().map(caption);
    captions
        .filter(|(text, _)| !text.trim().is_empty())
        .collect()
}

fn write(file: &Path, captions: &[(String, Vec<String>)]) -> Part {
    let urls = (0..captions.len()).map(|i| format!("http://a.example/{i}.jpg"));
    let column = |values: &mut dyn Iterator<Item = String>| -> ArrayRef {
        Arc::new(values.map(Some).collect::<StringArray>())
    };
    let columns = [
        ("URL", column(&mut urls.into_iter())),
        ("TEXT", column(&mut captions.iter().map(|c| c.0.clone()))),
    ];
    let batch = RecordBatch::try_from_iter(columns).expect("a batch");
    let out = File::create(file).expect("created");
    let mut writer = ArrowWriter::try_new(out, batch.schema(), None).expect("a writer");
    writer.write(&batch).expect("written");
    writer.close().expect("closed");
    let bytes = fs::read(file).expect("a shard");
    Part {
        table: TableId::Captions,
        partition: Partition::shard("0"),
        path: file.display().to_string(),
        rows: 0,
        bytes: bytes.len() as u64,
        digest: Digest::of(&bytes),
    }
}

/// The engines for such a folder that were built.
const ENGINES: &[&str] = &[
    "bert",
    #[cfg(feature = "rust-bert")]
    "rust-bert",
];

#[test]
fn mentions_equal_those_of_transformers() {
    for engine in ENGINES {
        mentions_are_transformers(engine);
    }
}

fn mentions_are_transformers(engine: &str) {
    let folder = tempfile::tempdir().expect("a folder");
    let harness = harness(folder.path(), &fixtures(), engine);
    let captions = recorded();
    let part = write(&folder.path().join("0.parquet"), &captions);
    let record = harness.run(&*step(), &Partition::shard("0"), vec![part]);
    let record = record.expect("extracted");
    let mentions: Vec<Mention> = harness.rows(&record).expect("mentions");
    let found = mentions.iter().map(|m| (m.url.clone(), m.name.clone()));
    let expected = captions.iter().enumerate().flat_map(|(i, (_, names))| {
        let named = move |name: &String| (format!("http://a.example/{i}.jpg"), name.clone());
        names.iter().map(named)
    });
    assert_eq!(found.collect::<Vec<_>>(), expected.collect::<Vec<_>>());
    assert!(mentions.len() > 30, "{}", mentions.len());
    let balance = &record.balances[0];
    assert_eq!(balance.rows_in, captions.len() as u64);
    let with_names = captions.iter().filter(|(_, names)| !names.is_empty());
    assert_eq!(balance.rows_out, with_names.count() as u64);
}

#[test]
fn key_holds_engine_and_model_files() {
    let folder = tempfile::tempdir().expect("a folder");
    let model = folder.path().join("model");
    fs::create_dir(&model).expect("created");
    for name in ["config.json", "tokenizer.json", "model.safetensors"] {
        fs::copy(fixtures().join(name), model.join(name)).expect("copied");
    }
    let key = |engine| {
        let manifest = harness(folder.path(), &model, engine).manifest;
        let settings = step().settings(&manifest).expect("settings");
        let files = step().models(&manifest).expect("models").remove(0);
        let digest = FileDigests::open(None).of_model(&files).expect("a digest");
        (settings, digest)
    };
    let before = key("bert");
    assert_eq!(before, key("bert"));
    let spacy = harness(folder.path(), &model, "spacy").manifest;
    assert_ne!(before.0, step().settings(&spacy).expect("settings"));
    let config = fs::read_to_string(model.join("config.json")).expect("config");
    fs::write(
        model.join("config.json"),
        config.replace("B-ORG", "B-ORGANIZATION"),
    )
    .expect("written");
    assert_ne!(before.1, key("bert").1);
}

#[test]
fn unknown_engine_error_lists_the_engines() {
    let folder = tempfile::tempdir().expect("a folder");
    let error = step().settings(&harness(folder.path(), &fixtures(), "brt").manifest);
    let text = error.expect_err("refused").to_string();
    for part in [
        "[models.ner]",
        "engine",
        "`brt`",
        "`spacy`",
        "did you mean `bert`?",
    ] {
        assert!(text.contains(part), "{text}");
    }
}

#[test]
fn folder_of_another_engine_is_rejected_by_name() {
    let folder = tempfile::tempdir().expect("a folder");
    let part = write(&folder.path().join("0.parquet"), &recorded());
    let harness = harness(folder.path(), &fixtures(), "spacy");
    let error = harness.run(&*step(), &Partition::shard("0"), vec![part]);
    let text = error.expect_err("refused").to_string();
    assert!(text.contains("fixtures/cased/ner/model"), "{text}");
}
