//! Drawing people: with a published encoder instead of a run, what images say of themselves and what they never replace,
//! mixtures, people whom there never was, and sheets.

mod face_crop;
mod people;
mod sheets;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use safetensors::SafeTensors;
use serde_json::Value;

use crate::sandbox::{Sandbox, program, stderr, stdout};
use crate::test_run::TestRun;

fn repository(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

fn tiny() -> String {
    let folder = repository("models/clip/tests/fixtures/tiny-a/model");
    folder.to_string_lossy().into_owned()
}

fn mini() -> String {
    let folder = repository("manifests/mini/sdxl-mini");
    folder.to_string_lossy().into_owned()
}

/// Photos of people whom no network has seen, sorted by name.
fn references() -> Vec<PathBuf> {
    let folder = fs::read_dir(repository("manifests/mini/references")).expect("references");
    let mut files: Vec<PathBuf> = folder.map(|e| e.expect("an entry").path()).collect();
    files.sort();
    files
}

/// Runs the program in `folder`.
fn run_in(folder: &Path, arguments: &[&str]) -> Output {
    let mut command = Command::new(program());
    command.args(arguments).current_dir(folder);
    command.env_remove("RUST_LOG").stdin(Stdio::null());
    let library = repository(".onnxruntime/libonnxruntime.so");
    if library.exists() {
        command.env("ORT_DYLIB_PATH", library);
    }
    command.output().expect("the program")
}

/// As [`run_in`]; it must succeed.
fn done(folder: &Path, arguments: &[&str]) -> Output {
    let ended = run_in(folder, arguments);
    assert!(ended.status.success(), "{arguments:?}: {}", stderr(&ended));
    ended
}

/// As [`run_in`]; it must fail with `exit` and say each of `words`.
fn refused(folder: &Path, arguments: &[&str], exit: i32, words: &[&str]) {
    let ended = run_in(folder, arguments);
    let text = stderr(&ended);
    assert_eq!(ended.status.code(), Some(exit), "{arguments:?}: {text}");
    for words in words {
        assert!(text.contains(words), "no `{words}` in {text}");
    }
}

fn pixels(path: &Path) -> image::RgbImage {
    image::open(path).expect("an image").into_rgb8()
}

/// The texts of a PNG file, by key.
fn texts(path: &Path) -> BTreeMap<String, String> {
    let bytes = fs::read(path).expect("a file");
    let (mut texts, mut at) = (BTreeMap::new(), 8);
    while at + 8 <= bytes.len() {
        let length = u32::from_be_bytes(bytes[at..at + 4].try_into().expect("four")) as usize;
        let data = &bytes[at + 8..at + 8 + length];
        if &bytes[at + 4..at + 8] == b"tEXt" {
            let end = data.iter().position(|b| *b == 0).expect("a keyword");
            let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
            texts.insert(text(&data[..end]), text(&data[end + 1..]));
        }
        at += 12 + length;
    }
    texts
}

fn about(path: &Path) -> Value {
    serde_json::from_str(&texts(path)["laioncele"]).expect("JSON")
}

/// A finished run, its encoder exported into a folder of its own.
struct Exported {
    world: TestRun,
    folder: tempfile::TempDir,
}

impl Exported {
    fn new() -> Self {
        let world = TestRun::finished(1);
        let folder = tempfile::tempdir().expect("a folder");
        let mut command = world.alone(&["encoder", "export"], "output");
        let ended = command.arg(folder.path().join("encoder")).output();
        let ended = ended.expect("the program");
        assert!(ended.status.success(), "{}", stderr(&ended));
        Self { world, folder }
    }

    fn path(&self) -> &Path {
        self.folder.path()
    }

    fn output(&self) -> String {
        self.world.join("output").to_string_lossy().into_owned()
    }
}

/// The run's settings of its samples, as arguments.
const SETTINGS: [&str; 10] = [
    "--scheduler",
    "ddim",
    "--steps",
    "4",
    "--guidance",
    "2.5",
    "--width",
    "128",
    "--height",
    "128",
];

fn name_of(path: &Path) -> Vec<u8> {
    let bytes = fs::read(path).expect("a file");
    let file = SafeTensors::deserialize(&bytes).expect("tensors");
    file.tensor("name_embedding")
        .expect("a name")
        .data()
        .to_vec()
}

/// A photo and the exported folder give the run's own image, without the run.
#[test]
fn an_exported_encoder_draws_as_its_run() {
    let exported = Exported::new();
    let photo = references()[0].to_string_lossy().into_owned();
    let (output, model) = (exported.output(), mini());
    let by_run = [
        "generate",
        &photo,
        "--output",
        &output,
        "--steps",
        "4",
        "--guidance",
        "2.5",
    ];
    done(exported.path(), &[&by_run[..], &["--into", "run"]].concat());
    let folder = [
        "generate",
        &photo,
        "--encoder",
        "encoder",
        "--model",
        &model,
        "--into",
        "alone",
    ];
    done(exported.path(), &[&folder[..], &SETTINGS].concat());
    let [run, alone] =
        ["run", "alone"].map(|into| exported.path().join(into).join("prompt-00-seed-0.png"));
    assert_eq!(pixels(&run), pixels(&alone));
    let (run, alone) = (about(&run), about(&alone));
    for key in [
        "prompt",
        "person",
        "seed",
        "steps",
        "scheduler",
        "delta",
        "eta",
        "width",
    ] {
        assert_eq!(run[key], alone[key], "{key}");
    }
    // Names need no SDXL at all.
    done(
        exported.path(),
        &[
            "names",
            "export",
            &photo,
            "--output",
            &output,
            "--to",
            "run.safetensors",
        ],
    );
    let (first, second) = (
        format!("{model}/image_encoder"),
        format!("{model}/image_encoder_2"),
    );
    let export = [
        "names",
        "export",
        &photo,
        "--encoder",
        "encoder",
        "--to",
        "alone.safetensors",
    ];
    refused(
        exported.path(),
        &export,
        2,
        &["CLIP image encoders", "--clip"],
    );
    done(
        exported.path(),
        &[&export[..], &["--clip", &first, &second]].concat(),
    );
    let names =
        ["run", "alone"].map(|name| name_of(&exported.path().join(format!("{name}.safetensors"))));
    assert_eq!(names[0], names[1]);
    // Swapped, they are others than those of the training.
    let swapped = [&export[..], &["--force", "--clip", &second, &first]].concat();
    let ended = run_in(exported.path(), &swapped);
    assert!(
        stderr(&ended).contains("byte by byte"),
        "{}",
        stderr(&ended)
    );
}

#[test]
fn what_an_encoder_lacks_is_said() {
    let exported = Exported::new();
    let folder = exported.path();
    let photo = references()[0].to_string_lossy().into_owned();
    let (model, other) = (mini(), tiny());
    refused(
        folder,
        &["generate", &photo, "--model", &model],
        2,
        &["--encoder"],
    );
    refused(
        folder,
        &["generate", &photo, "--encoder", "encoder"],
        2,
        &["--model"],
    );
    refused(
        folder,
        &[
            "generate",
            &photo,
            "--encoder",
            "encoder",
            "--model",
            &other,
        ],
        2,
        &["72", "128", "another model"],
    );
    refused(
        folder,
        &[
            "generate",
            &photo,
            "--encoder",
            "nowhere",
            "--model",
            &model,
        ],
        3,
        &["nowhere/encoder.json"],
    );
    fs::write(folder.join("encoder/inference.json"), "{}").expect("written");
    refused(
        folder,
        &[
            "generate",
            &photo,
            "--encoder",
            "encoder",
            "--model",
            &model,
        ],
        3,
        &["inference.json"],
    );
    fs::remove_file(folder.join("encoder/name_mean.safetensors")).expect("removed");
    refused(
        folder,
        &[
            "generate",
            &photo,
            "--encoder",
            "encoder",
            "--model",
            &model,
        ],
        3,
        &["name_mean.safetensors"],
    );
}

/// An image of somebody else stays, the same request may be drawn again.
#[test]
fn images_are_not_replaced_in_silence() {
    let sandbox = Sandbox::new();
    let model = tiny();
    let generate = ["generate", "--model", &model, "--steps", "1"];
    let anna = [&generate[..], &["--name", "Anna Weber"]].concat();
    let berta = [&generate[..], &["--name", "Berta Weber"]].concat();
    done(sandbox.path(), &anna);
    let file = sandbox.join("generated/prompt-00-seed-0.png");
    let first = fs::read(&file).expect("an image");
    done(sandbox.path(), &anna);
    assert_eq!(fs::read(&file).expect("an image"), first);
    refused(
        sandbox.path(),
        &berta,
        2,
        &[
            "prompt-00-seed-0.png is there already",
            "Anna Weber",
            "--overwrite",
        ],
    );
    refused(
        sandbox.path(),
        &[&anna[..], &["--guidance", "3"]].concat(),
        2,
        &["other settings"],
    );
    assert_eq!(fs::read(&file).expect("an image"), first);
    done(sandbox.path(), &[&berta[..], &["--overwrite"]].concat());
    assert_eq!(about(&file)["person"]["name"], "Berta Weber");
    // What says nothing of itself is somebody's own.
    fs::write(&file, b"a drawing").expect("written");
    refused(sandbox.path(), &berta, 2, &["does not say what it shows"]);
    assert_eq!(fs::read(&file).expect("a file"), b"a drawing");
}

#[test]
fn images_say_how_they_were_made() {
    let sandbox = Sandbox::new();
    let model = tiny();
    let lora = repository("models/sdxl/tests/fixtures/variants/lora/kohya.safetensors");
    let lora = format!("{}:0.5", lora.display());
    done(
        sandbox.path(),
        &[
            "generate",
            "--model",
            &model,
            "--steps",
            "2",
            "--name",
            "Zoë Weber",
            "--negative-prompt",
            "blurry",
            "--scheduler",
            "euler",
            "--seed",
            "9",
            "--guidance",
            "4.5",
            "--lora",
            &lora,
        ],
    );
    let file = sandbox.join("generated/prompt-00-seed-9.png");
    let said = about(&file);
    assert_eq!(said["seed"], 9);
    assert_eq!(said["scheduler"], "euler");
    assert_eq!(said["negative_prompt"], "blurry");
    assert_eq!(said["width"], pixels(&file).width());
    let parts: Vec<&str> = (said["models"].as_array().expect("models").iter())
        .filter_map(|model| model["part"].as_str())
        .collect();
    for part in [
        "sdxl.unet",
        "sdxl.vae",
        "sdxl.text_encoder_2",
        "sdxl.lora.kohya.safetensors@0.5",
    ] {
        assert!(parts.contains(&part), "{parts:?}");
    }
    let parameters = &texts(&file)["parameters"];
    for line in [
        "Negative prompt: blurry",
        "Steps: 2, Sampler: Euler, CFG scale: 4.5, Seed: 9, Size: ",
    ] {
        assert!(parameters.contains(line), "{parameters}");
    }
    // No folder of this machine is in the file.
    let whole = fs::read(&file).expect("a file");
    let whole = String::from_utf8_lossy(&whole);
    for private in [
        env!("CARGO_MANIFEST_DIR"),
        &*sandbox.path().to_string_lossy(),
    ] {
        assert!(!whole.contains(private), "{private}");
    }
}

/// On a terminal a bar tells images and steps; a pipe and `-q` get none of it.
#[test]
fn progress_is_for_terminals() {
    if Command::new("script").arg("--version").output().is_err() {
        eprintln!("skipped: there is no `script`, which gives the program a terminal");
        return;
    }
    let sandbox = Sandbox::new();
    let draw = |more: &str| {
        format!(
            "{} generate --model {} --steps 20 --images 4 --overwrite {more}",
            program(),
            tiny()
        )
    };
    let shown = |line: &str| {
        let mut command = Command::new("script");
        command
            .args(["-qec", line, "/dev/null"])
            .current_dir(sandbox.path());
        let ended = command.stdin(Stdio::null()).output().expect("script");
        assert!(ended.status.success(), "{}", stdout(&ended));
        stdout(&ended)
    };
    let bar = shown(&draw(""));
    assert!(
        bar.contains("drawing") && bar.contains("of 4 images, step"),
        "{bar}"
    );
    let quiet = shown(&draw("-q"));
    assert!(!quiet.contains("of 4 images"), "{quiet}");
    let model = tiny();
    let piped = done(
        sandbox.path(),
        &[
            "generate",
            "--model",
            &model,
            "--steps",
            "3",
            "--images",
            "2",
            "--overwrite",
        ],
    );
    assert_eq!(stderr(&piped), "");
    assert_eq!(stdout(&piped).lines().count(), 2);
}
