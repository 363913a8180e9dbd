//! Runs in a bucket end as runs in a folder do, whatever the store does to them, and a store that cannot be trusted is
//! refused.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use crate::s3_server::{ACCESS_KEY, Fault, S3Server, SECRET_KEY};
use crate::sandbox::{program, stderr, stdout};
use crate::test_run::{TRUTH, TestRun};

/// A run in a bucket, on the world of a finished run in a folder.
struct BucketRun {
    server: S3Server,
    scratch: tempfile::TempDir,
    world: TestRun,
}

impl BucketRun {
    fn new(seed: u64) -> Self {
        Self {
            server: S3Server::start(),
            scratch: tempfile::tempdir().expect("a folder"),
            world: TestRun::finished(seed),
        }
    }

    /// A command that is told nothing but the place.
    fn alone(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(program());
        self.server.known_to(&mut command);
        command
            .args(arguments)
            .args(["--output", "s3://runs/worlds/one"])
            .arg("--scratch")
            .arg(self.scratch.path())
            .env_remove("RUST_LOG")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = self.alone(arguments);
        command.arg("--manifest").arg(self.world.join("mini.toml"));
        command
    }

    fn ends(&self, mut command: Command, exit: i32) -> Output {
        let ended = command.output().expect("the program");
        assert_eq!(ended.status.code(), Some(exit), "{}", stderr(&ended));
        self.holds_no_key(&ended);
        ended
    }

    fn digests(&self) -> String {
        stdout(&self.ends(self.alone(&["verify", "--digests"]), 0))
    }

    /// Nothing that was said or written, here or there, has a key in it.
    fn holds_no_key(&self, ended: &Output) {
        for text in [&ended.stdout, &ended.stderr] {
            assert!(!has_key(text), "{}", String::from_utf8_lossy(text));
        }
        for name in self.server.names("") {
            let object = self.server.object(&name).unwrap_or_default();
            assert!(!has_key(&object), "{name}");
        }
        files_below(self.scratch.path(), &mut |path| {
            let bytes = fs::read(path).unwrap_or_default();
            assert!(!has_key(&bytes), "{}", path.display());
        });
    }
}

fn has_key(bytes: &[u8]) -> bool {
    let holds = |key: &str| {
        bytes
            .windows(key.len())
            .any(|found| found == key.as_bytes())
    };
    holds(ACCESS_KEY) || holds(SECRET_KEY)
}

fn files_below(folder: &Path, look: &mut impl FnMut(&Path)) {
    for entry in fs::read_dir(folder).expect("a folder").flatten() {
        match entry.path().is_dir() {
            true => files_below(&entry.path(), look),
            false => look(&entry.path()),
        }
    }
}

/// All commands on one run in a bucket, which ends as the run in a folder did.
#[test]
fn a_run_in_a_bucket_ends_as_one_in_a_folder() {
    let run = BucketRun::new(1);
    run.ends(run.command(&["plan"]), 0);
    run.ends(run.command(&["run", "--json"]), 0);
    assert_eq!(run.digests(), run.world.digests("output"));
    assert_published(&run);
    let on_machine = [
        "/cache/scratch/",
        "/cache/downloads/",
        "/log/",
        "/probe/",
        "/queue/",
    ];
    for name in run.server.names("") {
        assert!(name.starts_with("worlds/one/"), "{name}");
        assert!(
            !on_machine.iter().any(|folder| name.contains(folder)),
            "{name}"
        );
    }
    run.ends(run.alone(&["verify"]), 0);
    run.ends(run.alone(&["status"]), 0);
    run.ends(run.alone(&["evaluate"]), 0);
    let mut score = run.command(&["mini", "score", "--json"]);
    score.arg("--truth").arg(run.world.join(TRUTH));
    let scored = stdout(&run.ends(score, 0));
    let scored: serde_json::Value = serde_json::from_str(&scored).expect("JSON");
    assert_eq!(scored, run.world.score("output"));
    let file = run.scratch.path().join("lock.json");
    let lock = ["lock", &*file.to_string_lossy()];
    run.ends(run.alone(&lock), 0);
    run.ends(run.alone(&["verify", "--lock", lock[1]]), 0);
    run.ends(run.alone(&["retry", "--dry-run"]), 0);
    damage_is_found_and_made_again(&run);
    // What no record names, and with a lock that an earlier run left.
    run.server
        .replace("worlds/one/tables/names/bucket-0/x.parquet", Some(vec![1]));
    let said = stdout(&run.ends(run.alone(&["gc", "--delete"]), 0));
    assert!(said.contains("deleted"), "{said}");
    let again = stderr(&run.ends(run.alone(&["run", "--stage", "..pack-shards"]), 0));
    assert!(again.contains("nothing to do"), "{again}");
    assert_eq!(run.digests(), run.world.digests("output"));
}

/// The published shards are those of the run in a folder, byte by byte.
fn assert_published(run: &BucketRun) {
    let names = run.server.names("worlds/one/laioncele/train-");
    assert!(!names.is_empty());
    for name in names {
        let file = name.rsplit('/').next().unwrap_or_default();
        let folder = run.world.join("output/laioncele").join(file);
        let same = run.server.object(&name) == fs::read(folder).ok();
        assert!(same, "{name}");
    }
}

fn damage_is_found_and_made_again(run: &BucketRun) {
    let part = &run.server.names("worlds/one/tables/photo_prints/")[0];
    let shard = &run.server.names("worlds/one/laioncele/train-")[0];
    let mut bytes = run.server.object(shard).expect("a shard");
    bytes[10] ^= 1;
    run.server.replace(part, None);
    run.server.replace(shard, Some(bytes));
    let said = stderr(&run.ends(run.alone(&["verify"]), 5));
    assert!(
        said.contains("photo_prints") && said.contains("train-"),
        "{said}"
    );
    run.ends(run.alone(&["verify", "--repair"]), 0);
    run.ends(run.alone(&["run", "--stage", "..pack-shards"]), 0);
    run.ends(run.alone(&["verify"]), 0);
}

/// A store that is busy, cuts answers, forgets to answer, or is slow costs time; kills cost tasks.
#[test]
#[ignore = "takes minutes and wants an idle machine: make test-bucket"]
fn a_run_in_a_bucket_outlives_the_store_and_its_own_death() {
    let run = BucketRun::new(2);
    let steps = [
        (7, Fault::Busy, "..extract-names"),
        (9, Fault::Cut, "..merge-names"),
        (11, Fault::Lost, "..generate-portraits"),
        (
            40,
            Fault::Slow(Duration::from_millis(300)),
            "..verify-portraits",
        ),
    ];
    for (every, fault, stages) in steps {
        run.server.fails(every, fault);
        run.ends(run.command(&["run", "--stage", stages]), 0);
    }
    run.server.recovers();
    let points = [
        "begun.queue",
        "named.tables",
        "begun.ledger",
        "named.ledger",
        "named.lists",
    ];
    for point in points {
        let mut command = run.command(&["run", "--stage", "..pack-shards"]);
        command.env("LAIONCELE_FAULT", format!("{point}=kill-run"));
        let ended = command.output().expect("the program");
        // The last step of these writes no list: nothing dies of that one.
        let done = point == "named.lists" && ended.status.success();
        assert!(
            ended.status.code().is_none() || done,
            "{point}: {}",
            stderr(&ended)
        );
    }
    run.ends(run.command(&["run"]), 0);
    assert_eq!(run.digests(), run.world.digests("output"));
    run.ends(run.alone(&["verify"]), 0);
}

/// What a store says before a run begins: exit code 3, a reason, and no key.
#[test]
fn a_store_that_cannot_hold_a_run_is_refused_with_the_reason() {
    let run = BucketRun::new(1);
    let refused = |change: &dyn Fn(&mut Command), words: &str| {
        let mut command = run.command(&["run", "--stage", "extract-names"]);
        change(&mut command);
        let said = stderr(&run.ends(command, 3));
        assert!(said.contains(words), "{said}");
    };
    let elsewhere = |place: &'static str| {
        move |command: &mut Command| {
            let arguments: Vec<_> = command.get_args().map(ToOwned::to_owned).collect();
            let mut other = Command::new(program());
            other.envs(
                command
                    .get_envs()
                    .filter_map(|(name, value)| Some((name, value?))),
            );
            for argument in arguments {
                match argument.to_str() {
                    Some(text) if text.starts_with("s3://") => other.arg(place),
                    _ => other.arg(argument),
                };
            }
            *command = other;
        }
    };
    refused(&elsewhere("s3://elsewhere/one"), "there is no such bucket");
    refused(&elsewhere("ftp://runs/one"), "s3://");
    refused(
        &|c| {
            c.env("AWS_SECRET_ACCESS_KEY", "another");
        },
        "the secret key is not that of the access key",
    );
    refused(
        &|c| {
            c.env("AWS_ACCESS_KEY_ID", "AKIAANOTHER");
        },
        "the store does not know the access key",
    );
    refused(
        &|c| {
            c.env("AWS_ENDPOINT", "http://127.0.0.1:9");
        },
        "no connection",
    );
    refused(
        &|c| {
            c.env("AWS_ALLOW_HTTP", "false");
        },
        "AWS_ALLOW_HTTP",
    );
    run.server.is_read_only();
    refused(&|_| {}, "has no right");
    run.server.recovers();
    run.server.fails(1, Fault::Busy);
    refused(&|_| {}, "too busy");
    run.server.recovers();
    run.server.ignores_conditions();
    refused(&|_| {}, "ignores the condition");
    assert!(
        run.server.names("").is_empty(),
        "{:?}",
        run.server.names("")
    );
    run.server.recovers();
    let status = stderr(&run.ends(run.alone(&["status"]), 3));
    assert!(status.contains("nothing has been run here"), "{status}");
    assert!(run.server.requests() > 10);
}

/// One run at a time: the second is told who the first is, and follows at once where that died on the same machine.
#[test]
fn a_second_run_in_a_bucket_is_refused_while_the_first_lives() {
    let run = BucketRun::new(1);
    // A coordinator that holds the place and waits for an answer.
    let mut first = run.command(&["run", "--stage", "extract-names"]);
    first.env("LAIONCELE_FAULT", "named.ledger=hang");
    let mut first = first.spawn().expect("the program");
    while run.server.names("worlds/one/ledger/").is_empty() {
        assert!(first.try_wait().expect("its state").is_none());
        std::thread::sleep(Duration::from_millis(20));
    }
    let said = stderr(&run.ends(run.command(&["run", "--stage", "extract-names"]), 3));
    let process = format!("process {} of", first.id());
    assert!(
        said.contains("is in use") && said.contains(&process),
        "{said}"
    );
    // From another machine, whose scratch folder is another.
    let elsewhere = tempfile::tempdir().expect("a folder");
    let mut other = run.command(&["run", "--stage", "extract-names"]);
    let arguments: Vec<_> = other.get_args().map(ToOwned::to_owned).collect();
    let mut command = Command::new(program());
    run.server.known_to(&mut command);
    for argument in arguments {
        match argument == run.scratch.path().as_os_str() {
            true => command.arg(elsewhere.path()),
            false => command.arg(argument),
        };
    }
    other = command;
    let said = stderr(&run.ends(other, 3));
    assert!(said.contains("if that machine is gone"), "{said}");
    first.kill().expect("killed");
    first.wait().expect("its end");
    run.ends(run.command(&["run", "--stage", "extract-names"]), 0);
}

/// Workers that see nothing of the coordinator's folders and models: all that they need of the run comes through the bucket.
#[test]
fn workers_on_other_machines_need_nothing_but_the_bucket() {
    let probe = Command::new("unshare").args(["-m", "--", "true"]).status();
    if !probe.is_ok_and(|status| status.success()) {
        // Needs the right to make namespaces.
        return;
    }
    let run = BucketRun::new(1);
    let scratch = run.scratch.path();
    let elsewhere = scratch.join("elsewhere");
    let hidden = "host=$1; folder=$2; models=$3; shift 3\n\
         exec unshare -m -- sh -c 'mount -t tmpfs none \"$0\" && mount -t tmpfs none \"$1\" && shift && exec \"$@\"' \
         \"$folder\" \"$models\" \"$@\"";
    fs::write(&elsewhere, format!("#!/bin/sh\n{hidden}\n")).expect("a script");
    fs::set_permissions(&elsewhere, fs::Permissions::from_mode(0o755)).expect("executable");
    let models = Path::new(env!("CARGO_MANIFEST_DIR")).join("manifests/mini");
    let on = format!(
        "command:{} {{host}} {} {}",
        elsewhere.display(),
        scratch.display(),
        models.display()
    );
    let cache = tempfile::tempdir().expect("a folder");
    let mut command = run.command(&["run", "--stage", "..encode-names", "--hosts", "a,b"]);
    command.args(["--on", &on]);
    command.arg("--node-cache").arg(cache.path());
    run.ends(command, 0);
    assert!(run.server.names("worlds/one/cache/models").len() > 10);
    let mut program = run.command(&["run", "--hosts", "a", "--fetch-program"]);
    program.args(["--on", &on, "--node-cache", "/none"]);
    let said = stderr(&run.ends(program, 2));
    assert!(said.contains("--program"), "{said}");
    let (there, here) = (run.digests(), run.world.digests("output"));
    let here: Vec<&str> = here.lines().collect();
    assert!(there.lines().count() > 3, "{there}");
    for line in there.lines() {
        let known = here.contains(&line) || line.starts_with("dropped");
        assert!(known, "{line}");
    }
}
