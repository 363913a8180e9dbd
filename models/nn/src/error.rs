//! The error of every model runtime on candle: what failed, on which file, key or tensor.

use std::fmt;
use std::path::PathBuf;

use crate::device::DeviceChoice;

/// Why a model folder could not be loaded or run.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The operating system refused a file.
    #[error("cannot read {path}")]
    Io {
        /// The file.
        path: PathBuf,
        /// The cause.
        #[source]
        source: std::io::Error,
    },
    /// A file is larger than any honest one of its kind.
    #[error("{path} has {bytes} bytes; at most {limit} are accepted")]
    TooLarge {
        /// The file.
        path: PathBuf,
        /// Its size.
        bytes: u64,
        /// The most that is accepted.
        limit: u64,
    },
    /// A JSON file that does not parse, lacks a key or has a value of another type.
    #[error("{path} is not the JSON that was expected")]
    Json {
        /// The file.
        path: PathBuf,
        /// The cause, with line and column.
        #[source]
        source: serde_json::Error,
    },
    /// A configuration value that is not implemented.
    #[error("{path}: {key} = {value} is not supported (expected {expected})")]
    Unsupported {
        /// The configuration file.
        path: PathBuf,
        /// The key.
        key: String,
        /// The value found, as JSON.
        value: String,
        /// What would have been accepted.
        expected: String,
    },
    /// A tokenizer whose files contradict themselves.
    #[error("{path}: {reason}")]
    Tokenizer {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// A folder without weights.
    #[error("{folder} holds no weights; looked for {}", tried.join(", "))]
    NoWeights {
        /// The folder.
        folder: PathBuf,
        /// The file names looked for.
        tried: Vec<String>,
    },
    /// A weight file that is cut off or not in safetensors format.
    #[error("{path} is not a whole safetensors file")]
    Safetensors {
        /// The file.
        path: PathBuf,
        /// The cause.
        #[source]
        source: Box<candle_core::Error>,
    },
    /// Tensors that do not fit the configuration.
    #[error("the weights in {origin} do not fit config.json:\n{report}")]
    Tensors {
        /// The folder, or the one weight file.
        origin: PathBuf,
        /// All of the differences.
        report: Box<TensorReport>,
    },
    /// A weight that is not a number, or infinite.
    #[error("{path}: tensor {name} holds values that are not finite")]
    NotFinite {
        /// The weight file.
        path: PathBuf,
        /// The tensor.
        name: String,
    },
    /// A token that the text tower has no embedding for.
    #[error("token id {id} is outside the vocabulary of {size}")]
    TokenId {
        /// The token.
        id: u32,
        /// Rows of the embedding table.
        size: usize,
    },
    /// A token sequence longer than the text tower has positions for, or empty.
    #[error("{length} tokens were given; between 1 and {most} are possible")]
    TokenCount {
        /// Tokens given.
        length: usize,
        /// Positions of the text tower.
        most: usize,
    },
    /// An image without pixels.
    #[error("an image of {width} x {height} pixels cannot be encoded")]
    EmptyImage {
        /// Width in pixels.
        width: u32,
        /// Height in pixels.
        height: u32,
    },
    /// A result that is not a number, or infinite.
    #[error("{what} holds values that are not finite")]
    NotFiniteResult {
        /// The result.
        what: String,
    },
    /// A GPU was asked for that there is not.
    #[error("no {device} here: {reason}; device = \"cpu\" computes on the processor")]
    NoGpu {
        /// What was asked for.
        device: DeviceChoice,
        /// What stands in the way.
        reason: String,
    },
    /// A tensor operation failed.
    #[error(transparent)]
    Candle(#[from] candle_core::Error),
}

/// A `Result` with this crate's [`Error`].
pub type Result<T> = std::result::Result<T, Error>;

/// How the tensors of a weight file differ from what its configuration asks for.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct TensorReport {
    /// Absent: name, expected shape.
    pub missing: Vec<(String, Vec<usize>)>,
    /// Not asked for: name, shape found.
    pub unexpected: Vec<(String, Vec<usize>)>,
    /// Of another shape: name, expected shape, shape found.
    pub misshapen: Vec<(String, Vec<usize>, Vec<usize>)>,
    /// Stored in a type that cannot be read: name, type.
    pub unreadable: Vec<(String, String)>,
}

impl TensorReport {
    /// Whether every tensor is as expected.
    pub fn is_empty(&self) -> bool {
        self.missing.is_empty()
            && self.unexpected.is_empty()
            && self.misshapen.is_empty()
            && self.unreadable.is_empty()
    }
}

impl fmt::Display for TensorReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut lines = Vec::new();
        for (name, expected) in &self.missing {
            lines.push(format!("  missing {name}: expected {expected:?}"));
        }
        for (name, expected, found) in &self.misshapen {
            lines.push(format!(
                "  wrong shape {name}: expected {expected:?}, found {found:?}"
            ));
        }
        for (name, found) in &self.unexpected {
            lines.push(format!("  unexpected {name}: found {found:?}"));
        }
        for (name, dtype) in &self.unreadable {
            lines.push(format!("  unreadable {name}: stored as {dtype}"));
        }
        f.write_str(&lines.join("\n"))
    }
}
