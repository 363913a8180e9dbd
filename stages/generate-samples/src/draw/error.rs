//! Why a picture could not be drawn.

use laioncele_core::{CoreError, StageError};

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
    /// The image encoders.
    #[error(transparent)]
    Clip(#[from] laioncele_nn::Error),
    /// The encoder.
    #[error(transparent)]
    Encoder(#[from] laioncele_encoder::Error),
    /// The face networks.
    #[error(transparent)]
    Face(#[from] laioncele_face::FaceError),
    /// The PNG could not be written.
    #[error(transparent)]
    Png(#[from] image::ImageError),
    /// Store, ledger or manifest.
    #[error(transparent)]
    Core(#[from] CoreError),
    /// Reading a task's inputs.
    #[error(transparent)]
    Task(Box<StageError>),
}

/// A `Result` with [`DrawError`].
pub type Result<T> = std::result::Result<T, DrawError>;

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
            DrawError::Sdxl(error) if error.is_out_of_memory() => Self::Memory(error.to_string()),
            DrawError::NoNames | DrawError::NoEncoder => Self::data(error),
            error => Self::environment(error),
        }
    }
}
