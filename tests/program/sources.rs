//! Sources in other layouts than the embedded world's, through the binary.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use serde_json::Value;

use crate::sandbox::{FRAME, Sandbox, stderr, stdout};

const RUN: [&str; 7] = [
    "run",
    "--json",
    "--quiet",
    "--stage",
    "extract-names",
    "--manifest",
    "manifest.toml",
];

/// A manifest that maps no columns, with `more` in `[source]`.
fn sandbox(more: &str) -> Sandbox {
    let mapped = "path = \"captions\"\n\n[source.columns]\nurl = \"URL\"\ncaption = \"TEXT\"\n";
    assert!(FRAME.contains(mapped));
    let sandbox = Sandbox::new();
    let source = format!("path = \"captions\"\n{more}\n");
    sandbox.write("manifest.toml", FRAME.replace(mapped, &source));
    sandbox
}

/// The records of extract-names: path below the ledger → bytes.
fn records(sandbox: &Sandbox) -> BTreeMap<String, Vec<u8>> {
    let ledger = sandbox.join("laioncele-output/ledger/extract-names");
    let mut found = BTreeMap::new();
    for shard in fs::read_dir(ledger).expect("the ledger") {
        let shard = shard.expect("a folder").path();
        for record in fs::read_dir(&shard).expect("a folder") {
            let record = record.expect("a record").path();
            let name = format!("{}/{}", name_of(&shard), name_of(&record));
            found.insert(name, fs::read(record).expect("read"));
        }
    }
    found
}

fn name_of(path: &Path) -> String {
    let name = path.file_name().expect("a name");
    name.to_string_lossy().into_owned()
}

fn run(sandbox: &Sandbox) {
    let ended = sandbox.run(&RUN);
    assert!(ended.status.success(), "{}", stderr(&ended));
}

/// What doctor says of the source.
fn doctor(sandbox: &Sandbox) -> (bool, String) {
    let ended = sandbox.run(&["doctor", "--json", "--manifest", "manifest.toml"]);
    let checks: Vec<Value> = serde_json::from_str(&stdout(&ended)).expect("JSON");
    let source = checks.iter().find(|check| check["check"] == "source");
    let source = source.expect("the source");
    let detail = source["detail"].as_str().expect("a detail");
    (source["ok"] == true, detail.to_owned())
}

#[test]
fn files_that_are_added_are_all_that_is_read() {
    let sandbox = sandbox("");
    let line = "http://pictures.example/1.jpg\tMira Castellan in Paris\n";
    sandbox.write("captions/a.tsv", line);
    sandbox.write("captions/_SUCCESS", "");
    let (ok, detail) = doctor(&sandbox);
    assert!(
        ok && detail.contains("layout cc12m: url = 1, caption = 2"),
        "{detail}"
    );
    run(&sandbox);
    let before = records(&sandbox);
    assert_eq!(before.len(), 1, "{:?}", before.keys());

    let json = "{\"url\": \"http://pictures.example/2.jpg\", \"text\": \"Jonas Albrecht\"}\n{\n";
    sandbox.write("captions/more/a.jsonl", json);
    run(&sandbox);
    let after = records(&sandbox);
    assert_eq!(after.len(), 2, "{:?}", after.keys());
    assert!(before.iter().all(|(name, bytes)| after[name] == *bytes));
    let new = after.iter().find(|(name, _)| !before.contains_key(*name));
    let (name, record) = new.expect("a new record");
    assert!(name.starts_with("shard-more.a.jsonl-"), "{name}");
    let record: Value = serde_json::from_slice(record).expect("JSON");
    let dropped = &record["balances"][0]["dropped"];
    assert_eq!(dropped["malformed_row"], 1, "{record}");
}

#[test]
fn a_file_that_cannot_be_read_is_named_before_any_work() {
    let sandbox = sandbox("");
    sandbox.write(
        "captions/a.csv",
        "url,caption\nhttp://pictures.example/1.jpg,Mira\n",
    );
    for (name, bytes) in [
        ("b.csv", &b""[..]),
        ("b.tar", &[1; 1024]),
        ("b.jsonl.gz", b"{}\n"),
    ] {
        let file = format!("captions/{name}");
        sandbox.write(&file, bytes);
        let (ok, detail) = doctor(&sandbox);
        assert!(!ok && detail.contains(name), "{detail}");
        let ended = sandbox.run(&RUN);
        assert_eq!(ended.status.code(), Some(3));
        assert!(stderr(&ended).contains(&detail), "{}", stderr(&ended));
        assert!(!sandbox.join("laioncele-output/tables").exists());
        fs::remove_file(sandbox.join(&file)).expect("removed");
    }
}

#[test]
fn a_filter_names_the_file_that_lacks_its_column() {
    let sandbox = sandbox("layout = \"laion-400m\"\n\n[extract_names]\nmax_nsfw = \"unlikely\"");
    let labelled = "URL,TEXT,NSFW\nhttp://pictures.example/1.jpg,Mira Castellan,UNLIKELY\n\
                    http://pictures.example/2.jpg,Mira Castellan,NSFW\nhttp://pictures.example/3.jpg,Mira Castellan,\n";
    sandbox.write("captions/a.csv", labelled);
    run(&sandbox);
    let record: Value =
        serde_json::from_slice(records(&sandbox).values().next().expect("a record")).expect("JSON");
    assert_eq!(record["balances"][0]["dropped"]["unsafe"], 2, "{record}");
    sandbox.write(
        "captions/b.csv",
        "URL,TEXT\nhttp://pictures.example/1.jpg,Mira\n",
    );
    let (ok, detail) = doctor(&sandbox);
    let expected = "b.csv: no column for `nsfw`, which [extract_names] max_nsfw needs";
    assert!(!ok && detail.contains(expected), "{detail}");
}
