//! Why a picture could not be drawn.

use laioncele_core::{CoreError, StageError};
use laioncele_inference::ModelError;

/// Why a picture could not be drawn.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DrawError {
    /// The face crop was asked for, but the photos show no face.
    #[error("no face found in the photo")]
    NoFace,
    /// No photo was given.
    #[error("no photo was given")]
    NoPhoto,
    /// The run has no encoder yet.
    #[error("there is no trained encoder yet: run `laioncele run --stage train-encoder` first")]
    NoEncoder,
    /// The run has no dataset yet, so that the mean name of Equation 4 is unknown.
    #[error(
        "the dataset has no names yet, and Equation 4 needs their mean: run `laioncele run --stage pack-shards` first"
    )]
    NoNames,
    /// Two parts that do not fit together.
    #[error("{what} is {found} wide; {expected} was expected")]
    Width {
        /// What does not fit.
        what: &'static str,
        /// Its width.
        found: usize,
        /// The width that fits.
        expected: usize,
    },
    /// The drawing model.
    #[error(transparent)]
    Sdxl(#[from] laioncele_sdxl::Error),
    /// Another model.
    #[error(transparent)]
    Model(#[from] ModelError),
    /// Store, ledger or manifest.
    #[error(transparent)]
    Core(#[from] CoreError),
    /// Reading a task's inputs.
    #[error(transparent)]
    Task(Box<StageError>),
}

/// A `Result` with [`DrawError`].
pub type Result<T> = std::result::Result<T, DrawError>;

impl From<laioncele_nn::Error> for DrawError {
    fn from(error: laioncele_nn::Error) -> Self {
        Self::Model(error.into())
    }
}

impl From<laioncele_encoder::Error> for DrawError {
    fn from(error: laioncele_encoder::Error) -> Self {
        Self::Model(error.into())
    }
}

impl From<laioncele_face::FaceError> for DrawError {
    fn from(error: laioncele_face::FaceError) -> Self {
        Self::Model(error.into())
    }
}

impl From<StageError> for DrawError {
    fn from(error: StageError) -> Self {
        Self::Task(Box::new(error))
    }
}

impl From<DrawError> for StageError {
    fn from(error: DrawError) -> Self {
        match error {
            DrawError::Core(error) => Self::Core(error),
            DrawError::Task(error) => *error,
            DrawError::Sdxl(error) => ModelError::from(error).into(),
            DrawError::Model(error) => error.into(),
            DrawError::NoNames | DrawError::NoEncoder => Self::data(error),
            error => Self::environment(error),
        }
    }
}
