//! Weights merged in 16 bits, bit for bit as torch merges them.

use std::path::Path;
use std::sync::Arc;

use candle_core::{DType, Device, Tensor};
use laioncele_nn::{LoadOptions, TensorFile, WeightChange};

use super::{Lora, Loras, PartChange};
use crate::files::SdxlFiles;
use crate::sources::Sources;

fn rounded(values: &[f32], dtype: DType) -> Vec<f32> {
    let tensor = Tensor::from_slice(values, values.len(), &Device::Cpu).expect("a tensor");
    let tensor = tensor.to_dtype(dtype).and_then(|t| t.to_dtype(DType::F32));
    tensor.and_then(|t| t.to_vec1()).expect("numbers")
}

#[test]
fn weights_are_merged_in_float32_and_rounded_once() {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let folder = here.join("../clip/tests/fixtures/tiny-a/model");
    let variants = here.join("tests/fixtures/variants");
    let files = SdxlFiles {
        folder: folder.clone(),
        ..SdxlFiles::default()
    };
    let sources = Sources::open(&files).expect("a model");
    assert!(sources.load_unet(&LoadOptions::default()).is_ok());
    let names = sources.module_names().expect("names");
    let golden = TensorFile::open(&variants.join("goldens/merged.safetensors")).expect("goldens");
    assert!(golden.tensors().len() >= 8);
    for key in golden.tensors().keys() {
        let parts: Vec<&str> = key.split('|').collect();
        let [file, module, strength, dtype] = parts[..] else {
            panic!("{key}");
        };
        let lora = Lora {
            file: variants.join(format!("lora/{file}.safetensors")),
            strength: strength.parse().expect("a strength"),
        };
        let loras: Arc<Loras> = Loras::open(&[lora], &names).expect("a LoRA");
        let (part, name) = module.split_once('.').expect("a part");
        let stem = if part == "unet" {
            "diffusion_pytorch_model"
        } else {
            "model"
        };
        let weights = TensorFile::open(&folder.join(part).join(format!("{stem}.safetensors")));
        let weights = weights.expect("weights");
        let name = format!("{name}.weight");
        let dtype = if dtype == "f16" {
            DType::F16
        } else {
            DType::BF16
        };
        let mut values = rounded(&weights.numbers(&name).expect("a weight"), dtype);
        let change = PartChange {
            loras,
            part: if part == "unet" {
                "unet"
            } else {
                "text_encoder_2"
            },
        };
        assert!(change.concerns(&name), "{key}");
        let shape = &weights.tensors()[&name].shape;
        change.apply(&name, shape, &mut values).expect("merged");
        let (ours, theirs) = (
            rounded(&values, dtype),
            golden.numbers(key).expect("a golden"),
        );
        let unequal = ours.iter().zip(&theirs).filter(|(a, b)| a != b).count();
        assert!(
            unequal * 500 <= ours.len(),
            "{key}: {unequal} of {}",
            ours.len()
        );
    }
}
