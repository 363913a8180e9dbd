//! GPUs that are asked for: on machines with and without them, in programs built with CUDA and without it. C of `emulated/`
//! stands for one, which computes nothing.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::Value;

use crate::sandbox::{FRAME, Sandbox, stderr, stdout};

/// More GPUs than any machine has.
const ABSENT: &str = "4096";

fn generate(device: &str) -> Output {
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
    let ended = generate(&format!("cuda:{ABSENT}"));
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
    let ended = generate("auto");
    let text = stderr(&ended);
    assert!(ended.status.success(), "{text}");
    let without = cfg!(feature = "cuda") && laioncele_nn::gpus().is_err();
    assert_eq!(
        text.contains("computing on the processor"),
        without,
        "{text}"
    );
    let ended = generate("cpu");
    assert!(ended.status.success() && !stderr(&ended).contains("processor"));
}

fn run_on(gpus: &str) -> [&str; 7] {
    [
        "run",
        "--manifest",
        "manifest.toml",
        "--output",
        "out",
        "--gpus",
        gpus,
    ]
}

#[test]
fn a_run_on_gpus_that_are_not_there_does_not_begin() {
    let sandbox = Sandbox::with_captions(FRAME, &[b"A caption"]);
    let ended = sandbox.run(&run_on(ABSENT));
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
    let gpu = cfg!(feature = "cuda") && laioncele_nn::gpus().is_ok();
    let expected = if gpu { "cuda:0, " } else { "the processor: " };
    assert!(ok && detail.contains(expected), "{detail}");
    let (ok, detail) = device("device = \"cpu\"");
    assert!(ok && detail == "\"the processor\"", "{detail}");
    let (ok, detail) = device(&format!("device = \"cuda:{ABSENT}\""));
    assert!(!ok && detail.contains("no cuda:4096 here"), "{detail}");
}

/// What stands for a GPU: a folder with `libcuda.so.1` and the libraries that a program built with cuDNN is linked with.
fn emulated(sandbox: &Sandbox) -> PathBuf {
    let folder = sandbox.join("emulated");
    std::fs::create_dir(&folder).expect("a folder");
    let sources = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/program/emulated");
    let libraries = [
        "libcublas.so.12",
        "libcublas.so.13",
        "libcudnn.so.9",
        "libcurand.so.10",
    ];
    let libraries = libraries.map(|library| (library, "libraries.c"));
    for (library, source) in [("libcuda.so.1", "gpu.c")].into_iter().chain(libraries) {
        let mut compiler = Command::new("cc");
        compiler.args(["-shared", "-fPIC", "-pthread", "-o"]);
        compiler.arg(folder.join(library)).arg(sources.join(source));
        assert!(compiler.status().expect("a C compiler").success());
    }
    folder
}

fn run_emulated(
    sandbox: &Sandbox,
    libraries: &Path,
    memory: Option<u64>,
    arguments: &[&str],
) -> Output {
    let others = std::env::var("LD_LIBRARY_PATH").unwrap_or_default();
    let mut command = sandbox.command(arguments);
    command.env("RUST_BACKTRACE", "0");
    command.env(
        "LD_LIBRARY_PATH",
        format!("{}:{others}", libraries.display()),
    );
    command.env("EMULATED_REPORT", "1");
    command.envs(memory.map(|bytes| ("EMULATED_MEMORY", bytes.to_string())));
    command.output().expect("the program")
}

#[test]
fn the_driver_is_found_when_the_program_starts() {
    let sandbox = Sandbox::with_captions(FRAME, &[b"A caption"]);
    let libraries = emulated(&sandbox);
    let run = |arguments: &[&str]| run_emulated(&sandbox, &libraries, None, arguments);
    let text = stderr(&run(&run_on("0,1")));
    assert!(
        text.contains("--gpus: there is no GPU 1; the last is 0"),
        "{text}"
    );
    let text = stderr(&run(&run_on("0")));
    assert!(!text.contains("there is no GPU"), "{text}");
    let built_without = text.contains("--gpus: laioncele was built without CUDA");
    assert_eq!(built_without, !cfg!(feature = "cuda"), "{text}");
    let checks = stdout(&run(&["doctor", "--manifest", "manifest.toml"]));
    let found = match cfg!(feature = "cuda") {
        true => "cuda:0, Emulated GPU, 24.00 GB",
        false => "the processor: laioncele was built without CUDA",
    };
    assert!(checks.contains(found), "{checks}");
}

/// What the emulated GPU says that it was asked for.
#[cfg(feature = "cudnn")]
fn reported(text: &str, what: &str) -> u64 {
    let report = text.lines().find(|line| line.starts_with("emulated: peak"));
    let mut words = report
        .unwrap_or_else(|| panic!("no report in {text}"))
        .split(' ');
    words.find(|word| *word == what);
    words
        .next()
        .and_then(|number| number.parse().ok())
        .expect("a number")
}

/// The processor's half of generation on a GPU: every kernel that is asked for exists in each type, products and convolutions
/// stay within their tensors and have the sums that they should, all memory is freed, and no event is made for a tensor.
#[cfg(feature = "cudnn")]
#[test]
fn an_emulated_gpu_is_asked_for_what_there_is() {
    let sandbox = Sandbox::new();
    let libraries = emulated(&sandbox);
    let folder = sandbox.join("mini/sdxl-mini");
    let folder = folder.to_string_lossy();
    let draw = |memory, precision: &str, images: &str| {
        let arguments = [
            "generate",
            "--model",
            &folder,
            "--name",
            "Mira Castellan",
            "--prompt",
            "a person",
            "--steps",
            "2",
            "--width",
            "64",
            "--height",
            "64",
            "--device",
            "cuda:0",
            "--batch",
            "8",
            "--images",
            images,
            "--precision",
            precision,
            "--overwrite",
        ];
        let ended = run_emulated(&sandbox, &libraries, memory, &arguments);
        (ended.status.code(), stderr(&ended))
    };
    for precision in ["f32", "bf16", "f16"] {
        // Two batches, so that the first is decoded beside the second.
        let (code, text) = draw(None, precision, "12");
        assert_eq!(code, Some(0), "{text}");
        for what in ["launches", "products", "convolutions"] {
            assert!(reported(&text, what) > 0, "{text}");
        }
        assert_eq!(
            (reported(&text, "held"), reported(&text, "events")),
            (0, 0),
            "{text}"
        );
    }
    let peak = |images| reported(&draw(None, "f32", images).1, "peak");
    let (of_eight, of_one) = (peak("8"), peak("1"));
    let (code, text) = draw(Some(of_eight - 100_000), "f32", "8");
    assert_eq!(code, Some(0), "{text}");
    assert_eq!(text.matches("going on with 4").count(), 1, "{text}");
    let (code, text) = draw(Some(of_one - 100_000), "f32", "8");
    assert_eq!(code, Some(3), "{text}");
    assert!(
        text.contains("going on with 4") && text.contains("out of memory with 4 at once"),
        "{text}"
    );
    let (code, text) = draw(Some(10_000_000), "f32", "1");
    assert_eq!(code, Some(3), "{text}");
    assert!(
        text.contains("does not fit") && text.contains("out of emulated memory"),
        "{text}"
    );
}
