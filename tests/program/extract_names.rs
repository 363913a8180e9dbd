//! extract-names through the binary, its tables read by the `parquet` crate: with a Hugging Face BERT token classifier in the manifest
//! (also one run by rust-bert, in a program that was built with it) the mentions are what transformers' pipeline found;
//! malformed captions are read or dropped with their reason.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::sandbox::{FRAME, Sandbox, stderr, stdout};
use crate::tables::Table;

/// The tiny random model, and what transformers made of captions with it.
const MODEL: &str = "models/bert-ner/tests/fixtures/cased";
/// The spaCy package in the manifest, as far as it is replaced.
const SPACY: &str = "mini/ner/en_core_web_sm\"";
const RUN: [&str; 7] = [
    "run",
    "--json",
    "--quiet",
    "--stage",
    "extract-names",
    "--manifest",
    "manifest.toml",
];

/// Caption → its persons in bytes.
type Persons = BTreeMap<String, Vec<(u32, u32)>>;

fn fixture(file: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(MODEL).join(file)
}

/// The recorded persons of every caption; what overlaps is one.
fn recorded() -> Persons {
    let text = fs::read_to_string(fixture("captions.jsonl")).expect("the recorded captions");
    let mut persons = Persons::new();
    for line in text.lines() {
        let line: Value = serde_json::from_str(line).expect("JSON");
        let caption = line["text"].as_str().expect("a text");
        let bytes: Vec<u32> = caption.char_indices().map(|(at, _)| at as u32).collect();
        let byte = |at: &Value| {
            let at = at.as_u64().expect("an offset") as usize;
            bytes.get(at).map_or(caption.len() as u32, |byte| *byte)
        };
        let found = persons.entry(caption.to_owned()).or_default();
        for span in line["spans"].as_array().expect("spans") {
            match found.last_mut() {
                _ if span[2] != "PER" => {}
                Some((_, end)) if byte(&span[0]) < *end => *end = byte(&span[1]).max(*end),
                _ => found.push((byte(&span[0]), byte(&span[1]))),
            }
        }
    }
    persons
}

/// The recorded captions in a run whose manifest has the tiny BERT.
/// Spans are compared by where they begin in the whole caption.
const WHOLE_CAPTIONS: &str = "\n[extract_names]\ncaption_window = 65536\n";

fn with_bert(engine: &str) -> Sandbox {
    let bert = format!("bert\"\nengine = \"{engine}\"");
    let recorded = recorded();
    let captions: Vec<&[u8]> = recorded.keys().map(String::as_bytes).collect();
    let manifest = FRAME.replace(SPACY, &bert) + WHOLE_CAPTIONS;
    let sandbox = Sandbox::with_captions(&manifest, &captions);
    fs::create_dir(sandbox.join("bert")).expect("a folder");
    for file in [
        "config.json",
        "model.safetensors",
        "tokenizer.json",
        "tokenizer_config.json",
    ] {
        fs::copy(fixture(file), sandbox.join("bert").join(file)).expect("copied");
    }
    sandbox
}

/// The Parquet files of one of the run's tables.
fn tables(sandbox: &Sandbox, table: &str) -> Vec<Table> {
    let files = parts(&sandbox.join("laioncele-output/tables").join(table));
    files.iter().map(|file| Table::read(file, &[])).collect()
}

fn parts(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).expect("a folder").flatten();
    entries
        .flat_map(|entry| match entry.path() {
            path if path.is_dir() => parts(&path),
            path => vec![path],
        })
        .filter(|path| path.extension().is_some_and(|e| e == "parquet"))
        .collect()
}

fn offsets(table: &Table, column: &str) -> Vec<u32> {
    let numbers = table.numbers(column).into_iter();
    numbers
        .map(|n| u32::try_from(n).expect("an offset"))
        .collect()
}

fn mentions(sandbox: &Sandbox) -> Persons {
    let mut found = Persons::new();
    for table in tables(sandbox, "mentions") {
        let spans = offsets(&table, "start")
            .into_iter()
            .zip(offsets(&table, "end"));
        for (caption, span) in table.texts("caption").into_iter().zip(spans) {
            found.entry(caption).or_default().push(span);
        }
    }
    found
}

/// Runs extract-names with a BERT engine and holds its mentions against transformers'.
fn read_by(engine: &str) -> Sandbox {
    let sandbox = with_bert(engine);
    let ended = sandbox.run(&RUN);
    assert!(ended.status.success(), "{}", stderr(&ended));
    let mut expected = recorded();
    expected.retain(|caption, persons| !caption.trim().is_empty() && !persons.is_empty());
    assert!(expected.len() > 30, "{}", expected.len());
    assert_eq!(mentions(&sandbox), expected);
    sandbox
}

#[test]
fn a_bert_engine_finds_what_transformers_finds() {
    let sandbox = read_by("bert");

    // The engine is in the key: done with this one is not done with another.
    let plan = || -> Value {
        let plan = ["plan", "--json", "--stage", "extract-names", "--manifest"];
        let plan = sandbox.run(&[&plan[..], &["manifest.toml"]].concat());
        serde_json::from_str(&stdout(&plan)).expect("JSON")
    };
    assert_eq!(plan()[0]["to_run"], 0);
    sandbox.write("manifest.toml", FRAME.to_owned() + WHOLE_CAPTIONS);
    let cause = plan()[0]["causes"][0]["cause"].to_string();
    assert!(cause.contains("models.ner.engine"), "{cause}");
}

#[test]
fn a_damaged_bert_stops_the_stage_with_its_file() {
    let sandbox = with_bert("bert");
    let weights = sandbox.join("bert/model.safetensors");
    let bytes = fs::read(&weights).expect("weights");
    fs::write(&weights, &bytes[..bytes.len() - 1]).expect("written");
    let ended = sandbox.run(&RUN);
    assert!(!ended.status.success());
    let text = stderr(&ended);
    assert!(text.contains("bert/model.safetensors"), "{text}");
}

#[cfg(feature = "rust-bert")]
#[test]
fn rust_bert_finds_what_transformers_finds() {
    read_by("rust-bert");
}

/// The engine exists only in a program that was built with it.
#[cfg(not(feature = "rust-bert"))]
#[test]
fn an_engine_that_is_not_built_in_is_refused() {
    let ended = with_bert("rust-bert").run(&RUN);
    assert!(!ended.status.success());
    assert!(stderr(&ended).contains("rust-bert"), "{}", stderr(&ended));
}

#[test]
fn malformed_captions_are_read_or_dropped_with_a_reason() {
    let letters = vec![b'a'; 1 << 20];
    let captions: [&[u8]; 7] = [
        b"Barack Obama in Paris",
        b"\0\0Barack Obama\0\0",
        "\u{301}\u{301} \u{301}".as_bytes(),
        &letters,
        b"Mira \xff Castellan",
        b"\xed\xa0\x80",
        b"",
    ];
    let sandbox = Sandbox::with_captions(FRAME, &captions);
    let ended = sandbox.run(&RUN);
    assert!(ended.status.success(), "{}", stderr(&ended));
    let read = mentions(&sandbox);
    let persons = [("Barack Obama in Paris".to_owned(), vec![(0, 12)])];
    assert_eq!(read, Persons::from(persons));

    let mut dropped = Vec::new();
    for table in tables(&sandbox, "dropped") {
        let details = table.texts("detail");
        dropped.extend(table.texts("reason").into_iter().zip(details));
    }
    dropped.sort();
    let expected = [
        ("empty_caption", "blank"),
        ("empty_caption", "not UTF-8 at byte 0"),
        ("empty_caption", "not UTF-8 at byte 5"),
        ("no_person", ""),
        ("no_person", ""),
        ("no_person", ""),
    ];
    assert_eq!(
        dropped,
        expected.map(|(reason, detail)| (reason.to_owned(), detail.to_owned()))
    );
}
