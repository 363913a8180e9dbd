//! Drawing people: with a published encoder instead of a run, what images say of themselves and what they never replace,
//! mixtures, people whom there never was, and sheets.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use safetensors::SafeTensors;
use serde_json::Value;

use crate::sandbox::{FRAME, Sandbox, program, stderr, stdout};
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

/// Two people in a folder are refused with their files; names that nobody knows get a word.
#[test]
fn several_people_and_unknown_names_get_a_word() {
    let exported = Exported::new();
    let output = exported.output();
    let folder = exported.path().join("people");
    fs::create_dir(&folder).expect("a folder");
    let references = references();
    for (from, to) in [(0, "a.jpg"), (0, "b.jpg"), (1, "c.jpg")] {
        fs::copy(&references[from], folder.join(to)).expect("copied");
    }
    let generate = ["generate", "people", "--output", &output, "--steps", "1"];
    refused(
        exported.path(),
        &generate,
        2,
        &[
            "people shows 2 people",
            "a.jpg, b.jpg | c.jpg",
            "--allow-several",
        ],
    );
    done(
        exported.path(),
        &[&generate[..], &["--allow-several"]].concat(),
    );
    // One person's photos are fine.
    fs::remove_file(folder.join("c.jpg")).expect("removed");
    done(
        exported.path(),
        &[&generate[..], &["--into", "one"]].concat(),
    );
    let draw = |name: &str, into: &str| {
        let name = format!("name:{name}");
        let arguments = [
            "generate", &name, "--output", &output, "--steps", "1", "--into", into,
        ];
        stderr(&done(exported.path(), &arguments))
    };
    let said = draw("Nobody Atall", "unknown");
    assert!(
        said.contains("never shown to know `Nobody Atall`"),
        "{said}"
    );
    let known = exported.world.join("output/laioncele");
    let known = fs::read_dir(known).expect("a dataset");
    let known = known.map(|e| e.expect("an entry").path());
    let mut known = known.filter(|path| path.extension().is_some_and(|e| e == "parquet"));
    let known =
        crate::tables::Table::read(&known.next().expect("a shard"), &["name"]).texts("name");
    assert_eq!(draw(&known[0], "known"), "");
    let model = mini();
    let alone = [
        "generate",
        "--model",
        &model,
        "--name",
        "Mira Castellan",
        "--steps",
        "1",
        "--into",
        "alone",
    ];
    let said = stderr(&done(exported.path(), &alone));
    assert!(said.contains("cannot be told without a run"), "{said}");
}

#[test]
fn somebody_fictional_is_the_same_again() {
    let exported = Exported::new();
    let (folder, output, model) = (exported.path(), exported.output(), mini());
    let run = |seed: &str, into: &str| {
        let name = format!("{into}.safetensors");
        done(
            folder,
            &[
                "generate",
                "--fictional",
                seed,
                "--output",
                &output,
                "--steps",
                "2",
                "--into",
                into,
                "--save-name",
                &name,
            ],
        );
        (
            pixels(&folder.join(into).join("prompt-00-seed-0.png")),
            name_of(&folder.join(name)),
        )
    };
    let (first, again, other) = (run("3", "a"), run("3", "b"), run("4", "c"));
    assert_eq!(first, again);
    assert!(first.0 != other.0 && first.1 != other.1);
    // Kept, the name draws the same person.
    done(
        folder,
        &[
            "generate",
            "name-file:a.safetensors",
            "--output",
            &output,
            "--steps",
            "2",
            "--into",
            "d",
        ],
    );
    assert_eq!(pixels(&folder.join("d/prompt-00-seed-0.png")), first.0);
    refused(
        folder,
        &[
            "generate",
            "--fictional",
            "3",
            "--output",
            &output,
            "--into",
            "e",
            "--save-name",
            "a.safetensors",
        ],
        2,
        &["a.safetensors is there already"],
    );
    // A folder that knows the spread does without the run.
    let alone = [
        "generate",
        "--fictional",
        "3",
        "--encoder",
        "encoder",
        "--model",
        &model,
        "--steps",
        "2",
    ];
    done(folder, &[&alone[..], &["--into", "f"]].concat());
    done(folder, &[&alone[..], &["--into", "g"]].concat());
    let drawn = |into: &str| pixels(&folder.join(into).join("prompt-00-seed-0.png"));
    assert_eq!(drawn("f"), drawn("g"));
    assert_eq!(
        about(&folder.join("f/prompt-00-seed-0.png"))["person"]["fictional"],
        3
    );
    fs::remove_file(folder.join("encoder/name_spread.safetensors")).expect("removed");
    refused(
        folder,
        &alone,
        2,
        &["name_spread.safetensors", "encoder export"],
    );
    refused(
        folder,
        &["generate", "--fictional", "3", "--model", &model],
        2,
        &["--encoder"],
    );
}

/// Ratios, prompts and seeds of one call; each end is the person, and what was kept draws the mixture.
#[test]
fn mixtures_have_ratios_prompts_and_seeds() {
    let exported = Exported::new();
    let (folder, output) = (exported.path(), exported.output());
    let photo = references()[0].to_string_lossy().into_owned();
    done(
        folder,
        &[
            "names",
            "export",
            &photo,
            "--output",
            &output,
            "--to",
            "one.safetensors",
        ],
    );
    let ended = done(
        folder,
        &[
            "interpolate",
            "name-file:one.safetensors",
            "name:Mira Castellan",
            "--output",
            &output,
            "--ratios",
            "0,0.25,1",
            "--seeds",
            "5,6",
            "--prompt",
            "a portrait of a person",
            "--prompt",
            "a person",
            "--steps",
            "2",
            "--into",
            "mix",
            "--save-name",
            "mix.safetensors",
            "--json",
        ],
    );
    let list: Value = serde_json::from_str(&stdout(&ended)).expect("JSON");
    let list = list.as_array().expect("a list");
    assert_eq!(list.len(), 12);
    assert_eq!(
        (&list[1]["share"], &list[1]["seed"]),
        (&Value::from(0.25), &Value::from(5))
    );
    assert_eq!(
        fs::read_dir(folder.join("mix")).expect("a folder").count(),
        12
    );
    let generate = |person: &str, into: &str| {
        done(
            folder,
            &[
                "generate", person, "--output", &output, "--steps", "2", "--seed", "6", "--prompt",
                "a person", "--into", into,
            ],
        );
        pixels(&folder.join(into).join("prompt-00-seed-6.png"))
    };
    let mixed =
        |share: &str| pixels(&folder.join(format!("mix/prompt-01-seed-6-share-{share}.png")));
    assert_eq!(generate("name-file:one.safetensors", "from"), mixed("0"));
    assert_eq!(generate("name:Mira Castellan", "to"), mixed("1"));
    assert_eq!(
        generate("name-file:mix-0.25.safetensors", "between"),
        mixed("0.25")
    );
    assert!(mixed("0.25") != mixed("0") && mixed("0.25") != mixed("1"));
    let said = about(&folder.join("mix/prompt-01-seed-6-share-0.25.png"));
    assert_eq!(said["person"]["to"]["name"], "Mira Castellan");
    assert_eq!(
        said["person"]["from"]["name_file"]["file"],
        "one.safetensors"
    );
    refused(
        folder,
        &["interpolate", "name:A B", "name:C D", "--ratios", "0,1.5"],
        2,
        &["from 0 to 1"],
    );
}

#[test]
fn sheets_show_names_prompts_and_settings() {
    let exported = Exported::new();
    let (folder, output) = (exported.path(), exported.output());
    let photo = references()[0].to_string_lossy().into_owned();
    let disentangle = [
        "sheet",
        "disentangle",
        "name:Mira Castellan",
        &photo,
        "--output",
        &output,
        "--steps",
        "2",
        "--prompt",
        "a portrait of a person",
        "--prompt",
        "a person",
        "--positions",
        "start,end,substitute",
        "--cell",
        "96",
    ];
    let ended = done(folder, &disentangle);
    assert_eq!(stdout(&ended).trim(), "generated/disentangle.png");
    let legend = |name: &str| {
        let text = fs::read(folder.join(format!("generated/{name}.json"))).expect("a legend");
        serde_json::from_slice::<Value>(&text).expect("JSON")
    };
    let said = legend("disentangle");
    assert_eq!(said["images"].as_array().expect("images").len(), 8);
    assert_eq!(said["rows"][0], "Mira Castellan: name before the prompt");
    assert_eq!(said["columns"][1], "a person");
    let naming = |at: usize| said["images"][at]["image"]["naming"].clone();
    // "a person" has two tokens.
    assert_eq!(
        [naming(0), naming(3), naming(4)],
        ["prepend", "at:3", "substitute"]
    );
    let sheet = pixels(&folder.join("generated/disentangle.png"));
    assert!(
        sheet.width() > 2 * 96 && sheet.height() > 4 * 96,
        "{:?}",
        sheet.dimensions()
    );
    // The first image is the one that `generate` draws.
    done(
        folder,
        &[
            "generate",
            "name:Mira Castellan",
            "--output",
            &output,
            "--steps",
            "2",
            "--into",
            "alone",
        ],
    );
    let alone = about(&folder.join("alone/prompt-00-seed-0.png"));
    assert_eq!(said["images"][0]["image"], alone);
    // Another experiment does not replace it, the same may.
    done(folder, &disentangle);
    refused(
        folder,
        &[&disentangle[..], &["--prompt", "a dog"]].concat(),
        2,
        &["disentangle.png is there already"],
    );

    let sweep = [
        "sheet", "sweep", &photo, "--output", &output, "--steps", "2", "--deltas", "1,4", "--etas",
        "10,mean",
    ];
    done(folder, &sweep);
    let said = legend("sweep");
    let settings: Vec<(f64, &Value)> = (said["images"].as_array().expect("images").iter())
        .map(|cell| {
            (
                cell["image"]["delta"].as_f64().expect("a number"),
                &cell["image"]["eta"],
            )
        })
        .collect();
    let (ten, mean) = (Value::from(10.0), Value::from("mean"));
    assert_eq!(
        settings,
        [(1.0, &ten), (1.0, &mean), (4.0, &ten), (4.0, &mean)]
    );
    refused(
        folder,
        &["sheet", "sweep", "name:Mira Castellan", "--output", &output],
        2,
        &["Equations 4 and 5"],
    );
}

/// Each single file with its kind and the rule; a missing one is a missing file.
#[test]
fn doctor_says_what_files_are() {
    let variants = repository("models/sdxl/tests/fixtures/variants");
    let lora = variants.join("lora/kohya.safetensors");
    let lora = format!("[[models.sdxl.lora]]\nfile = \"{}\"\n", lora.display());
    let text = FRAME.replace("[models.face]", &format!("{lora}\n[models.face]"));
    let sandbox = Sandbox::with_manifest(&text);
    let ended = sandbox.run(&["doctor", "--manifest", "manifest.toml"]);
    let lines = stdout(&ended);
    let line = lines.lines().find(|line| line.contains("models.sdxl.lora"));
    let line = line.unwrap_or_else(|| panic!("no line in {lines}"));
    for words in ["a LoRA", "kohya's names", "BLAKE3 "] {
        assert!(line.contains(words), "no `{words}` in {line}");
    }
    let text = FRAME.replace(
        "folder = \"mini/sdxl-mini\"",
        "file = \"nowhere.safetensors\"",
    );
    sandbox.write("manifest.toml", text);
    let ended = sandbox.run(&["doctor", "--manifest", "manifest.toml"]);
    let lines = stdout(&ended);
    assert!(
        lines.contains("nowhere.safetensors: there is no such file"),
        "{lines}"
    );
    refused(
        sandbox.path(),
        &["generate", "--model", "nowhere.safetensors", "--steps", "1"],
        3,
        &["nowhere.safetensors"],
    );
    let ended = sandbox.run(&["generate", "--model", "nowhere.safetensors"]);
    assert!(
        !stderr(&ended).contains("model_index.json"),
        "{}",
        stderr(&ended)
    );
}
