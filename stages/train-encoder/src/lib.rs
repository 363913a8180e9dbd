//! Stage 11, train-encoder: photo → name embedding. Two steps: `photo-features` (both frozen CLIP
//! image encoders on every photo, kept as a table) and `train-encoder` (three fully connected
//! layers from those features to name embeddings, mean squared error, Adam).
//!
//! Training is exact: batches and noise are functions of (run seed, step number), sums do not
//! depend on the number of threads, and a checkpoint holds all that the rest of a run depends on.
//! Interrupted and resumed, the weights are those of an uninterrupted run, byte for byte.

mod adam;
mod batch;
mod checkpoint;
mod curve;
mod examples;
mod features;
mod network;
mod publish;
mod settings;
mod train;

use laioncele_core::Step;

pub use settings::Settings;

/// The steps of this stage.
pub fn steps() -> Vec<Box<dyn Step>> {
    vec![
        Box::new(features::PhotoFeatures),
        Box::new(train::TrainEncoder),
    ]
}

#[cfg(test)]
mod tests;
