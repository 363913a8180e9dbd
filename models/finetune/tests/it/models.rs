//! What is trained of models that are no plain folder: one file, LoRAs merged, marks of v-prediction; against what diffusers
//! computes with them.

use std::path::{Path, PathBuf};

use candle_core::{DType, Device};
use laioncele_finetune::{Inputs, Network, NetworkOptions, Objective, Trained};
use laioncele_sdxl::{LoadOptions, Lora, Parts, PredictionType, SdxlFiles};

use crate::common::{assert_close, fixture, numbers};
use crate::recorded::load;

fn variants(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../sdxl/tests/fixtures/variants")
        .join(path)
}

fn files(single: Option<&str>, loras: &[(&str, f64)]) -> SdxlFiles {
    let lora = |(name, strength): &(&str, f64)| Lora {
        file: variants(&format!("lora/{name}.safetensors")),
        strength: *strength,
    };
    SdxlFiles {
        folder: fixture("model"),
        file: single.map(|name| variants(&format!("single/{name}.safetensors"))),
        loras: loras.iter().map(lora).collect(),
        ..SdxlFiles::default()
    }
}

fn network(parts: &Parts, trained: Trained) -> Network {
    let options = NetworkOptions {
        device: Device::Cpu,
        dtype: DType::F32,
        trained,
        seed: 0,
    };
    Network::of_parts(parts, &options).expect("a U-Net")
}

/// The recorded inputs of all variants.
fn inputs() -> Inputs {
    let golden = load(&variants("goldens/single.safetensors"));
    let dims = golden["sample"].dims().to_vec();
    let ids = numbers(&golden["time_ids"]);
    let (ids, _) = ids.as_chunks::<6>();
    Inputs {
        latents: numbers(&golden["sample"]),
        size: [dims[2], dims[3]],
        timesteps: vec![numbers(&golden["timestep"])[0]; dims[0]],
        context: numbers(&golden["context"]),
        pooled: numbers(&golden["text_embeds"]),
        time_ids: ids.to_vec(),
    }
}

/// Single files of 32, 16 and 8 bits, under the original layout's names.
#[test]
fn one_file_is_trained_as_it_draws() {
    let golden = load(&variants("goldens/single.safetensors"));
    for name in ["full", "v", "unet-fp8"] {
        let parts = Parts::open(&files(Some(name), &[])).expect("a model");
        let ours = network(&parts, Trained::UNet).predict(&inputs());
        let golden = &golden[&format!("{name}.unet")];
        assert_close(name, &ours.expect("a prediction"), golden, 2e-5);
    }
    let folder = Parts::open(&files(None, &[])).expect("a model");
    let text = std::fs::read_to_string(fixture("model/unet/config.json"));
    assert_eq!(
        folder.unet_config_text().expect("a configuration"),
        text.expect("a file")
    );
}

/// LoRAs of the model are merged before training begins, whether all weights are trained or a LoRA beside them.
#[test]
fn loras_of_the_model_are_merged() {
    let golden = load(&variants("goldens/lora.safetensors"));
    let rank = Trained::Lora {
        rank: 3,
        alpha: 6.0,
    };
    for (trained, loras, case) in [
        (Trained::UNet, &[("kohya", 1.0)][..], "kohya@1"),
        (rank, &[("kohya", 1.0), ("peft", 0.5)], "kohya@1+peft@0.5"),
        (rank, &[("tucker", 1.0)], "tucker@1"),
    ] {
        let parts = Parts::open(&files(None, loras)).expect("a model");
        let ours = network(&parts, trained).predict(&inputs());
        let golden = &golden[&format!("{case}.unet")];
        assert_close(case, &ours.expect("a prediction"), golden, 3e-5);
    }
}

/// A file's marks decide what is trained towards, and a VAE beside it what latents are.
#[test]
fn marks_of_the_file_decide_the_target() {
    let objective = |name: Option<&str>| {
        let parts = Parts::open(&files(name, &[])).expect("a model");
        parts.vae(&LoadOptions::default()).expect("a VAE");
        Objective::of(parts.scheduler().expect("a schedule"), None).expect("an objective")
    };
    let (plain, marked) = (objective(None), objective(Some("v")));
    assert_eq!(plain.prediction(), PredictionType::Epsilon);
    assert_eq!(marked.prediction(), PredictionType::VPrediction);
    // Zero terminal SNR: nothing is left of the photo, and −x₀ is what is predicted.
    let last = marked.timesteps() - 1;
    assert_eq!(marked.noised(&[3.0], &[5.0], last), [5.0]);
    assert_eq!(marked.target(&[3.0], &[5.0], last), [-3.0]);
    assert!(plain.noised(&[3.0], &[5.0], last)[0] > 5.0);
}
