//! What a model must compute, on any device and in any type: the fixture's goldens, each with the
//! difference that is allowed.

use std::collections::HashMap;

use candle_core::Tensor;
use image::RgbImage;
use laioncele_sdxl::{
    ImageRequest, NegativePrompt, Noise, PromptEmbedding, SamplingSettings, Sdxl, SizeConditioning,
    TextEncoders, TimeIds, Trace, UNet, Vae,
};

use serde_json::Value;

use crate::common::{
    assert_close, fixture, golden, json_lines, largest_level_difference, manifest, numbers,
};

/// Prompt embeddings within `embeds`, pooled vectors within `pooled`; the prompts' own embeddings.
pub(crate) fn prompts(encoders: &TextEncoders, embeds: f32, pooled: f32) -> Vec<PromptEmbedding> {
    let (golden, lines) = (golden("text"), json_lines("tokens.jsonl"));
    let chosen: Vec<usize> =
        serde_json::from_value(manifest()["cases"]["encoded_prompts"].clone()).expect("cases");
    let texts = chosen
        .iter()
        .map(|i| lines[*i]["text"].as_str().expect("text"));
    let prompts: Vec<_> = texts
        .map(|text| encoders.encode_prompt(text).expect("encoded"))
        .collect();
    let join = |part: fn(&PromptEmbedding) -> &[f32]| {
        let parts: Vec<&[f32]> = prompts.iter().map(part).collect();
        parts.concat()
    };
    let (ours, ours_pooled) = (join(|prompt| &prompt.embeds), join(|prompt| &prompt.pooled));
    assert_close("embeds", &ours, &golden["embeds"], embeds);
    assert_close("pooled", &ours_pooled, &golden["pooled"], pooled);
    prompts
}

/// The U-Net's predictions within `tolerance`.
pub(crate) fn unet(unet: &UNet, tolerance: f32) {
    let golden = golden("unet");
    let manifest = manifest();
    let cases = manifest["cases"]["unet_cases"].as_array().expect("cases");
    assert!(!cases.is_empty());
    for case in cases {
        let name = case["name"].as_str().expect("a name");
        let get = |key: &str| &golden[&format!("{name}.{key}")];
        let time_ids: Vec<TimeIds> = numbers(get("time_ids")).as_chunks::<6>().0.to_vec();
        let conditioning = unet
            .condition(
                &numbers(get("context")),
                &numbers(get("text_embeds")),
                &time_ids,
            )
            .expect("conditioned");
        let timesteps: Vec<f64> = numbers(get("timesteps"))
            .into_iter()
            .map(f64::from)
            .collect();
        let table = unet.step_table(&timesteps, &conditioning).expect("a table");
        assert!(!table.is_empty() && table.len() == timesteps.len());
        let sample = get("sample");
        let sample = unet
            .tensor(&numbers(sample), sample.dims())
            .expect("a sample");
        for (i, step) in table.iter().enumerate() {
            let output = unet
                .forward(&sample, step, &conditioning)
                .expect("a prediction");
            assert_close(
                &format!("{name} at {}", timesteps[i]),
                &numbers(&output),
                get(&format!("output.{i}")),
                tolerance,
            );
        }
    }
}

/// Both directions of the VAE within `tolerance`.
pub(crate) fn vae(vae: &Vae, tolerance: f32) {
    let golden = golden("vae");
    for (i, (height, width)) in [(8, 8), (5, 7)].into_iter().enumerate() {
        let get = |key: &str| &golden[&format!("{i}.{key}")];
        let decoded = vae
            .decode(&numbers(get("latent")), height, width)
            .expect("decoded");
        assert_close("decoded", &decoded, get("decoded"), tolerance);
        let encoded = vae
            .encode(&numbers(get("image")), 8 * height, 8 * width)
            .expect("encoded");
        assert_close("mean", &encoded.mean, get("mean"), tolerance);
        assert_close("logvar", &encoded.logvar, get("logvar"), tolerance);
    }
}

fn pair(value: &Value) -> [u32; 2] {
    serde_json::from_value(value.clone()).expect("two numbers")
}

/// Whole float32 runs, through the path that the program takes.
pub(crate) fn trajectories(encoders: &TextEncoders, sdxl: &Sdxl) {
    let manifest = manifest();
    let cases = manifest["cases"]["trajectories"].as_array().expect("cases");
    assert!(!cases.is_empty());
    for case in cases {
        let id = case["id"].as_str().expect("an id");
        let golden = golden(&format!("trajectory_{id}"));
        let (trace, images) = run(case, &golden["noise"], encoders, sdxl);
        trace_matches(id, &trace, &golden);
        images_match(id, &images);
        trace_is_written(&trace, &golden);
    }
}

fn run(
    case: &Value,
    noise: &Tensor,
    encoders: &TextEncoders,
    sdxl: &Sdxl,
) -> (Trace, Vec<RgbImage>) {
    let prompt = encoders
        .encode_prompt(case["prompt"].as_str().expect("a prompt"))
        .expect("encoded");
    let name = case["name"].as_str();
    let name = name.map(|name| encoders.encode_name(name).expect("a name"));
    let negative = match case["null"] == "zeros" {
        true => NegativePrompt::Zeros,
        false => NegativePrompt::Empty,
    };
    let negative = encoders.encode_negative(&negative).expect("encoded");
    let request = |i| ImageRequest {
        prompt: &prompt,
        name: name.as_ref(),
        negative: &negative,
        noise: Noise::from(numbers(&noise.get(i).expect("noise"))),
    };
    let requests: Vec<_> = (0..noise.dim(0).expect("images")).map(request).collect();
    let mut trace = Trace::default();
    let images = sdxl.generate(&requests, &settings(case), Some(&mut trace));
    let images = images.expect("images");
    assert_eq!(images.len(), requests.len());
    (trace, images)
}

fn settings(case: &Value) -> SamplingSettings {
    let scheduler = case["scheduler"].as_str().expect("a scheduler");
    let target = pair(&case["target_size"]);
    SamplingSettings {
        scheduler: Some(scheduler.parse().expect("a scheduler")),
        steps: case["steps"].as_u64().expect("steps") as usize,
        guidance: case["guidance"].as_f64().expect("guidance") as f32,
        height: Some(target[0] as usize),
        width: Some(target[1] as usize),
        sizes: Some(SizeConditioning {
            original: pair(&case["original_size"]),
            crop: pair(&case["crop_top_left"]),
            target,
        }),
        steps_done: None,
    }
}

fn trace_matches(id: &str, trace: &Trace, golden: &HashMap<String, Tensor>) {
    for (key, tolerance) in [
        ("embeds", 2e-5),
        ("pooled", 2e-5),
        ("null_embeds", 2e-5),
        ("null_pooled", 2e-5),
        ("noise", 0.0),
        ("time_ids", 0.0),
        ("first_output", 5e-5),
        ("predictions", 5e-4),
        ("states", 5e-4),
        ("decoded", 1e-4),
    ] {
        assert_eq!(trace.tensors()[key].shape, golden[key].dims(), "{id} {key}");
        let ours = trace.floats(key).expect("recorded");
        assert_close(&format!("{id} {key}"), ours, &golden[key], tolerance);
    }
}

/// At most one byte in a thousand differs, and by one level.
fn images_match(id: &str, images: &[RgbImage]) {
    for (i, ours) in images.iter().enumerate() {
        let golden = fixture(&format!("goldens/trajectory_{id}.{i}.png"));
        let golden = image::open(golden).expect("a golden").to_rgb8();
        let levels = largest_level_difference(ours, &golden);
        assert!(levels <= 1, "{id} {i}: {levels} levels apart");
        let pairs = ours.as_raw().iter().zip(golden.as_raw());
        let unequal = pairs.filter(|(a, b)| a != b).count();
        assert!(
            unequal * 1000 <= ours.as_raw().len(),
            "{id} {i}: {unequal} bytes differ"
        );
    }
}

fn trace_is_written(trace: &Trace, golden: &HashMap<String, Tensor>) {
    let folder = tempfile::tempdir().expect("a folder");
    let absent = folder.path().join("absent/trace.safetensors");
    assert!(trace.write(&absent).is_err(), "there is no such folder");
    let path = folder.path().join("trace.safetensors");
    trace.write(&path).expect("written");
    let written =
        candle_core::safetensors::load(&path, &candle_core::Device::Cpu).expect("readable");
    let states = trace.floats("states").expect("recorded");
    assert_close("written states", states, &written["states"], 0.0);
    assert_eq!(
        written["timesteps"].to_vec1::<f64>().expect("timesteps"),
        golden["timesteps"].to_vec1::<f64>().expect("timesteps")
    );
}
