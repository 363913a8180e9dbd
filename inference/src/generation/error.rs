//! Why an image could not be generated.

use laioncele_core::{CoreError, StageError};

use crate::ModelError;

/// Why an image could not be generated.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum GenerationError {
    /// The face crop was asked for, but the photos show no face.
    #[error("no face found in the photo")]
    NoFace,
    /// The face crop was asked for, but there are no networks that find faces.
    #[error("a face crop needs the networks of [models.face]; photo = \"whole\" does without")]
    NoFaceNetworks,
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
    /// The dataset has a name at most, which have no spread.
    #[error(
        "the dataset has fewer than two names: a random person needs to know how names are spread"
    )]
    FewNames,
    /// A prompt that a method cannot put a person into.
    #[error("the prompt {prompt:?} has none of the words {words}, which {method} needs")]
    NoPersonWord {
        /// The prompt.
        prompt: String,
        /// The words that it may have.
        words: &'static str,
        /// The method.
        method: &'static str,
    },
    /// Two parts that do not fit together.
    #[error("{what} is {found} wide; {expected} was expected")]
    Dims {
        /// What does not fit.
        what: &'static str,
        /// Its numbers.
        found: usize,
        /// The numbers that fit.
        expected: usize,
    },
    /// A model failed at work.
    #[error(transparent)]
    Model(#[from] ModelError),
    /// A model does not load, or a table cannot be read.
    #[error(transparent)]
    Stage(Box<StageError>),
}

/// A `Result` with [`GenerationError`].
pub type Result<T> = std::result::Result<T, GenerationError>;

macro_rules! from_model_errors {
    ($($error:ty),+) => {
        $(impl From<$error> for GenerationError {
            fn from(error: $error) -> Self {
                Self::Model(error.into())
            }
        })+
    };
}

from_model_errors!(
    laioncele_sdxl::Error,
    laioncele_nn::Error,
    laioncele_baselines::Error,
    laioncele_encoder::Error,
    laioncele_face::FaceError
);

impl From<StageError> for GenerationError {
    fn from(error: StageError) -> Self {
        Self::Stage(Box::new(error))
    }
}

impl From<CoreError> for GenerationError {
    fn from(error: CoreError) -> Self {
        StageError::from(error).into()
    }
}

impl From<GenerationError> for StageError {
    fn from(error: GenerationError) -> Self {
        match error {
            GenerationError::Stage(error) => *error,
            GenerationError::Model(error) => error.into(),
            GenerationError::NoNames | GenerationError::NoEncoder => Self::data(error),
            error => Self::environment(error),
        }
    }
}
