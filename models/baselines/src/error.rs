//! The one error type of this crate.

use std::fmt;
use std::path::{Path, PathBuf};

use laioncele_nn::TensorReport;

/// Lines that a list of differences has at most.
const LINES: usize = 10;

/// Why a baseline's file could not be loaded, or a prompt or photo not be used.
#[derive(Debug, thiserror::Error)]
#[allow(
    missing_docs,
    reason = "each variant's message says what its fields are"
)]
#[non_exhaustive]
pub enum Error {
    /// A file, an image, or a result that is not finite: see [`laioncele_nn::Error`].
    #[error(transparent)]
    Nn(#[from] laioncele_nn::Error),
    /// SDXL's own: see [`laioncele_sdxl::Error`].
    #[error(transparent)]
    Sdxl(#[from] laioncele_sdxl::Error),
    /// A tensor operation failed.
    #[error(transparent)]
    Candle(#[from] candle_core::Error),
    /// The operating system refused a file.
    #[error("cannot read {path}")]
    Io {
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
    /// Pickled tensors.
    #[error(
        "{path} holds pickled tensors, which are not read, since unpickling can run any code; convert it: python -c \"import sys,torch,safetensors.torch as s; d=torch.load(sys.argv[1],weights_only=True); s.save_file({{f'{{p}}.{{k}}':v.contiguous() for p,m in d.items() for k,v in m.items()}},sys.argv[2])\" {path} {}", path.with_extension("safetensors").display()
    )]
    Pickle { path: PathBuf },
    /// A file that is cut off or not in safetensors format.
    #[error("{path} is not a whole safetensors file")]
    Safetensors {
        path: PathBuf,
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// A file of another kind than was expected.
    #[error("{path} is no {expected}: {found}")]
    Foreign {
        path: PathBuf,
        expected: &'static str,
        found: String,
    },
    /// Tensors that do not fit the model.
    #[error("{path} does not fit {model}:\n{difference}")]
    Tensors {
        path: PathBuf,
        /// What it was held against.
        model: &'static str,
        difference: Difference,
    },
    /// An image encoder whose features the adapter does not take.
    #[error(
        "{path} reads {what} of {expected} numbers, but the image encoder in {encoder} gives {found}{fitting}"
    )]
    Encoder {
        path: PathBuf,
        what: &'static str,
        expected: usize,
        encoder: PathBuf,
        found: usize,
        /// Which encoder would fit, if that is known.
        fitting: String,
    },
    /// A scale of the image attention.
    #[error("scale = {scale} is not possible (expected a finite number)")]
    Scale { scale: f64 },
    /// A prompt whose trigger word is missing, not alone or in the wrong place.
    #[error("the prompt {prompt:?} {reason}")]
    Trigger { prompt: String, reason: String },
    /// No photo was given.
    #[error("no photo was given")]
    NoPhoto,
}

/// A `Result` with this crate's [`Error`].
pub type Result<T> = std::result::Result<T, Error>;

impl Error {
    /// Of [`laioncele_nn::Weights::finish`] over the file at `path`, held against `model`.
    pub(crate) fn of_finish(error: laioncele_nn::Error, path: &Path, model: &'static str) -> Self {
        match error {
            laioncele_nn::Error::Tensors { report, .. } => Self::Tensors {
                path: path.into(),
                model,
                difference: Difference(report),
            },
            error => error.into(),
        }
    }
}

/// How tensors differ from what was expected, as at most ten lines and a count.
#[derive(Debug)]
pub struct Difference(pub Box<TensorReport>);

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let report = &self.0;
        let missing = report.missing.iter();
        let missing =
            missing.map(|(name, wanted)| format!("  {name}: expected {wanted:?}, missing"));
        let misshapen = report.misshapen.iter();
        let misshapen = misshapen
            .map(|(name, wanted, found)| format!("  {name}: expected {wanted:?}, found {found:?}"));
        let unexpected = report.unexpected.iter();
        let unexpected =
            unexpected.map(|(name, found)| format!("  {name}: not expected, found {found:?}"));
        let unreadable = report.unreadable.iter();
        let unreadable = unreadable
            .map(|(name, dtype)| format!("  {name}: stored as {dtype}, expected F16, BF16 or F32"));
        // Shapes first: they say most.
        let lines = misshapen.chain(missing).chain(unexpected).chain(unreadable);
        let lines: Vec<String> = lines.collect();
        let shown: Vec<&str> = lines.iter().take(LINES).map(String::as_str).collect();
        f.write_str(&shown.join("\n"))?;
        match lines.len() - shown.len() {
            0 => Ok(()),
            more => write!(f, "\n  and {more} more; {} differ in all", lines.len()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ten_lines_and_a_count_are_shown() {
        let missing = (0..12).map(|i| (format!("t{i}"), vec![i, 2])).collect();
        let report = TensorReport {
            missing,
            misshapen: vec![("wide".to_owned(), vec![1, 2], vec![3])],
            ..TensorReport::default()
        };
        let text = Difference(Box::new(report)).to_string();
        assert!(
            text.starts_with("  wide: expected [1, 2], found [3]"),
            "{text}"
        );
        assert!(text.ends_with("and 3 more; 13 differ in all"), "{text}");
        assert_eq!(text.lines().count(), 11, "{text}");
    }
}
