//! Parts, records, lists and published files that are lost, cut or altered: each is noticed, named,
//! and made again, and with it only what depends on it.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::sandbox::{stderr, stdout};
use crate::test_run::TestRun;

/// All files below `folder`, sorted.
pub(crate) fn files(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        match entry.path() {
            path if path.is_dir() => files.extend(self::files(&path)),
            path => files.push(path),
        }
    }
    files.sort();
    files
}

/// Flips a bit in the middle of a file, in a file of its own: a published shard and its part are
/// one file.
fn flip(path: &Path) {
    let mut bytes = fs::read(path).expect("a file");
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::remove_file(path).expect("removed");
    fs::write(path, bytes).expect("written");
}

/// Step → tasks to run, of those that have some; with the first cause's kind.
fn to_run(plan: &Value) -> BTreeMap<String, (u64, String)> {
    let steps = plan.as_array().expect("steps").iter();
    let stale = steps.filter(|step| step["to_run"] != 0);
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let entry = |step: &Value| {
        let tasks = step["to_run"].as_u64().unwrap_or(u64::MAX);
        (
            text(&step["step"]),
            (tasks, text(&step["causes"][0]["kind"])),
        )
    };
    stale.map(entry).collect()
}

/// What the run in folder `output` would run.
pub(crate) fn plan(world: &TestRun) -> BTreeMap<String, (u64, String)> {
    to_run(&TestRun::json(
        world.alone(&["plan", "--json"], "output"),
        0,
    ))
}

/// Step → tasks that a run did, of those that did some.
pub(crate) fn ran(summary: &Value) -> BTreeMap<String, u64> {
    let steps = summary["steps"].as_array().expect("steps").iter();
    let ran = steps.map(|step| {
        let name = step["step"].as_str().expect("a name").to_owned();
        (name, step["ran"].as_u64().expect("a number"))
    });
    ran.filter(|(_, tasks)| *tasks > 0).collect()
}

fn run(world: &TestRun) -> BTreeMap<String, u64> {
    ran(&TestRun::json(world.alone(&["run", "--json"], "output"), 0))
}

fn one(step: &str, kind: &str) -> BTreeMap<String, (u64, String)> {
    BTreeMap::from([(step.to_owned(), (1, kind.to_owned()))])
}

fn once(step: &str) -> BTreeMap<String, u64> {
    BTreeMap::from([(step.to_owned(), 1)])
}

/// A table's first part that has more than a footer.
fn part_of(world: &TestRun, table: &str) -> PathBuf {
    let parts = files(&world.join("output/tables").join(table));
    let largest = parts
        .into_iter()
        .max_by_key(|part| fs::metadata(part).map_or(0, |m| m.len()));
    largest.expect("a part")
}

#[test]
fn a_lost_part_is_noticed_and_made_again_alone() {
    let folder = tempfile::tempdir().expect("a folder");
    let world = TestRun::copied(folder.path(), 1);
    assert_eq!(plan(&world), BTreeMap::new());
    fs::remove_file(part_of(&world, "photos")).expect("removed");
    assert_eq!(plan(&world), one("download-images", "part_gone"));
    // The same bytes come again: nothing that depends on them runs.
    assert_eq!(run(&world), once("download-images"));
    assert_eq!(plan(&world), BTreeMap::new());

    let part = part_of(&world, "matches");
    let bytes = fs::read(&part).expect("a part");
    fs::write(&part, &bytes[..bytes.len() - 1]).expect("cut");
    assert_eq!(plan(&world), one("verify-images", "part_size"));
    let digests = world
        .alone(&["verify", "--digests"], "output")
        .output()
        .expect("the program");
    assert_eq!(digests.status.code(), Some(5), "{}", stderr(&digests));
    assert_eq!(run(&world), once("verify-images"));
    assert_eq!(
        world.digests("output"),
        TestRun::finished(1).digests("output")
    );
    let verified = world
        .alone(&["verify"], "output")
        .output()
        .expect("the program");
    assert!(verified.status.success(), "{}", stderr(&verified));
}

#[test]
fn a_cut_record_reruns_its_task_and_is_kept_aside() {
    let folder = tempfile::tempdir().expect("a folder");
    let world = TestRun::copied(folder.path(), 1);
    let record = files(&world.join("output/ledger/filter-counts")).remove(0);
    let text = fs::read(&record).expect("a record");
    fs::write(&record, &text[..text.len() / 2]).expect("cut");
    assert_eq!(plan(&world)["filter-counts"], (1, "record".to_owned()));
    assert_eq!(run(&world), once("filter-counts"));
    assert_eq!(files(&world.join("output/damaged")).len(), 1);
    assert_eq!(
        world.digests("output"),
        TestRun::finished(1).digests("output")
    );
}

/// Bytes flipped everywhere: all of it is listed, repaired, and made again.
#[test]
fn verify_lists_all_damage_and_repairs_it() {
    let folder = tempfile::tempdir().expect("a folder");
    let world = TestRun::copied(folder.path(), 1);
    let output = world.join("output");
    let mut expected = Vec::new();
    let mut damage = |kind: &str, path: &Path| {
        let path = path.strip_prefix(&output).expect("a path in the run");
        expected.push((kind.to_owned(), path.display().to_string()));
    };
    let part = part_of(&world, "matches");
    flip(&part);
    damage("part", &part);
    let gone = part_of(&world, "reachability");
    fs::remove_file(&gone).expect("removed");
    damage("part", &gone);
    let shard = files(&output.join("laioncele"));
    let shard = shard
        .iter()
        .find(|f| f.extension().is_some_and(|e| e == "parquet"));
    let shard = shard.expect("a shard");
    flip(shard);
    damage("published", shard);
    for published in ["laioncele/README.md", "evaluation/table.md"] {
        flip(&output.join(published));
        damage("published", &output.join(published));
    }
    // A setting in a record that is still JSON: its key is another.
    let record = files(&output.join("ledger/filter-counts")).remove(0);
    let text = fs::read_to_string(&record).expect("a record");
    let altered = text.replace(
        "\"filter_counts.min_images\": \"5\"",
        "\"filter_counts.min_images\": \"6\"",
    );
    assert_ne!(text, altered);
    fs::write(&record, altered).expect("written");
    damage("record", &record);
    let list = files(&output.join("lists")).remove(0);
    flip(&list);
    damage("list", &list);

    let found = TestRun::json(world.alone(&["verify", "--json"], "output"), 5);
    let problems = found["problems"].as_array().expect("problems").iter();
    let text = |value: &Value| value.as_str().expect("a text").to_owned();
    let mut listed: Vec<_> = problems
        .map(|p| (text(&p["kind"]), text(&p["path"])))
        .collect();
    listed.sort();
    expected.sort();
    assert_eq!(listed, expected);

    let repaired = world.alone(&["verify", "--repair"], "output").output();
    let repaired = repaired.expect("the program");
    assert!(repaired.status.success(), "{}", stderr(&repaired));
    let ran = run(&world);
    assert_eq!(ran["verify-images"], 1, "{ran:?}");
    assert!(!ran.contains_key("generate-portraits"), "{ran:?}");
    let verified = world
        .alone(&["verify"], "output")
        .output()
        .expect("the program");
    assert!(verified.status.success(), "{}", stderr(&verified));
    assert!(stdout(&verified).contains("published file"));
    assert_eq!(
        world.digests("output"),
        TestRun::finished(1).digests("output")
    );
}

/// A record whose part lies outside the run's folder is no record, and nothing of it is read,
/// linked or deleted.
#[test]
fn a_record_cannot_name_a_file_outside_the_run() {
    let folder = tempfile::tempdir().expect("a folder");
    let world = TestRun::copied(folder.path(), 1);
    let outside = world.join("outside.parquet");
    let record = files(&world.join("output/ledger/pack-shards")).remove(0);
    let text = fs::read_to_string(&record).expect("a record");
    let mut json: Value = serde_json::from_str(&text).expect("JSON");
    let path = json["outputs"][0]["path"]
        .as_str()
        .expect("a path")
        .to_owned();
    fs::copy(world.join("output").join(&path), &outside).expect("copied");
    for evil in [
        outside.display().to_string(),
        "../outside.parquet".to_owned(),
    ] {
        json["outputs"][0]["path"] = evil.into();
        fs::write(&record, json.to_string()).expect("written");
        assert_eq!(plan(&world)["pack-shards"], (1, "record".to_owned()));
        let found = TestRun::json(world.alone(&["verify", "--json"], "output"), 5);
        assert_eq!(found["problems"][0]["kind"], "record", "{found}");
    }
    assert_eq!(run(&world), once("pack-shards"));
    assert!(outside.exists());
    assert_eq!(
        world.digests("output"),
        TestRun::finished(1).digests("output")
    );
}
