//! The one error type of this crate.

use std::path::PathBuf;

/// Why a U-Net could not be fine-tuned.
#[derive(Debug, thiserror::Error)]
#[allow(
    missing_docs,
    reason = "each variant's message says what its fields are"
)]
#[non_exhaustive]
pub enum Error {
    /// A file, configuration value or tensor: see [`laioncele_nn::Error`].
    #[error(transparent)]
    Load(#[from] laioncele_nn::Error),
    /// The model itself: see [`laioncele_sdxl::Error`].
    #[error(transparent)]
    Sdxl(#[from] laioncele_sdxl::Error),
    /// A setting that cannot be met.
    #[error("{setting} = {value} is not possible ({expected})")]
    Setting {
        setting: &'static str,
        value: String,
        expected: String,
    },
    /// Numbers that do not fit the model.
    #[error("{what} has {found} numbers; {expected} were expected")]
    Size {
        what: &'static str,
        found: usize,
        expected: usize,
    },
    /// A parameter that this training has not.
    #[error("no parameter `{name}` of {count} numbers is trained")]
    Parameter { name: String, count: usize },
    /// A step's loss or gradient left the finite numbers; the weights are those before it.
    #[error(
        "step {step}: the {what} is not finite; the largest |x_t| was {noised}, the largest |output| {output}"
    )]
    NotFinite {
        step: u64,
        what: &'static str,
        noised: f32,
        output: f32,
    },
    /// A checkpoint or saved file that cannot be used.
    #[error("{path}: {reason}")]
    File { path: PathBuf, reason: String },
    /// A file could not be read or written.
    #[error("cannot {what} {path}")]
    Io {
        what: &'static str,
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
    /// A safetensors file could not be put together.
    #[error("cannot write {path}")]
    Safetensors {
        path: PathBuf,
        #[source]
        source: Box<safetensors::SafeTensorError>,
    },
    /// The system starts no more threads.
    #[error(transparent)]
    Threads(#[from] rayon::ThreadPoolBuildError),
    /// A tensor operation failed.
    #[error(transparent)]
    Candle(#[from] candle_core::Error),
}

/// A `Result` with this crate's [`Error`].
pub type Result<T> = std::result::Result<T, Error>;

impl Error {
    /// Checks the number of values of an input.
    pub(crate) fn check_size(what: &'static str, found: usize, expected: usize) -> Result<()> {
        match found == expected {
            true => Ok(()),
            false => Err(Self::Size {
                what,
                found,
                expected,
            }),
        }
    }

    /// An [`Error::Io`], for `map_err`.
    pub(crate) fn io(
        what: &'static str,
        path: impl Into<PathBuf>,
    ) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.into();
        move |source| Self::Io { what, path, source }
    }
}
