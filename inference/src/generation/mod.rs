//! Generating images of anybody: photos or texts to names, names and prompts to images (Algorithm 1 of the paper). What
//! generate-samples, `laioncele generate` and `laioncele interpolate` share.

mod config;
mod error;
mod folder;
mod name;
mod pipeline;
mod predictor;
mod spread;
mod statistics;
mod tables;

pub use config::{Eta, GenerationConfig, MeanLength};
pub use error::{GenerationError, Result};
pub use folder::{EncoderFolder, FolderError};
pub use name::PersonName;
pub(crate) use pipeline::PipelineParts;
pub use pipeline::{GenerationPipeline, SampleRequest};
pub use predictor::NamePredictor;
pub use spread::{NameSpread, fictional};
pub use statistics::NameStatistics;
pub use tables::RunTables;

#[cfg(test)]
mod tests;
