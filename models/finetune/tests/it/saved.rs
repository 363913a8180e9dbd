//! Saved files against diffusers' own, and read again.

use std::collections::BTreeMap;

use candle_core::{DType, Device};
use laioncele_finetune::save::{self, LoraLayout, Stored};
use laioncele_finetune::{Inputs, Network, NetworkOptions, Trained, Trainer};
use safetensors::SafeTensors;

use crate::common;
use crate::recorded::{Recording, WHOLE, load};

/// The recorded file's LoRA in a network.
fn restored(recording: &Recording) -> Trainer {
    let trainer = recording.trainer("lora", WHOLE);
    let saved = load(&recording.folder.join("saved").join(save::LORA_FILE));
    assert_eq!(saved.len(), trainer.network().parameters().len());
    for parameter in trainer.network().parameters() {
        let values = common::numbers(&saved[&format!("unet.{}", parameter.name)]);
        parameter.set(&values).expect("set");
    }
    trainer
}

/// Names, order, numbers, header: all bytes.
#[test]
fn a_saved_lora_has_the_bytes_of_diffusers() {
    let recording = Recording::open();
    let trainer = restored(&recording);
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join(save::LORA_FILE);
    save::write_lora(&path, trainer.network(), LoraLayout::Diffusers).expect("written");
    let theirs = recording.folder.join("saved").join(save::LORA_FILE);
    let read = |path| std::fs::read(path).expect("bytes");
    let (ours, theirs) = (read(path), read(theirs));
    let metadata = |bytes: &[u8]| {
        let (_, metadata) = SafeTensors::read_metadata(bytes).expect("a header");
        let sorted: BTreeMap<_, _> = metadata
            .metadata()
            .clone()
            .expect("metadata")
            .into_iter()
            .collect();
        sorted
    };
    assert_eq!(metadata(&ours), metadata(&theirs));
    assert!(ours == theirs);
}

/// The recorded effect of the recorded file.
#[test]
fn a_saved_lora_has_the_recorded_effect() {
    let recording = Recording::open();
    let golden = load(&recording.folder.join("saved_lora_output.safetensors"));
    let trainer = restored(&recording);
    let numbers = |name: &str| common::numbers(&golden[name]);
    let rows = golden["sample"].dim(0).expect("rows");
    let (.., height, width) = golden["sample"].dims4().expect("a sample");
    let ids: [f32; 6] = numbers("time_ids")[..6].try_into().expect("six");
    let inputs = Inputs {
        latents: numbers("sample"),
        size: [height, width],
        timesteps: vec![numbers("timestep")[0]; rows],
        context: numbers("context"),
        pooled: numbers("text_embeds"),
        time_ids: vec![ids; rows],
    };
    let ours = trainer.network().predict(&inputs).expect("a prediction");
    common::assert_close("with the LoRA", &ours, &golden["with_lora"], 2e-5);
    for parameter in trainer.network().parameters() {
        if parameter.name.contains("lora_B") {
            let zeros = vec![0.0; parameter.values().expect("values").len()];
            parameter.set(&zeros).expect("set");
        }
    }
    let plain = trainer.network().predict(&inputs).expect("a prediction");
    common::assert_close("without it", &plain, &golden["plain"], 2e-5);
}

/// kohya's names number ResNets and downsamplers in one list; every module has its three tensors.
#[test]
fn a_lora_for_webui_has_kohyas_names() {
    let recording = Recording::open();
    let trainer = restored(&recording);
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("webui.safetensors");
    save::write_lora(&path, trainer.network(), LoraLayout::Webui).expect("written");
    let bytes = std::fs::read(&path).expect("bytes");
    let file = SafeTensors::deserialize(&bytes).expect("safetensors");
    let modules = trainer.network().parameters().len() / 2;
    assert_eq!(file.len(), 3 * modules);
    let config = trainer.network().config();
    let first = config
        .levels
        .iter()
        .position(|level| level.down_depths.is_some());
    let first = first.expect("a level with attention");
    let number = 1 + config.levels[..first]
        .iter()
        .map(|l| l.layers + 1)
        .sum::<usize>();
    let rank = recording.cases["rank"].as_f64().expect("a rank");
    for (ours, theirs) in [
        (
            format!("down_blocks.{first}.attentions.0.transformer_blocks.0.attn1.to_out.0"),
            format!("input_blocks_{number}_1_transformer_blocks_0_attn1_to_out_0"),
        ),
        (
            "mid_block.attentions.0.transformer_blocks.0.attn2.to_k".into(),
            "middle_block_1_transformer_blocks_0_attn2_to_k".into(),
        ),
        (
            "up_blocks.0.attentions.1.transformer_blocks.0.attn2.to_v".into(),
            "output_blocks_1_1_transformer_blocks_0_attn2_to_v".into(),
        ),
    ] {
        for (a_or_b, down_or_up) in [("lora_A", "lora_down"), ("lora_B", "lora_up")] {
            let parameter = trainer
                .network()
                .parameter(&format!("{ours}.{a_or_b}.weight"));
            let values = parameter.expect("a parameter").values().expect("values");
            let view = file.tensor(&format!("lora_unet_{theirs}.{down_or_up}.weight"));
            let view = view.expect("a tensor");
            let stored = view.data().as_chunks::<2>().0.iter();
            let stored: Vec<f32> = stored
                .map(|b| half::f16::from_le_bytes(*b).to_f32())
                .collect();
            assert!(
                values
                    .iter()
                    .zip(&stored)
                    .all(|(a, b)| (a - b).abs() <= a.abs() * 1e-3 + 1e-7)
            );
        }
        let alpha = file
            .tensor(&format!("lora_unet_{theirs}.alpha"))
            .expect("alpha");
        assert_eq!(alpha.shape(), [0usize; 0]);
        assert_eq!(alpha.data(), half::f16::from_f64(rank).to_le_bytes());
    }
}

/// As one file and in shards, float32 is exact; the folder is read like any U-Net's.
#[test]
fn a_saved_unet_is_loaded_again() {
    let recording = Recording::open();
    let mut trainer = recording.trainer("unet", WHOLE);
    trainer
        .step(&recording.rows(0), recording.size())
        .expect("a step");
    let config = std::fs::read_to_string(recording.base.join("unet/config.json"));
    let config = config.expect("a configuration");
    for (stored, most, files) in [
        (Stored::F32, save::SHARD_BYTES, 2),
        (Stored::F32, 1 << 20, 6),
    ] {
        let folder = tempfile::tempdir().expect("a folder");
        let written = save::write_unet(folder.path(), trainer.network(), &config, stored, most);
        let written = written.expect("written");
        assert!(written.len() >= files, "{written:?}");
        let options = NetworkOptions {
            device: Device::Cpu,
            dtype: DType::F32,
            trained: Trained::UNet,
            seed: 0,
        };
        let again = Network::load(folder.path(), &options).expect("a U-Net");
        for (a, b) in trainer
            .network()
            .parameters()
            .iter()
            .zip(again.parameters())
        {
            assert_eq!(a.name, b.name);
            assert!(
                a.values().expect("values") == b.values().expect("values"),
                "{}",
                a.name
            );
        }
    }
}
