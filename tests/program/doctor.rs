//! `laioncele doctor` and `plan --estimate`.

use std::fs;

use serde_json::Value;
use sha2::{Digest as _, Sha256};

use crate::sandbox::{FRAME, Sandbox, stderr, stdout};
use crate::test_run::TestRun;

fn doctor(world: &TestRun, more: &[&str]) -> (Option<i32>, Vec<Value>) {
    let manifest = world.join("mini.toml");
    let manifest = manifest.to_string_lossy();
    let arguments = [&["doctor", "--json", "--manifest", &manifest], more].concat();
    let ended = Sandbox::new().with_runtime().run(&arguments);
    let checks = serde_json::from_str(&stdout(&ended));
    (
        ended.status.code(),
        checks.unwrap_or_else(|e| panic!("{e}: {}", stderr(&ended))),
    )
}

fn failed(checks: &[Value]) -> Vec<&str> {
    let failed = checks.iter().filter(|check| check["ok"] == false);
    failed.filter_map(|check| check["check"].as_str()).collect()
}

#[test]
fn doctor_passes_a_valid_world_and_names_wrong_settings() {
    let folder = tempfile::tempdir().expect("a folder");
    let world = TestRun::build(folder.path(), 1);
    let (exit, checks) = doctor(&world, &["--deep"]);
    assert_eq!((exit, failed(&checks)), (Some(0), Vec::new()), "{checks:?}");
    let names: Vec<&str> = checks.iter().filter_map(|c| c["check"].as_str()).collect();
    for name in [
        "settings",
        "source",
        "models.ner",
        "models.sdxl.unet",
        "embedding_dims",
        "models.face",
        "memory",
    ] {
        assert!(names.contains(&name), "no {name} in {names:?}");
    }

    world.change_manifest("name_channels = 128", "name_channels = 2048");
    world.change_manifest("caption = \"TEXT\"", "caption = \"texts\"");
    let (exit, checks) = doctor(&world, &[]);
    assert_eq!(
        (exit, failed(&checks)),
        (Some(3), vec!["source", "embedding_dims"])
    );
    let source = checks.iter().find(|check| check["check"] == "source");
    let detail = source.expect("the source")["detail"].to_string();
    assert!(detail.contains("no column `texts`"), "{detail}");
}

#[test]
fn doctor_prints_a_line_for_everything_missing() {
    let text = FRAME
        .replace("mini/sdxl-mini\"", "nowhere\"")
        .replace("same_person = 0.5", "same_persons = 0.5");
    let sandbox = Sandbox::with_manifest(&text);
    let ended = sandbox.run(&["doctor", "--manifest", "manifest.toml"]);
    assert_eq!(ended.status.code(), Some(3), "{}", stderr(&ended));
    let lines = stdout(&ended);
    for words in [
        "did you mean `same_person`?",
        "captions/a.parquet: ",
        "nowhere/model_index.json",
        "nowhere/unet/config.json",
        "nowhere/vae/config.json",
    ] {
        let line = lines.lines().find(|line| line.contains(words));
        let line = line.unwrap_or_else(|| panic!("no `{words}` in {lines}"));
        assert!(line.starts_with("error"), "{line}");
    }
    let ner = lines.lines().find(|line| line.contains(" models.ner "));
    assert!(ner.is_some_and(|line| line.starts_with("ok ")), "{lines}");
}

#[test]
fn doctor_misses_what_a_run_would_miss() {
    let opinion = "\n[merge_names.second_opinion]\nurl = \"http://127.0.0.1:9\"\nmodel = \"m\"\napi_key_env = \"LAIONCELE_NO_SUCH_KEY\"\n";
    let text = FRAME.replace("references = \"references\"", "") + opinion;
    let sandbox = Sandbox::with_manifest(&text).with_runtime();
    let ended = sandbox.run(&["doctor", "--manifest", "manifest.toml", "--json"]);
    let checks: Vec<Value> = serde_json::from_str(&stdout(&ended)).expect("JSON");
    for name in ["generate-samples", "merge_names.second_opinion"] {
        assert!(failed(&checks).contains(&name), "{checks:?}");
    }
    let details: Vec<&str> = checks
        .iter()
        .filter_map(|check| check["detail"].as_str())
        .collect();
    assert!(
        details
            .iter()
            .any(|d| d.contains("[generate_samples] references is missing"))
    );
    assert!(details.iter().any(|d| d.contains("LAIONCELE_NO_SUCH_KEY")));
}

#[test]
fn doctor_finds_truncated_weights() {
    let sandbox = Sandbox::new().with_runtime();
    let models = sandbox.join("copy");
    let mini = sandbox.join("mini");
    let copied = std::process::Command::new("cp")
        .arg("-rL")
        .arg(&mini)
        .arg(&models)
        .status();
    assert!(copied.expect("cp").success());
    let vae = models.join("sdxl-mini/vae/diffusion_pytorch_model.safetensors");
    let bytes = fs::read(&vae).expect("weights");
    fs::write(&vae, &bytes[..bytes.len() - 1]).expect("cut");
    sandbox.write("manifest.toml", FRAME.replace("\"mini/", "\"copy/"));
    sandbox.write("captions/a.parquet", "no Parquet");
    sandbox.write("references/somebody.jpg", "not looked at");
    let ended = sandbox.run(&["doctor", "--manifest", "manifest.toml", "--json"]);
    let checks: Vec<Value> = serde_json::from_str(&stdout(&ended)).expect("JSON");
    assert_eq!(failed(&checks), ["source", "models.sdxl.vae"]);
    assert_eq!(ended.status.code(), Some(3));
}

/// What doctor says of the parts' digests, with the cache in the sandbox.
fn told_by_digests(sandbox: &Sandbox, more: &[&str]) -> Vec<Value> {
    let arguments = [&["doctor", "--json", "--manifest", "manifest.toml"], more].concat();
    let mut command = sandbox.command(&arguments);
    command.env("XDG_CACHE_HOME", sandbox.join("cache"));
    let ended = command.output().expect("the program");
    let checks: Vec<Value> =
        serde_json::from_str(&stdout(&ended)).unwrap_or_else(|e| panic!("{e}: {}", stderr(&ended)));
    let of_digests = |check: &Value| check["check"].to_string().contains("(digest)");
    checks.into_iter().filter(of_digests).collect()
}

#[test]
fn doctor_tells_weight_files_by_their_sha256() {
    let sandbox = Sandbox::with_manifest(FRAME);
    let sum = |file: &str| {
        let bytes = fs::read(sandbox.join("mini/sdxl-mini").join(file)).expect("weights");
        let sum: String = Sha256::digest(&bytes)
            .iter()
            .map(|b| format!("{b:02x}"))
            .collect();
        (sum, bytes.len())
    };
    let (vae, vae_bytes) = sum("vae/diffusion_pytorch_model.safetensors");
    let (_, unet_bytes) = sum("unet/diffusion_pytorch_model.safetensors");
    let other = "0".repeat(64);
    let table = format!(
        "{vae}\t{vae_bytes}\tMini\tsome/mini\tvae/diffusion_pytorch_model.safetensors\tMIT\n\
         {other}\t{unet_bytes}\tMini\tsome/mini\tunet/diffusion_pytorch_model.safetensors\tMIT\n"
    );
    sandbox.write("known.tsv", table);
    assert!(
        told_by_digests(&sandbox, &[]).is_empty(),
        "nothing was asked"
    );

    let expected = [
        ("text_encoder", "ok", "no file that is known; SHA-256 "),
        ("text_encoder_2", "ok", "no file that is known; SHA-256 "),
        (
            "vae",
            "ok",
            "Mini: some/mini, vae/diffusion_pytorch_model.safetensors; licence: MIT",
        ),
        (
            "unet",
            "warning",
            "looks like the file of Mini: some/mini, unet/",
        ),
    ];
    let compare = |checks: &[Value]| {
        assert_eq!(checks.len(), expected.len(), "{checks:?}");
        for (check, (part, level, detail)) in checks.iter().zip(expected) {
            assert_eq!(check["check"], format!("models.sdxl.{part} (digest)"));
            assert_eq!(
                (&check["level"], &check["ok"]),
                (&level.into(), &true.into()),
                "{check}"
            );
            assert!(check["detail"].to_string().contains(detail), "{check}");
        }
    };
    compare(&told_by_digests(&sandbox, &["--known-files", "known.tsv"]));
    // What was read is remembered, and told without being read again.
    let remembered = told_by_digests(&sandbox, &[]);
    assert_eq!(remembered.len(), expected.len(), "{remembered:?}");
    assert!(sandbox.join("cache/laioncele/sha256.json").is_file());
    compare(&told_by_digests(
        &sandbox,
        &["--digests", "--known-files", "known.tsv"],
    ));
}

#[test]
fn a_table_of_known_files_that_is_none_is_refused() {
    let sandbox = Sandbox::with_manifest(FRAME);
    sandbox.write("known.tsv", "abc\t1\n");
    let doctor = ["doctor", "--manifest", "manifest.toml", "--known-files"];
    let ended = sandbox.run(&[&doctor[..], &["known.tsv"]].concat());
    assert_eq!(ended.status.code(), Some(2));
    assert!(
        stderr(&ended).contains("known.tsv: line 1: six fields"),
        "{}",
        stderr(&ended)
    );
    let ended = sandbox.run(&[&doctor[..], &["nowhere.tsv"]].concat());
    assert_eq!(ended.status.code(), Some(2));
    assert!(
        stderr(&ended).contains("nowhere.tsv: "),
        "{}",
        stderr(&ended)
    );
}

#[test]
fn plan_estimates_hours_from_given_values() {
    let sandbox = Sandbox::with_manifest(FRAME);
    let plan = ["plan", "--manifest", "manifest.toml", "--estimate"];
    let said = ["--names", "42000", "--seconds-per-portrait", "6.9"];
    let ended = sandbox.run(&[&plan[..], &said].concat());
    assert!(ended.status.success(), "{}", stderr(&ended));
    let text = stdout(&ended);
    let line =
        "portraits: 42,000 names x 2.0 to 4.0 portraits x 6.90 s = 161.0 to 322.0 worker-hours";
    assert!(text.contains(line), "{text}");
    let ended = sandbox.run(&[&plan[..], &said, &["--json"]].concat());
    let json: Value = serde_json::from_str(&stdout(&ended)).expect("JSON");
    assert_eq!(json["estimate"]["names"], 42000);
    assert!(
        json["steps"]
            .as_array()
            .is_some_and(|steps| !steps.is_empty())
    );
    let ended = sandbox.run(&plan);
    assert_eq!(ended.status.code(), Some(2));
    assert!(stderr(&ended).contains("--names"), "{}", stderr(&ended));
}

/// A model of a large run needs neither a run nor a source, and tells what was measured from what is assumed.
#[test]
fn plan_models_a_large_run() {
    let sandbox = Sandbox::with_manifest(FRAME);
    let model = ["plan", "--estimate", "--captions", "5.85e9"];
    let run = |more: &[&str]| sandbox.run(&[&model[..], more].concat());
    let ended = run(&["--nodes", "32", "--cores", "64", "--gpus", "8"]);
    assert!(ended.status.success(), "{}", stderr(&ended));
    let text = stdout(&ended);
    let place = |words: &str| {
        text.find(words)
            .unwrap_or_else(|| panic!("{words}: {text}"))
    };
    assert!(text.starts_with("5,850,000,000 captions"), "{text}");
    assert!(place("\nmeasured:") < place("captions_per_core_second"));
    assert!(place("\nassumed:") < place("seconds_per_portrait"));
    let json = |more: &[&str]| -> Value {
        let ended = run(&[more, &["--json"]].concat());
        assert!(ended.status.success(), "{}", stderr(&ended));
        serde_json::from_str(&stdout(&ended)).expect("JSON")
    };
    let hours = |more: &[&str]| json(more)["hours"].as_f64();
    assert!(hours(&["--nodes", "32"]) < hours(&["--nodes", "4"]));
    assert_eq!(hours(&["--gpus", "0"]), None);
    assert!(hours(&["--assume", "seconds_per_portrait=1"]) < hours(&[]));
    sandbox.write(
        "rates.toml",
        "[names]\nvalue = 5\norigin = \"measured\"\nsource = \"here\"\n",
    );
    let named = json(&["--rates", "rates.toml"]);
    assert_eq!(named["figures"]["names"]["source"], "here");
    let names = named["stages"].as_array().expect("stages");
    assert!(
        names
            .iter()
            .any(|stage| stage["unit"] == "names" && stage["rows"] == 5.0)
    );
    let wrong = run(&["--assume", "nmes=5"]);
    assert_eq!(wrong.status.code(), Some(2));
    assert!(
        stderr(&wrong).contains("did you mean `names`"),
        "{}",
        stderr(&wrong)
    );
}
