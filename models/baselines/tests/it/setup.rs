//! What the tests load: the fixtures' files and the SDXL that they are for.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use candle_core::{Device, Tensor};
use image::RgbImage;
use laioncele_baselines::{AdapterPhotos, IpAdapter, PhotoMaker, Square};
use laioncele_clip::{ImageEncoder, flatten_over_white};
use laioncele_sdxl::{
    Conditioning, LoadOptions, SamplingSettings, SchedulerKind, Sdxl, SdxlOptions,
    SizeConditioning, TextEncoders, TimeIds, UNet,
};
use serde_json::Value;

use crate::common::{fixture, numbers};

pub(crate) fn baseline(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/fixtures/tiny-a")
        .join(path)
}

pub(crate) fn golden(name: &str) -> HashMap<String, Tensor> {
    let path = baseline(&format!("goldens/{name}.safetensors"));
    candle_core::safetensors::load(path, &Device::Cpu).expect("a golden file")
}

pub(crate) fn cases() -> Value {
    let text = std::fs::read_to_string(baseline("manifest.json")).expect("the manifest");
    let manifest: Value = serde_json::from_str(&text).expect("JSON");
    manifest["cases"].clone()
}

/// The picture of this number.
pub(crate) fn picture(number: &Value) -> RgbImage {
    let names = std::fs::read_to_string(fixture("goldens/clip_vision_images.json")).expect("names");
    let names: Vec<String> = serde_json::from_str(&names).expect("JSON");
    let name = &names[number.as_u64().expect("a number") as usize];
    let image = image::open(fixture(&format!("images/{name}.png"))).expect("a picture");
    flatten_over_white(&image)
}

pub(crate) fn texts() -> TextEncoders {
    TextEncoders::load(&fixture("model"), &LoadOptions::default()).expect("text encoders")
}

pub(crate) fn sdxl() -> Sdxl {
    Sdxl::load(&fixture("model"), &SdxlOptions::default()).expect("SDXL")
}

pub(crate) fn photomaker() -> PhotoMaker {
    let vision = baseline("photomaker/vision.json");
    PhotoMaker::load(
        &baseline("photomaker/v1.safetensors"),
        Some(&vision),
        texts().widths(),
        &LoadOptions::default(),
    )
    .expect("a PhotoMaker")
}

/// The adapter of this name with its encoder, for `unet`.
pub(crate) fn adapter(name: &str, spec: &Value, unet: &UNet) -> AdapterPhotos {
    let file = baseline(&format!("ip-adapter/{name}.safetensors"));
    let adapter = IpAdapter::load(&file, unet, false).expect("an adapter");
    let folder = fixture(spec["encoder"].as_str().expect("an encoder"));
    let options = LoadOptions {
        dtype: unet.dtype(),
        ..LoadOptions::default()
    };
    let encoder = ImageEncoder::load(&folder, &options).expect("an image encoder");
    AdapterPhotos::new(adapter, encoder, &folder, Square::Crop).expect("they fit")
}

/// The goldens' two rows, the null row first.
pub(crate) fn conditioning(
    unet: &UNet,
    golden: &HashMap<String, Tensor>,
    context: &[f32],
    pooled: &[f32],
) -> Conditioning {
    let time_ids: Vec<TimeIds> = numbers(&golden["time_ids"]).as_chunks::<6>().0.to_vec();
    unet.condition(context, pooled, &time_ids)
        .expect("conditioned")
}

/// The U-Net's prediction of the goldens' sample.
pub(crate) fn predict(
    unet: &UNet,
    golden: &HashMap<String, Tensor>,
    conditioning: &Conditioning,
) -> Vec<f32> {
    let sample = &golden["sample"];
    let sample = unet
        .tensor(&numbers(sample), sample.dims())
        .expect("a sample");
    let timestep = f64::from(numbers(&golden["timestep"])[0]);
    let steps = unet.step_table(&[timestep], conditioning).expect("a table");
    let output = unet.forward(&sample, &steps[0], conditioning);
    numbers(&output.expect("a prediction"))
}

/// How a trajectory's case is sampled.
pub(crate) fn sampling(case: &Value) -> SamplingSettings {
    let latent: [usize; 2] = serde_json::from_value(case["latent"].clone()).expect("a size");
    let target: [u32; 2] = serde_json::from_value(case["target_size"].clone()).expect("a size");
    let original = serde_json::from_value(case["original_size"].clone()).unwrap_or(target);
    let scheduler = case["scheduler"].as_str().expect("a scheduler");
    SamplingSettings {
        scheduler: Some(scheduler.parse::<SchedulerKind>().expect("known")),
        steps: case["steps"].as_u64().expect("steps") as usize,
        guidance: case["guidance"].as_f64().expect("guidance") as f32,
        height: Some(8 * latent[0]),
        width: Some(8 * latent[1]),
        sizes: Some(SizeConditioning {
            original,
            crop: [0, 0],
            target,
        }),
        steps_done: None,
    }
}
