//! The forms in which weights come: shards, half precision, one file for another folder's
//! configuration; and the errors of those that do not fit.

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};

use candle_core::{DType, Device, Tensor};
use laioncele_nn::Error as LoadError;
use laioncele_sdxl::{
    DeviceChoice, Error, LoadOptions, Precision, Sdxl, SdxlFiles, SdxlOptions, TimeIds, UNet,
    WeightVariant,
};
use tempfile::TempDir;

use crate::common::{fixture, golden, numbers};

const STEM: &str = "diffusion_pytorch_model";
const TO_Q: &str = "mid_block.attentions.0.transformer_blocks.0.attn1.to_q.weight";

type Tensors = HashMap<String, Tensor>;

fn tensors() -> Tensors {
    let file = fixture("model/unet").join(format!("{STEM}.safetensors"));
    candle_core::safetensors::load(file, &Device::Cpu).expect("weights")
}

fn converted(tensors: &Tensors, dtype: DType) -> Tensors {
    let one = |(name, tensor): (&String, &Tensor)| {
        (name.clone(), tensor.to_dtype(dtype).expect("converted"))
    };
    tensors.iter().map(one).collect()
}

/// A U-Net folder with the fixture's configuration and these weight files.
fn folder(files: &[(&str, &Tensors)]) -> TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    let config = fixture("model/unet").join("config.json");
    fs::copy(config, folder.path().join("config.json")).expect("copied");
    for (name, tensors) in files {
        candle_core::safetensors::save(tensors, folder.path().join(name)).expect("written");
    }
    folder
}

/// The weights in two files and the index that says which tensor is where.
fn sharded(all: &Tensors, index: &str, names: [&str; 2]) -> TempDir {
    let mut names_of: Vec<&String> = all.keys().collect();
    names_of.sort();
    let (mut parts, mut map) = ([Tensors::new(), Tensors::new()], serde_json::Map::new());
    for (i, name) in names_of.into_iter().enumerate() {
        parts[i % 2].insert(name.clone(), all[name].clone());
        map.insert(name.clone(), names[i % 2].into());
    }
    let folder = folder(&[(names[0], &parts[0]), (names[1], &parts[1])]);
    let text = serde_json::json!({ "metadata": {}, "weight_map": map }).to_string();
    fs::write(folder.path().join(index), text).expect("written");
    folder
}

/// What a U-Net predicts for the fixture's first case.
fn predict(unet: &UNet) -> Vec<f32> {
    let golden = golden("unet");
    let get = |key: &str| numbers(&golden[&format!("square.{key}")]);
    let time_ids: Vec<TimeIds> = get("time_ids").as_chunks::<6>().0.to_vec();
    let (context, pooled) = (get("context"), get("text_embeds"));
    let conditioning = unet.condition(&context, &pooled, &time_ids);
    let conditioning = conditioning.expect("conditioned");
    let table = unet.step_table(&[481.0], &conditioning).expect("a table");
    let output = unet.forward(&golden["square.sample"], &table[0], &conditioning);
    numbers(&output.expect("a prediction"))
}

fn load(folder: &Path) -> Result<UNet, Error> {
    UNet::load(folder, &LoadOptions::default())
}

fn own() -> UNet {
    load(&fixture("model/unet")).expect("a U-Net")
}

#[test]
fn shards_are_the_whole() {
    let names = [
        "diffusion_pytorch_model-00001-of-00002.safetensors",
        "diffusion_pytorch_model-00002-of-00002.safetensors",
    ];
    let index = "diffusion_pytorch_model.safetensors.index.json";
    let shards = sharded(&tensors(), index, names);
    let unet = load(shards.path()).expect("a sharded U-Net");
    assert_eq!(unet.files().len(), 2);
    let mut read = UNet::files_read(shards.path()).expect("files");
    read.sort();
    let expected = [
        "config.json",
        names[0],
        names[1],
        "diffusion_pytorch_model.safetensors.index.json",
    ];
    assert_eq!(read, expected.map(|name| shards.path().join(name)));
    assert_eq!(predict(&unet), predict(&own()));

    let lost = shards.path().join(names[1]);
    fs::remove_file(&lost).expect("removed");
    let error = load(shards.path()).expect_err("a shard is gone");
    assert!(
        matches!(&error, Error::Load(LoadError::Io { path, .. }) if *path == lost),
        "{error}"
    );
}

/// An export in shards that was replaced by one file leaves its index behind.
#[test]
fn a_whole_file_is_read_before_shards() {
    let folder = folder(&[("diffusion_pytorch_model.safetensors", &tensors())]);
    let index = r#"{"weight_map": {"conv_in.weight": "diffusion_pytorch_model-00001-of-00002.safetensors"}}"#;
    let path = folder
        .path()
        .join("diffusion_pytorch_model.safetensors.index.json");
    fs::write(path, index).expect("written");
    assert_eq!(
        predict(&load(folder.path()).expect("a U-Net")),
        predict(&own())
    );
    let read = UNet::files_read(folder.path()).expect("files");
    assert!(
        !read.iter().any(|path| path.ends_with("index.json")),
        "{read:?}"
    );
}

/// Pickles, git-lfs pointers and web pages in place of weights, and a checkpoint in place of a folder.
#[test]
fn what_is_no_weight_file_is_named() {
    let empty = folder(&[]);
    fs::write(empty.path().join("diffusion_pytorch_model.bin"), b"PK").expect("written");
    let error = load(empty.path()).expect_err("a pickle").to_string();
    for words in [
        "safetensors",
        "diffusion_pytorch_model.bin is not read",
        "convert",
    ] {
        assert!(error.contains(words), "no {words} in: {error}");
    }
    let path = empty.path().join("diffusion_pytorch_model.safetensors");
    fs::write(
        path,
        b"version https://git-lfs.github.com/spec/v1\nsize 3\n",
    )
    .expect("written");
    let error = load(empty.path()).expect_err("a pointer").to_string();
    assert!(error.contains("git-lfs"), "{error}");

    let checkpoint = empty.path().join("civitai.safetensors");
    fs::write(&checkpoint, b"weights").expect("written");
    for place in [&checkpoint, empty.path()] {
        let error = Sdxl::load(place, &SdxlOptions::default()).expect_err("no folder");
        let error = error.to_string();
        for words in ["safetensors", "single-file checkpoint", "is not an SDXL"] {
            assert!(error.contains(words), "no {words} in: {error}");
        }
    }
}

#[test]
fn half_precision_files_are_read_where_there_are_no_others() {
    let half = converted(&tensors(), DType::F16);
    let rounded = converted(&half, DType::F32);
    let whole = folder(&[("diffusion_pytorch_model.fp16.safetensors", &half)]);
    let names = [
        "diffusion_pytorch_model.fp16-00001-of-00002.safetensors",
        "diffusion_pytorch_model.fp16-00002-of-00002.safetensors",
    ];
    let index = "diffusion_pytorch_model.safetensors.index.fp16.json";
    let shards = sharded(&half, index, names);
    let reference = folder(&[("diffusion_pytorch_model.safetensors", &rounded)]);
    let expected = predict(&load(reference.path()).expect("a U-Net"));
    assert_ne!(expected, predict(&own()), "rounding shows");
    for variant in [&whole, &shards] {
        let unet = load(variant.path()).expect("a half-precision U-Net");
        assert_eq!(predict(&unet), expected);
    }
    let full = LoadOptions {
        variant: WeightVariant::Full,
        ..LoadOptions::default()
    };
    let error = UNet::load(whole.path(), &full).expect_err("no full precision");
    assert!(
        error
            .to_string()
            .contains("diffusion_pytorch_model.safetensors"),
        "{error}"
    );
}

/// One file of weights, or a folder, in place of the VAE.
#[test]
fn another_vae_takes_the_place_of_the_models_own() {
    let own = fixture("model/vae");
    let weights = own.join(format!("{STEM}.safetensors"));
    let mut other = candle_core::safetensors::load(weights, &Device::Cpu).expect("weights");
    let key = "decoder.conv_out.bias";
    let moved = (&other[key] + 0.25).expect("moved");
    other.insert(key.into(), moved);
    let folder = tempfile::tempdir().expect("a folder");
    fs::copy(own.join("config.json"), folder.path().join("config.json")).expect("copied");
    let file = folder.path().join(format!("{STEM}.safetensors"));
    candle_core::safetensors::save(&other, &file).expect("written");
    let with_vae = |vae: Option<PathBuf>| {
        let options = SdxlOptions {
            vae,
            ..SdxlOptions::default()
        };
        Sdxl::load(&fixture("model"), &options).expect("an SDXL")
    };
    let decode = |sdxl: &Sdxl| sdxl.vae().decode(&[0.1; 64], 4, 4).expect("decoded");
    let plain = decode(&with_vae(None));
    for place in [&file, folder.path()] {
        let sdxl = with_vae(Some(place.to_path_buf()));
        assert_eq!(sdxl.vae().files(), std::slice::from_ref(&file));
        for (ours, plain) in decode(&sdxl).iter().zip(&plain) {
            assert!((ours - plain - 0.25).abs() < 1e-4, "{ours} {plain}");
        }
    }
}

fn with_unet(path: PathBuf) -> Result<Sdxl, Error> {
    let options = SdxlOptions {
        unet: Some(path),
        ..SdxlOptions::default()
    };
    Sdxl::load(&fixture("model"), &options)
}

#[test]
fn one_file_takes_the_place_of_the_unet() {
    let mut other = tensors();
    let doubled = (&other["conv_out.weight"] * 2.0).expect("doubled");
    other.insert("conv_out.weight".into(), doubled);
    let files = folder(&[("lightning_4step.safetensors", &other)]);
    let path = files.path().join("lightning_4step.safetensors");
    let swapped = with_unet(path.clone()).expect("an SDXL");
    assert_eq!(swapped.unet().files(), [path]);
    assert_ne!(predict(swapped.unet()), predict(&own()));
    let same = fixture("model/unet").join(format!("{STEM}.safetensors"));
    let same = with_unet(same).expect("an SDXL");
    assert_eq!(predict(same.unet()), predict(&own()));
}

#[test]
fn tensors_of_one_file_that_do_not_fit_are_all_listed() {
    let mut other = tensors();
    other.remove("conv_in.bias");
    let vector = Tensor::zeros(7, DType::F32, &Device::Cpu).expect("zeros");
    other.insert("conv_out.bias".into(), vector.clone());
    other.insert("lora.up".into(), vector);
    let files = folder(&[("other.safetensors", &other)]);
    let path = files.path().join("other.safetensors");
    let error = with_unet(path.clone()).expect_err("it does not fit");
    let text = error.to_string();
    for line in [
        "missing conv_in.bias: expected [16]",
        "wrong shape conv_out.bias: expected [4], found [7]",
        "unexpected lora.up: found [7]",
        &path.to_string_lossy(),
    ] {
        assert!(text.contains(line), "no `{line}` in {text}");
    }
}

/// A U-Net folder with one weight that is no number.
fn with_nan() -> TempDir {
    let mut broken = tensors();
    let nan = (&broken[TO_Q] * f64::NAN).expect("a tensor");
    broken.insert(TO_Q.into(), nan);
    folder(&[("diffusion_pytorch_model.safetensors", &broken)])
}

#[test]
fn deep_check_names_non_finite_weights() {
    let error = load(with_nan().path()).expect_err("NaN");
    assert!(
        matches!(&error, Error::Load(LoadError::NotFinite { name, .. }) if name == TO_Q),
        "{error}"
    );
}

fn files(unet: Option<PathBuf>) -> SdxlFiles {
    SdxlFiles {
        folder: fixture("model"),
        unet,
        precision: Precision::Bf16,
        device: DeviceChoice::Cpu,
        ..SdxlFiles::default()
    }
}

#[test]
fn a_check_counts_and_reads_only_when_asked_to() {
    let sound = files(None);
    let facts: Vec<(&str, u64, u64)> = sound
        .check(true)
        .into_iter()
        .map(|check| {
            let facts = check.found.expect(check.part);
            (check.part, facts.parameters, facts.bytes)
        })
        .collect();
    assert_eq!(
        facts,
        [
            ("model_index", 0, 0),
            ("text_encoder", 75_104, 2 * 75_104),
            ("text_encoder_2", 127_040, 2 * 127_040),
            ("unet", 919_772, 2 * 919_772),
            // The VAE computes in float32.
            ("vae", 225_599, 4 * 225_599),
            ("scheduler", 0, 0),
        ]
    );
    let widths = sound.check_together().expect("they fit");
    assert_eq!((widths.name, widths.image_size), (72, 128));

    let folder = with_nan();
    let broken = files(Some(folder.path().into()));
    let unet = |deep| broken.check(deep).swap_remove(3).found;
    assert!(unet(false).is_ok(), "names and shapes are as they must be");
    let error = unet(true).expect_err("NaN");
    assert!(error.to_string().contains(TO_Q), "{error}");
}

#[test]
fn a_check_without_reading_still_lists_what_does_not_fit() {
    let mut other = tensors();
    other.remove("conv_in.bias");
    let folder = folder(&[("diffusion_pytorch_model.safetensors", &other)]);
    let found = files(Some(folder.path().into()))
        .check(false)
        .swap_remove(3);
    assert_eq!(found.part, "unet");
    let error = found.found.expect_err("a tensor is missing").to_string();
    assert!(error.contains("missing conv_in.bias"), "{error}");
}
