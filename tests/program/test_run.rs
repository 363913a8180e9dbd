//! Runs on embedded worlds: built by the program itself, finished once per seed, shared by the
//! tests that only read.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::UNIX_EPOCH;

use crate::sandbox::{program, stderr, stdout};

/// The truth file, renamed so that a run cannot find it.
pub(crate) const TRUTH: &str = "truth-aside.json";

/// An embedded world with its manifest, and the output folders of runs on it.
pub(crate) struct TestRun {
    folder: PathBuf,
}

impl TestRun {
    /// Builds the tiny world of `seed` in `folder`.
    pub(crate) fn build(folder: &Path, seed: u64) -> Self {
        Self::build_sized(folder, seed, "tiny")
    }

    fn build_sized(folder: &Path, seed: u64, size: &str) -> Self {
        let seed = seed.to_string();
        let folder = folder.to_owned();
        let built = Command::new(program())
            .args(["mini", "build", "--seed", &seed, "--size", size])
            .arg(&folder)
            .current_dir(env!("CARGO_MANIFEST_DIR"))
            .output()
            .expect("the program");
        assert!(built.status.success(), "{}", stderr(&built));
        // The truth is for scoring only; a run must not read it.
        fs::rename(folder.join("truth.json"), folder.join(TRUTH)).expect("a truth");
        Self { folder }
    }

    /// A finished run on the tiny world of `seed`, shared and therefore read-only. The first test
    /// that asks for it makes it, again whenever the program changes.
    pub(crate) fn finished(seed: u64) -> Self {
        Self::finished_sized(seed, "tiny")
    }

    /// As [`TestRun::finished`], the full world.
    pub(crate) fn finished_full(seed: u64) -> Self {
        Self::finished_sized(seed, "full")
    }

    fn finished_sized(seed: u64, size: &str) -> Self {
        let cache = Path::new(env!("CARGO_TARGET_TMPDIR"));
        let name = format!("world-{size}-{seed}");
        let folder = cache.join(&name);
        fs::create_dir_all(cache).expect("the cache");
        let lock = File::create(cache.join(format!("{name}.lock"))).expect("a lock file");
        lock.lock().expect("the lock");
        let stamp = folder.join("made-by");
        if fs::read_to_string(&stamp).ok() != Some(program_version()) {
            drop(fs::remove_dir_all(&folder));
            let world = Self::build_sized(&folder, seed, size);
            let ended = world.run("output");
            assert!(ended.status.success(), "{}", stderr(&ended));
            fs::write(stamp, program_version()).expect("the stamp");
        }
        Self { folder }
    }

    /// A copy of a finished run on the tiny world of `seed`, to be damaged.
    pub(crate) fn copied(folder: &Path, seed: u64) -> Self {
        let finished = Self::finished(seed);
        let from = format!("{}/.", finished.folder.display());
        let copied = Command::new("cp").arg("-a").arg(from).arg(folder).status();
        assert!(copied.expect("cp").success());
        let folder = folder.to_owned();
        Self { folder }
    }

    /// A command on the run in folder `output` that is told nothing but the folder.
    pub(crate) fn alone(&self, arguments: &[&str], output: &str) -> Command {
        let mut command = Command::new(program());
        command
            .args(arguments)
            .arg("--output")
            .arg(self.join(output))
            .env_remove("RUST_LOG")
            .stdin(Stdio::null());
        command
    }

    /// What `command` prints as JSON; it must end with `exit`.
    pub(crate) fn json(mut command: Command, exit: i32) -> serde_json::Value {
        let ended = command.output().expect("the program");
        assert_eq!(ended.status.code(), Some(exit), "{}", stderr(&ended));
        serde_json::from_str(&stdout(&ended)).expect("JSON")
    }

    /// A path in the world's folder.
    pub(crate) fn join(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// A command on the run in folder `output`, not started yet.
    pub(crate) fn command(&self, arguments: &[&str], output: &str) -> Command {
        let mut command = Command::new(program());
        command
            .args(arguments)
            .arg("--manifest")
            .arg(self.join("mini.toml"))
            .arg("--output")
            .arg(self.join(output))
            .env_remove("RUST_LOG")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command
    }

    /// Runs all stages into folder `output`.
    pub(crate) fn run(&self, output: &str) -> Output {
        let mut command = self.command(&["run", "--json"], output);
        command.output().expect("the program")
    }

    /// Replaces `from` with `to` in the world's manifest.
    pub(crate) fn change_manifest(&self, from: &str, to: &str) {
        let path = self.join("mini.toml");
        let text = fs::read_to_string(&path).expect("a manifest");
        assert!(text.contains(from), "{from} is not in the manifest");
        fs::write(path, text.replace(from, to)).expect("the manifest");
    }

    /// `mini score` of the run in folder `output`.
    pub(crate) fn score(&self, output: &str) -> serde_json::Value {
        let mut command = self.command(&["mini", "score", "--json"], output);
        let ended = command.arg("--truth").arg(self.join(TRUTH)).output();
        let ended = ended.expect("the program");
        assert!(ended.status.success(), "{}", stderr(&ended));
        serde_json::from_str(&stdout(&ended)).expect("JSON")
    }

    /// `verify --digests` of the run in folder `output`.
    pub(crate) fn digests(&self, output: &str) -> String {
        let mut command = self.command(&["verify", "--digests"], output);
        let ended = command.output().expect("the program");
        assert!(ended.status.success(), "{}", stderr(&ended));
        stdout(&ended)
    }
}

/// Changes whenever the program is built anew.
fn program_version() -> String {
    let meta = fs::metadata(program()).expect("the program");
    let modified = meta.modified().expect("a time").duration_since(UNIX_EPOCH);
    format!("{} {:?}", meta.len(), modified.expect("after 1970"))
}

/// How many rounds `LAIONCELE_SOAK` asks for; `None` if it is not set.
pub(crate) fn soak_rounds() -> Option<usize> {
    let rounds = std::env::var("LAIONCELE_SOAK").ok()?;
    Some(rounds.parse().expect("LAIONCELE_SOAK is a number"))
}
