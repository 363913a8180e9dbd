//! Workers behind commands: the same results as on this machine, another build refused, nobody waits in silence.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use crate::sandbox::{FRAME, Sandbox, program, stderr, stdout};

const FILES: usize = 6;

/// A run of which only extract-names is asked: several tasks, one model.
fn sandbox() -> Sandbox {
    let captions: &[&[u8]] = &[b"Barack Obama speaks in Berlin", b"a cat"];
    let sandbox = Sandbox::with_captions(FRAME, captions);
    let first = fs::read(sandbox.join("captions/a.parquet")).expect("the captions");
    for file in 1..FILES {
        sandbox.write(&format!("captions/{file}.parquet"), &first);
    }
    sandbox
}

/// Runs extract-names into `output`, with more arguments.
fn run(sandbox: &Sandbox, output: &str, more: &[&str]) -> Output {
    let mut arguments = vec![
        "run",
        "--stage",
        "extract-names",
        "--manifest",
        "manifest.toml",
    ];
    arguments.extend(["--output", output]);
    arguments.extend(more);
    sandbox.run(&arguments)
}

fn digests(sandbox: &Sandbox, output: &str) -> String {
    let verified = sandbox.run(&["verify", "--digests", "--output", output]);
    assert!(verified.status.success(), "{}", stderr(&verified));
    stdout(&verified)
}

/// An executable script in the sandbox.
fn script(sandbox: &Sandbox, name: &str, text: &str) -> PathBuf {
    sandbox.write(name, format!("#!/bin/sh\n{text}\n"));
    let path = sandbox.join(name);
    let executable = fs::Permissions::from_mode(0o755);
    fs::set_permissions(&path, executable).expect("an executable");
    path
}

fn on(prefix: &Path) -> String {
    format!("command:{} {{host}}", prefix.display())
}

#[test]
fn workers_behind_a_command_give_the_same_data() {
    let sandbox = sandbox();
    let here = run(&sandbox, "here", &[]);
    assert!(here.status.success(), "{}", stderr(&here));
    // As ssh does: one text to a shell of the other side, which has none of our variables.
    let ssh = script(
        &sandbox,
        "ssh",
        "echo \"$1\" >> hosts.txt\nshift\nexec env -i sh -c \"$*\"",
    );
    let there = run(&sandbox, "there", &["--on", &on(&ssh), "--hosts", "a,b"]);
    assert!(there.status.success(), "{}", stderr(&there));
    assert_eq!(digests(&sandbox, "there"), digests(&sandbox, "here"));
    let hosts = fs::read_to_string(sandbox.join("hosts.txt")).expect("hosts");
    let mut hosts: Vec<&str> = hosts.lines().collect();
    hosts.sort_unstable();
    assert_eq!(hosts, ["a", "b"]);
}

#[test]
fn workers_that_die_elsewhere_cost_nothing() {
    let sandbox = sandbox();
    assert!(run(&sandbox, "here", &[]).status.success());
    // The first two workers end before they answer or soon after, as a node does that goes down; the exit status of srun
    // is 0 then.
    let dying = "n=$(ls started | wc -l); : > started/$$\n\
                 if [ $n -lt 2 ]; then shift; timeout -s KILL 0.3 \"$@\"; exit 0; fi\nshift; exec \"$@\"";
    fs::create_dir(sandbox.join("started")).expect("a folder");
    let dying = script(&sandbox, "dying", dying);
    let there = run(&sandbox, "there", &["--on", &on(&dying), "--hosts", "a,b"]);
    assert!(there.status.success(), "{}", stderr(&there));
    assert_eq!(digests(&sandbox, "there"), digests(&sandbox, "here"));
}

#[test]
fn a_host_that_is_down_costs_nothing() {
    let sandbox = sandbox();
    assert!(run(&sandbox, "here", &[]).status.success());
    // As ssh does where nobody listens; the first host in turn, which is the one that a single task would go to.
    let down = "host=$1; shift\n[ $host = up ] && exec \"$@\"\necho refused >&2; exit 255";
    let down = script(&sandbox, "half", down);
    let there = run(
        &sandbox,
        "there",
        &["--on", &on(&down), "--hosts", "down,up,down,down"],
    );
    assert!(there.status.success(), "{}", stderr(&there));
    assert_eq!(digests(&sandbox, "there"), digests(&sandbox, "here"));
    let nobody = run(
        &sandbox,
        "nobody",
        &["--on", &on(&down), "--hosts", "down,down"],
    );
    assert_eq!(nobody.status.code(), Some(3), "{}", stderr(&nobody));
    let text = stderr(&nobody);
    assert!(
        text.contains("workers do not start") && text.contains("exit code 255"),
        "{text}"
    );
}

#[test]
fn a_task_has_a_log_of_all_its_attempts() {
    let sandbox = Sandbox::with_captions(FRAME, &[b"Barack Obama speaks in Berlin"]);
    // Each worker dies when it is about to commit.
    let dying = "shift; export LAIONCELE_FAULT=begun.ledger=kill; exec \"$@\"";
    let dying = script(&sandbox, "dying", dying);
    let there = run(&sandbox, "there", &["--on", &on(&dying), "--hosts", "a"]);
    assert_eq!(there.status.code(), Some(4), "{}", stderr(&there));
    let log = sandbox.join("there/log/tasks/extract-names/shard-a.log");
    let log = fs::read_to_string(log).expect("the task's log");
    let attempts: std::collections::BTreeSet<&str> = log
        .lines()
        .filter_map(|line| line.split_once("attempt ")?.1.split(',').next())
        .collect();
    assert_eq!(attempts.len(), 3, "{log}");
    assert!(log.contains("signal 9"), "{log}");
}

/// What a worker sees that has neither the models nor the program: another machine.
const BARE: &str = "shift\nexec unshare -mu -- sh -c 'hostname bare; mount -t tmpfs none MODELS; \
                    mount -t tmpfs none \"$(dirname PROGRAM)\"; exec \"$@\"' sh \"$@\"";

/// Whether this process may make namespaces.
fn has_namespaces() -> bool {
    let probe = Command::new("unshare").args(["-mu", "--", "true"]).status();
    probe.is_ok_and(|status| status.success())
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).expect("a folder");
    let mut files: Vec<PathBuf> = entries.map(|e| e.expect("an entry").path()).collect();
    files.sort();
    files
}

#[test]
fn machines_without_models_and_program_fetch_both_by_digest() {
    if !has_namespaces() {
        return;
    }
    let sandbox = sandbox();
    assert!(run(&sandbox, "here", &[]).status.success());
    // A copy, so that hiding it hides no other test's program.
    fs::create_dir(sandbox.join("bin")).expect("a folder");
    let program = sandbox.join("bin/laioncele");
    fs::copy(crate::sandbox::program(), &program).expect("copied");
    let bare = BARE
        .replace("MODELS", &sandbox.join("mini").display().to_string())
        .replace("PROGRAM", &program.display().to_string());
    let bare = on(&script(&sandbox, "bare", &bare));
    let cache = sandbox.join("node");
    let cached = cache.display().to_string();
    let run = |output: &str| {
        let mut command = Command::new(&program);
        command.current_dir(sandbox.path());
        command.args([
            "run",
            "--stage",
            "extract-names",
            "--manifest",
            "manifest.toml",
        ]);
        command.args(["--output", output, "--on", &bare, "--hosts", "a,b"]);
        command.args(["--node-cache", &cached, "--fetch-program"]);
        command.output().expect("the program")
    };
    let first = run("there");
    assert!(first.status.success(), "{}", stderr(&first));
    assert_eq!(digests(&sandbox, "there"), digests(&sandbox, "here"));
    let kept = files(&cache.join("files"));
    assert!(kept.len() > 3, "{kept:?}");
    assert!(files(&cache.join("partial")).is_empty());
    // Damage of the machine's copies is found, and nothing else is fetched again.
    let age = |path: &PathBuf| {
        fs::metadata(path)
            .and_then(|m| m.modified())
            .expect("a time")
    };
    let largest = kept
        .iter()
        .max_by_key(|f| fs::metadata(f).map_or(0, |m| m.len()));
    let largest = largest.expect("a file").clone();
    let before: Vec<_> = kept.iter().map(age).collect();
    let mut bytes = fs::read(&largest).expect("weights");
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(&largest, &bytes).expect("damaged");
    let again = run("again");
    assert!(again.status.success(), "{}", stderr(&again));
    assert_eq!(digests(&sandbox, "again"), digests(&sandbox, "here"));
    bytes[middle] ^= 1;
    assert!(fs::read(&largest).expect("weights") == bytes);
    for (file, before) in kept
        .iter()
        .zip(before)
        .filter(|(file, _)| **file != largest)
    {
        assert_eq!(age(file), before, "{}", file.display());
    }
}

#[test]
fn an_older_ray_is_refused_and_a_missing_one_named() {
    let sandbox = sandbox();
    let run_with = |package: &str| {
        let path = sandbox.join(package);
        let mut command = sandbox.command(&["run", "--stage", "extract-names"]);
        command.args(["--manifest", "manifest.toml", "--output", "there"]);
        command.args(["--on", "ray://auto"]).env("PYTHONPATH", path);
        command.output().expect("the program")
    };
    sandbox.write("older/ray/__init__.py", "__version__ = \"2.59.1\"\n");
    sandbox.write("none/ray/__init__.py", "raise ImportError(\"none here\")\n");
    let older = run_with("older");
    assert_eq!(older.status.code(), Some(3), "{}", stderr(&older));
    let text = stderr(&older);
    assert!(
        text.contains("ray 2.59.1 is too old") && text.contains("2.60"),
        "{text}"
    );
    let text = stderr(&run_with("none"));
    assert!(
        text.contains("cannot be imported") && text.contains("none here"),
        "{text}"
    );
}

#[test]
fn another_build_is_refused_with_both_digests() {
    let sandbox = sandbox();
    let mut other = fs::read(program()).expect("the program");
    other.push(0);
    sandbox.write("other", other);
    let path = sandbox.join("other");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("an executable");
    let plain = script(&sandbox, "plain", "shift; exec \"$@\"");
    let other = path.display().to_string();
    let refused = run(
        &sandbox,
        "there",
        &["--on", &on(&plain), "--hosts", "a", "--program", &other],
    );
    assert_eq!(refused.status.code(), Some(3), "{}", stderr(&refused));
    let text = stderr(&refused);
    let digests = text
        .split(|c: char| !c.is_ascii_hexdigit())
        .filter(|word| word.len() == 64);
    assert_eq!(
        digests.collect::<std::collections::BTreeSet<_>>().len(),
        2,
        "{text}"
    );
}

#[test]
fn workers_that_never_answer_end_the_run_with_what_keeps_them() {
    let sandbox = sandbox();
    let silent = script(&sandbox, "silent", "exec sleep 600");
    let more = [
        "--on",
        &on(&silent),
        "--hosts",
        "a",
        "--start-timeout",
        "300ms",
    ];
    let refused = run(&sandbox, "there", &more);
    assert_eq!(refused.status.code(), Some(3), "{}", stderr(&refused));
    let text = stderr(&refused);
    assert!(
        text.contains("workers do not start") && text.contains("has started no worker"),
        "{text}"
    );
}

#[test]
fn a_machine_without_the_models_is_left_out() {
    let sandbox = sandbox();
    assert!(run(&sandbox, "here", &[]).status.success());
    // Another machine: its own name, and no captions.
    if !has_namespaces() {
        return;
    }
    let bare = "host=$1; shift\n[ $host = good ] && exec \"$@\"\n\
                exec unshare -mu -- sh -c 'hostname bare; mount -t tmpfs none captions; exec \"$@\"' sh \"$@\"";
    let bare = script(&sandbox, "bare", bare);
    let there = run(
        &sandbox,
        "there",
        &["--on", &on(&bare), "--hosts", "good,bare"],
    );
    assert!(there.status.success(), "{}", stderr(&there));
    assert_eq!(digests(&sandbox, "there"), digests(&sandbox, "here"));
}

#[test]
fn places_that_are_not_there_are_named() {
    let sandbox = sandbox();
    let code = |on: &str, more: &[&str]| {
        let mut arguments = vec!["--on", on];
        arguments.extend(more);
        let ended = run(&sandbox, "there", &arguments);
        (ended.status.code(), stderr(&ended))
    };
    let (status, text) = code("slurm", &[]);
    assert!(status == Some(2) && text.contains("submit slurm"), "{text}");
    let (status, text) = code("command:nice", &[]);
    assert!(status == Some(2) && text.contains("--workers"), "{text}");
    let (status, text) = code("ray://auto", &["--python", "/no/such/python"]);
    assert!(
        status == Some(3) && text.contains("/no/such/python"),
        "{text}"
    );
    let (status, text) = code("local", &["--node-cache", "/local/x"]);
    assert!(status == Some(2) && text.contains("--on"), "{text}");
    let (status, text) = code("command:nice", &["--node-cache", "x"]);
    assert!(
        status == Some(2) && text.contains("from the root"),
        "{text}"
    );
    let (status, text) = code("kubernetes", &[]);
    assert!(status == Some(2) && text.contains("ray://"), "{text}");
}
