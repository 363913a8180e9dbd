//! `gc`: shows what nothing needs, deletes it only when told to, and nothing that is needed.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;

use serde_json::Value;

use crate::damage::{files, plan, ran};
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

fn verified(world: &TestRun) {
    let ended = world.alone(&["verify"], "output").output();
    let ended = ended.expect("the program");
    assert!(ended.status.success(), "{}", stderr(&ended));
}

/// What a run with the world's manifest runs.
fn run(world: &TestRun) -> BTreeMap<String, u64> {
    ran(&TestRun::json(
        world.command(&["run", "--json"], "output"),
        0,
    ))
}

/// Bytes of all parts of portraits.
fn room(world: &TestRun) -> u64 {
    let files = files(&world.join("output/tables/portraits"));
    let bytes = |path: &PathBuf| fs::metadata(path).expect("a file").len();
    files.iter().map(bytes).sum()
}

/// The images of portraits that the manifest does not keep go, and nothing else: nothing runs for it, every table has the digest
/// it had, and a bucket whose images are needed again, and no other, has them drawn again, to the bit.
#[test]
fn images_of_portraits_are_pruned_by_setting() {
    let folder = tempfile::tempdir().expect("a folder");
    let world = TestRun::copied(folder.path(), 1);
    let (before, all) = (world.digests("output"), room(&world));
    world.change_manifest(
        "[generate_portraits]\n",
        "[generate_portraits]\nkeep_portraits = \"known\"\n",
    );
    assert_eq!(run(&world), BTreeMap::new(), "the setting is in no key");
    let shown = gc(&world, &[]);
    assert!(
        shown.iter().all(|(kind, _)| kind == "portraits"),
        "{shown:?}"
    );
    assert!(!shown.is_empty() && room(&world) == all, "shown, not done");
    assert_eq!(gc(&world, &["--delete"]), shown);
    let known = room(&world);
    assert!(known < all, "{known} {all}");
    assert_eq!(gc(&world, &[]), [], "the files they came from are gone too");
    verified(&world);
    assert_eq!(world.digests("output"), before);
    assert_eq!((plan(&world), run(&world)), Default::default());
    let report = world.alone(&["report"], "output").output();
    assert!(report.expect("the program").status.success());

    // The faces of one of the buckets are lost: its portraits are looked at again.
    let bucket = shown[0].1.split('/').nth(2).expect("a bucket");
    let faces = files(&world.join("output/tables/portrait_faces").join(bucket));
    fs::remove_file(&faces[0]).expect("removed");
    let both = |kinds: [&str; 2]| {
        let steps = ["generate-portraits", "score-portraits"];
        let entries = steps.into_iter().zip(kinds);
        let entries = entries.map(|(step, kind)| (step.to_owned(), (1, kind.to_owned())));
        entries.collect::<BTreeMap<_, _>>()
    };
    assert_eq!(plan(&world), both(["pruned", "part_gone"]));
    let once = ["generate-portraits", "score-portraits"].map(|step| (step.to_owned(), 1));
    assert_eq!(run(&world), BTreeMap::from(once));
    assert_eq!(world.digests("output"), before);
    let again = gc(&world, &["--delete"]);
    let images = again.iter().filter(|(kind, _)| kind == "portraits");
    let images: Vec<&str> = images.map(|(_, path)| path.as_str()).collect();
    assert!(images.len() == 1 && images[0].contains(bucket), "{again:?}");
    assert_eq!(room(&world), known);

    world.change_manifest("\"known\"", "\"none\"");
    assert_eq!(run(&world), BTreeMap::new());
    assert!(!gc(&world, &["--delete"]).is_empty() && room(&world) < known / 10);
    verified(&world);
    assert_eq!(world.digests("output"), before);
}
