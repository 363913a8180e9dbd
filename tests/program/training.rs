//! train-encoder as a user runs it: killed at random, with more steps, on portraits.

use std::path::Path;
use std::time::{Duration, Instant};

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde_json::Value;

use crate::sandbox::stderr;
use crate::test_run::TestRun;

/// What a reader compares.
const FILES: [&str; 3] = ["encoder.safetensors", "encoder.json", "loss.csv"];
/// Kills of one training.
const KILLS: u32 = 20;

fn files(world: &TestRun, folder: &str) -> [Vec<u8>; 3] {
    FILES.map(|name| std::fs::read(world.join(folder).join(name)).expect(name))
}

/// A copy of a finished tiny world whose training has other settings.
fn changed(folder: &Path, steps: u32) -> TestRun {
    let world = TestRun::copied(folder, 1);
    let text = std::fs::read_to_string(world.join("mini.toml")).expect("a manifest");
    let steps_line = |line: &&str| line.starts_with("steps = ");
    let section = text.split("[train_encoder]").nth(1).expect("a section");
    let before = section.lines().find(steps_line).expect("steps");
    world.change_manifest(
        &format!("[train_encoder]\n{before}"),
        &format!("[train_encoder]\nsteps = {steps}\ncurve_every = 100"),
    );
    world.change_manifest("checkpoint_every = 500", "checkpoint_every = 20");
    let text = std::fs::read_to_string(world.join("mini.toml")).expect("a manifest");
    if text.contains("curve_every = 50\n") {
        world.change_manifest("curve_every = 50\n", "");
    }
    world
}

fn train(world: &TestRun) -> Value {
    let mut command = world.command(&["run", "--json", "--stage", "train-encoder"], "output");
    command.stdout(std::process::Stdio::piped());
    TestRun::json(command, 0)
}

/// Killed twenty times at random moments, the encoder and its curve are those of a run that nobody
/// stopped, byte for byte.
#[test]
fn a_training_killed_at_random_moments_ends_with_the_same_bytes() {
    let folders = [(); 2].map(|()| tempfile::tempdir().expect("a folder"));
    let straight = changed(folders[0].path(), 2000);
    let begun = Instant::now();
    train(&straight);
    let whole = begun.elapsed();
    let killed = changed(folders[1].path(), 2000);
    let mut rng = ChaCha8Rng::seed_from_u64(5);
    let (mut hit, mut seen) = (0, 0);
    for _ in 0..KILLS {
        let mut command = killed.command(&["run", "--stage", "train-encoder"], "output");
        let mut run = command.spawn().expect("the program");
        let share: f64 = rng.random_range(0.05..0.5);
        let deadline = Instant::now() + whole.mul_f64(share);
        while Instant::now() < deadline && run.try_wait().expect("its state").is_none() {
            std::thread::sleep(Duration::from_millis(2));
        }
        hit += u32::from(run.try_wait().expect("its state").is_none());
        let _ = run.kill();
        run.wait().expect("its end");
        seen += u32::from(killed.join("output/cache/checkpoints").exists());
    }
    assert!(hit > 0 && seen > 0, "no kill hit the training");
    train(&killed);
    assert_eq!(
        files(&killed, "output/encoder"),
        files(&straight, "output/encoder")
    );
}

/// More steps go on from the finished training, and end where a longer run from the beginning ends.
#[test]
fn more_steps_give_a_longer_runs_encoder() {
    let folders = [(); 2].map(|()| tempfile::tempdir().expect("a folder"));
    let longer = changed(folders[0].path(), 330);
    train(&longer);
    longer.change_manifest("steps = 330", "steps = 700");
    train(&longer);
    let fresh = changed(folders[1].path(), 700);
    train(&fresh);
    assert_eq!(
        files(&longer, "output/encoder"),
        files(&fresh, "output/encoder")
    );
}

/// An encoder of portraits and one of photos from one folder: each has its own results, the others'
/// stand beside them, and come back.
#[test]
fn an_encoder_of_portraits_stands_beside_that_of_photos() {
    let folder = tempfile::tempdir().expect("a folder");
    let world = TestRun::copied(folder.path(), 1);
    let photos = files(&world, "output/encoder");
    let manifest = std::fs::read_to_string(world.join("mini.toml")).expect("a manifest");
    world.change_manifest("[train_encoder]", "[train_encoder]\nimages = \"portraits\"");
    let ended = world.run("output");
    assert!(ended.status.success(), "{}", stderr(&ended));
    let summary: Value = serde_json::from_slice(&ended.stdout).expect("JSON");
    for step in summary["steps"].as_array().expect("steps") {
        let again = [
            "photo-features",
            "train-encoder",
            "generate-samples",
            "evaluate",
        ];
        let expected = again.contains(&step["step"].as_str().expect("a name"));
        assert_eq!(step["ran"].as_u64() > Some(0), expected, "{step}");
    }
    let portraits = files(&world, "output/encoder");
    assert_ne!(portraits, photos);
    let beside = world.join("output/earlier");
    let earlier: Vec<_> = std::fs::read_dir(&beside).expect("a folder").collect();
    assert_eq!(earlier.len(), 1, "{earlier:?}");
    let earlier = earlier.into_iter().flatten().next().expect("one");
    let place = format!("output/earlier/{}", earlier.file_name().to_string_lossy());
    assert_eq!(files(&world, &format!("{place}/encoder")), photos);
    for table in ["output/evaluation", &format!("{place}/evaluation")] {
        assert!(world.join(table).is_dir(), "{table}");
    }
    std::fs::write(world.join("mini.toml"), manifest).expect("the first manifest");
    let ended = world.run("output");
    assert!(ended.status.success(), "{}", stderr(&ended));
    assert_eq!(files(&world, "output/encoder"), photos);
}
