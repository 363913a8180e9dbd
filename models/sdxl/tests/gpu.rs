//! The fixtures on the first GPU, in float32 and in 16 bits: `make test-gpu`. Without a GPU every
//! test here fails and says why.

#[path = "it/checks.rs"]
mod checks;
#[path = "../../clip/tests/it/common.rs"]
mod common;

use std::num::NonZeroUsize;

use candle_core::{DType, Device, Tensor};
use image::RgbImage;
use laioncele_nn::ops;
use laioncele_sdxl::{
    DeviceChoice, Error, ImageRequest, LoadOptions, NegativePrompt, Noise, Precision,
    SamplingSettings, Sdxl, SdxlFiles, TextEncoders, UNet, Vae,
};

use common::{assert_close, fixture, manifest, numbers};

const ALL: [Precision; 3] = [Precision::F32, Precision::Bf16, Precision::F16];

fn gpu() -> Device {
    let device = DeviceChoice::Cuda(0).open();
    device.unwrap_or_else(|error| panic!("these tests need a GPU: {error}"))
}

fn options(precision: Precision) -> LoadOptions {
    LoadOptions {
        device: gpu(),
        dtype: precision.dtype(),
        ..LoadOptions::default()
    }
}

/// What may come out otherwise in `precision`: in float32 what any order of sums may cost, in 16
/// bits twice what diffusers' own network differs by on a processor.
fn tolerance(precision: Precision, what: &str) -> f32 {
    let rounding = match precision {
        Precision::F32 => return 2e-5,
        Precision::Bf16 => "bfloat16",
        Precision::F16 => "float16",
    };
    let cost = &manifest()["half_precision_minus_float32"][rounding][what];
    2.0 * cost.as_f64().expect("a number") as f32
}

fn files(precision: Precision, batch: usize) -> SdxlFiles {
    SdxlFiles {
        folder: fixture("model"),
        precision,
        device: DeviceChoice::Cuda(0),
        batch: NonZeroUsize::new(batch),
        ..SdxlFiles::default()
    }
}

/// Heads of SDXL's width, which the fixture's are not: the fused kernel.
#[test]
fn attention_matches() {
    let (batch, heads, queries, keys) = (2, 3, 100, 77);
    for (precision, rounding) in [
        (Precision::F16, 1.0 / 2048.0),
        (Precision::Bf16, 1.0 / 256.0),
    ] {
        let rounded = |seed: u64, tokens: usize| {
            let numbers = Noise::Seed(seed).sample(batch * tokens * heads * 64);
            let shape = (batch, tokens, heads * 64);
            let tensor = Tensor::from_vec(numbers.expect("numbers"), shape, &Device::Cpu);
            let tensor = tensor.and_then(|tensor| tensor.to_dtype(precision.dtype()));
            tensor.expect("a tensor")
        };
        let all = [rounded(1, queries), rounded(2, keys), rounded(3, keys)];
        let attend = |device: &Device, dtype: DType| {
            let there = |tensor: &Tensor| tensor.to_device(device).and_then(|t| t.to_dtype(dtype));
            let [q, k, v] = all.each_ref().map(|tensor| there(tensor).expect("a copy"));
            ops::attention(&q, &k, &v, heads, false).expect("attention")
        };
        let expected = attend(&Device::Cpu, DType::F32);
        let ours = attend(&gpu(), precision.dtype());
        assert_close("attention", &numbers(&ours), &expected, 4.0 * rounding);
    }
}

#[test]
fn prompts_match() {
    for precision in ALL {
        let encoders =
            TextEncoders::load(&fixture("model"), &options(precision)).expect("encoders");
        let of = |what| tolerance(precision, what);
        checks::prompts(&encoders, of("text embeds"), of("text pooled"));
    }
}

#[test]
fn the_unet_matches() {
    for precision in ALL {
        let unet = UNet::load(&fixture("model/unet"), &options(precision)).expect("a U-Net");
        checks::unet(&unet, tolerance(precision, "unet output"));
    }
}

/// Not in float16, which SDXL's VAE overflows.
#[test]
fn the_vae_matches() {
    for precision in [Precision::F32, Precision::Bf16] {
        let vae = Vae::load(&fixture("model/vae"), &options(precision)).expect("a VAE");
        checks::vae(&vae, tolerance(precision, "vae decoded"));
    }
}

#[test]
fn trajectories_match() {
    gpu();
    let files = files(Precision::F32, 1);
    let encoders = TextEncoders::load(&files.folder, &files.text_options().expect("a GPU"));
    let sdxl = Sdxl::load(&files.folder, &files.image_options().expect("a GPU"));
    checks::trajectories(&encoders.expect("encoders"), &sdxl.expect("SDXL"));
}

/// Images of two names in batches, decoded on a stream of their own beside the next batch, are
/// those of one at a time.
#[test]
fn overlapped_batches_equal_single_images() {
    gpu();
    for precision in ALL {
        let texts = files(precision, 1).text_options().expect("a GPU");
        let encoders = TextEncoders::load(&fixture("model"), &texts).expect("encoders");
        let prompt = encoders
            .encode_prompt("a portrait of a person")
            .expect("encoded");
        let negative = encoders
            .encode_negative(&NegativePrompt::Empty)
            .expect("encoded");
        let names = ["Maria Johnson", "Li Wei"];
        let names = names.map(|name| encoders.encode_name(name).expect("a name"));
        let request = |seed: usize| ImageRequest {
            prompt: &prompt,
            name: Some(&names[seed % 2]),
            negative: &negative,
            noise: Noise::Seed(seed as u64),
        };
        let requests: Vec<ImageRequest<'_>> = (0..9).map(request).collect();
        let generate = |batch: usize| {
            let files = files(precision, batch);
            let sdxl = Sdxl::load(&files.folder, &files.image_options().expect("a GPU"));
            let sdxl = sdxl.expect("SDXL");
            assert_eq!(files.batch.map(NonZeroUsize::get), Some(sdxl.batch()));
            let settings = SamplingSettings {
                steps: 10,
                ..SamplingSettings::default()
            };
            let mut images = Vec::new();
            sdxl.generate_each(&requests, &settings, 1, |index, image| {
                assert_eq!(index, images.len(), "in their order");
                images.push(image?);
                Ok::<(), Error>(())
            })
            .expect("images");
            images
        };
        let (together, alone) = (generate(4), generate(1));
        assert_eq!(together.len(), requests.len());
        assert!(
            mean_difference(&together[0], &together[2]) > 1.0,
            "seeds matter"
        );
        for (at, (ours, single)) in together.iter().zip(&alone).enumerate() {
            let levels = mean_difference(ours, single);
            // Rounding to 16 bits may fall otherwise where sums are taken in another order.
            let allowed = if precision == Precision::F32 {
                0.05
            } else {
                4.0
            };
            assert!(
                levels <= allowed,
                "image {at} in {precision:?}: {levels} levels apart"
            );
        }
    }
}

/// Mean difference of two images' bytes, of 255.
fn mean_difference(a: &RgbImage, b: &RgbImage) -> f64 {
    let pairs = a.as_raw().iter().zip(b.as_raw());
    let total: u64 = pairs.map(|(a, b)| u64::from(a.abs_diff(*b))).sum();
    total as f64 / a.as_raw().len() as f64
}
