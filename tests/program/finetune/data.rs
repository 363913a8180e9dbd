//! What a fine-tuning is fed: LaionCele as a run publishes it, photos that are none, models that are not whole; and what is
//! left of a training that leaves the finite numbers.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use safetensors::SafeTensors;
use serde_json::Value;

use super::{LORA, SETTINGS, arguments, bytes, finetune, sandbox, trained};
use crate::sandbox::{Sandbox, stderr, stdout};
use crate::test_run::TestRun;

/// The card of a short training on the run's own dataset with the run's own encoder, and the photos' keys.
fn on_the_run(world: &TestRun, into: &str) -> (Value, BTreeSet<String>, BTreeSet<String>) {
    let mut command = world.alone(&["finetune", "--what", "lora", "--json"], "output");
    command.args([
        "--steps",
        "2",
        "--batch",
        "2",
        "--rank",
        "2",
        "--resolution",
        "64",
    ]);
    command.arg("--dataset").arg(world.join("output/laioncele"));
    // Somebody who is like nobody of the dataset; of all references one is.
    let (shown, photo) = (world.join("shown"), "unseen-01.jpg");
    fs::create_dir_all(&shown).expect("a folder");
    let references = Path::new(env!("CARGO_MANIFEST_DIR")).join("manifests/mini/references");
    fs::copy(references.join(photo), shown.join(photo)).expect("copied");
    command.arg("--evaluation-people").arg(shown);
    let ended = command.arg("--into").arg(world.join(into)).output();
    let ended = ended.expect("the program");
    assert!(ended.status.success(), "{}", stderr(&ended));
    let lines = fs::read_to_string(world.join(into).join("examples/examples.jsonl"));
    let lines = lines.expect("examples");
    let (mut keys, mut people) = (BTreeSet::new(), BTreeSet::new());
    for line in lines.lines().skip(1) {
        let line: Value = serde_json::from_str(line).expect("JSON");
        let described = &line["photo"]["described"];
        let text = |value: &Value| value.as_str().map(str::to_owned);
        keys.extend(text(&described["key"]).or_else(|| text(&line["skipped"]["key"])));
        people.extend(text(&described["person"]));
    }
    let card = serde_json::from_str(&stdout(&ended)).expect("a card");
    (card, keys, people)
}

/// As the run publishes it, and in another form: the same photos, but those of the splits that are held back.
#[test]
fn published_shards_are_a_data_set_in_any_form() {
    let folder = tempfile::tempdir().expect("a folder");
    let world = TestRun::copied(folder.path(), 1);
    let (card, keys, people) = on_the_run(&world, "plain");
    let number = |card: &Value, name: &str| card[name].as_u64().expect("a number");
    assert!(number(&card, "people") > 1);
    assert_eq!(number(&card, "people") as usize, people.len());
    assert!(number(&card, "photos") >= 5 * number(&card, "people"));
    // LaionCele's captions name the person; what is trained on does not.
    assert!(number(&card, "captions_with_name") > 0);
    let lines = fs::read_to_string(world.join("plain/examples/examples.jsonl"));
    let lines = lines.expect("examples");
    for line in lines.lines().skip(1) {
        let line: Value = serde_json::from_str(line).expect("JSON");
        let described = &line["photo"]["described"];
        // Somebody else beside the person stays.
        if let (Some(person), Some(caption)) =
            (described["person"].as_str(), described["caption"].as_str())
        {
            assert!(!caption.contains(person), "{person}: {caption}");
        }
    }

    let section = "[pack_shards]\nids = \"text\"\nrepack = true\nvalidation = 0.3\n\
         columns = [\"other_names\", \"faces\", \"landmarks\"]\n\n[train_encoder]";
    world.change_manifest("[train_encoder]", section);
    let mut publish = world.command(&["run", "--json", "--stage", "pack-shards"], "output");
    let ended = publish.output().expect("the program");
    assert!(ended.status.success(), "{}", stderr(&ended));
    let (other, fewer, trained) = on_the_run(&world, "other");
    assert!(fewer.len() < keys.len() && fewer.is_subset(&keys));
    assert!(trained.len() < people.len() && trained.is_subset(&people));
    assert_eq!(number(&other, "photos") as usize, fewer.len());
}

/// Of two faces the more prominent one gives the name: the photo is that person's alone.
#[test]
fn of_two_faces_the_main_one_counts() {
    // These rendered people are alike from 0.4 on.
    let threshold = "\n[verify_images]\nsame_person_photo = 0.8\n";
    let sandbox = sandbox(&format!("{threshold}{SETTINGS}"));
    let open = |name: &str| {
        let photo = image::open(sandbox.join(name)).expect("a photo");
        photo.to_rgb8()
    };
    let (main, other) = (
        open("photos/Ada Brook/1.jpg"),
        open("photos/Bea Crane/1.jpg"),
    );
    let (width, height) = main.dimensions();
    let mut both = image::RgbImage::from_pixel(2 * width, height, image::Rgb([200, 200, 200]));
    image::imageops::overlay(&mut both, &main, 0, 0);
    let small = image::imageops::thumbnail(&other, other.width() / 2, other.height() / 2);
    image::imageops::overlay(&mut both, &small, i64::from(width), i64::from(height / 4));
    fs::remove_dir_all(sandbox.join("photos")).expect("it was there");
    fs::create_dir_all(sandbox.join("photos/Two")).expect("a folder");
    both.save(sandbox.join("photos/Two/both.png"))
        .expect("saved");
    // Both people are refused by face if they are the ones who are trained on.
    let refused = |name: &str, photo: &image::RgbImage| {
        let folder = format!("evaluation-{name}");
        fs::create_dir_all(sandbox.join(&folder)).expect("a folder");
        let file = sandbox.join(&folder).join(format!("{name}.png"));
        photo.save(file).expect("saved");
        let more = [
            "--steps",
            "1",
            "--batch",
            "1",
            "--evaluation-people",
            &folder,
        ];
        let ended = finetune(&sandbox, "lora", &format!("out-{name}"), &more);
        (ended.status.code(), stderr(&ended))
    };
    let (code, text) = refused("ada", &main);
    assert!(code == Some(2) && text.contains("by face: Two"), "{text}");
    let (code, text) = refused("bea", &other);
    assert_eq!(code, Some(0), "{text}");
}

/// The message names the step and the photos; the last good checkpoint is as it was, and nothing else is written.
#[test]
fn a_training_that_diverges_keeps_the_last_checkpoint() {
    let sandbox = sandbox(SETTINGS);
    let more = ["--learning-rate", "1e30", "--checkpoint-every", "1"];
    let ended = finetune(&sandbox, "unet", "out", &more);
    let text = stderr(&ended);
    assert_eq!(ended.status.code(), Some(4), "{text}");
    assert_eq!(
        text.matches("step 2: the loss is not finite").count(),
        1,
        "{text}"
    );
    for words in [
        "the largest |output| NaN",
        "the photos were ",
        "/1.jpg",
        "the last checkpoint is of step 1",
    ] {
        assert!(text.contains(words), "no `{words}` in {text}");
    }
    let left = fs::read_dir(sandbox.join("out/checkpoints")).expect("checkpoints");
    let left: Vec<_> = left
        .map(|entry| entry.expect("an entry").file_name())
        .collect();
    assert_eq!(left, ["step-00000001.safetensors"]);
    let checkpoint = bytes(&sandbox, "out/checkpoints/step-00000001.safetensors");
    assert!(
        !SafeTensors::deserialize(&checkpoint)
            .expect("whole")
            .is_empty()
    );
    for file in ["unet", "card.json"] {
        assert!(!sandbox.join("out").join(file).exists(), "{file}");
    }
    // Again: the same step, from the checkpoint.
    let again = stderr(&finetune(&sandbox, "unet", "out", &more));
    assert!(
        again.contains("goes on from the checkpoint of step 1"),
        "{again}"
    );
    assert!(again.contains("step 2: the loss is not finite"), "{again}");
}

/// `file` with the last number of its largest tensor made infinite.
fn spoil(sandbox: &Sandbox, from: &Path, to: &str) {
    let mut bytes = fs::read(from).expect("weights");
    let at = {
        let file = SafeTensors::deserialize(&bytes).expect("safetensors");
        let tensors = file.tensors();
        let (_, largest) = (tensors.iter())
            .max_by_key(|(_, tensor)| tensor.data().len())
            .expect("a tensor");
        let end = largest.data().as_ptr_range().end;
        end.addr() - bytes.as_ptr().addr()
    };
    // 0x7f.. at the top of a float16 or float32 is no finite number.
    bytes[at - 1] = 0x7f;
    bytes[at - 2] = 0xff;
    sandbox.write(to, bytes);
}

#[test]
fn numbers_that_are_not_finite_are_named() {
    let sandbox = sandbox(SETTINGS);
    let own = Path::new(env!("CARGO_MANIFEST_DIR")).join("manifests/mini/sdxl-mini/unet");
    let file = "diffusion_pytorch_model.safetensors";
    spoil(&sandbox, &own.join(file), &format!("unet/{file}"));
    fs::copy(own.join("config.json"), sandbox.join("unet/config.json")).expect("copied");
    let manifest = fs::read_to_string(sandbox.join("manifest.toml")).expect("a manifest");
    let folder = "folder = \"mini/sdxl-mini\"\n";
    let changed = manifest.replace(folder, &format!("{folder}unet = \"unet\"\n"));
    assert_ne!(changed, manifest);
    sandbox.write("manifest.toml", changed);
    let ended = finetune(&sandbox, "lora", "out", &[]);
    let text = stderr(&ended);
    assert_eq!(ended.status.code(), Some(3), "{text}");
    assert!(
        text.contains("unet/diffusion_pytorch_model.safetensors"),
        "{text}"
    );
    assert!(
        text.contains("not finite") && text.lines().count() <= 10,
        "{text}"
    );
    assert!(!sandbox.join("out").join(LORA).exists());

    sandbox.write("manifest.toml", manifest);
    let encoder = sandbox.join("encoder/encoder.safetensors");
    spoil(&sandbox, &encoder, "encoder/encoder.safetensors");
    let ended = finetune(&sandbox, "lora", "out", &[]);
    let text = stderr(&ended);
    assert_eq!(ended.status.code(), Some(3), "{text}");
    assert!(
        text.contains("finite") && text.lines().count() <= 10,
        "{text}"
    );
}

/// What the encoder's own file says of the crop counts more than the manifest; another margin is refused.
#[test]
fn the_encoder_says_what_it_sees_of_a_photo() {
    let sandbox = sandbox(&format!("\n[train_encoder]\ncrop = \"whole\"\n{SETTINGS}"));
    let crop_of = |into: &str| {
        trained(&sandbox, "lora", into, &["--steps", "1"]);
        let identity = bytes(&sandbox, &format!("{into}/training.json"));
        let identity: Value = serde_json::from_slice(&identity).expect("JSON");
        identity["settings"]["encoder_crop"].clone()
    };
    assert_eq!(crop_of("unsaid"), "whole");
    let config = bytes(&sandbox, "encoder/encoder.json");
    let write = |margin: f64| {
        let mut config: Value = serde_json::from_slice(&config).expect("JSON");
        config["crop"] = serde_json::json!({ "part": "face", "margin": margin });
        sandbox.write("encoder/encoder.json", config.to_string());
    };
    write(f64::from(laioncele_encoder::FACE_MARGIN));
    assert_eq!(crop_of("said"), "face");
    write(9.0);
    let ended = sandbox.run(&arguments("lora", "refused", &[]));
    let text = stderr(&ended);
    assert!(
        text.contains("margin") && ended.status.code() == Some(2),
        "{text}"
    );
}
