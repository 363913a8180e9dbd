//! Every step that a run's durability rests on fails once: processes are killed before and after it, the disk is full or
//! read-only at it, what it wrote is torn. Each time the same command again ends in the bytes of an undisturbed run, or says
//! what is wrong.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Output;
use std::time::Duration;

use crate::sandbox::{FRAME, Sandbox, stderr, stdout};
use crate::test_run::TestRun;

/// Fail points on the way of a part, a list, a record and a task at work, and of what is published.
const WAYS: [&str; 5] = ["begun", "staged", "synced", "named", "ended"];
const FOLDERS: [&str; 4] = ["queue", "tables", "ledger", "lists"];

/// A run of `world` into folder `output` that fails at `fault`.
fn faulty(world: &TestRun, output: &str, fault: &str) -> Output {
    let mut command = world.command(&["run", "--json"], output);
    let ended = command.env("LAIONCELE_FAULT", fault).output();
    ended.expect("the program")
}

/// What a run's digests are when nothing disturbs it.
fn undisturbed(world: &TestRun) -> String {
    let ended = world.run("straight");
    assert!(ended.status.success(), "{}", stderr(&ended));
    world.digests("straight")
}

fn assert_ends_as(world: &TestRun, output: &str, expected: &str) {
    let ended = world.run(output);
    assert!(ended.status.success(), "{}", stderr(&ended));
    assert_eq!(world.digests(output), expected);
    let verified = world.command(&["verify"], output).output();
    let verified = verified.expect("the program");
    assert!(verified.status.success(), "{}", stderr(&verified));
}

/// One run goes on through kills at all fail points: of the coordinator, and of the coordinator out of a worker.
#[test]
fn a_run_killed_before_and_after_every_durable_step_ends_with_the_same_data() {
    let folder = tempfile::tempdir().expect("a folder");
    let world = TestRun::build(folder.path(), 3);
    let expected = undisturbed(&world);
    let ways = FOLDERS.iter().flat_map(|folder| {
        let points = WAYS.map(|way| format!("{way}.{folder}"));
        points.into_iter()
    });
    let mut points: Vec<String> = ways.collect();
    points.extend(["delete.queue", "deleted.queue"].map(str::to_owned));
    for point in points {
        // Lists are few: the first kills. Of the others the second, so that the run gets ahead.
        let passes = u8::from(!point.ends_with("lists"));
        let ended = faulty(&world, "killed", &format!("{point}+{passes}=kill-run"));
        assert_eq!(ended.status.code(), None, "{point}: {}", stderr(&ended));
    }
    for point in WAYS.map(|way| format!("{way}.laioncele")) {
        let ended = faulty(&world, "killed", &format!("{point}=kill"));
        assert_eq!(ended.status.code(), None, "{point}: {}", stderr(&ended));
    }
    assert_ends_as(&world, "killed", &expected);
    assert!(published(&world, "killed") == published(&world, "straight"));
}

/// The published shards and the mean embedding, byte by byte; the index beside them names attempts, which differ.
fn published(world: &TestRun, output: &str) -> Vec<(PathBuf, Vec<u8>)> {
    let mut files = files_below(&world.join(output).join("laioncele"));
    let of_data = |file: &PathBuf| {
        let extension = file.extension().and_then(|e| e.to_str());
        matches!(extension, Some("parquet" | "safetensors"))
    };
    files.retain(of_data);
    assert!(files.len() > 1, "{files:?}");
    let read = |file: PathBuf| {
        let name = PathBuf::from(file.file_name().unwrap_or_default());
        (name, fs::read(file).expect("a published file"))
    };
    files.into_iter().map(read).collect()
}

/// A worker that dies at each of its steps, again and again, ends the run with its reason; once, it costs nothing.
#[test]
fn a_worker_killed_at_a_durable_step_costs_an_attempt() {
    let folder = tempfile::tempdir().expect("a folder");
    let world = TestRun::build(folder.path(), 3);
    let expected = undisturbed(&world);
    let always = faulty(&world, "worker", "synced.ledger=kill");
    assert_eq!(always.status.code(), Some(4), "{}", stderr(&always));
    assert!(
        stderr(&always).contains("killed by signal 9"),
        "{}",
        stderr(&always)
    );
    for point in [
        "begun.tables",
        "named.tables",
        "synced.ledger",
        "named.ledger",
    ] {
        let once = folder.path().join(format!("once-{point}"));
        let fault = format!("{point}+1=kill@{}", once.display());
        let stages = ["run", "--stage", stage_at(point)];
        let mut command = world.command(&stages, "worker");
        let ended = command.env("LAIONCELE_FAULT", fault).output().expect("it");
        assert!(ended.status.success(), "{point}: {}", stderr(&ended));
        assert!(once.exists(), "{point} was not reached");
    }
    assert_ends_as(&world, "worker", &expected);
}

/// Each of these points gets a stage of its own, so that there is work left for all.
fn stage_at(point: &str) -> &'static str {
    match point {
        "begun.tables" => "..merge-names",
        "named.tables" => "..generate-portraits",
        "synced.ledger" => "..dedupe-images",
        _ => "..pack-shards",
    }
}

/// A disk that is full, read-only or broken at a step: one message with the file, exit code 3, and nothing lost.
#[test]
fn a_disk_that_fails_at_a_step_ends_the_run_with_a_message() {
    let folder = tempfile::tempdir().expect("a folder");
    let world = TestRun::build(folder.path(), 3);
    let cases = [
        ("staged.tables=full", "no storage space", "tables/"),
        ("named.tables=broken", "input/output error", "tables/"),
        ("begun.ledger=read-only", "read-only", "ledger/"),
        ("synced.ledger=full", "no storage space", "ledger/"),
        ("begun.queue=full", "no storage space", "queue/"),
        ("begun.lists=full", "no storage space", "lists/"),
    ];
    for (fault, words, path) in cases {
        let mut command = world.command(&["run", "--stage", "..merge-names"], "output");
        let ended = command.env("LAIONCELE_FAULT", fault).output().expect("it");
        let text = stderr(&ended);
        assert_eq!(ended.status.code(), Some(3), "{fault}: {text}");
        assert!(
            text.contains(words) && text.contains(path),
            "{fault}: {text}"
        );
        assert!(!text.contains("panicked"), "{text}");
        let verified = world.command(&["verify"], "output").output().expect("it");
        assert!(verified.status.success(), "{fault}: {}", stderr(&verified));
    }
    // The record is there: the task is done, whatever its worker says.
    let mut command = world.command(&["run", "--stage", "..merge-names"], "output");
    let ended = command.env("LAIONCELE_FAULT", "named.ledger=full").output();
    let ended = ended.expect("the program");
    assert!(ended.status.success(), "{}", stderr(&ended));
    let expected = undisturbed(&world);
    assert_ends_as(&world, "output", &expected);
}

pub(crate) fn files_below(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        match entry.path() {
            path if path.is_dir() => files.extend(files_below(&path)),
            path => files.push(path),
        }
    }
    files.sort();
    files
}

/// A record that is torn, empty or has a flipped byte is named and set aside; its task runs again, and the run ends as ever.
#[test]
fn a_damaged_record_is_named_and_its_task_runs_again() {
    let folder = tempfile::tempdir().expect("a folder");
    let world = TestRun::build(folder.path(), 3);
    let expected = undisturbed(&world);
    let records = files_below(&world.join("straight/ledger/encode-names"));
    let whole = fs::read(&records[0]).expect("a record");
    let mut flipped = whole.clone();
    flipped[0] ^= 1;
    for damaged in [&whole[..whole.len() / 2], &[], &flipped] {
        fs::write(&records[0], damaged).expect("written");
        let ended = world.run("straight");
        let text = stderr(&ended);
        assert!(ended.status.success(), "{text}");
        let name = records[0].file_name().expect("a name").to_string_lossy();
        assert!(text.contains(&*name), "{text}");
        assert!(text.contains("encode-names: 1 task\n"), "{text}");
        assert_ends_as(&world, "straight", &expected);
    }
}

/// The second of two copies of a task finds that it lost, and changes nothing.
#[test]
fn a_task_that_is_done_twice_counts_once() {
    let sandbox =
        Sandbox::with_captions(FRAME, &[b"A portrait of Ada Lovelace", b"Alan Turing runs"]);
    let run = [
        "run",
        "--manifest",
        "manifest.toml",
        "--stage",
        "extract-names",
    ];
    let kept = sandbox.join("kept.json");
    // Dies after its commit, before the coordinator cleans up: the task's file is still there.
    let mut command = sandbox.command(&run);
    let killed = command.env("LAIONCELE_FAULT", "delete.queue=kill").output();
    assert_eq!(killed.expect("the program").status.code(), None);
    let queued = files_below(&sandbox.join("laioncele-output/queue"));
    assert_eq!(queued.len(), 1, "{queued:?}");
    fs::copy(&queued[0], &kept).expect("a copy");
    let ledger = sandbox.join("laioncele-output/ledger");
    let record = files_below(&ledger);
    let before = fs::read(&record[0]).expect("a record");
    let again = sandbox.run(&[
        "worker",
        "--task",
        "kept.json",
        "--manifest",
        "manifest.toml",
    ]);
    assert!(again.status.success(), "{}", stderr(&again));
    let said = format!("{}{}", stdout(&again), stderr(&again));
    assert!(said.contains("already done"), "{said}");
    assert_eq!(files_below(&ledger), record);
    assert_eq!(fs::read(&record[0]).expect("a record"), before);
    let ended = sandbox.run(&run);
    assert!(ended.status.success(), "{}", stderr(&ended));
    assert!(
        stderr(&ended).contains("nothing to do"),
        "{}",
        stderr(&ended)
    );
}

/// Who runs on a folder keeps others out, who are told of it; killed, it is followed at once.
#[test]
fn a_second_run_is_refused_until_the_first_is_dead() {
    let folder = tempfile::tempdir().expect("a folder");
    let world = TestRun::build(folder.path(), 3);
    let mut first = world.command(&["run"], "output");
    let mut first = first.spawn().expect("the program");
    let lock = world.join("output/lock");
    let held = || fs::read_to_string(&lock).is_ok_and(|text| text.ends_with('}'));
    while !held() && first.try_wait().expect("its state").is_none() {
        std::thread::sleep(Duration::from_millis(5));
    }
    let refused = world.run("output");
    let text = stderr(&refused);
    assert_eq!(refused.status.code(), Some(3), "{text}");
    let who = format!("is in use by another laioncele (process {} of ", first.id());
    assert!(text.contains(&who) && text.contains(", since 2"), "{text}");
    first.kill().expect("it runs");
    first.wait().expect("its end");
    let ended = world
        .command(&["run", "--stage", "..merge-names"], "output")
        .output();
    let ended = ended.expect("the program");
    assert!(ended.status.success(), "{}", stderr(&ended));
    assert_eq!(fs::read_to_string(&lock).expect("a lock file"), "");
}
