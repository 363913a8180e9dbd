//! The forward pass against the one that images are generated with, and against the recording.

use candle_core::{DType, Device, Tensor};
use laioncele_finetune::{Inputs, Network, NetworkOptions, Trained};
use laioncele_nn::LoadOptions;
use laioncele_sdxl::UNet;

use crate::common;
use crate::recorded::{Recording, WHOLE, load};

fn network(recording: &Recording, trained: Trained) -> Network {
    let options = NetworkOptions {
        device: Device::Cpu,
        dtype: DType::F32,
        trained,
        seed: 0,
    };
    Network::load(&recording.base.join("unet"), &options).expect("a U-Net")
}

/// Even, uneven and odd sizes; a fresh LoRA changes nothing, since its B is 0.
#[test]
fn both_forward_passes_agree() {
    let recording = Recording::open();
    let unet = UNet::load(&recording.base.join("unet"), &LoadOptions::default()).expect("a U-Net");
    let row = &recording.rows(0)[0];
    let channels = unet.channels();
    let networks = [
        Trained::UNet,
        Trained::Lora {
            rank: 3,
            alpha: 6.0,
        },
    ];
    for trained in networks {
        let network = network(&recording, trained);
        for [height, width] in [[8usize, 8], [8, 12], [6, 10], [5, 7]] {
            let count = channels * height * width;
            let latents: Vec<f32> = (0..count).map(|i| (i as f32 * 0.37).sin() * 1.5).collect();
            let inputs = Inputs {
                latents: latents.clone(),
                size: [height, width],
                timesteps: vec![613.0],
                context: row.context.clone(),
                pooled: row.pooled.clone(),
                time_ids: vec![row.time_ids],
            };
            let ours = network.predict(&inputs).expect("a prediction");
            let condition = unet.condition(&row.context, &row.pooled, &[row.time_ids]);
            let condition = condition.expect("a condition");
            let step = &unet.step_table(&[613.0], &condition).expect("biases")[0];
            let sample = unet
                .tensor(&latents, (1, channels, height, width))
                .expect("a sample");
            let theirs = unet
                .forward(&sample, step, &condition)
                .expect("a prediction");
            common::assert_close(&format!("{height} x {width}"), &ours, &theirs, 2e-5);
        }
    }
}

/// The recorded first step: noised latents, the text with N in it, the prediction.
#[test]
fn the_first_steps_numbers_are_the_recorded_ones() {
    let recording = Recording::open();
    let golden = load(&recording.folder.join("lora.safetensors"));
    let trainer = recording.trainer("lora", WHOLE);
    let rows = recording.rows(0);
    let mut inputs = Inputs {
        size: recording.size(),
        ..Inputs::default()
    };
    for row in &rows {
        let noised = trainer
            .objective()
            .noised(&row.latents, &row.noise, row.timestep);
        inputs.latents.extend(noised);
        inputs.timesteps.push(row.timestep as f32);
        inputs.context.extend_from_slice(&row.context);
        inputs.pooled.extend_from_slice(&row.pooled);
        inputs.time_ids.push(row.time_ids);
    }
    let output = trainer.network().predict(&inputs).expect("a prediction");
    for (name, ours) in [
        ("noisy", &inputs.latents),
        ("context", &inputs.context),
        ("output", &output),
    ] {
        let golden: &Tensor = &golden[&format!("step_1.{name}")];
        common::assert_close(name, ours, golden, 2e-5);
    }
}
