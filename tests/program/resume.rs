//! Killing a run at random moments and running it again ends with the same data as never killing it.
//!
//! `LAIONCELE_SOAK=N` kills the runs of N more worlds.

use std::process::Child;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use crate::sandbox::{stderr, stdout};
use crate::test_run::TestRun;

/// Kills per world at most; then the run may finish.
const KILLS: usize = 6;

/// A small generator of pseudo-random numbers (splitmix64), so that a failing seed can be tried again.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % sides
    }
}

#[test]
fn killed_at_random_moments_a_run_ends_with_the_same_data_seed_1() {
    killed_and_resumed(1);
}

#[test]
fn killed_at_random_moments_a_run_ends_with_the_same_data_seed_2() {
    killed_and_resumed(2);
}

#[test]
fn killed_at_random_moments_a_run_ends_with_the_same_data_soak() {
    let worlds = std::env::var("LAIONCELE_SOAK").map_or(0, |n| n.parse().expect("a number"));
    for seed in 100..100 + worlds {
        killed_and_resumed(seed);
    }
}

fn killed_and_resumed(seed: u64) {
    let folder = tempfile::tempdir().expect("a folder");
    let world = TestRun::build(folder.path(), seed);
    let begun = Instant::now();
    let ended = world.run("straight");
    assert!(ended.status.success(), "{}", stderr(&ended));
    let straight = begun.elapsed();

    let mut dice = Dice(seed);
    for kill in 0..KILLS {
        let patience = straight.mul_f64(dice.roll(1000) as f64 / 1000.0);
        let mut run = world
            .command(&["run"], "killed")
            .spawn()
            .expect("the program");
        if kill % 2 == 0 {
            run_out(&mut run, patience);
            // Gone already is as good.
            let _ = run.kill();
        } else {
            run_out(&mut run, patience);
            if let Some(worker) = worker_of(run.id()) {
                let _ = kill_process(worker, Signal::KILL);
            }
            run_out(&mut run, patience / 4);
            let _ = run.kill();
        }
        run.wait().expect("its end");
    }
    let ended = world.run("killed");
    assert!(ended.status.success(), "seed {seed}: {}", stderr(&ended));
    assert_eq!(
        world.digests("killed"),
        world.digests("straight"),
        "seed {seed}"
    );
    sound(&world, "killed");
    nothing_left_to_do(&world, "killed");
}

/// Attempts that a task has, less one.
const SPARE_ATTEMPTS: u32 = 2;

/// A run that only a worker's death disturbed ends well by itself.
#[test]
fn a_killed_worker_costs_an_attempt_and_no_run() {
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
fn an_interrupt_ends_a_run_gently() {
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
    sound(&world, "output");
}

#[test]
fn a_second_run_runs_nothing() {
    nothing_left_to_do(&TestRun::finished(1), "output");
}

/// Waits until the run ends, at most `patience`.
fn run_out(run: &mut Child, patience: Duration) {
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

fn sound(world: &TestRun, output: &str) {
    let verified = world
        .command(&["verify"], output)
        .output()
        .expect("the program");
    assert!(verified.status.success(), "{}", stderr(&verified));
}

fn nothing_left_to_do(world: &TestRun, output: &str) {
    let again = world.run(output);
    assert!(again.status.success(), "{}", stderr(&again));
    let summary: serde_json::Value = serde_json::from_str(&stdout(&again)).expect("JSON");
    let steps = summary["steps"].as_array().expect("steps");
    assert!(!steps.is_empty());
    for step in steps {
        assert_eq!(step["ran"], 0, "{step}");
    }
}
