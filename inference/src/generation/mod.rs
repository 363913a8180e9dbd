//! Generating images of anybody: photos or texts to names, names and prompts to images (Algorithm 1 of the paper). What
//! generate-samples, `laioncele generate` and `laioncele interpolate` share.

mod config;
mod error;
mod pipeline;
mod statistics;
mod tables;

pub use config::{Eta, GenerationConfig, MeanLength};
pub use error::{GenerationError, Result};
pub(crate) use pipeline::PipelineParts;
pub use pipeline::{GenerationPipeline, PersonName, SampleRequest};
pub use statistics::NameStatistics;
pub use tables::RunTables;

#[cfg(test)]
mod tests;
