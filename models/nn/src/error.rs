//! The error of every model runtime on candle: what failed, on which file, key or tensor.

use std::fmt;
use std::path::PathBuf;

use crate::device::DeviceChoice;

/// Why a model folder could not be loaded or run.
#[derive(Debug, thiserror::Error)]
#[allow(
    missing_docs,
    reason = "each variant's message says what its fields are"
)]
#[non_exhaustive]
pub enum Error {
    /// The operating system refused a file.
    #[error("cannot read {path}")]
    Io {
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
    /// A file is larger than any real one of its kind.
    #[error("{path} has {bytes} bytes; at most {limit} are accepted")]
    TooLarge {
        path: PathBuf,
        bytes: u64,
        limit: u64,
    },
    /// A JSON file that does not parse, lacks a key or has a value of another type.
    #[error("{path} is not the JSON that was expected")]
    Json {
        path: PathBuf,
        #[source]
        source: serde_json::Error,
    },
    /// A configuration value that is not implemented.
    #[error("{path}: {key} = {value} is not supported (expected {expected})")]
    Unsupported {
        path: PathBuf,
        key: String,
        /// The value found, as JSON.
        value: String,
        expected: String,
    },
    /// A tokenizer whose files contradict themselves.
    #[error("{path}: {reason}")]
    Tokenizer { path: PathBuf, reason: String },
    /// A folder without weights.
    #[error("{folder} holds no weights; looked for {}{}", tried.join(", "), not_read(pickles))]
    NoWeights {
        folder: PathBuf,
        tried: Vec<String>,
        /// Names of files with pickled tensors that lie there.
        pickles: Vec<String>,
    },
    /// What a clone without git-lfs leaves in place of a file.
    #[error(
        "{path} is a git-lfs pointer, not the file itself: run `git lfs pull` where it was cloned, or download the file"
    )]
    LfsPointer { path: PathBuf },
    /// What a download without permission leaves in place of a file.
    #[error(
        "{path} is a web page, not the file itself: download it again (some models want you to log in and accept their terms)"
    )]
    WebPage { path: PathBuf },
    /// A weight file that is cut off or not in safetensors format.
    #[error("{path} is not a whole safetensors file")]
    Safetensors {
        path: PathBuf,
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
    NotFinite { path: PathBuf, name: String },
    /// A token that the text tower has no embedding for.
    #[error("token id {id} is outside the vocabulary of {size}")]
    TokenId { id: u32, size: usize },
    /// A token sequence longer than the text tower has positions for, or empty.
    #[error("{length} tokens were given; between 1 and {most} are possible")]
    TokenCount { length: usize, most: usize },
    /// An image without pixels.
    #[error("an image of {width} x {height} pixels cannot be encoded")]
    EmptyImage { width: u32, height: u32 },
    /// A result that is not a number, or infinite.
    #[error("{what} holds values that are not finite")]
    NotFiniteResult { what: String },
    /// A GPU was asked for that there is not.
    #[error("no {device} here: {reason}; device = \"cpu\" computes on the processor")]
    NoGpu {
        device: DeviceChoice,
        reason: String,
    },
    /// A tensor operation failed.
    #[error(transparent)]
    Candle(#[from] candle_core::Error),
}

/// What is said of pickled tensors in place of weights.
fn not_read(pickles: &[String]) -> String {
    if pickles.is_empty() {
        return String::new();
    }
    let names = pickles.join(", ");
    format!(
        "; {names} is not read, since unpickling can run any code: convert it to safetensors, for example by loading it in Python and calling save_pretrained(FOLDER, safe_serialization=True)"
    )
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
