//! The errors of a fine-tuning.

use std::path::{Path, PathBuf};

use laioncele_core::{CoreError, StageError};

/// Why a U-Net was not fine-tuned.
#[derive(Debug, thiserror::Error)]
#[allow(
    missing_docs,
    reason = "each variant's message says what its fields are"
)]
#[non_exhaustive]
pub enum FinetuneError {
    /// Manifest, data set or disk.
    #[error(transparent)]
    Core(#[from] CoreError),
    /// A model that does not load or compute.
    #[error(transparent)]
    Stage(#[from] StageError),
    /// The training itself.
    #[error(transparent)]
    Train(#[from] laioncele_finetune::Error),
    /// SDXL.
    #[error(transparent)]
    Sdxl(#[from] laioncele_sdxl::Error),
    /// The image encoders.
    #[error(transparent)]
    Clip(#[from] laioncele_nn::Error),
    /// The name encoder.
    #[error(transparent)]
    Encoder(#[from] laioncele_encoder::Error),
    /// The face networks.
    #[error(transparent)]
    Face(#[from] laioncele_face::FaceError),
    /// A setting that the model cannot meet.
    #[error("[finetune] {0}")]
    Setting(String),
    /// A data set without a photo to train on.
    #[error(
        "{dataset} has no photo to train on: {photos} photos, {without_face} without a face, {unreadable} that are no image"
    )]
    NoPhoto {
        dataset: PathBuf,
        photos: u64,
        without_face: u64,
        unreadable: u64,
    },
    /// A folder that is no data set.
    #[error("{dataset} is no data set: {reason}")]
    NoDataSet { dataset: PathBuf, reason: String },
    /// A Parquet file that holds no photos of people.
    #[error("{path} is no shard of LaionCele: {reason}")]
    Shard { path: PathBuf, reason: String },
    /// People of the evaluation among those of the data set.
    #[error(
        "people of the evaluation in {people} are in the data set {dataset}: {}; an evaluation with them says nothing",
        .found.join(", ")
    )]
    EvaluationPeople {
        people: PathBuf,
        dataset: PathBuf,
        found: Vec<String>,
    },
    /// The folder holds another training.
    #[error("{folder} holds another training: {}", .differing.join("; "))]
    OtherTraining {
        folder: PathBuf,
        differing: Vec<String>,
    },
    /// A checkpoint that belongs to another training.
    #[error("{path} is a checkpoint of another training")]
    OtherCheckpoint { path: PathBuf },
    /// Numbers left the finite ones, or the loss ran away.
    #[error("{reason}; the photos were {}; the last checkpoint is of step {checkpoint}", .photos.join(", "))]
    Diverged {
        reason: String,
        photos: Vec<String>,
        checkpoint: u64,
    },
    /// A file of this training that is damaged.
    #[error("{path} is damaged: {reason}")]
    Damaged { path: PathBuf, reason: String },
    /// JSON of our own that cannot be written.
    #[error("cannot put the settings into words")]
    Json(#[from] serde_json::Error),
}

/// A `Result` with [`FinetuneError`].
pub type Result<T> = std::result::Result<T, FinetuneError>;

impl FinetuneError {
    /// An I/O error at `path`, for `map_err`.
    pub(crate) fn io(path: &Path) -> impl Fn(std::io::Error) -> Self + '_ {
        move |error| Self::Core(CoreError::from_io(path, error))
    }
}
