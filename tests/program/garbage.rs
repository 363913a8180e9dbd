//! `gc`: shows what nothing needs, deletes it only when told to, and nothing that is needed.

use std::fs;

use serde_json::Value;

use crate::damage::{files, ran};
use crate::sandbox::stderr;
use crate::test_run::TestRun;

fn gc(world: &TestRun, arguments: &[&str]) -> Vec<(String, String)> {
    let arguments = [&["gc", "--json"], arguments].concat();
    let found = TestRun::json(world.alone(&arguments, "output"), 0);
    let text = |value: &Value| value.as_str().expect("a text").to_owned();
    let objects = found["objects"].as_array().expect("objects").iter();
    objects
        .map(|object| (text(&object["kind"]), text(&object["path"])))
        .collect()
}

#[test]
fn what_no_record_names_is_shown_and_then_deleted() {
    let folder = tempfile::tempdir().expect("a folder");
    let world = TestRun::copied(folder.path(), 1);
    assert_eq!(gc(&world, &[]), []);
    let lost = "tables/photos/bucket-0000/0123456789abcdef-lost-1.parquet";
    let scratch = "cache/scratch/77-1";
    for path in [lost, scratch] {
        let path = world.join("output").join(path);
        fs::create_dir_all(path.parent().expect("a folder")).expect("folders");
        fs::write(path, "lost").expect("written");
    }
    let expected = [("part", lost), ("leftover", scratch)];
    let expected = expected.map(|(kind, path)| (kind.to_owned(), path.to_owned()));
    assert_eq!(gc(&world, &[]), expected);
    assert!(
        world.join("output").join(lost).exists(),
        "shown, not deleted"
    );
    assert_eq!(gc(&world, &["--delete"]), expected);
    assert!(!world.join("output").join(lost).exists());
    assert_eq!(gc(&world, &[]), []);
    assert_eq!(
        world.digests("output"),
        TestRun::finished(1).digests("output")
    );
}

/// Results of other settings go with their records; those of the present settings, and steps that
/// are not complete, stay.
#[test]
fn superseded_results_are_pruned_when_asked_for() {
    let folder = tempfile::tempdir().expect("a folder");
    let world = TestRun::copied(folder.path(), 1);
    world.change_manifest(
        "[filter_counts]\nmin_images = 5",
        "[filter_counts]\nmin_images = 9",
    );
    let mut run = world.command(&["run", "--stage", "..pack-shards"], "output");
    let ended = run.output().expect("the program");
    assert!(ended.status.success(), "{}", stderr(&ended));
    assert_eq!(gc(&world, &[]), [], "a record names them all");
    let records = files(&world.join("output/ledger/filter-counts")).len();
    let found = gc(&world, &["--superseded", "--delete"]);
    let count = |kind: &str, of: &str| {
        let of_kind = found
            .iter()
            .filter(|(k, path)| k == kind && path.contains(of));
        of_kind.count()
    };
    assert_eq!(count("record", "/filter-counts/"), records / 2);
    assert!(count("superseded_part", "/identities/") > 0 && count("published", "/laioncele/") > 0);
    assert_eq!(
        count("record", "/train-encoder/"),
        0,
        "its step is not complete"
    );
    assert_eq!(count("record", "/verify-images/"), 0, "it is used");
    assert!(!world.join("output/earlier").exists());
    let again = world.command(&["run", "--stage", "..pack-shards", "--json"], "output");
    assert!(ran(&TestRun::json(again, 0)).is_empty());
    let verified = world
        .alone(&["verify"], "output")
        .output()
        .expect("the program");
    assert!(verified.status.success(), "{}", stderr(&verified));
}
