//! GPUs that are asked for: on machines with and without them, in programs built with CUDA and without it.

use std::path::Path;
use std::process::Command;

use serde_json::Value;

use crate::sandbox::{FRAME, Sandbox, stderr, stdout};

/// More GPUs than any machine has.
const ABSENT: &str = "4096";

fn draw(device: &str) -> std::process::Output {
    let sandbox = Sandbox::new();
    let folder = sandbox.join("mini/sdxl-mini");
    let folder = folder.to_string_lossy();
    let mut arguments = vec!["generate", "--model", &folder, "--prompt", "a person"];
    arguments.extend([
        "--images", "1", "--steps", "1", "--width", "64", "--height", "64",
    ]);
    arguments.extend(["--device", device, "--into", "drawn"]);
    sandbox.run(&arguments)
}

#[test]
fn a_gpu_that_is_not_there_is_an_error_that_says_what_to_do() {
    let ended = draw(&format!("cuda:{ABSENT}"));
    let text = stderr(&ended);
    assert_eq!(ended.status.code(), Some(3), "{text}");
    for words in [&format!("no cuda:{ABSENT} here"), "device = \"cpu\""] {
        assert!(text.contains(words), "no {words} in: {text}");
    }
    let built_without = "built without CUDA";
    assert_eq!(
        text.contains(built_without),
        !cfg!(feature = "cuda"),
        "{text}"
    );
}

#[test]
fn auto_draws_anywhere_and_says_where_if_it_is_not_the_gpu() {
    let ended = draw("auto");
    let text = stderr(&ended);
    assert!(ended.status.success(), "{text}");
    let without = cfg!(feature = "cuda") && laioncele_clip::gpus().is_err();
    assert_eq!(
        text.contains("computing on the processor"),
        without,
        "{text}"
    );
    let ended = draw("cpu");
    assert!(ended.status.success() && !stderr(&ended).contains("processor"));
}

#[test]
fn a_run_on_gpus_that_are_not_there_does_not_begin() {
    let sandbox = Sandbox::with_manifest(FRAME);
    let arguments = [
        "run",
        "--manifest",
        "manifest.toml",
        "--output",
        "out",
        "--gpus",
    ];
    let ended = sandbox.run(&[&arguments[..], &[ABSENT]].concat());
    let text = stderr(&ended);
    assert_eq!(ended.status.code(), Some(3), "{text}");
    assert!(
        text.contains("--gpus: ") && text.contains("hint: "),
        "{text}"
    );
}

#[test]
fn doctor_says_where_pictures_are_drawn() {
    let device = |line: &str| {
        let section = format!("[models.sdxl]\n{line}");
        let sandbox = Sandbox::with_manifest(&FRAME.replace("[models.sdxl]", &section));
        let ended = sandbox.run(&["doctor", "--json", "--manifest", "manifest.toml"]);
        let checks: Vec<Value> = serde_json::from_str(&stdout(&ended)).expect("JSON");
        let found = checks
            .iter()
            .find(|check| check["check"] == "models.sdxl.device");
        let found = found.unwrap_or_else(|| panic!("no device: {checks:?}"));
        (found["ok"] == true, found["detail"].to_string())
    };
    let (ok, detail) = device("");
    let gpu = cfg!(feature = "cuda") && laioncele_clip::gpus().is_ok();
    let expected = if gpu { "cuda:0, " } else { "the processor: " };
    assert!(ok && detail.contains(expected), "{detail}");
    let (ok, detail) = device("device = \"cpu\"");
    assert!(ok && detail == "\"the processor\"", "{detail}");
    let (ok, detail) = device(&format!("device = \"cuda:{ABSENT}\""));
    assert!(!ok && detail.contains("no cuda:4096 here"), "{detail}");
}

/// The driver's functions are called in the library that the loader finds, here one that stands for it; those that candle
/// calls too.
#[test]
fn the_driver_is_found_when_the_program_starts() {
    let sandbox = Sandbox::with_manifest(FRAME);
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/program/driver.c");
    let library = sandbox.join("libcuda.so.1");
    let mut compiler = Command::new("cc");
    compiler
        .args(["-shared", "-fPIC", "-o"])
        .arg(&library)
        .arg(source);
    assert!(compiler.status().expect("a C compiler").success());
    let run = |arguments: &[&str]| {
        let others = std::env::var("LD_LIBRARY_PATH").unwrap_or_default();
        let libraries = format!("{}:{others}", sandbox.path().display());
        let mut command = sandbox.command(arguments);
        command.env_remove("CUDA_VISIBLE_DEVICES");
        command
            .env("LD_LIBRARY_PATH", libraries)
            .output()
            .expect("the program")
    };
    let run_on = |gpus: &str| {
        run(&[
            "run",
            "--manifest",
            "manifest.toml",
            "--output",
            "out",
            "--gpus",
            gpus,
        ])
    };
    let text = stderr(&run_on("0,1"));
    assert!(
        text.contains("--gpus: there is no GPU 1; the last is 0"),
        "{text}"
    );
    assert!(!stderr(&run_on("0")).contains("--gpus"));

    let checks = stdout(&run(&["doctor", "--manifest", "manifest.toml"]));
    let found = match cfg!(feature = "cuda") {
        true => "cuda:0, A GPU of C, 24.0 GB",
        false => "the processor: laioncele was built without CUDA",
    };
    assert!(checks.contains(found), "{checks}");
    if cfg!(feature = "cuda") {
        let folder = sandbox.join("mini/sdxl-mini");
        let folder = folder.to_string_lossy();
        let ended = run(&[
            "generate", "--model", &folder, "--prompt", "a person", "--device", "cuda:0",
        ]);
        let text = stderr(&ended);
        assert_eq!(ended.status.code(), Some(3), "{text}");
        assert!(
            text.contains("CUDA_ERROR_OUT_OF_MEMORY, \"what the driver says\""),
            "{text}"
        );
    }
}
