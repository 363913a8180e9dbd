//! Other configurations than SDXL's own against what diffusers generates with them
//! (tools/record-sdxl/configurations.py): the weights are random-sdxl's, so that only what comes
//! out is kept.

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};

use candle_core::{Device, Tensor};
use laioncele_nn::LoadOptions;
use laioncele_random_sdxl::{Form, Stored, write};
use laioncele_sdxl::{
    ImageRequest, NegativePrompt, Noise, SamplingSettings, SchedulerKind, Sdxl, SdxlOptions,
    TextEncoders, Trace,
};
use serde_json::{Map, Value};

// As in the recording script.
const PROMPT: &str = "a portrait of a person";
const NAME: &str = "Maria Johnson";
const STRIDE: usize = 7;

/// Latents reach 16, and three guided steps multiply what a U-Net's float32 sums differ by.
const LATENT_TOLERANCE: f32 = 2e-4;
const TOLERANCE: f32 = 5e-5;

type Changes = Map<String, Value>;

fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures")
}

fn tiny() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../models/clip/tests/fixtures/tiny-a/model")
}

fn read_json(path: &Path) -> Value {
    let text = fs::read_to_string(path).expect("a JSON file");
    serde_json::from_str(&text).expect("JSON")
}

/// The tiny SDXL's configurations with `changes`, and random weights for them.
fn write_model(changes: &Changes, folder: &Path) -> PathBuf {
    let like = folder.join("like");
    for part in [
        "",
        "scheduler",
        "text_encoder",
        "text_encoder_2",
        "unet",
        "vae",
    ] {
        fs::create_dir_all(like.join(part)).expect("a folder");
    }
    for file in ["model_index.json", "scheduler/scheduler_config.json"] {
        fs::copy(tiny().join(file), like.join(file)).expect("copied");
    }
    for part in ["text_encoder", "text_encoder_2", "unet", "vae"] {
        let file = format!("{part}/config.json");
        let mut config = read_json(&tiny().join(&file));
        if let Some(Value::Object(keys)) = changes.get(part) {
            let config = config.as_object_mut().expect("an object");
            config.extend(keys.clone());
        }
        fs::write(like.join(&file), config.to_string()).expect("written");
    }
    let form = Form {
        like: Some(like),
        tokenizers: Some(tiny()),
        dtype: Stored::F32,
        seed: 0,
    };
    let model = folder.join("model");
    write(&model, &form).expect("a random SDXL");
    model
}

/// The prompt's embeddings with the name in them, and the trace of three guided steps.
fn draw(model: &Path) -> (Vec<f32>, Trace) {
    let texts = TextEncoders::load(model, &LoadOptions::default()).expect("text encoders");
    let name = texts.encode_name(NAME).expect("a name");
    let prompt = texts.encode_prompt(PROMPT).expect("a prompt");
    let prompt = prompt.prepend(&name).expect("prepended");
    let negative = texts
        .encode_negative(&NegativePrompt::Empty)
        .expect("an unconditional embedding");
    let sdxl = Sdxl::load(model, &SdxlOptions::default()).expect("SDXL");
    let request = ImageRequest {
        prompt: &prompt,
        name: None,
        negative: &negative,
        noise: Noise::Torch(0),
    };
    let settings = SamplingSettings {
        scheduler: Some(SchedulerKind::Ddim),
        steps: 3,
        guidance: 5.0,
        height: Some(96),
        width: Some(64),
        sizes: None,
        steps_done: None,
    };
    let mut trace = Trace::default();
    sdxl.generate(&[request], &settings, Some(&mut trace))
        .expect("an image");
    (prompt.embeds, trace)
}

fn check(what: &str, ours: &[f32], golden: &Tensor, tolerance: f32) {
    let golden: Vec<f32> = golden
        .flatten_all()
        .and_then(|t| t.to_vec1())
        .expect("numbers");
    assert_eq!(ours.len(), golden.len(), "{what}: sizes");
    let apart = ours.iter().zip(&golden).map(|(a, b)| (a - b).abs());
    let worst = apart.fold(0f32, |a, b| if a.is_nan() || b <= a { a } else { b });
    assert!(
        worst <= tolerance,
        "{what}: off by {worst}, at most {tolerance}"
    );
}

#[test]
fn other_configurations_match_diffusers() {
    let golden: HashMap<String, Tensor> =
        candle_core::safetensors::load(fixtures().join("configurations.safetensors"), &Device::Cpu)
            .expect("the recording");
    let cases = read_json(&fixtures().join("configurations.json"));
    let cases = cases.as_object().expect("an object");
    assert_eq!(golden.len(), 3 * cases.len());
    for (name, changes) in cases {
        let folder = tempfile::tempdir().expect("a folder");
        let changes = changes.as_object().expect("changes by part");
        let (embeds, trace) = draw(&write_model(changes, folder.path()));
        let golden = |key: &str| &golden[&format!("{name}.{key}")];
        let np = golden("np");
        check(
            &format!("{name}: embeddings"),
            &embeds[..np.elem_count()],
            np,
            TOLERANCE,
        );
        let states = trace.floats("states").expect("latents");
        let one = states.len() / 4;
        check(
            &format!("{name}: latents"),
            &states[one..],
            golden("states"),
            LATENT_TOLERANCE,
        );
        let decoded = trace.floats("decoded").expect("pixels");
        let pixels = decoded.iter().step_by(STRIDE);
        let pixels: Vec<f32> = pixels.map(|v| (v / 2.0 + 0.5).clamp(0.0, 1.0)).collect();
        check(
            &format!("{name}: pixels"),
            &pixels,
            golden("pixels"),
            TOLERANCE,
        );
    }
}
