//! The worker of `make bench-train`: takes steps of a network of the paper's size, or another, and
//! answers each line of standard input, a number of steps, with one line: seconds by the wall clock
//! and of the processors, peak memory, the seconds of the matrix products alone.
//!
//!     bench-train THREADS BATCH INPUT HIDDEN OUTPUT

#[path = "../../../benches/clocks.rs"]
mod clocks;

use std::io::{BufRead, Write};
use std::ops::Range;
use std::time::Instant;

use clocks::Clocks;
use laioncele_encoder::{Activation, EncoderConfig};
use laioncele_nn::kernels::{Matrix, MatrixMut, matmul};
use laioncele_train_encoder::{Adam, Batch, Settings, Stepper, Tensors};
use serde_json::json;

type Failure = Box<dyn std::error::Error>;

fn main() -> Result<(), Failure> {
    let numbers: Vec<usize> = std::env::args()
        .skip(1)
        .map(|a| a.parse())
        .collect::<Result<_, _>>()?;
    let [threads, batch, input, hidden, output] = numbers[..] else {
        return Err("usage: bench-train THREADS BATCH INPUT HIDDEN OUTPUT".into());
    };
    let config = EncoderConfig {
        input,
        hidden: [hidden; 2],
        output_tokens: 1,
        output_channels: output,
        activation: Activation::Gelu,
    };
    let settings = Settings {
        batch,
        ..Settings::default()
    };
    let pool = rayon::ThreadPoolBuilder::new().num_threads(threads);
    pool.build_global()?;
    work(&config, &settings)
}

fn work(config: &EncoderConfig, settings: &Settings) -> Result<(), Failure> {
    let mut parameters = Tensors::zeros(config);
    for (k, tensor) in parameters.0.iter_mut().enumerate() {
        let bound = (config.layers()[k / 2].0 as f32).sqrt().recip();
        let wave = |i: usize| bound * ((i % 10_007) as f32 * 0.37).sin();
        let values = tensor.iter_mut().enumerate();
        values.for_each(|(i, value)| *value = wave(i));
    }
    let mut adam = Adam::new(config);
    let mut stepper = Stepper::new(settings, config);
    let mut fill = |range: Range<usize>, batch: &mut Batch| {
        let wave = |count: usize| (0..count).map(|i| (i as f32 * 0.11).sin()).collect();
        batch.size = range.len();
        if batch.inputs.is_empty() {
            batch.inputs = wave(config.input * range.len());
            batch.targets = wave(config.output() * range.len());
        }
    };
    stepper.step(&mut parameters, &mut adam, &mut fill);
    for line in std::io::stdin().lock().lines() {
        let steps: usize = line?.trim().parse()?;
        let clocks = Clocks::start()?;
        let mut loss = 0.0;
        for _ in 0..steps {
            loss = stepper.step(&mut parameters, &mut adam, &mut fill);
        }
        let mut report = clocks.report()?;
        report["loss"] = json!(loss);
        report["products"] = json!(products(config, settings.batch, steps, &parameters));
        let mut stdout = std::io::stdout().lock();
        writeln!(stdout, "{report}")?;
        stdout.flush()?;
    }
    Ok(())
}

/// Seconds that the eight products of a step take alone, each as one call.
fn products(config: &EncoderConfig, batch: usize, steps: usize, parameters: &Tensors) -> f64 {
    let widest = config.layers().iter().map(|l| l.0.max(l.1)).max();
    let (a, b) = (
        vec![0.5f32; widest.unwrap_or(0) * batch],
        vec![0.25f32; widest.unwrap_or(0) * batch],
    );
    let mut room = vec![0f32; a.len()];
    let mut gradient = Tensors::zeros(config);
    let product = |into: &mut [f32], rows, cols, lhs, rhs| {
        matmul(
            MatrixMut::new(&mut into[..rows * cols], rows, cols),
            lhs,
            rhs,
            1.0,
            false,
        );
    };
    let begun = Instant::now();
    for _ in 0..steps {
        for (layer, (inputs, outputs)) in config.layers().into_iter().enumerate() {
            let weight = Matrix::new(&parameters.0[2 * layer], outputs, inputs);
            let below = Matrix::new(&a[..inputs * batch], inputs, batch);
            let errors = Matrix::new(&b[..outputs * batch], outputs, batch);
            product(&mut room, outputs, batch, weight, below);
            if layer > 0 {
                product(&mut room, inputs, batch, weight.transposed(), errors);
            }
            let into = &mut gradient.0[2 * layer];
            product(into, outputs, inputs, errors, below.transposed());
        }
    }
    begun.elapsed().as_secs_f64()
}
