//! The paper's manifest as it is, over small models in the layout of the real ones: everything that
//! it leaves unset has a value, and stages 1 to 10 run.
//!
//! The captions, the web and the photos are those of a tiny embedded world. The SDXL is the embedded
//! world's, since a random one knows nobody; it lies in a folder with the files that the real
//! download has, most of which are not read.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Output;

use safetensors::SafeTensors;
use serde_json::{Value, json};

use crate::sandbox::{Sandbox, stderr, stdout};
use crate::test_run::TestRun;

/// What must be otherwise than in the manifest, and why.
const OVERRIDES: [(&str, &str, &str); 15] = [
    // A task per bucket: 4,096 would take minutes.
    ("run", "buckets", "3"),
    // The small models'.
    ("embedding_dims", "name_channels", "128"),
    ("embedding_dims", "features", "128"),
    // Machines with a GPU compute the same.
    ("models.sdxl", "device", "\"cpu\""),
    // The embedded world's photos are small.
    ("extract_names", "min_width", "64"),
    ("extract_names", "min_height", "64"),
    // The mini SDXL's; those of the paper are the real one's.
    ("generate_portraits", "guidance", "3.0"),
    ("generate_portraits", "steps", "20"),
    // Invented faces are more alike than real ones.
    ("verify_portraits", "same_person", "0.60"),
    ("verify_images", "same_person_photo", "0.63"),
    // Some pages of the embedded web never answer.
    ("download_images", "timeout_s", "2.0"),
    ("download_images", "retries", "1"),
    ("download_images", "backoff_s", "0.05"),
    ("download_images", "deadline_s", "4.0"),
    // Where that web is.
    ("mini_world", "web", "\"web.json\""),
];

/// Files of the real folders that are not read: other formats, other variants, parts for other
/// runtimes, what the hub adds.
const NOT_READ: [&str; 24] = [
    "models/stable-diffusion-xl-base-1.0/.gitattributes",
    "models/stable-diffusion-xl-base-1.0/.cache/huggingface/download/vae/config.json.metadata",
    "models/stable-diffusion-xl-base-1.0/LICENSE.md",
    "models/stable-diffusion-xl-base-1.0/README.md",
    "models/stable-diffusion-xl-base-1.0/sd_xl_base_1.0.safetensors",
    "models/stable-diffusion-xl-base-1.0/text_encoder/model.fp16.safetensors",
    "models/stable-diffusion-xl-base-1.0/text_encoder/model.onnx",
    "models/stable-diffusion-xl-base-1.0/text_encoder/openvino_model.bin",
    "models/stable-diffusion-xl-base-1.0/text_encoder_2/flax_model.msgpack",
    "models/stable-diffusion-xl-base-1.0/text_encoder_2/model.fp16.safetensors",
    "models/stable-diffusion-xl-base-1.0/text_encoder_2/model.onnx_data",
    "models/stable-diffusion-xl-base-1.0/unet/diffusion_flax_model.msgpack",
    "models/stable-diffusion-xl-base-1.0/unet/diffusion_pytorch_model.fp16.safetensors",
    "models/stable-diffusion-xl-base-1.0/unet/model.onnx",
    "models/stable-diffusion-xl-base-1.0/unet/model.onnx_data",
    "models/stable-diffusion-xl-base-1.0/vae/diffusion_pytorch_model.fp16.safetensors",
    "models/stable-diffusion-xl-base-1.0/vae_1_0/diffusion_pytorch_model.safetensors",
    "models/stable-diffusion-xl-base-1.0/vae_decoder/model.onnx",
    "models/clip-vit-large-patch14/.gitattributes",
    "models/clip-vit-large-patch14/pytorch_model.bin",
    "models/clip-vit-large-patch14/tf_model.h5",
    "models/clip-vit-bigg-14-laion2b-39b-b160k/README.md",
    "models/clip-vit-bigg-14-laion2b-39b-b160k/open_clip_pytorch_model.bin",
    "models/clip-vit-bigg-14-laion2b-39b-b160k/pytorch_model.bin.index.json",
];

fn repository(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

/// The manifest's text with `key` of `section` set to `value`.
fn set(text: &str, section: &str, key: &str, value: &str) -> String {
    let header = format!("[{section}]");
    let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
    let Some(start) = lines.iter().position(|line| line.trim() == header) else {
        return format!("{text}\n{header}\n{key} = {value}\n");
    };
    let end = lines[start + 1..]
        .iter()
        .position(|line| line.starts_with('['));
    let end = end.map_or(lines.len(), |length| start + 1 + length);
    let is_key = |line: &String| line.split('=').next().is_some_and(|k| k.trim() == key);
    lines[start + 1..end]
        .iter_mut()
        .filter(|line| is_key(line))
        .for_each(String::clear);
    lines.insert(start + 1, format!("{key} = {value}"));
    lines.join("\n") + "\n"
}

fn copy_folder(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("a folder");
    for entry in fs::read_dir(from).expect("a folder").flatten() {
        let (path, copy) = (entry.path(), to.join(entry.file_name()));
        match path.is_dir() {
            true => copy_folder(&path, &copy),
            false => drop(fs::copy(&path, &copy).expect("copied")),
        }
    }
}

fn read_json(path: &Path) -> Value {
    let text = fs::read_to_string(path).expect("a configuration");
    serde_json::from_str(&text).expect("JSON")
}

/// The first image encoder as a whole CLIPModel: its image tower beside a text tower and tokenizer,
/// as the real CLIP ViT-L/14 comes.
fn write_whole_clip(sdxl: &Path, to: &Path) {
    fs::create_dir_all(to).expect("a folder");
    let (image, text) = (sdxl.join("image_encoder"), sdxl.join("text_encoder"));
    let vision = read_json(&image.join("config.json"));
    let config = json!({
        "architectures": ["CLIPModel"],
        "model_type": "clip",
        "projection_dim": vision["projection_dim"],
        "text_config": read_json(&text.join("config.json")),
        "vision_config": vision,
    });
    fs::write(to.join("config.json"), config.to_string()).expect("written");
    let preprocessor = "preprocessor_config.json";
    fs::copy(image.join(preprocessor), to.join(preprocessor)).expect("copied");
    copy_folder(&sdxl.join("tokenizer"), to);
    let read = |folder: &Path| fs::read(folder.join("model.safetensors")).expect("weights");
    let (image, text) = (read(&image), read(&text));
    let scale = 2.66f32.to_le_bytes();
    let mut tensors = BTreeMap::new();
    for (name, view) in SafeTensors::deserialize(&image).expect("weights").tensors() {
        tensors.insert(name, view);
    }
    for (name, view) in SafeTensors::deserialize(&text).expect("weights").tensors() {
        let name = name.trim_start_matches("text_model.").to_owned();
        tensors.insert(format!("text_model.{name}"), view);
    }
    let scale = safetensors::tensor::TensorView::new(safetensors::Dtype::F32, vec![], &scale);
    tensors.insert("logit_scale".to_owned(), scale.expect("a scalar"));
    let file = to.join("model.safetensors");
    safetensors::serialize_to_file(tensors, None, &file).expect("written");
}

/// A folder as `manifests/` is, with the manifest, and what it names in place.
fn prepare(sandbox: &Sandbox) {
    let built = sandbox.join("world");
    TestRun::build(&built, 3);
    let sdxl = repository("manifests/mini/sdxl-mini");
    let models = sandbox.join("models");
    let folder = models.join("stable-diffusion-xl-base-1.0");
    for part in [
        "scheduler",
        "text_encoder",
        "text_encoder_2",
        "tokenizer",
        "tokenizer_2",
        "unet",
        "vae",
    ] {
        copy_folder(&sdxl.join(part), &folder.join(part));
    }
    fs::copy(
        sdxl.join("model_index.json"),
        folder.join("model_index.json"),
    )
    .expect("copied");
    write_whole_clip(&sdxl, &models.join("clip-vit-large-patch14"));
    let second = models.join("clip-vit-bigg-14-laion2b-39b-b160k");
    copy_folder(&sdxl.join("image_encoder_2"), &second);
    for name in NOT_READ {
        sandbox.write(name, "not read");
    }
    for (name, place) in [
        ("laion2b-en", "mini/captions"),
        ("references", "mini/references"),
        ("web.json", "mini/web.json"),
    ] {
        symlink(built.join(place), sandbox.join(name)).expect("a link");
    }
    let text = fs::read_to_string(repository("manifests/laion2b-en.toml")).expect("the manifest");
    let changed = OVERRIDES.iter().fold(text, |text, (section, key, value)| {
        set(&text, section, key, value)
    });
    sandbox.write("laion2b-en.toml", &changed);
}

fn succeeds(ended: Output) -> String {
    assert!(
        ended.status.success(),
        "{}\n{}",
        stdout(&ended),
        stderr(&ended)
    );
    stdout(&ended)
}

/// Step → tasks to run; a step that waits for another has none yet.
fn planned(sandbox: &Sandbox, stages: &str) -> BTreeMap<String, Option<u64>> {
    let arguments = ["plan", "--json", "--stage", stages];
    let arguments = [
        &arguments[..],
        &["--manifest", "laion2b-en.toml", "--output", "out"],
    ];
    let text = succeeds(sandbox.run(&arguments.concat()));
    let steps: Vec<Value> = serde_json::from_str(&text).expect("JSON");
    let entry = |step: &Value| {
        let name = step["step"].as_str().expect("a name").to_owned();
        (name, step["to_run"].as_u64())
    };
    steps.iter().map(entry).collect()
}

#[test]
fn the_papers_manifest_runs_on_folders_like_the_real_ones() {
    let sandbox = Sandbox::new().with_runtime();
    prepare(&sandbox);
    let on = ["--manifest", "laion2b-en.toml"];
    let text = succeeds(sandbox.run(&[&["doctor", "--json"], &on[..]].concat()));
    let checks: Vec<Value> = serde_json::from_str(&text).expect("JSON");
    for name in [
        "models.image_encoders",
        "generate_portraits",
        "generate_samples",
    ] {
        assert!(checks.iter().any(|check| check["check"] == name), "{text}");
    }
    assert!(planned(&sandbox, "all").contains_key("evaluate"));

    let run = [
        &[
            "run",
            "--json",
            "--stage",
            "..pack-shards",
            "--output",
            "out",
        ],
        &on[..],
    ];
    let summary = succeeds(sandbox.run(&run.concat()));
    let summary: Value = serde_json::from_str(&summary).expect("JSON");
    let steps = summary["steps"].as_array().expect("steps");
    assert!(
        steps.iter().all(|step| step["done"] == step["tasks"]),
        "{summary}"
    );
    let files = fs::read_dir(sandbox.join("out/laioncele")).expect("the dataset");
    let names = files.flatten().map(|file| file.file_name());
    let is_shard = |name: &std::ffi::OsString| name.to_string_lossy().starts_with("train-");
    assert!(
        names.filter(is_shard).count() > 0,
        "people are known and have photos"
    );

    only_what_is_read_counts(&sandbox);
    another_part_counts_where_it_is_used(&sandbox);
}

/// Files that are not read may change; a part counts for those who use it.
fn only_what_is_read_counts(sandbox: &Sandbox) {
    for name in NOT_READ {
        sandbox.write(name, "changed");
    }
    assert!(
        planned(sandbox, "..pack-shards")
            .values()
            .all(|n| *n == Some(0))
    );
    let vae = sandbox.join("models/stable-diffusion-xl-base-1.0/vae/config.json");
    let own = fs::read_to_string(&vae).expect("a configuration");
    fs::write(&vae, format!("{own}\n")).expect("written");
    let after = planned(sandbox, "..generate-portraits");
    assert_eq!(after["encode-names"], Some(0));
    assert_eq!(after["generate-portraits"], Some(3));
    fs::write(&vae, own).expect("restored");
}

/// Another VAE is for images, the U-Net of samples for samples; the same files elsewhere change nothing.
fn another_part_counts_where_it_is_used(sandbox: &Sandbox) {
    let manifest = fs::read_to_string(sandbox.join("laion2b-en.toml")).expect("the manifest");
    let folder = "models/stable-diffusion-xl-base-1.0";
    copy_folder(
        &sandbox.join(&format!("{folder}/vae")),
        &sandbox.join("vae-fix"),
    );
    let with_vae = set(&manifest, "models.sdxl", "vae", "\"vae-fix\"");
    sandbox.write("laion2b-en.toml", &with_vae);
    assert!(
        planned(sandbox, "..pack-shards")
            .values()
            .all(|n| *n == Some(0))
    );
    let config = sandbox.join("vae-fix/config.json");
    let text = fs::read_to_string(&config).expect("a configuration");
    fs::write(&config, text + " ").expect("written");
    let after = planned(sandbox, "..generate-portraits");
    assert_eq!(
        (after["encode-names"], after["generate-portraits"]),
        (Some(0), Some(3))
    );
    let unet = format!("\"{folder}/unet-turbo\"");
    copy_folder(
        &sandbox.join(&format!("{folder}/unet")),
        &sandbox.join(&format!("{folder}/unet-turbo")),
    );
    let config = sandbox.join(&format!("{folder}/unet-turbo/config.json"));
    let text = fs::read_to_string(&config).expect("a configuration");
    fs::write(&config, text + " ").expect("written");
    let with_unet = set(&manifest, "generate_samples", "unet", &unet);
    sandbox.write("laion2b-en.toml", &with_unet);
    assert!(
        planned(sandbox, "..pack-shards")
            .values()
            .all(|n| *n == Some(0))
    );
}

/// Settings that the model cannot meet are found before any work, and by both.
#[test]
fn doctor_and_run_refuse_what_a_later_stage_could_not_do() {
    let sandbox = Sandbox::new().with_runtime();
    prepare(&sandbox);
    let manifest = fs::read_to_string(sandbox.join("laion2b-en.toml")).expect("the manifest");
    let cases = [
        ("generate_portraits", "width", "100", "width = 100"),
        ("generate_portraits", "steps", "1001", "steps = 1001"),
        ("generate_samples", "height", "12", "height = 12"),
        ("embedding_dims", "name_channels", "2048", "8 x 128"),
        ("embedding_dims", "face", "128", "face = 128"),
        ("models.sdxl", "unet", "\"nowhere\"", "nowhere"),
        ("models.sdxl", "vae", "\"references\"", "references"),
    ];
    for (section, key, value, words) in cases {
        sandbox.write("laion2b-en.toml", set(&manifest, section, key, value));
        let doctor = sandbox.run(&["doctor", "--manifest", "laion2b-en.toml"]);
        let said = stdout(&doctor);
        assert_eq!(doctor.status.code(), Some(3), "{said}");
        assert!(said.contains(words), "no {words} in {said}");
        let run = ["run", "--manifest", "laion2b-en.toml", "--output", "out"];
        let ended = sandbox.run(&run);
        let said = stderr(&ended);
        assert_eq!(ended.status.code(), Some(3), "{said}");
        assert!(said.contains(words), "no {words} in {said}");
        assert!(
            !sandbox.join("out/tables").exists(),
            "{section}.{key}: work was done"
        );
    }
}
