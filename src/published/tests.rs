use laioncele_core::key::KeyParts;
use laioncele_core::{Part, Partition, StageName, TableId, testing};

use super::*;

/// A record whose task wrote `content`.
fn record(content: &str) -> Record {
    let part = Part {
        table: TableId::Evaluation,
        partition: Partition::Whole,
        path: format!("tables/evaluation/all/{content}.parquet"),
        rows: 1,
        bytes: 1,
        digest: Digest::of(content.as_bytes()),
    };
    Record {
        key: Digest::of(format!("key of {content}").as_bytes()),
        outputs: vec![part],
        pruned: Vec::new(),
        ..testing::record(
            "evaluate",
            StageName::Evaluate,
            Partition::Whole,
            KeyParts::default(),
        )
    }
}

/// Publishes `content` for `step`, as a run with manifest `manifest` does.
fn publish(store: &Store, step: &str, manifest: &str, content: &str) -> Result<(), CoreError> {
    let records = [record(content)];
    let begun = Publication::begin(store, step, Digest::of(manifest.as_bytes()), &records)?;
    for folder in folders(step) {
        store.put_changed(&format!("{folder}/file"), content.to_owned())?;
    }
    begun
        .expect("a step that publishes")
        .end(&FileDigests::open(None))
}

fn text(store: &Store, path: &str) -> Option<String> {
    let bytes = store.get(path).ok()?;
    Some(String::from_utf8_lossy(&bytes).into_owned())
}

fn place(manifest: &str) -> String {
    earlier(Digest::of(manifest.as_bytes()))
}

#[test]
fn results_of_two_manifests_stand_beside_each_other() -> Result<(), CoreError> {
    let folder = tempfile::tempdir().expect("a folder");
    let store = Store::local(folder.path())?;
    publish(&store, "pack-shards", "A", "67 rows")?;
    publish(&store, "evaluate", "A", "good")?;
    publish(&store, "pack-shards", "B", "80 rows")?;
    assert_eq!(text(&store, "laioncele/file").as_deref(), Some("80 rows"));
    let before = format!("{}/laioncele/file", place("A"));
    assert_eq!(text(&store, &before).as_deref(), Some("67 rows"));
    // An evaluation of the earlier shards does not stay beside the new ones.
    assert_eq!(text(&store, "evaluation/file"), None);
    let entry = |results: &Results| results.steps["pack-shards"].manifest;
    assert_eq!(entry(&Results::load(&store)?), Digest::of(b"B"));
    let earlier = Results::earlier(&store)?;
    let there = &earlier[&format!("{}/", place("A"))];
    assert_eq!((entry(there), there.steps.len()), (Digest::of(b"A"), 2));
    Ok(())
}

#[test]
fn going_back_to_a_manifest_brings_its_results_back() -> Result<(), CoreError> {
    let folder = tempfile::tempdir().expect("a folder");
    let store = Store::local(folder.path())?;
    for (manifest, content) in [("A", "67 rows"), ("B", "80 rows"), ("A", "67 rows")] {
        publish(&store, "pack-shards", manifest, content)?;
    }
    assert_eq!(text(&store, "laioncele/file").as_deref(), Some("67 rows"));
    assert_eq!(
        text(&store, &format!("{}/laioncele/file", place("A"))),
        None
    );
    let after = format!("{}/laioncele/file", place("B"));
    assert_eq!(text(&store, &after).as_deref(), Some("80 rows"));
    Ok(())
}

/// A changed remark, or a setting that changes no result, moves nothing.
#[test]
fn equal_results_stay_where_they_are() -> Result<(), CoreError> {
    let folder = tempfile::tempdir().expect("a folder");
    let store = Store::local(folder.path())?;
    publish(&store, "evaluate", "A", "good")?;
    publish(&store, "evaluate", "B", "good")?;
    assert!(store.list(EARLIER)?.is_empty());
    let found = Results::load(&store)?;
    assert_eq!(found.steps["evaluate"].manifest, Digest::of(b"B"));
    Ok(())
}

/// What was altered since is not taken for what was published.
#[test]
fn a_second_run_does_not_bless_damage() -> Result<(), CoreError> {
    let folder = tempfile::tempdir().expect("a folder");
    let store = Store::local(folder.path())?;
    publish(&store, "evaluate", "A", "good")?;
    let before = Results::load(&store)?;
    let records = [record("good")];
    store.put("evaluation/file", "evil")?;
    let again = Publication::begin(&store, "evaluate", Digest::of(b"A"), &records)?;
    again.expect("it publishes").end(&FileDigests::open(None))?;
    assert_eq!(Results::load(&store)?, before);
    assert_eq!(
        before.steps["evaluate"].files["evaluation/file"].digest,
        Digest::of(b"good")
    );
    Ok(())
}

/// A kill between publishing and writing it down: the next run does, and nothing counts as damaged.
#[test]
fn what_a_killed_run_published_is_written_down_by_the_next() -> Result<(), CoreError> {
    let folder = tempfile::tempdir().expect("a folder");
    let store = Store::local(folder.path())?;
    publish(&store, "evaluate", "A", "good")?;
    let records = [record("better")];
    let killed = Publication::begin(&store, "evaluate", Digest::of(b"A"), &records)?;
    store.put("evaluation/file", "better")?;
    drop(killed);
    assert!(Results::load(&store)?.steps.is_empty());
    publish(&store, "evaluate", "A", "better")?;
    let file = Results::load(&store)?.steps["evaluate"].files["evaluation/file"];
    assert_eq!(file.digest, Digest::of(b"better"));
    Ok(())
}
