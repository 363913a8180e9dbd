//! What people see of a run, and what they take out of it: `report`, `explain`, `forget`.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::sandbox::{stderr, stdout};
use crate::tables::Table;
use crate::test_run::TestRun;

/// The shards of the dataset in the run's folder `output`.
fn shards(output: &Path) -> Vec<PathBuf> {
    let folder = fs::read_dir(output.join("laioncele")).expect("a dataset");
    let files = folder.map(|entry| entry.expect("an entry").path());
    let mut files: Vec<_> = files
        .filter(|path| path.extension().is_some_and(|e| e == "parquet"))
        .collect();
    files.sort();
    files
}

/// The names of the dataset's people, a name for each photo.
fn people(output: &Path) -> Vec<String> {
    let names = |path: &PathBuf| Table::read(path, &["name"]).texts("name");
    shards(output).iter().flat_map(names).collect()
}

fn attribute<'a>(row: &'a str, name: &str) -> &'a str {
    let rest = row
        .split_once(&format!("{name}=\""))
        .expect("the attribute")
        .1;
    rest.split_once('"').expect("its end").0
}

#[test]
fn the_reports_numbers_are_the_ledgers() {
    let world = TestRun::finished(1);
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("page.html");
    let path = file.display().to_string();
    let mut command = world.alone(&["report", "--output-file", &path], "output");
    let ended = command.output().expect("the program");
    assert!(ended.status.success(), "{}", stderr(&ended));
    assert_eq!(stdout(&ended).trim(), file.display().to_string());
    let page = fs::read_to_string(&file).expect("the page");
    assert!(page.len() < 20_000_000, "{}", page.len());
    let mut shown = BTreeMap::<(String, String), u64>::new();
    for row in page
        .split("<tr ")
        .filter(|row| row.contains("data-dropped="))
    {
        let key = ["data-step", "data-unit"].map(|name| attribute(row, name).to_owned());
        let numbers = ["data-in", "data-out", "data-dropped"];
        let [rows_in, rows_out, dropped] =
            numbers.map(|name| attribute(row, name).parse::<u64>().expect("a number"));
        assert_eq!(rows_in, rows_out + dropped, "{key:?}");
        let [step, unit] = key;
        if dropped > 0 {
            shown.insert((step, unit), dropped);
        }
    }
    let status = TestRun::json(world.alone(&["status", "--json"], "output"), 0);
    let mut expected = BTreeMap::new();
    for step in status.as_array().expect("steps") {
        for (unit, rows) in step["dropped"].as_object().expect("units") {
            let step = step["step"].as_str().expect("a name").to_owned();
            expected.insert((step, unit.clone()), rows.as_u64().expect("a number"));
        }
    }
    assert_eq!(shown, expected);
    assert_eq!(shown_rows(&page), ledger_rows(&world.join("output/ledger")));
    let mut names = people(&world.join("output"));
    let photos = names.len();
    names.dedup();
    assert!(page.contains(&format!(
        "LaionCele: {} people, {photos} photos",
        names.len()
    )));
    assert!(page.contains("data:image/jpeg;base64,") && page.contains(" MB</td>"));
}

/// Rows in, out and dropped, by step and unit.
type Rows = BTreeMap<(String, String), [u64; 3]>;

/// What the page's funnel says.
fn shown_rows(page: &str) -> Rows {
    let rows = page.split("<tr ");
    let rows = rows.filter(|row| row.contains("data-dropped="));
    rows.map(|row| {
        let [step, unit] = ["data-step", "data-unit"].map(|name| attribute(row, name).to_owned());
        let numbers = ["data-in", "data-out", "data-dropped"];
        let numbers = numbers.map(|name| attribute(row, name).parse().expect("a number"));
        ((step, unit), numbers)
    })
    .collect()
}

/// What the records below `folder` say: those of a run that was never run again.
fn ledger_rows(folder: &Path) -> Rows {
    let mut rows = Rows::new();
    for entry in fs::read_dir(folder).expect("the ledger") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            for (key, numbers) in ledger_rows(&path) {
                let sums = rows.entry(key).or_default();
                (0..3).for_each(|k| sums[k] += numbers[k]);
            }
            continue;
        }
        let record: Value =
            serde_json::from_slice(&fs::read(&path).expect("a record")).expect("JSON");
        for balance in record["balances"].as_array().expect("balances") {
            let text = |value: &Value| value.as_str().expect("a text").to_owned();
            let number = |value: &Value| value.as_u64().expect("a number");
            let dropped = balance["dropped"].as_object().expect("reasons");
            let dropped = dropped.values().map(number).sum();
            let key = (text(&record["step"]), text(&balance["unit"]));
            let numbers = [
                number(&balance["rows_in"]),
                number(&balance["rows_out"]),
                dropped,
            ];
            let sums = rows.entry(key).or_default();
            (0..3).for_each(|k| sums[k] += numbers[k]);
        }
    }
    rows
}

#[test]
fn an_identity_is_explained_from_caption_to_shard() {
    let world = TestRun::finished(1);
    let name = people(&world.join("output")).remove(0);
    let told = TestRun::json(world.alone(&["explain", "--json", &name], "output"), 0);
    assert_eq!(told["verdict"], "In the dataset.");
    let steps: Vec<&str> = (told["tree"][0]["children"]
        .as_array()
        .expect("a tree")
        .iter())
    .filter_map(|node| node["step"].as_str())
    .collect();
    for step in [
        "extract-names",
        "merge-spellings",
        "verify-portraits",
        "filter-counts",
        "pack-shards",
    ] {
        assert!(steps.contains(&step), "{step}: {steps:?}");
    }
    let mut unknown = world.alone(&["explain", &format!("{name}x")], "output");
    let unknown = unknown.output().expect("the program");
    assert_eq!(unknown.status.code(), Some(2));
    assert!(stderr(&unknown).contains(&name), "{}", stderr(&unknown));
    // Of a url nothing may be known but by the caption's text, which belongs to no name.
    for (arguments, word) in [
        (
            &["explain", "http://no.example/1.jpg"][..],
            "--caption TEXT",
        ),
        (&["explain", &name, "--caption", "x"][..], "name the url"),
    ] {
        let told = world.alone(arguments, "output").output();
        let told = told.expect("the program");
        assert_eq!(told.status.code(), Some(2), "{arguments:?}");
        assert!(stderr(&told).contains(word), "{}", stderr(&told));
    }
}

#[test]
fn who_is_forgotten_is_in_no_file_and_does_not_come_back() {
    let folder = tempfile::tempdir().expect("a folder");
    let world = TestRun::copied(folder.path(), 1);
    let output = world.join("output");
    let before = people(&output);
    let name = before[0].clone();
    let dry = TestRun::json(
        world.alone(&["forget", "--json", "--dry-run", &name], "output"),
        0,
    );
    assert_eq!(people(&output), before);
    let taken = TestRun::json(world.alone(&["forget", "--json", &name], "output"), 0);
    assert_eq!(
        (&taken["names"], &taken["trained_before"]),
        (&Value::from(1), &Value::from(true))
    );
    assert_eq!(taken["rows"]["laioncele"], dry["rows"]["laioncele"]);
    let after = people(&output);
    assert!(!after.contains(&name) && after.len() < before.len());
    let verified = TestRun::json(world.alone(&["verify", "--json"], "output"), 0);
    assert_eq!(verified["problems"], Value::Array(Vec::new()));
    assert!(verified["searched"].as_u64().expect("files") > 100);
    let card = fs::read_to_string(output.join("laioncele/README.md")).expect("a card");
    assert!(
        card.contains("1 people and 0 single images")
            && card.contains("trained before the removal")
    );
    // Nothing is to be made again.
    let again = TestRun::json(world.alone(&["run", "--json"], "output"), 0);
    let ran = again["steps"]
        .as_array()
        .expect("steps")
        .iter()
        .map(|step| &step["ran"]);
    assert!(
        ran.clone().all(|ran| *ran == 0),
        "{:?}",
        ran.collect::<Vec<_>>()
    );
    // Nor by other settings does the person come back.
    world.change_manifest("max_punsafe = 0.5", "max_punsafe = 0.51");
    let stages = ["run", "--json", "--stage", "extract-names,merge-names"];
    let ended = world
        .command(&stages, "output")
        .output()
        .expect("the program");
    assert!(ended.status.success(), "{}", stderr(&ended));
    let explained = world.command(&["explain", &name], "output").output();
    assert_eq!(explained.expect("the program").status.code(), Some(2));
    let verified = TestRun::json(world.command(&["verify", "--json"], "output"), 0);
    assert_eq!(verified["problems"], Value::Array(Vec::new()));
}
