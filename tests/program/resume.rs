//! A run that is killed at random moments and run again ends with the same data as a run that is
//! never killed.
//!
//! `LAIONCELE_SOAK=N` kills the runs of N worlds, else [`SAMPLE`] are killed.

use std::process::Child;
use std::time::{Duration, Instant};

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rustix::process::{Pid, Signal, kill_process};

use crate::sandbox::{stderr, stdout};
use crate::test_run::{TestRun, soak_rounds};

/// Worlds without `LAIONCELE_SOAK`.
const SAMPLE: usize = 2;
/// Kills per world; then the run may finish.
const KILLS: usize = 6;

/// Each world's seed also decides when its runs are killed, as shares of the time of an undisturbed
/// run. Two worlds run at a time.
#[test]
fn a_run_killed_at_random_moments_ends_with_the_same_data() {
    let seeds: Vec<u64> = (1..).take(soak_rounds().unwrap_or(SAMPLE)).collect();
    assert!(!seeds.is_empty(), "LAIONCELE_SOAK asks for no world");
    for seeds in seeds.chunks(2) {
        std::thread::scope(|scope| {
            for seed in seeds {
                scope.spawn(|| kill_and_resume(*seed));
            }
        });
    }
}

#[expect(clippy::print_stdout, reason = "shown when the test fails")]
fn kill_and_resume(seed: u64) {
    let folder = tempfile::tempdir().expect("a folder");
    let world = TestRun::build(folder.path(), seed);
    let begun = Instant::now();
    let ended = world.run("straight");
    assert!(ended.status.success(), "{}", stderr(&ended));
    let straight = begun.elapsed();

    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let mut interrupted = 0;
    for kill in 0..KILLS {
        // The first kill comes early enough to hit the run on a machine that got faster meanwhile.
        let latest = if kill == 0 { 0.5 } else { 1.0 };
        let share: f64 = rng.random_range(0.0..latest);
        println!("seed {seed}: kill {kill} after {share:.3} of an undisturbed run");
        interrupted += usize::from(kill_run(&world, straight.mul_f64(share), kill % 2 == 1));
    }
    assert!(interrupted > 0, "seed {seed}: no kill hit a run");
    let ended = world.run("killed");
    assert!(ended.status.success(), "seed {seed}: {}", stderr(&ended));
    assert_eq!(
        world.digests("killed"),
        world.digests("straight"),
        "seed {seed}"
    );
    assert_sound(&world, "killed");
    assert_nothing_left_to_do(&world, "killed");
}

/// Starts a run and kills it after `patience`, or first one of its workers and the run a little later.
/// Whether it was still running.
fn kill_run(world: &TestRun, patience: Duration, worker_first: bool) -> bool {
    let mut command = world.command(&["run"], "killed");
    let mut run = command.spawn().expect("the program");
    wait_for_end(&mut run, patience);
    if worker_first {
        if let Some(worker) = worker_of(run.id()) {
            let _ = kill_process(worker, Signal::KILL);
        }
        wait_for_end(&mut run, patience / 4);
    }
    let running = run.try_wait().expect("its state").is_none();
    // The run may end between the two calls. The kill then fails, and that is as good.
    let _ = run.kill();
    run.wait().expect("its end");
    running
}

/// Attempts that a task has, less one.
const SPARE_ATTEMPTS: u32 = 2;

/// A run that only a worker's death disturbed ends well by itself.
#[test]
fn a_killed_worker_costs_an_attempt_but_not_the_run() {
    let finished = TestRun::finished(1);
    let folder = tempfile::tempdir().expect("a folder");
    let world = TestRun::build(folder.path(), 1);
    let mut run = world
        .command(&["run"], "output")
        .spawn()
        .expect("the program");
    let mut killed = 0;
    while killed < SPARE_ATTEMPTS && run.try_wait().expect("its state").is_none() {
        std::thread::sleep(Duration::from_millis(700));
        if let Some(worker) = worker_of(run.id()) {
            killed += u32::from(kill_process(worker, Signal::KILL).is_ok());
        }
    }
    let ended = run.wait_with_output().expect("its end");
    assert!(killed > 0 && ended.status.success(), "{}", stderr(&ended));
    assert_eq!(world.digests("output"), finished.digests("output"));
}

/// Ctrl-C ends a run with 130, soon, and what was done is kept.
#[test]
fn an_interrupt_ends_a_run_with_130_and_keeps_what_is_done() {
    let folder = tempfile::tempdir().expect("a folder");
    let world = TestRun::build(folder.path(), 1);
    let mut run = world
        .command(&["run"], "output")
        .spawn()
        .expect("the program");
    let ledger = world.join("output/ledger");
    while !ledger.exists() && run.try_wait().expect("its state").is_none() {
        std::thread::sleep(Duration::from_millis(5));
    }
    kill_process(Pid::from_child(&run), Signal::INT).expect("it runs");
    let ended = run.wait_with_output().expect("its end");
    assert_eq!(ended.status.code(), Some(130), "{}", stderr(&ended));
    assert!(stderr(&ended).contains("interrupted; finished tasks are kept"));
    assert_sound(&world, "output");
}

#[test]
fn a_second_run_runs_no_task() {
    assert_nothing_left_to_do(&TestRun::finished(1), "output");
}

/// Waits until the run ends, at most `patience`.
fn wait_for_end(run: &mut Child, patience: Duration) {
    let deadline = Instant::now() + patience;
    while Instant::now() < deadline && run.try_wait().expect("its state").is_none() {
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// A worker of the coordinator `parent`, if it has one now.
fn worker_of(parent: u32) -> Option<Pid> {
    let parent = parent.to_string();
    std::fs::read_dir("/proc")
        .ok()?
        .flatten()
        .find_map(|entry| {
            let stat = std::fs::read_to_string(entry.path().join("stat")).ok()?;
            // pid (name) state parent …; the name may hold blanks and brackets.
            let after_name = stat.rsplit_once(") ")?.1;
            let its_parent = after_name.split(' ').nth(1)?;
            let pid = entry.file_name().to_str()?.parse().ok()?;
            (its_parent == parent).then(|| Pid::from_raw(pid)).flatten()
        })
}

fn assert_sound(world: &TestRun, output: &str) {
    let verified = world
        .command(&["verify"], output)
        .output()
        .expect("the program");
    assert!(verified.status.success(), "{}", stderr(&verified));
}

fn assert_nothing_left_to_do(world: &TestRun, output: &str) {
    let again = world.run(output);
    assert!(again.status.success(), "{}", stderr(&again));
    let summary: serde_json::Value = serde_json::from_str(&stdout(&again)).expect("JSON");
    let steps = summary["steps"].as_array().expect("steps");
    assert!(!steps.is_empty());
    for step in steps {
        assert_eq!(step["ran"], 0, "{step}");
    }
}
