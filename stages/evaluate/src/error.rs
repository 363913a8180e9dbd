//! Errors of the evaluation.

use std::path::PathBuf;

use laioncele_core::{CoreError, StageError};

/// Why images could not be scored. An image that does not decode is no error.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EvaluateError {
    /// The image encoder or its text tower.
    #[error(transparent)]
    Clip(#[from] laioncele_nn::Error),
    /// The face networks.
    #[error(transparent)]
    Face(#[from] laioncele_face::FaceError),
    /// A model's dims, or the threads to work on.
    #[error(transparent)]
    Model(#[from] laioncele_inference::ModelError),
    /// Store, manifest, or a folder that cannot be read.
    #[error(transparent)]
    Core(#[from] CoreError),
    /// A folder of images without an image.
    #[error("{folder} holds no image: {expected}")]
    NoImages {
        /// The folder.
        folder: PathBuf,
        /// What it should hold.
        expected: &'static str,
    },
    /// Images of a person without a reference photo.
    #[error("{folder}: the reference photos in {references} have no person of that name ({known})")]
    UnknownPerson {
        /// The person's images.
        folder: PathBuf,
        /// The reference photos.
        references: PathBuf,
        /// Who is among them.
        known: String,
    },
    /// A system that distances are to be taken to, but that has no images.
    #[error("no system `{system}` among {known}")]
    UnknownSystem {
        /// What was asked for.
        system: String,
        /// The systems that there are.
        known: String,
    },
    /// A way to resize pictures for a network that is not there.
    #[error(
        "a resizing is given, but the manifest names no Inception network ([evaluate] inception)"
    )]
    NoInception,
    /// A list of systems whose rows do not make one table.
    #[error("{path}: {}", problems.join("\n  "))]
    Systems {
        /// Path of the list.
        path: PathBuf,
        /// What is wrong, each with its line.
        problems: Vec<String>,
    },
    /// A file of features that figures cannot be computed from.
    #[error("{path}: {reason}")]
    Features {
        /// Path of the file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// A file of prompts that is not as it should be.
    #[error("{path}: {reason}")]
    Prompts {
        /// Path of the file of prompts.
        path: PathBuf,
        /// What is wrong, on which line.
        reason: String,
    },
    /// The caller cancelled.
    #[error("cancelled")]
    Cancelled,
}

/// A `Result` with [`EvaluateError`].
pub(crate) type Result<T> = std::result::Result<T, EvaluateError>;

impl From<EvaluateError> for StageError {
    fn from(error: EvaluateError) -> Self {
        match error {
            EvaluateError::Core(error) => Self::Core(error),
            EvaluateError::Cancelled => Self::Cancelled,
            error => Self::environment(error),
        }
    }
}
