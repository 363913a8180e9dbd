//! Stage 11, train-encoder: photo → name embedding. Two steps: `photo-features` (both frozen CLIP
//! image encoders on every photo of the dataset's people, or on their portraits, kept as a table)
//! and `train-encoder` (three fully connected layers from those features to name embeddings, mean
//! squared error, Adam).
//!
//! Training is exact: batches and noise are functions of (run seed, step number), sums do not
//! depend on the number of threads, and a checkpoint holds all that the rest of a run depends on.
//! Interrupted and resumed, the weights are those of an uninterrupted run, byte for byte.
//!
//! What steps compute is public ([`Stepper`]), so that it can be held against other trainers:
//! `examples/train-fixture` does.

mod batch;
mod checkpoint;
mod choices;
mod curve;
mod events;
mod examples;
mod features;
mod looking;
mod network;
mod optimizer;
mod picture;
mod portraits;
mod publish;
mod random;
mod reading;
mod resume;
mod schedule;
mod settings;
mod split;
mod stepper;
mod summary;
mod tensors;
mod train;
mod trainer;

use laioncele_core::Step;

pub use checkpoint::{Best, Refusal, State};
pub use choices::{
    Images, Keep, LastBias, Optimizer, Order, Precision, Reduction, Schedule, Targets,
};
pub use curve::Point;
pub use optimizer::Adam;
pub use schedule::learning_rate;
pub use settings::Settings;
pub use split::statistics;
pub use stepper::{Fill, Stepper, loss};
pub use tensors::{Batch, Tensors};

/// The steps of this stage.
pub fn steps() -> Vec<Box<dyn Step>> {
    vec![
        Box::new(features::PhotoFeatures),
        Box::new(train::TrainEncoder),
    ]
}

#[cfg(test)]
mod tests;
