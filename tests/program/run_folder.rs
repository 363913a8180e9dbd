//! A run folder knows its run: commands need nothing but `--output`, another manifest is told or
//! refused, and results of two manifests stand beside each other.

use std::fs;
use std::path::Path;

use serde_json::Value;

use crate::damage::ran;
use crate::sandbox::{FRAME, Sandbox, program, stderr, stdout};
use crate::test_run::{TRUTH, TestRun};

fn published(output: &Path) -> Value {
    let text = fs::read_to_string(output.join("results.json")).expect("what is published");
    serde_json::from_str(&text).expect("JSON")
}

#[test]
fn commands_work_with_the_folder_alone() {
    let folder = tempfile::tempdir().expect("a folder");
    let world = TestRun::copied(folder.path(), 1);
    // Its manifest is not where the run read it: the recorded one is all there is.
    fs::remove_file(world.join("mini.toml")).expect("removed");
    let truth = world.join(TRUTH).display().to_string();
    let photo = files_of(&world.join("mini/references"));
    for arguments in [
        vec!["status"],
        vec!["plan"],
        vec!["verify", "--digests"],
        vec!["retry", "--dry-run"],
        vec!["mini", "score", "--truth", &truth],
        vec!["evaluate"],
        vec!["faces", &photo],
        vec!["gc"],
    ] {
        let ended = world
            .alone(&arguments, "output")
            .output()
            .expect("the program");
        assert!(ended.status.success(), "{arguments:?}: {}", stderr(&ended));
        assert!(!stdout(&ended).is_empty(), "{arguments:?}");
    }
    let scored = world.alone(&["mini", "score", "--json", "--truth", &truth], "output");
    assert_eq!(TestRun::json(scored, 0)["passed"], world_passed());
    let again = TestRun::json(world.alone(&["run", "--json"], "output"), 0);
    assert!(ran(&again).is_empty(), "{:?}", ran(&again));
}

fn files_of(folder: &Path) -> String {
    let photo = crate::damage::files(folder).remove(0);
    photo.display().to_string()
}

fn world_passed() -> Value {
    TestRun::finished(1).score("output")["passed"].clone()
}

/// Another world's manifest is refused by every command, and nothing is written.
#[test]
fn another_world_is_refused() {
    let folder = tempfile::tempdir().expect("a folder");
    let world = TestRun::copied(&folder.path().join("one"), 1);
    let other = TestRun::build(&folder.path().join("two"), 2);
    let manifest = other.join("mini.toml").display().to_string();
    let before = fs::read(world.join("output/run.json")).expect("a file");
    for command in ["run", "status", "plan", "verify", "retry"] {
        let mut command = world.alone(&[command, "--manifest", &manifest], "output");
        let ended = command.output().expect("the program");
        let text = stderr(&ended);
        assert_eq!(ended.status.code(), Some(2), "{text}");
        assert!(
            text.contains("holds a run on") && text.contains("--output"),
            "{text}"
        );
    }
    assert_eq!(
        fs::read(world.join("output/run.json")).expect("a file"),
        before
    );
    let mut go_on = world.alone(
        &["run", "--stage", "extract-names", "--change-source"],
        "output",
    );
    let ended = go_on
        .args(["--manifest", &manifest])
        .output()
        .expect("the program");
    assert!(ended.status.success(), "{}", stderr(&ended));
    assert!(
        stderr(&ended).contains("another source"),
        "{}",
        stderr(&ended)
    );
}

/// A folder of an earlier version does not say what it was run with: no manifest is taken for
/// granted.
#[test]
fn a_folder_without_a_manifest_asks_for_one() {
    let folder = tempfile::tempdir().expect("a folder");
    let world = TestRun::copied(folder.path(), 1);
    fs::remove_file(world.join("output/run.json")).expect("removed");
    let ended = world
        .alone(&["verify"], "output")
        .output()
        .expect("the program");
    assert_eq!(ended.status.code(), Some(2), "{}", stderr(&ended));
    assert!(
        stderr(&ended).contains("does not say which manifest"),
        "{}",
        stderr(&ended)
    );
    assert!(
        world
            .command(&["status"], "output")
            .output()
            .expect("the program")
            .status
            .success()
    );
}

/// Another threshold is the same run: it goes on, says what changed, and keeps what was published
/// beside the new.
#[test]
fn results_of_two_thresholds_stand_beside_each_other() {
    let folder = tempfile::tempdir().expect("a folder");
    let world = TestRun::copied(folder.path(), 1);
    let output = world.join("output");
    let first = published(&output)["steps"]["pack-shards"].clone();
    let rows = |place: &str| fs::read_to_string(output.join(place)).expect("an index");
    let before = rows("laioncele/shards.json");
    assert!(before.contains(first["manifest"].as_str().expect("a digest")));

    let text = fs::read_to_string(world.join("mini.toml")).expect("a manifest");
    world.change_manifest(
        "[filter_counts]\nmin_images = 5",
        "[filter_counts]\nmin_images = 9",
    );
    let plan = TestRun::json(world.command(&["plan", "--json"], "output"), 0);
    let steps = plan.as_array().expect("steps");
    let step = |name: &str| steps.iter().find(|s| s["step"] == name).expect("a step");
    let cause = &step("filter-counts")["causes"][0];
    assert_eq!(
        (&cause["kind"], &cause["name"]),
        (&"setting".into(), &"filter_counts.min_images".into())
    );
    assert_eq!((&cause["from"], &cause["to"]), (&"5".into(), &"9".into()));
    assert_eq!(
        step("evaluate")["causes"][0],
        *cause,
        "the cause at the beginning of the chain"
    );
    assert_eq!(step("verify-images")["to_run"], 0);

    let mut run = world.command(&["run", "--stage", "..pack-shards"], "output");
    let ended = run.output().expect("the program");
    let said = stderr(&ended);
    assert!(ended.status.success(), "{said}");
    assert!(said.contains("filter_counts.min_images 5 → 9"), "{said}");
    let second = published(&output);
    assert_ne!(
        second["steps"]["pack-shards"]["manifest"],
        first["manifest"]
    );
    // The evaluation of the first is not beside the shards of the second.
    assert!(second["steps"].get("evaluate").is_none() && !output.join("evaluation").exists());
    let earlier = &first["manifest"].as_str().expect("a digest")[..16];
    let aside = format!("earlier/{earlier}/laioncele/shards.json");
    assert_eq!(rows(&aside), before);
    assert_ne!(rows("laioncele/shards.json"), before);
    let verified = world
        .command(&["verify"], "output")
        .output()
        .expect("the program");
    assert!(verified.status.success(), "{}", stderr(&verified));

    fs::write(world.join("mini.toml"), text).expect("the first manifest");
    let again = TestRun::json(world.command(&["run", "--json"], "output"), 0);
    assert!(ran(&again).is_empty(), "{:?}", ran(&again));
    assert_eq!(rows("laioncele/shards.json"), before);
    assert_eq!(
        published(&output)["steps"]["evaluate"]["manifest"],
        first["manifest"]
    );
}

/// What is judged by a manifest with other settings than the run's is told.
#[test]
fn other_settings_are_told() {
    let folder = tempfile::tempdir().expect("a folder");
    let world = TestRun::copied(folder.path(), 1);
    world.change_manifest(
        "[filter_counts]\nmin_images = 5",
        "[filter_counts]\nmin_images = 6",
    );
    let ended = world
        .command(&["status"], "output")
        .output()
        .expect("the program");
    assert!(
        ended.status.success() && stderr(&ended).contains("min_images 5 → 6"),
        "{}",
        stderr(&ended)
    );
    // A remark changes nothing, and nothing is said.
    let manifest = world.join("mini.toml");
    let text = fs::read_to_string(&manifest).expect("a manifest");
    let text = text.replace("min_images = 6", "min_images = 5") + "# a remark\n";
    fs::write(&manifest, text).expect("written");
    let ended = world
        .command(&["status"], "output")
        .output()
        .expect("the program");
    assert!(
        ended.status.success() && stderr(&ended).is_empty(),
        "{}",
        stderr(&ended)
    );
}

/// Without a run, and without a manifest, the folder is named.
#[test]
fn models_of_a_folder_without_a_run_are_refused() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut faces = std::process::Command::new(program());
    let faces = faces
        .args(["faces", "x.jpg", "--output"])
        .arg(folder.path());
    let ended = faces.output().expect("the program");
    assert_eq!(ended.status.code(), Some(3), "{}", stderr(&ended));
    assert!(stderr(&ended).contains("nothing has been run here"));
}

/// A key that is read from the environment is in no file of the run and in nothing that it says,
/// whatever fails.
#[test]
fn a_key_is_in_no_file_of_the_run() {
    const KEY: &str = "hunter2-is-no-key-of-anybody";
    let opinion = "\n[merge_names]\nmin_images = 1\n[merge_names.second_opinion]\nurl = \"http://127.0.0.1:1/v1\"\nmodel = \"m\"\napi_key_env = \"LAIONCELE_TEST_KEY\"\nretries = 0\n";
    let captions: [&[u8]; 2] = [b"Ada Lovelace in London", b"Ada Lovelase in Paris"];
    let sandbox = Sandbox::with_captions(&format!("{FRAME}{opinion}"), &captions);
    let arguments = [
        "run",
        "-vv",
        "--stage",
        "..merge-names",
        "--manifest",
        "manifest.toml",
    ];
    let mut command = sandbox.command(&arguments);
    let ended = command
        .env("LAIONCELE_TEST_KEY", KEY)
        .output()
        .expect("the program");
    let said = stdout(&ended) + &stderr(&ended);
    assert!(!said.contains(KEY), "{said}");
    let all = crate::damage::files(&sandbox.join("laioncele-output"));
    let in_file = |file: &&std::path::PathBuf| {
        let bytes = fs::read(file).expect("a file");
        bytes
            .windows(KEY.len())
            .any(|window| window == KEY.as_bytes())
    };
    assert!(all.iter().any(|file| file.ends_with("run.json")));
    assert_eq!(all.iter().find(in_file), None);
}

/// A folder in which nothing was run is not judged as one without faults, and nothing is written into it.
#[test]
fn an_empty_folder_is_no_run() {
    let sandbox = Sandbox::new();
    fs::create_dir(sandbox.join("empty")).expect("a folder");
    for command in ["verify", "gc", "status"] {
        let ended = sandbox.run(&[command, "--output", "empty"]);
        assert_eq!(
            ended.status.code(),
            Some(3),
            "{command}: {}",
            stderr(&ended)
        );
        assert!(
            stderr(&ended).contains("nothing has been run here"),
            "{command}"
        );
    }
    let left = fs::read_dir(sandbox.join("empty")).expect("a folder");
    assert_eq!(left.count(), 0);
}
