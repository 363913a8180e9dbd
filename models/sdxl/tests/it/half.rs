//! 16 bits on the processor: slower than float32, and within twice what diffusers' own networks
//! differ by.

use candle_core::DType;
use laioncele_sdxl::{
    DeviceChoice, ImageRequest, LoadOptions, NegativePrompt, Noise, Precision, SamplingSettings,
    Sdxl, SdxlFiles, TextEncoders, UNet, Vae,
};

use crate::checks;
use crate::common::{fixture, manifest};

fn options(precision: Precision) -> LoadOptions {
    LoadOptions {
        dtype: precision.dtype(),
        ..LoadOptions::default()
    }
}

fn tolerance(rounding: &str, what: &str) -> f32 {
    let cost = &manifest()["half_precision_minus_float32"][rounding][what];
    2.0 * cost.as_f64().expect("a number") as f32
}

#[test]
fn networks_in_16_bits_match() {
    for (precision, rounding) in [(Precision::Bf16, "bfloat16"), (Precision::F16, "float16")] {
        let (options, of) = (options(precision), |what| tolerance(rounding, what));
        let encoders = TextEncoders::load(&fixture("model"), &options).expect("encoders");
        checks::prompts(&encoders, of("text embeds"), of("text pooled"));
        let unet = UNet::load(&fixture("model/unet"), &options).expect("a U-Net");
        checks::unet(&unet, of("unet output"));
    }
    // Not in float16, which SDXL's VAE overflows.
    let vae = Vae::load(&fixture("model/vae"), &options(Precision::Bf16)).expect("a VAE");
    checks::vae(&vae, tolerance("bfloat16", "vae decoded"));
}

/// The VAE, which says that it overflows float16, is left in float32: the image is not black.
#[test]
fn images_in_16_bits_are_not_flat() {
    for precision in [Precision::Bf16, Precision::F16] {
        let files = SdxlFiles {
            folder: fixture("model"),
            precision,
            device: DeviceChoice::Cpu,
            ..SdxlFiles::default()
        };
        let texts = files.text_options().expect("options");
        let encoders = TextEncoders::load(&files.folder, &texts).expect("encoders");
        let images = files.image_options().expect("options");
        assert_eq!(
            (images.dtype, images.vae_dtype),
            (precision.dtype(), DType::F32)
        );
        let sdxl = Sdxl::load(&files.folder, &images).expect("SDXL");
        let request = ImageRequest {
            prompt: &encoders.encode_prompt("a portrait").expect("encoded"),
            name: Some(&encoders.encode_name("Maria Johnson").expect("a name")),
            negative: &encoders
                .encode_negative(&NegativePrompt::Empty)
                .expect("encoded"),
            noise: Noise::Seed(3),
        };
        let settings = SamplingSettings {
            steps: 3,
            height: Some(64),
            width: Some(64),
            ..SamplingSettings::default()
        };
        let images = sdxl
            .generate(&[request], &settings, None)
            .expect("an image");
        let bytes = images[0].as_raw();
        let (least, most) = (bytes.iter().min(), bytes.iter().max());
        assert!(
            least.zip(most).is_some_and(|(a, b)| b - a > 50),
            "{precision:?}"
        );
    }
}
