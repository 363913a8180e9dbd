//! `lock` and `verify --lock`: how much of a dataset another run equals.

use std::fs;

use serde_json::Value;

use crate::sandbox::stderr;
use crate::test_run::TestRun;

#[test]
fn a_lock_tells_how_much_of_a_dataset_another_equals() {
    let folder = tempfile::tempdir().expect("a folder");
    let world = TestRun::finished(1);
    let file = folder.path().join("lock.json");
    let path = file.display().to_string();
    let locked = world
        .alone(&["lock", &path], "output")
        .output()
        .expect("the program");
    assert!(locked.status.success(), "{}", stderr(&locked));
    let lock: Value = serde_json::from_slice(&fs::read(&file).expect("a lock")).expect("JSON");
    assert_eq!(lock["seed"], 1);
    assert!(
        lock["models"]
            .as_object()
            .is_some_and(|models| models.len() > 2)
    );
    let people = lock["people"].as_object().expect("people");
    let photos = people
        .values()
        .flat_map(|p| p["photos"].as_object().expect("photos").values());
    let hashes: Vec<_> = photos
        .map(|p| p["sha256"].as_str().expect("a hash").len())
        .collect();
    assert!(!hashes.is_empty() && hashes.iter().all(|length| *length == 64));
    let home = world.join("").display().to_string();
    assert!(!lock.to_string().contains(&home), "no path of this machine");

    let same = TestRun::json(
        world.alone(&["verify", "--json", "--lock", &path], "output"),
        0,
    );
    assert_eq!(
        (&same["equal"], &same["photos"]["equal"]),
        (&true.into(), &hashes.len().into())
    );

    let mut other = lock.clone();
    let person = other["people"]
        .as_object_mut()
        .expect("people")
        .values_mut()
        .next();
    let photo = person.expect("a person")["photos"]
        .as_object_mut()
        .expect("photos");
    photo.values_mut().next().expect("a photo")["sha256"] = "0".repeat(64).into();
    other["settings"]["filter-counts"]["filter_counts.min_images"] = "7".into();
    fs::write(&file, other.to_string()).expect("written");
    let found = TestRun::json(
        world.alone(&["verify", "--json", "--lock", &path], "output"),
        0,
    );
    assert_eq!(found["equal"], false);
    assert_eq!(found["photos"]["equal"], hashes.len() - 1);
    assert_eq!(found["photos"]["other"].as_array().map(Vec::len), Some(1));
    assert_eq!(
        found["settings"]["other"][0],
        "filter-counts: filter_counts.min_images 7 → 5"
    );

    fs::write(&file, "{}").expect("written");
    let wrong = world
        .alone(&["verify", "--lock", &path], "output")
        .output()
        .expect("the program");
    assert_eq!(wrong.status.code(), Some(2), "{}", stderr(&wrong));
}
