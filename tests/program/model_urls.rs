//! Models in a bucket: copies of them on this machine, the same keys and bytes as from a folder, and nobody learns the keys.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::thread::sleep;
use std::time::Duration;

use serde_json::Value;

use crate::damage::{files, ran};
use crate::s3_server::{ACCESS_KEY, Fault, S3Server, SECRET_KEY};
use crate::sandbox::{FRAME, Sandbox, stderr, stdout};
use crate::test_run::TestRun;

/// Puts all files below `folder` into the bucket, below `prefix`.
fn put_all(server: &S3Server, folder: &Path, prefix: &str) {
    let found = files(folder);
    assert!(!found.is_empty(), "{}", folder.display());
    for file in found {
        let name = file.strip_prefix(folder).expect("below it").display();
        let bytes = fs::read(&file).expect("a file");
        server.replace(&format!("{prefix}/{name}"), Some(bytes));
    }
}

fn ends(mut command: Command, exit: i32) -> Output {
    let ended = command.output().expect("the program");
    let said = format!("{}{}", stdout(&ended), stderr(&ended));
    assert_eq!(ended.status.code(), Some(exit), "{said}");
    let told = [ACCESS_KEY, SECRET_KEY]
        .iter()
        .any(|key| said.contains(key));
    assert!(!told, "{said}");
    ended
}

fn json(command: Command) -> Value {
    let ended = ends(command, 0);
    serde_json::from_str(&stdout(&ended)).unwrap_or_else(|e| panic!("{e}: {}", stdout(&ended)))
}

/// A sandbox whose models are in a bucket, and the caches of its machines.
struct World {
    server: S3Server,
    sandbox: Sandbox,
}

impl World {
    fn new() -> Self {
        let (server, sandbox) = (S3Server::start(), Self::sandbox(FRAME));
        put_all(&server, &sandbox.join("mini"), "models");
        let manifest = FRAME.replace("\"mini/", "\"s3://runs/models/");
        sandbox.write("urls.toml", manifest);
        Self { server, sandbox }
    }

    fn sandbox(manifest: &str) -> Sandbox {
        let captions: &[&[u8]] = &[b"Barack Obama speaks in Berlin", b"a cat"];
        Sandbox::with_captions(manifest, captions).with_runtime()
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = self.sandbox.command(arguments);
        self.server.known_to(&mut command);
        command.env("LAIONCELE_CACHE", self.sandbox.join("cache"));
        command
    }

    /// extract-names and what leads to it, with one of the manifests.
    fn extract(&self, manifest: &str, output: &str) -> Command {
        let stages = ["run", "--json", "--quiet", "--stage", "extract-names"];
        let mut command = self.command(&stages);
        command.args(["--manifest", manifest, "--output", output]);
        command
    }

    fn kept(&self, folder: &str) -> Vec<PathBuf> {
        files(&self.sandbox.join("cache/models").join(folder))
    }
}

/// All keys are those of the models in folders, whatever the store does meanwhile, and what is here is not fetched again.
#[test]
fn models_in_a_bucket_have_the_keys_of_models_in_folders() {
    let folder = tempfile::tempdir().expect("a folder");
    let (world, server) = (TestRun::copied(folder.path(), 1), S3Server::start());
    let shipped = Path::new(env!("CARGO_MANIFEST_DIR")).join("manifests/mini");
    put_all(&server, &shipped, "pool");
    put_all(&server, &world.join("mini/references"), "own/references");
    let text = fs::read_to_string(world.join("mini.toml")).expect("a manifest");
    let urls = text.replace(&format!("\"{}/", shipped.display()), "\"s3://runs/pool/");
    let urls = urls.replace("\"mini/references\"", "\"s3://runs/own/references\"");
    assert!(urls.matches("s3://").count() > 8, "{urls}");
    fs::write(world.join("mini.toml"), urls).expect("a manifest");
    let command = |arguments: &[&str]| {
        let mut command = world.command(arguments, "output");
        server.known_to(&mut command);
        command.env("LAIONCELE_CACHE", folder.path().join("cache"));
        command
    };
    for (every, fault) in [(9, Fault::Busy), (7, Fault::Cut)] {
        server.fails(every, fault);
        assert!(ran(&json(command(&["run", "--json"]))).is_empty());
        drop(fs::remove_dir_all(folder.path().join("cache")));
    }
    server.recovers();
    let fetched = || stderr(&ends(command(&["plan"]), 0));
    assert!(fetched().contains("fetching s3://runs/pool/sdxl-mini ("));
    assert!(!fetched().contains("fetching"));
    let before = server.requests();
    assert!(ran(&json(command(&["run", "--json"]))).is_empty());
    let again = server.requests() - before;
    assert!(again < 60, "{again} requests for what is here");
    // Another version of one file is another model.
    let name = "pool/sdxl-mini/scheduler/scheduler_config.json";
    let bytes = server.object(name).expect("a file");
    server.replace(name, Some([bytes, b"\n".to_vec()].concat()));
    let plan = stdout(&ends(command(&["plan"]), 0));
    assert!(plan.contains("models.sdxl.scheduler"), "{plan}");
}

/// What doctor and generate make of models in a bucket is what they make of folders; doctor says where the copies are.
#[test]
fn doctor_and_generate_use_copies() {
    let world = World::new();
    let mut doctor = world.command(&["doctor", "--json", "--manifest", "urls.toml"]);
    let doctor = doctor.output().expect("the program");
    let checks: Vec<Value> = serde_json::from_str(&stdout(&doctor)).expect("JSON");
    let check = |name: &str| {
        let found = checks.iter().find(|check| check["check"] == name);
        found.unwrap_or_else(|| panic!("no {name} in {checks:?}"))
    };
    for name in [
        "models.ner",
        "models.sdxl.unet",
        "models.face",
        "models.image_encoders",
    ] {
        assert_eq!(check(name)["ok"], true, "{}", check(name));
    }
    let copies = check("models by url")["detail"].to_string();
    let cache = world.sandbox.join("cache").display().to_string();
    assert!(copies.contains(&cache) && copies.contains("MB"), "{copies}");
    let unet = check("models.sdxl.unet")["path"].to_string();
    assert!(unet.contains("s3://runs/models/sdxl-mini"), "{unet}");

    let image = |model: &str, folder: &str| {
        let mut command = world.command(&["generate", "--prompt", "a portrait", "--steps", "2"]);
        command.args(["--seed", "3", "--model", model, "--into", folder]);
        ends(command, 0);
        let images = files(&world.sandbox.join(folder));
        let images = images
            .iter()
            .filter(|file| file.extension().is_some_and(|e| e == "png"));
        images
            .map(|file| fs::read(file).expect("an image"))
            .collect::<Vec<_>>()
    };
    let there = image("s3://runs/models/sdxl-mini", "there");
    assert_eq!(there.len(), 1);
    assert!(there == image("mini/sdxl-mini", "here"));
}

/// Whoever asks for what is not there, or without the right key, learns it before any work.
#[test]
fn models_that_cannot_be_fetched_are_told() {
    let world = World::new();
    let said = |url: &str, change: &dyn Fn(&mut Command)| {
        let set = format!("models.ner.folder={url}");
        let mut command = world.extract("urls.toml", "none");
        command.args(["--set", &set]);
        change(&mut command);
        stderr(&ends(command, 3))
    };
    let right = |_: &mut Command| ();
    let missing = said("s3://runs/models/nothing", &right);
    assert!(
        missing.contains("s3://runs/models/nothing") && missing.contains("no object"),
        "{missing}"
    );
    let bucket = said("s3://another/models", &right);
    assert!(bucket.contains("no such bucket"), "{bucket}");
    let key = said("s3://runs/models/ner/en_core_web_sm", &|command| {
        command.env("AWS_SECRET_ACCESS_KEY", "a/wrong/secret");
    });
    assert!(
        key.contains("AWS_SECRET_ACCESS_KEY") && !key.contains("a/wrong/secret"),
        "{key}"
    );
    let web = said("https://models.example/ner", &right);
    assert!(
        web.contains("https://models.example/ner") && web.contains("download it"),
        "{web}"
    );
    // A folder that lacks a file is named by its url.
    world
        .server
        .replace("models/ner/en_core_web_sm/ner/moves", None);
    let file = said("s3://runs/models/ner/en_core_web_sm", &right);
    assert!(
        file.contains("s3://runs/models/ner/en_core_web_sm/ner/moves"),
        "{file}"
    );
    for (name, word) in [("bad/../../x", ".."), ("bad\\..\\x", "bad")] {
        world.server.replace(&format!("odd/{name}"), Some(vec![1]));
        let odd = said("s3://runs/odd", &right);
        assert!(odd.contains(word), "{odd}");
        world.server.replace(&format!("odd/{name}"), None);
    }
    assert!(world.kept("partial").is_empty());
    let outside = files(world.sandbox.path()).into_iter();
    let outside: Vec<PathBuf> = outside.filter(|file| file.ends_with("x")).collect();
    assert!(outside.is_empty(), "{outside:?}");
}

/// A fetch that is killed leaves nothing that counts, and two that run at once do each other no harm.
#[test]
fn killed_and_simultaneous_fetches_end_in_the_same() {
    let world = World::new();
    ends(world.extract("manifest.toml", "here"), 0);
    let digests = |output: &str| {
        stdout(&ends(
            world.command(&["verify", "--digests", "--output", output]),
            0,
        ))
    };
    // An answer in five takes a while: the kill comes in the middle of one.
    world
        .server
        .fails(5, Fault::Slow(Duration::from_millis(300)));
    let mut killed = world.extract("urls.toml", "there");
    killed.stdout(Stdio::null()).stderr(Stdio::null());
    let mut killed = killed.spawn().expect("the program");
    while world.kept("versions").len() < 2 {
        sleep(Duration::from_millis(5));
    }
    killed.kill().expect("killed");
    killed.wait().expect("ended");
    let start = |output: &str| {
        let mut command = world.extract("urls.toml", output);
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        command.spawn().expect("the program")
    };
    for (run, output) in [(start("there"), "there"), (start("too"), "too")] {
        let ended = run.wait_with_output().expect("ended");
        assert!(ended.status.success(), "{}", stderr(&ended));
        assert_eq!(digests(output), digests("here"));
    }
    assert!(world.kept("partial").is_empty());
}

/// A worker that sees another version than the one that its task was planned with computes nothing.
#[test]
fn a_model_that_changes_after_the_plan_is_not_used() {
    let world = World::new();
    let mut failing = world.extract("urls.toml", "there");
    failing.env("LAIONCELE_FAULT", "begun.ledger=broken");
    ends(failing, 3);
    let tasks = files(&world.sandbox.join("there/queue"));
    assert_eq!(tasks.len(), 1);
    let task = tasks[0].display().to_string();
    let alone = |exit: i32| {
        let command = world.command(&["worker", "--task", &task, "--output", "there"]);
        stderr(&ends(command, exit))
    };
    let name = "models/ner/en_core_web_sm/vocab/lookups.bin";
    let bytes = world.server.object(name).expect("a file");
    world
        .server
        .replace(name, Some([bytes.clone(), vec![0]].concat()));
    let said = alone(3);
    assert!(
        said.contains("s3://runs/models/ner/en_core_web_sm was changed"),
        "{said}"
    );
    world.server.replace(name, Some(bytes));
    alone(0);
}

/// Machines without keys take the models from the run, those with keys from the bucket into a cache of their own.
#[test]
fn other_machines_fetch_models_from_the_run_or_the_bucket() {
    let world = World::new();
    ends(world.extract("manifest.toml", "here"), 0);
    let cache = world.sandbox.join("other");
    let script = |name: &str, line: &str| {
        world
            .sandbox
            .write(name, format!("#!/bin/sh\nshift\n{line}\n"));
        let path = world.sandbox.join(name);
        let executable = fs::Permissions::from_mode(0o755);
        fs::set_permissions(&path, executable).expect("an executable");
        format!("command:{} {{host}}", path.display())
    };
    // As ssh does: one text to a shell of the other side, which has none of our variables.
    let bare = script("bare", "exec env -i sh -c \"$*\"");
    let own = format!("export LAIONCELE_CACHE={}\nexec \"$@\"", cache.display());
    let own = script("own", &own);
    let node = world.sandbox.join("node").display().to_string();
    let run = |on: &str, output: &str, more: &[&str]| {
        let mut command = world.extract("urls.toml", output);
        command.args(["--on", on, "--hosts", "a"]).args(more);
        ends(command, 0);
        let verify = world.command(&["verify", "--digests", "--output", output]);
        stdout(&ends(verify, 0))
    };
    let here = stdout(&ends(
        world.command(&["verify", "--digests", "--output", "here"]),
        0,
    ));
    assert_eq!(run(&bare, "published", &["--node-cache", &node]), here);
    assert!(files(&world.sandbox.join("node/files")).len() > 3);
    assert_eq!(run(&own, "fetched", &[]), here);
    assert!(files(&cache.join("models/files")).len() > 3);
}
