//! The worker of `make bench-finetune`: takes training steps on fixed rows and prints one line of
//! JSON: seconds by the wall clock per step, of all steps after the first two, and the last loss.
//!
//!     throughput-finetune MODEL_FOLDER lora|unet STEPS BATCH EDGE THREADS

use std::io::Write;
use std::path::Path;
use std::time::Instant;

use laioncele_finetune::{
    Network, NetworkOptions, Objective, OptimizerSettings, Row, Stream, Trained, Trainer,
    TrainerOptions,
};
use laioncele_nn::LoadOptions;

type Failure = Box<dyn std::error::Error>;

/// Steps that are not measured.
const WARM: usize = 2;

fn main() -> Result<(), Failure> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [folder, what, steps, batch, edge, threads] = arguments.as_slice() else {
        return Err(
            "usage: throughput-finetune MODEL_FOLDER lora|unet STEPS BATCH EDGE THREADS".into(),
        );
    };
    let (steps, batch, edge): (usize, usize, usize) =
        (steps.parse()?, batch.parse()?, edge.parse()?);
    rayon::ThreadPoolBuilder::new()
        .num_threads(threads.parse()?)
        .build_global()?;
    let load = LoadOptions::default();
    let options = NetworkOptions {
        device: load.device,
        dtype: load.dtype,
        trained: match what.as_str() {
            "lora" => Trained::Lora {
                rank: 4,
                alpha: 4.0,
            },
            _ => Trained::UNet,
        },
        seed: 0,
    };
    let network = Network::load(&Path::new(folder).join("unet"), &options)?;
    let config = network.config().clone();
    let rows: Vec<Row> = (0..batch)
        .map(|row| {
            let draw = |what: &str, count: usize| {
                let mut values = vec![0f32; count];
                Stream::new(0, what, &row.to_string(), 0).normals(&mut values);
                values
            };
            let size = edge as f32 * 8.0;
            Row {
                latents: draw("latents", config.in_channels * edge * edge),
                noise: draw("noise", config.in_channels * edge * edge),
                timestep: 37 * row + 11,
                context: draw("context", 77 * config.cross_attention_dim),
                pooled: draw("pooled", config.pooled_width),
                time_ids: [size, size, 0.0, 0.0, size, size],
            }
        })
        .collect();
    let objective = Objective::read(Path::new(folder), None)?;
    let options = TrainerOptions {
        micro_batch: batch.div_ceil(4),
        recompute: false,
    };
    let mut trainer = Trainer::new(network, objective, OptimizerSettings::default(), options)?;
    let mut start = Instant::now();
    let mut loss = 0.0;
    for step in 0..WARM + steps {
        if step == WARM {
            start = Instant::now();
        }
        loss = trainer.step(&rows, [edge, edge])?.loss;
    }
    let seconds = start.elapsed().as_secs_f64() / steps as f64;
    let numbers: usize = trainer
        .network()
        .parameters()
        .iter()
        .map(|p| p.dims().iter().product::<usize>())
        .sum();
    let line = serde_json::json!({ "seconds": seconds, "loss": loss, "parameters": numbers });
    writeln!(std::io::stdout(), "{line}")?;
    Ok(())
}
