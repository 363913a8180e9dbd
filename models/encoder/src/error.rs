//! The one error type of this crate.

use std::path::PathBuf;

/// Why an encoder could not be read, written or run.
#[derive(Debug, thiserror::Error)]
#[allow(
    missing_docs,
    reason = "each variant's message says what its fields are"
)]
#[non_exhaustive]
pub enum Error {
    /// The file system refused.
    #[error("{path}")]
    Io {
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
    /// `encoder.json` is not the JSON of an encoder.
    #[error("encoder.json is not an encoder's configuration")]
    Config(#[source] serde_json::Error),
    /// A number of the configuration is out of range.
    #[error("encoder: {key} = {value} is not possible (1 to {limit})")]
    Range {
        key: &'static str,
        /// The value found.
        value: usize,
        /// The largest possible.
        limit: usize,
    },
    /// `encoder.safetensors` is not a safetensors file.
    #[error("encoder.safetensors is damaged")]
    Weights(#[source] safetensors::SafeTensorError),
    /// A tensor is missing, of another shape or type, or holds numbers that are not finite.
    #[error("encoder: tensor `{tensor}` {problem}")]
    Tensor { tensor: String, problem: String },
    /// Features of the wrong width.
    #[error("{found} features; the encoder takes {expected}")]
    Width { found: usize, expected: usize },
}

/// A `Result` with this crate's [`Error`].
pub type Result<T> = std::result::Result<T, Error>;
