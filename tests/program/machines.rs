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
    let probe = Command::new("unshare").args(["-mu", "--", "true"]).status();
    if !probe.is_ok_and(|status| status.success()) {
        // Needs the right to make namespaces.
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
    let (status, text) = code("kubernetes", &[]);
    assert!(status == Some(2) && text.contains("ray://"), "{text}");
}
