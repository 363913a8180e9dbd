//! `laioncele finetune` with the embedded world's models: killed trainings end with the bytes of
//! undisturbed ones, what must not be trained on is refused, what is written is read again.

mod data;

use std::fs;
use std::path::Path;
use std::process::Output;

use laioncele_inference::testing::{memorizing_encoder, name_rows};
use safetensors::SafeTensors;
use serde_json::Value;

use crate::sandbox::{FRAME, Sandbox, stderr, stdout};

/// A small training.
const SETTINGS: &str = "\n[finetune]\nsteps = 6\nbatch = 2\nrank = 2\nresolution = 64\n\
                        learning_rate = 1e-3\ncheckpoint_every = 2\nnull_text_probability = 0.3\n\
                        noise_offset = 0.1\nflip = true\ncrop = \"random\"\n";

const LORA: &str = "pytorch_lora_weights.safetensors";

/// Photos of four invented people, two of one of them, one with a caption, one picture without a
/// face and one file that is no picture; a name encoder.
fn sandbox(settings: &str) -> Sandbox {
    let sandbox = Sandbox::with_manifest(&format!("{FRAME}{settings}")).with_runtime();
    let photos = Path::new(env!("CARGO_MANIFEST_DIR")).join("manifests/mini/references");
    for (from, to) in [
        ("unseen-00.jpg", "photos/Ada Brook/1.jpg"),
        ("unseen-01.jpg", "photos/Bea Crane/1.jpg"),
        ("unseen-02.jpg", "photos/Cyd Drake/1.jpg"),
        ("unseen-03.jpg", "photos/Dov Ember/1.jpg"),
    ] {
        sandbox.write(to, fs::read(photos.join(from)).expect("a photo"));
    }
    sandbox.write("photos/Ada Brook/1.txt", "Ada Brook smiles at the camera\n");
    let gray = image::RgbImage::from_pixel(80, 64, image::Rgb([127, 127, 127]));
    gray.save(sandbox.join("photos/Ada Brook/2.png"))
        .expect("a picture");
    sandbox.write("photos/Bea Crane/2.jpg", "no picture");
    let names = name_rows().expect("names");
    let files = memorizing_encoder(&names[0])
        .to_bytes()
        .expect("an encoder");
    sandbox.write("encoder/encoder.json", files.config);
    sandbox.write("encoder/encoder.safetensors", files.weights);
    sandbox
}

fn arguments<'a>(what: &'a str, into: &'a str, more: &[&'a str]) -> Vec<&'a str> {
    let common = [
        "finetune",
        "--manifest",
        "manifest.toml",
        "--encoder",
        "encoder",
        "--dataset",
        "photos",
        "--json",
        "--what",
        what,
        "--into",
        into,
    ];
    [&common[..], more].concat()
}

fn finetune(sandbox: &Sandbox, what: &str, into: &str, more: &[&str]) -> Output {
    sandbox.run(&arguments(what, into, more))
}

fn trained(sandbox: &Sandbox, what: &str, into: &str, more: &[&str]) -> Value {
    let ended = finetune(sandbox, what, into, more);
    assert!(ended.status.success(), "{}", stderr(&ended));
    serde_json::from_str(&stdout(&ended)).expect("a card")
}

fn bytes(sandbox: &Sandbox, path: &str) -> Vec<u8> {
    fs::read(sandbox.join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// Between steps, before a checkpoint and after it; then undisturbed to the end.
#[test]
fn a_training_killed_anywhere_ends_with_the_same_bytes() {
    let sandbox = sandbox(SETTINGS);
    trained(&sandbox, "lora", "straight", &[]);
    for fault in [
        "step.finetune+1=kill",
        "step.finetune+3=kill",
        "checkpoint.finetune+1=kill",
        "checkpoint-written.finetune=kill",
    ] {
        let mut command = sandbox.command(&arguments("lora", "killed", &[]));
        let ended = command
            .env("LAIONCELE_FAULT", fault)
            .output()
            .expect("the program");
        assert_eq!(ended.status.code(), None, "{fault}: {}", stderr(&ended));
    }
    trained(&sandbox, "lora", "killed", &[]);
    for file in [LORA, "losses.csv", "checkpoints/step-00000006.safetensors"] {
        let both = ["straight", "killed"].map(|into| bytes(&sandbox, &format!("{into}/{file}")));
        assert!(both[0] == both[1], "{file} differs");
    }
    let kept = fs::read_dir(sandbox.join("killed/checkpoints")).expect("checkpoints");
    assert_eq!(kept.count(), 2);
    // More steps go on where fewer ended.
    let more = trained(&sandbox, "lora", "killed", &["--steps", "8"]);
    assert_eq!(more["steps"], 8);
    trained(&sandbox, "lora", "longer", &["--steps", "8"]);
    let both = ["killed", "longer"].map(|into| bytes(&sandbox, &format!("{into}/{LORA}")));
    assert!(both[0] == both[1]);
}

/// A checkpoint that is cut off gives way to the one before it.
#[test]
fn a_damaged_checkpoint_gives_way_to_the_one_before() {
    let sandbox = sandbox(SETTINGS);
    trained(&sandbox, "lora", "out", &[]);
    let expected = bytes(&sandbox, &format!("out/{LORA}"));
    let last = sandbox.join("out/checkpoints/step-00000006.safetensors");
    let whole = fs::read(&last).expect("a checkpoint");
    fs::write(&last, &whole[..whole.len() / 2]).expect("written");
    let ended = finetune(&sandbox, "lora", "out", &[]);
    assert!(ended.status.success(), "{}", stderr(&ended));
    assert!(
        stderr(&ended).contains("step-00000006"),
        "{}",
        stderr(&ended)
    );
    assert!(bytes(&sandbox, &format!("out/{LORA}")) == expected);
    assert!(fs::read(&last).expect("a checkpoint") == whole);
}

#[test]
fn the_card_counts_photos_and_says_what_was_made() {
    let sandbox = sandbox(SETTINGS);
    let card = trained(&sandbox, "lora", "out", &["--for", "webui"]);
    let on_disk: Value = serde_json::from_slice(&bytes(&sandbox, "out/card.json")).expect("JSON");
    assert_eq!(card, on_disk);
    assert_eq!(card["people"], 4);
    assert_eq!(card["photos"], 4);
    assert_eq!(
        card["skipped"],
        serde_json::json!({ "no_face": 1, "not_an_image": 1 })
    );
    assert_eq!(card["captions_with_name"], 1);
    assert_eq!(card["steps"], 6);
    assert_eq!(card["settings"]["rank"], 2);
    for made_from in [
        "data_set",
        "models.sdxl.unet",
        "encoder.encoder.safetensors",
    ] {
        let digest = card["made_from"][made_from].as_str().expect("a digest");
        assert_eq!(digest.len(), 64, "{made_from}");
    }
    let lora = bytes(&sandbox, &format!("out/{LORA}"));
    let lora = SafeTensors::deserialize(&lora).expect("safetensors");
    let webui = bytes(&sandbox, "out/lora-webui.safetensors");
    let webui = SafeTensors::deserialize(&webui).expect("safetensors");
    assert_eq!(lora.len() / 2 * 3, webui.len());
    let numbers: usize = lora
        .tensors()
        .iter()
        .map(|(_, t)| t.shape().iter().product::<usize>())
        .sum();
    assert_eq!(card["parameters"], numbers);
    let lines = bytes(&sandbox, "out/examples/examples.jsonl");
    let lines = String::from_utf8_lossy(&lines).into_owned();
    assert!(lines.contains("a person smiles at the camera"), "{lines}");
    assert!(!lines.contains("Ada Brook smiles"), "{lines}");
    let losses = bytes(&sandbox, "out/losses.csv");
    assert_eq!(String::from_utf8_lossy(&losses).lines().count(), 7);
}

/// The folder of a whole U-Net is what `generate --unet` takes, and its pictures are others.
#[test]
fn a_tuned_unet_generates_other_images() {
    let sandbox = sandbox(SETTINGS);
    let card = trained(
        &sandbox,
        "unet",
        "out",
        &["--steps", "2", "--save-as", "f32"],
    );
    assert_eq!(card["what"], "unet");
    let generate = |into: &str, more: &[&str]| {
        let common = [
            "generate",
            "--model",
            "mini/sdxl-mini",
            "--steps",
            "2",
            "--height",
            "64",
            "--width",
            "64",
            "--into",
            into,
        ];
        let ended = sandbox.run(&[&common[..], more].concat());
        assert!(ended.status.success(), "{}", stderr(&ended));
        image::open(sandbox.join(stdout(&ended).trim()))
            .expect("an image")
            .to_rgb8()
    };
    let (plain, tuned) = (
        generate("plain", &[]),
        generate("tuned", &["--unet", "out/unet"]),
    );
    assert_eq!(plain.dimensions(), tuned.dimensions());
    assert!(plain != tuned);
}

#[test]
fn another_training_in_the_folder_is_refused_by_what_differs() {
    let sandbox = sandbox(SETTINGS);
    trained(&sandbox, "lora", "out", &["--steps", "2"]);
    let before = bytes(&sandbox, &format!("out/{LORA}"));
    insta::assert_snapshot!(sandbox.show(&arguments("lora", "out", &["--batch", "3"])));
    assert!(bytes(&sandbox, &format!("out/{LORA}")) == before);
    // Its checkpoint in a folder of its own is refused too.
    fs::create_dir_all(sandbox.join("other/checkpoints")).expect("a folder");
    let checkpoint = "checkpoints/step-00000002.safetensors";
    fs::copy(
        sandbox.join("out").join(checkpoint),
        sandbox.join("other").join(checkpoint),
    )
    .expect("copied");
    insta::assert_snapshot!(sandbox.show(&arguments("lora", "other", &["--batch", "3"])));
}

#[test]
fn people_of_the_evaluation_are_refused_by_name_and_by_face() {
    let sandbox = sandbox(SETTINGS);
    let photo = |from: &str, to: &str| sandbox.write(to, bytes(&sandbox, from));
    photo("photos/Cyd Drake/1.jpg", "evaluation/bea-crane.jpg");
    photo("photos/Dov Ember/1.jpg", "evaluation/Somebody Else.jpg");
    let more = ["--evaluation-people", "evaluation"];
    insta::assert_snapshot!(sandbox.show(&arguments("lora", "out", &more)));
    assert!(!sandbox.join("out").join(LORA).exists());
}

#[test]
fn what_is_no_data_set_is_named() {
    let sandbox = sandbox(SETTINGS);
    fs::create_dir(sandbox.join("empty")).expect("a folder");
    let mut arguments = arguments("lora", "out", &[]);
    arguments[6] = "empty";
    insta::assert_snapshot!(sandbox.show(&arguments));
}

#[test]
fn a_run_without_an_encoder_is_told_what_is_missing() {
    let sandbox = sandbox(SETTINGS);
    fs::remove_dir_all(sandbox.join("encoder")).expect("it was there");
    insta::assert_snapshot!(sandbox.show(&arguments("lora", "out", &[])));
}
