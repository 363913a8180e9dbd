//! Random folders: of the right tensors, loadable, the same for the same seed.

use std::path::{Path, PathBuf};

use laioncele_nn::LoadOptions;
use laioncele_random_sdxl::{Form, RandomError, Stored, write};
use laioncele_sdxl::{
    ImageRequest, NegativePrompt, Noise, SamplingSettings, Sdxl, SdxlOptions, TextEncoders,
    part_shapes,
};

fn repository(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../..")
        .join(path)
}

fn tiny(dtype: Stored, seed: u64) -> Form {
    Form {
        like: Some(repository("models/clip/tests/fixtures/tiny-a/model")),
        tokenizers: None,
        dtype,
        seed,
    }
}

/// SDXL base 1.0's own counts.
#[test]
fn full_size_configurations_have_sdxls_tensor_counts() {
    let shapes = part_shapes(&repository("tools/random-sdxl/sdxl-base-1.0")).expect("shapes");
    let counts: Vec<(&str, usize, usize)> = shapes
        .iter()
        .map(|(part, shapes)| {
            let numbers = |(_, shape): &(String, Vec<usize>)| shape.iter().product::<usize>();
            (*part, shapes.len(), shapes.iter().map(numbers).sum())
        })
        .collect();
    assert_eq!(
        counts,
        [
            ("text_encoder", 196, 123_060_480),
            ("text_encoder_2", 517, 694_659_840),
            ("unet", 1680, 2_567_463_684),
            ("vae", 248, 83_653_863),
        ]
    );
}

#[test]
fn a_small_folder_generates_an_image() {
    let folder = tempfile::tempdir().expect("a folder");
    for (dtype, name) in [(Stored::F16, "half"), (Stored::F32, "full")] {
        let model = folder.path().join(name);
        let written = write(&model, &tiny(dtype, 1)).expect("written");
        assert_eq!(written[2].parameters, 919_772);
        let texts = TextEncoders::load(&model, &LoadOptions::default()).expect("text encoders");
        let sdxl = Sdxl::load(&model, &SdxlOptions::default()).expect("SDXL");
        let prompt = texts.encode_prompt("a person").expect("encoded");
        let negative = texts
            .encode_negative(&NegativePrompt::Model)
            .expect("encoded");
        let request = ImageRequest {
            prompt: &prompt,
            name: None,
            negative: &negative,
            noise: Noise::Seed(0),
        };
        let settings = SamplingSettings {
            steps: 2,
            ..SamplingSettings::default()
        };
        let drawn = sdxl.generate(&[request], &settings, None);
        let drawn = drawn.expect("a finite image").remove(0);
        assert_eq!(drawn.dimensions(), (128, 128));
        let first = drawn.get_pixel(0, 0);
        assert!(
            drawn.pixels().any(|pixel| pixel != first),
            "{name}: one colour"
        );
    }
}

#[test]
fn equal_seeds_give_equal_bytes() {
    let folder = tempfile::tempdir().expect("a folder");
    let bytes = |name: &str, seed| {
        let model = folder.path().join(name);
        write(&model, &tiny(Stored::F16, seed)).expect("written");
        std::fs::read(model.join("vae/diffusion_pytorch_model.fp16.safetensors")).expect("weights")
    };
    let first = bytes("a", 7);
    assert_eq!(first, bytes("b", 7));
    assert_ne!(first, bytes("c", 8));
}

#[test]
fn write_refuses_an_existing_folder() {
    let folder = tempfile::tempdir().expect("a folder");
    let error = write(folder.path(), &tiny(Stored::F16, 0)).expect_err("it is there");
    assert!(matches!(error, RandomError::Exists(_)), "{error}");
    let missing = Form {
        like: Some(PathBuf::from("nowhere")),
        ..tiny(Stored::F16, 0)
    };
    let error = write(&folder.path().join("new"), &missing).expect_err("nowhere");
    assert!(error.to_string().contains("nowhere"), "{error}");
}
