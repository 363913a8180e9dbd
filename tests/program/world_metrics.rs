//! What the program must reach on the embedded world, compared with the world's truth.

use serde_json::Value;

use crate::sandbox::{stderr, stdout};
use crate::test_run::TestRun;

/// The metrics whose target is missed.
pub(crate) fn missed(scores: &Value) -> Vec<String> {
    let metrics = scores["metrics"].as_array().expect("metrics");
    let targets = metrics.iter().filter(|f| !f["target"].is_null());
    targets
        .filter(|f| f["met"] != true)
        .map(Value::to_string)
        .collect()
}

/// The metrics of the world that the repository ships, at its full size.
#[test]
fn the_full_world_meets_every_target() {
    let scores = TestRun::finished_full(1).score("output");
    let missed = missed(&scores);
    assert!(missed.is_empty(), "{}", missed.join("\n"));
    let targets = scores["metrics"].as_array().expect("metrics");
    let targets = targets.iter().filter(|f| !f["target"].is_null()).count();
    assert!(targets >= 15, "{targets} targets");
    assert_eq!(scores["passed"], true);
}

/// A tiny world is too small for rates, but metrics that allow no exception hold there too.
#[test]
fn tiny_worlds_have_no_exceptions() {
    for seed in [1, 2] {
        let scores = TestRun::finished(seed).score("output");
        for name in [
            "wrong_merges",
            "identities_below_five",
            "traps_classed",
            "reachable_photos_downloaded",
            "exact_copies_dropped",
            "placeholders_dropped",
        ] {
            let metrics = scores["metrics"].as_array().expect("metrics");
            let metric = metrics.iter().find(|m| m["name"] == name);
            let metric = metric.unwrap_or_else(|| panic!("no metric {name}"));
            assert_eq!(metric["met"], true, "seed {seed}: {metric}");
            let count = metric["count"].as_u64();
            assert!(count.is_some_and(|n| n > 0), "seed {seed}: {metric}");
        }
    }
}

/// Tasks that ran of each step.
fn ran(world: &TestRun, output: &str) -> Vec<(String, u64)> {
    let ended = world.run(output);
    assert!(ended.status.success(), "{}", stderr(&ended));
    let summary: Value = serde_json::from_str(&stdout(&ended)).expect("JSON");
    let steps = summary["steps"].as_array().expect("steps").iter();
    let step = |s: &Value| (s["step"].to_string(), s["ran"].as_u64().expect("a count"));
    steps.map(step).collect()
}

/// A changed threshold is decided on the stored scores: up to the shards, no step runs that needs a
/// model or the network.
#[test]
fn a_changed_threshold_re_decides_without_a_model() {
    let folder = tempfile::tempdir().expect("a folder");
    let world = TestRun::build(folder.path(), 3);
    let first = ran(&world, "output");
    // Those that only some settings need.
    let optional = [
        "ask-second-opinion",
        "sample-",
        "-by-name",
        "choose-references",
    ];
    let has_tasks = |step: &str| !optional.iter().any(|name| step.contains(name));
    assert!(
        first
            .iter()
            .all(|(step, ran)| (*ran > 0) == has_tasks(step))
    );
    world.change_manifest("same_person_photo = ", "same_person_photo = 0.55 # ");
    // Without the runtime's library no session can be made.
    let mut run = world.command(&["run", "--stage", "verify-images"], "output");
    let ended = run.env("ORT_DYLIB_PATH", "/nowhere").output();
    let ended = ended.expect("the program");
    assert!(ended.status.success(), "{}", stderr(&ended));
    world.change_manifest("same_person_photo = ", "same_person_photo = 0.6 # ");
    let steps = ran(&world, "output");
    let quiet = [
        "extract-names",
        "count-spellings",
        "merge-spellings",
        "file-mentions",
        "count-images",
        "encode-names",
        "generate-portraits",
        "score-portraits",
        "verify-portraits",
        "download-images",
        "fingerprint-photos",
        "count-placeholders",
        "dedupe-images",
        "score-photos",
    ];
    for (step, ran) in &steps {
        let step = step.trim_matches('"');
        if quiet.contains(&step) {
            assert_eq!(*ran, 0, "{step} ran");
        }
        if step == "verify-images" {
            assert!(*ran > 0, "{step} did not run");
        }
    }
    assert_eq!(steps.len(), 28, "{steps:?}");
}

/// Lazy portraits keep the same names with fewer images.
#[test]
fn lazy_portraits_change_no_decision() {
    let lazy = TestRun::finished(1);
    let folder = tempfile::tempdir().expect("a folder");
    let eager = TestRun::build(folder.path(), 1);
    eager.change_manifest("[generate_portraits]", "[generate_portraits]\nlazy = false");
    let mut run = eager.command(&["run", "--stage", "..verify-portraits"], "output");
    let ended = run.output().expect("the program");
    assert!(ended.status.success(), "{}", stderr(&ended));
    let line = |world: &TestRun, table: &str| {
        let digests = world.digests("output");
        let line = digests.lines().find(|l| l.starts_with(table));
        line.unwrap_or_else(|| panic!("no {table}")).to_owned()
    };
    assert_eq!(line(&lazy, "known_names "), line(&eager, "known_names "));
    let portraits = |world: &TestRun| {
        let line = line(world, "portraits ");
        let rows = line.split_whitespace().nth(1).expect("rows");
        rows.replace(',', "").parse::<u64>().expect("a number")
    };
    assert!(portraits(&lazy) < portraits(&eager));
}
