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
    #[error("{path} is not a whole safetensors file: {reason}")]
    Safetensors { path: PathBuf, reason: String },
    /// A file of pickled tensors.
    #[error(
        "{path} is a pickled PyTorch file, which can run any code when it is read: convert it to safetensors, for example by loading it in Python with torch.load(…, weights_only=True) and saving the tensors with safetensors.torch.save_file"
    )]
    Pickled { path: PathBuf },
    /// A file of llama.cpp's format.
    #[error(
        "{path} is a GGUF file, whose quantized tensors are not read: take the safetensors file"
    )]
    Gguf { path: PathBuf },
    /// A quantization that is not read.
    #[error(
        "{path} is quantized ({name}), which is not read: take a file in f16, bf16, f32 or 8-bit floats"
    )]
    Quantized { path: PathBuf, name: String },
    /// A tensor that cannot be read.
    #[error("{path}: tensor {name} cannot be read: {reason}")]
    Tensor {
        path: PathBuf,
        name: String,
        reason: String,
    },
    /// What was to change the weights while they are read failed.
    #[error(transparent)]
    Change(Box<dyn std::error::Error + Send + Sync>),
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
    /// A token that cannot be added to a vocabulary.
    #[error("{token:?} cannot be a token of its own: it is {reason}")]
    OwnToken { token: String, reason: String },
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

/// Differences that are shown; a file of another model has hundreds.
const SHOWN: usize = 10;

impl fmt::Display for TensorReport {
    /// The first ten differences, a line each, of every kind some; then how many there are.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let missing = self.missing.iter();
        let missing = missing.map(|(name, shape)| format!("  missing {name}: expected {shape:?}"));
        let misshapen = self.misshapen.iter().map(|(name, expected, found)| {
            format!("  wrong shape {name}: expected {expected:?}, found {found:?}")
        });
        let unexpected = self.unexpected.iter();
        let unexpected =
            unexpected.map(|(name, found)| format!("  unexpected {name}: found {found:?}"));
        let unreadable = self.unreadable.iter();
        let unreadable = unreadable.map(|(name, d)| format!("  unreadable {name}: stored as {d}"));
        let kinds: [(&str, Vec<String>); 4] = [
            ("missing", missing.collect()),
            ("misshapen", misshapen.collect()),
            ("unexpected", unexpected.collect()),
            ("unreadable", unreadable.collect()),
        ];
        let total: usize = kinds.iter().map(|(_, lines)| lines.len()).sum();
        if total <= SHOWN {
            let lines: Vec<String> = kinds.into_iter().flat_map(|(_, lines)| lines).collect();
            return f.write_str(&lines.join("\n"));
        }
        let present = kinds.iter().filter(|(_, lines)| !lines.is_empty());
        let counts = present
            .clone()
            .map(|(kind, lines)| format!("{} {kind}", lines.len()));
        let counts = counts.collect::<Vec<_>>().join(", ");
        let each = (SHOWN - 1) / present.clone().count().max(1);
        for line in present.flat_map(|(_, lines)| lines.iter().take(each)) {
            writeln!(f, "{line}")?;
        }
        write!(f, "  and others: {counts}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_of_hundreds_has_ten_lines_and_counts() {
        let named = |i: usize| (format!("layer.{i}"), vec![i]);
        let mut report = TensorReport {
            missing: (0..3).map(named).collect(),
            ..TensorReport::default()
        };
        assert_eq!(report.to_string().lines().count(), 3);
        report.missing = (0..300).map(named).collect();
        report.unexpected = (0..120).map(named).collect();
        let text = report.to_string();
        assert!(text.lines().count() <= 10, "{text}");
        assert!(text.ends_with("300 missing, 120 unexpected"), "{text}");
        assert!(text.contains("unexpected layer.0"), "{text}");
    }
}
