//! The embedded world's own weights against what diffusers computes with them
//! (tools/record-sdxl/record.py).

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use candle_core::{Device, Tensor};
use laioncele_clip::ImageEncoders;
use laioncele_sdxl::{
    ImageRequest, InitialLatents, LoadOptions, NegativePrompt, Noise, SamplingSettings,
    SchedulerKind, Sdxl, SdxlOptions, TextEncoders, Trace, UNet,
};
use sha2::{Digest, Sha256};

use crate::common::{assert_close, largest_level_difference, numbers};

fn model() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../manifests/mini/sdxl-mini")
}

fn recorded_file(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/fixtures/mini")
        .join(name)
}

fn recorded() -> HashMap<String, Tensor> {
    candle_core::safetensors::load(recorded_file("recorded.safetensors"), &Device::Cpu)
        .expect("the recording")
}

fn cases() -> serde_json::Value {
    let text =
        std::fs::read_to_string(recorded_file("recorded.json")).expect("the recording's cases");
    serde_json::from_str(&text).expect("JSON")
}

fn encoders() -> TextEncoders {
    TextEncoders::load(&model(), &LoadOptions::default()).expect("text encoders")
}

#[test]
fn the_recording_is_of_these_weights() {
    let cases = cases();
    let weights = cases["weights"].as_object().expect("digests");
    assert!(weights.len() > 3);
    for (file, digest) in weights {
        let bytes = std::fs::read(model().join(file)).expect("a weight file");
        let ours: String = Sha256::digest(&bytes)
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect();
        assert_eq!(
            ours,
            digest.as_str().expect("hex"),
            "{file} has changed: run tools/record-sdxl/record.py again"
        );
    }
}

#[test]
fn texts_match() {
    let (golden, cases, encoders) = (recorded(), cases(), encoders());
    for (key, text) in [
        ("prompt", cases["prompt"].as_str()),
        ("name", cases["name"].as_str()),
        ("empty", Some("")),
    ] {
        let prompt = encoders
            .encode_prompt(text.expect("a text"))
            .expect("encoded");
        for i in 0..2 {
            let ids: Vec<f32> = prompt.ids[i].iter().map(|id| *id as f32).collect();
            assert_close(
                "ids",
                &ids,
                &golden[&format!("text.{key}.ids_{}", i + 1)],
                0.0,
            );
        }
        assert_close(
            "embeds",
            &prompt.embeds,
            &golden[&format!("text.{key}.embeds")],
            2e-5,
        );
        assert_close(
            "pooled",
            &prompt.pooled,
            &golden[&format!("text.{key}.pooled")],
            2e-5,
        );
    }
}

#[test]
fn one_unet_step_matches() {
    let (golden, cases, encoders) = (recorded(), cases(), encoders());
    let unet = UNet::load(&model().join("unet"), &LoadOptions::default()).expect("a U-Net");
    let prompt = encoders
        .encode_prompt(cases["prompt"].as_str().expect("a prompt"))
        .expect("encoded");
    let name = encoders
        .encode_name(cases["name"].as_str().expect("a name"))
        .expect("encoded");
    let prepended = prompt.prepend(&name).expect("prepended");
    assert_close("context", &prepended.embeds, &golden["unet.context"], 2e-5);
    let edge = 8.0 * golden["unet.sample"].dim(2).expect("an edge") as f32;
    let sizes = [edge, edge, 0.0, 0.0, edge, edge];
    let conditioning = unet
        .condition(&prepended.embeds, &prepended.pooled, &[sizes])
        .expect("conditioned");
    let timestep = cases["timestep"].as_f64().expect("a timestep");
    let table = unet
        .step_table(&[timestep], &conditioning)
        .expect("a table");
    let output = unet
        .forward(&golden["unet.sample"], &table[0], &conditioning)
        .expect("a prediction");
    assert_close("output", &numbers(&output), &golden["unet.output"], 5e-5);
}

#[test]
fn the_vae_matches() {
    let golden = recorded();
    let sdxl = Sdxl::load(&model(), &SdxlOptions::default()).expect("SDXL");
    let latents = &golden["run.latents"];
    let (_, _, height, width) = latents.dims4().expect("four dimensions");
    let unscaled = sdxl.vae().unscale(&numbers(latents), height * width);
    let decoded = sdxl
        .vae()
        .decode(&unscaled, height, width)
        .expect("decoded");
    assert_close("decoded", &decoded, &golden["vae.decoded"], 5e-5);
    let clamped: Vec<f32> = numbers(&golden["vae.decoded"])
        .iter()
        .map(|v| v.clamp(-1.0, 1.0))
        .collect();
    let encoded = sdxl
        .vae()
        .encode(&clamped, 8 * height, 8 * width)
        .expect("encoded");
    assert_close("mean", &encoded.mean, &golden["vae.encoded_mean"], 1e-4);
}

#[test]
fn a_whole_portrait_matches() {
    let (golden, cases, encoders) = (recorded(), cases(), encoders());
    let sdxl = Sdxl::load(&model(), &SdxlOptions::default()).expect("SDXL");
    let prompt = encoders
        .encode_prompt(cases["prompt"].as_str().expect("a prompt"))
        .expect("encoded");
    let name = encoders
        .encode_name(cases["name"].as_str().expect("a name"))
        .expect("encoded");
    let negative = encoders
        .encode_negative(&NegativePrompt::Model)
        .expect("encoded");
    let noise = Noise::from(numbers(&golden["run.noise"]));
    let settings = SamplingSettings {
        scheduler: Some(SchedulerKind::Ddim),
        steps: cases["steps"].as_u64().expect("steps") as usize,
        guidance: cases["guidance"].as_f64().expect("guidance") as f32,
        ..SamplingSettings::default()
    };
    let mut trace = Trace::default();
    let request = ImageRequest {
        prompt: &prompt,
        name: Some(&name),
        negative: &negative,
        noise,
    };
    let image = sdxl
        .generate(&[request], &settings, Some(&mut trace))
        .expect("a portrait")
        .remove(0);
    let states = trace.floats("states").expect("recorded");
    let last = &states[states.len() - golden["run.latents"].elem_count()..];
    assert_close("latents", last, &golden["run.latents"], 1e-3);
    let expected: Vec<u8> = golden["run.image"]
        .flatten_all()
        .and_then(|t| t.to_vec1())
        .expect("bytes");
    assert_eq!(image.as_raw().len(), expected.len());
    let total: u32 = image
        .as_raw()
        .iter()
        .zip(&expected)
        .map(|(a, b)| u32::from(a.abs_diff(*b)))
        .sum();
    // Mean absolute error at most 1/255, that is one level.
    assert!(
        f64::from(total) / expected.len() as f64 <= 0.01,
        "mean error {total} / {}",
        expected.len()
    );
}

/// Another implementation's run of a scheduler that adds noise at every step, from a file of that
/// noise.
#[test]
fn an_lcm_run_matches_given_its_noise() {
    let path = recorded_file("lcm.safetensors");
    let golden = candle_core::safetensors::load(&path, &Device::Cpu).expect("the recording");
    let (cases, encoders) = (cases(), encoders());
    let sdxl = Sdxl::load(&model(), &SdxlOptions::default()).expect("SDXL");
    let prompt = encoders
        .encode_prompt(cases["prompt"].as_str().expect("a prompt"))
        .expect("encoded");
    let name = encoders
        .encode_name(cases["name"].as_str().expect("a name"))
        .expect("encoded");
    let negative = encoders
        .encode_negative(&NegativePrompt::Model)
        .expect("encoded");
    let settings = SamplingSettings {
        scheduler: Some(SchedulerKind::Lcm),
        steps: cases["lcm_steps"].as_u64().expect("steps") as usize,
        guidance: 1.0,
        ..SamplingSettings::default()
    };
    let generate = |noise| {
        let request = ImageRequest {
            prompt: &prompt,
            name: Some(&name),
            negative: &negative,
            noise,
        };
        let mut trace = Trace::default();
        let images = sdxl.generate(&[request], &settings, Some(&mut trace));
        (images.expect("an image").remove(0), trace)
    };
    let latents = InitialLatents::read(&path).expect("latents");
    assert!(latents.later.is_some());
    let noise = latents.clone().noises(0).remove(0);
    let (image, trace) = generate(noise);
    for (key, tolerance) in [("noise", 0.0), ("step_noise", 0.0), ("states", 1e-3)] {
        assert_close(key, trace.floats(key).expect(key), &golden[key], tolerance);
    }
    let expected: Vec<u8> = golden["image"]
        .flatten_all()
        .and_then(|t| t.to_vec1())
        .expect("bytes");
    let (width, height) = image.dimensions();
    let expected = image::RgbImage::from_raw(width, height, expected).expect("as many pixels");
    assert!(largest_level_difference(&image, &expected) <= 1);

    // Without `step_noise` it comes from the seed: recorded, so that the run can be repeated from
    // its trace.
    let seeded = InitialLatents {
        later: None,
        ..latents
    };
    let (generated, trace) = generate(seeded.clone().noises(5).remove(0));
    assert_ne!(generated, image);
    assert_ne!(generated, generate(seeded.noises(6).remove(0)).0);
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("trace.safetensors");
    trace.write(&path).expect("written");
    let again = InitialLatents::read(&path).expect("the trace");
    assert_eq!(generate(again.noises(0).remove(0)).0, generated);
}

#[test]
fn image_features_match() {
    let golden = recorded();
    let encoders = ImageEncoders::load(
        &model().join("image_encoder"),
        &model().join("image_encoder_2"),
        &LoadOptions::default(),
    )
    .expect("image towers");
    let (height, width, _) = golden["run.image"].dims3().expect("three dimensions");
    let bytes = golden["run.image"]
        .flatten_all()
        .and_then(|t| t.to_vec1())
        .expect("bytes");
    let image = image::RgbImage::from_raw(width as u32, height as u32, bytes).expect("an image");
    for (tower, key) in encoders
        .towers()
        .iter()
        .zip(["image_encoder", "image_encoder_2"])
    {
        let embeds = tower.image_embeds(&image).expect("embeds");
        assert_close(key, &embeds, &golden[&format!("{key}.image_embeds")], 2e-5);
    }
}
