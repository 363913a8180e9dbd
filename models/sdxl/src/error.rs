//! The one error type of this crate.

use std::path::{Path, PathBuf};

/// Why an SDXL folder could not be loaded, or an image not be made.
#[derive(Debug, thiserror::Error)]
#[allow(
    missing_docs,
    reason = "each variant's message says what its fields are"
)]
#[non_exhaustive]
pub enum Error {
    /// A file, configuration value, tokenizer or tensor: see [`laioncele_nn::Error`].
    #[error(transparent)]
    Load(#[from] laioncele_nn::Error),
    /// A folder of another kind of model.
    #[error("{path} is not an SDXL folder: {reason}")]
    NotSdxl { path: PathBuf, reason: String },
    /// A weight file of another model, or of another kind.
    #[error(
        "{path} is {what} ({key}); laioncele runs SDXL base models and their fine-tunes{}",
        hint_after(hint)
    )]
    Foreign {
        path: PathBuf,
        what: String,
        /// The name that shows it.
        key: String,
        /// What to do, or nothing.
        hint: &'static str,
    },
    /// A LoRA that does not fit the model, or is none.
    #[error("the LoRA {path} {reason}")]
    Lora { path: PathBuf, reason: String },
    /// A textual inversion that does not fit the model, or is none.
    #[error("the embedding {path} {reason}")]
    Inversion { path: PathBuf, reason: String },
    /// A file of a name that is none.
    #[error("the name file {path} {reason}")]
    NameFile { path: PathBuf, reason: String },
    /// A single file that lacks a part, without a folder that has it.
    #[error(
        "{path} holds no {part}: give an SDXL folder in Diffusers layout as its base, which has them"
    )]
    NoPart { path: PathBuf, part: &'static str },
    /// Parts of one folder that do not fit together.
    #[error("{folder}: {reason}")]
    Mismatch { folder: PathBuf, reason: String },
    /// A sampling setting that cannot be met.
    #[error("{setting} = {value} is not possible ({expected})")]
    Setting {
        setting: &'static str,
        value: String,
        expected: String,
    },
    /// Embeddings, latents or noise of the wrong size.
    #[error("{what} has {found} numbers; {expected} were expected")]
    Size {
        what: &'static str,
        found: usize,
        expected: usize,
    },
    /// A computation left the finite numbers.
    #[error("{what} is not finite; {hint}")]
    NotFinite { what: String, hint: &'static str },
    /// The device's memory does not hold a batch, and it cannot be halved (again).
    #[error(
        "out of memory with {images} at once: take fewer (a smaller `batch`), smaller images, a 16-bit precision, or a device with more memory"
    )]
    OutOfMemory {
        images: usize,
        #[source]
        source: Box<Error>,
    },
    /// The device's memory does not hold the weights.
    #[error(
        "the model in {folder} does not fit into the device's memory: take a 16-bit precision, or a device with more memory"
    )]
    DoesNotFit {
        folder: PathBuf,
        #[source]
        source: Box<Error>,
    },
    /// A file of initial latents that holds none.
    #[error("{path}: {reason}")]
    Latents { path: PathBuf, reason: String },
    /// A trace file could not be written.
    #[error("cannot write {path}")]
    Write {
        path: PathBuf,
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// A tensor operation failed.
    #[error(transparent)]
    Candle(#[from] candle_core::Error),
}

fn hint_after(hint: &str) -> String {
    match hint {
        "" => String::new(),
        hint => format!(": {hint}"),
    }
}

/// A `Result` with this crate's [`Error`].
pub type Result<T> = std::result::Result<T, Error>;

impl Error {
    /// Whether the device's memory did not suffice: worth one more try with less at a time.
    pub fn is_out_of_memory(&self) -> bool {
        let text = match self {
            Self::Candle(error) => error.to_string(),
            Self::Load(error) => error.to_string(),
            Self::OutOfMemory { .. } | Self::DoesNotFit { .. } => return true,
            _ => return false,
        };
        // The libraries' errors reach us as text only: CUDA_ERROR_OUT_OF_MEMORY,
        // CUBLAS_STATUS_ALLOC_FAILED.
        let text = text.to_lowercase().replace('_', " ");
        ["out of memory", "alloc failed", "allocation failed"]
            .iter()
            .any(|words| text.contains(words))
    }

    /// What it means while the model in `folder` is loaded.
    pub(crate) fn of_loading(self, folder: &Path) -> Self {
        match self.is_out_of_memory() {
            true => Self::DoesNotFit {
                folder: folder.into(),
                source: Box::new(self),
            },
            false => self,
        }
    }

    /// A [`Error::Setting`].
    #[allow(
        clippy::needless_pass_by_value,
        reason = "callers pass literals and numbers"
    )]
    pub(crate) fn setting(
        setting: &'static str,
        value: impl ToString,
        expected: impl Into<String>,
    ) -> Self {
        Self::Setting {
            setting,
            value: value.to_string(),
            expected: expected.into(),
        }
    }

    /// Checks the number of values of an input.
    pub(crate) fn check_size(what: &'static str, found: usize, expected: usize) -> Result<()> {
        if found == expected {
            Ok(())
        } else {
            Err(Self::Size {
                what,
                found,
                expected,
            })
        }
    }
}
