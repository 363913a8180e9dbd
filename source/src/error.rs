//! What can be wrong with a file of the source.

use std::path::PathBuf;

use arrow::error::ArrowError;
use laioncele_core::{CoreError, StageError};
use parquet::errors::ParquetError;

/// Why a file of the source cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// The file cannot be opened.
    #[error("{path}: cannot be opened")]
    Open {
        /// Path of the source file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The file has no byte.
    #[error("{path}: an empty file (0 bytes)")]
    Empty {
        /// Path of the source file.
        path: PathBuf,
    },
    /// The file is no Parquet, or its footer is broken.
    #[error("{path}: not a Parquet file")]
    NotParquet {
        /// Path of the source file.
        path: PathBuf,
        /// What the Parquet reader said.
        source: ParquetError,
    },
    /// The file is not of the format that its name says.
    #[error("{path}: not {format}: {reason}")]
    NotOfFormat {
        /// Path of the source file.
        path: PathBuf,
        /// The format, with its article.
        format: &'static str,
        /// What is wrong.
        reason: String,
    },
    /// A mapped column is not there.
    #[error("{path}: no column `{column}`, which [source.columns] maps to `{role}`{hint}")]
    MissingColumn {
        /// Path of the source file.
        path: PathBuf,
        /// The file's name of the column.
        column: String,
        /// Its role: a key of `[source.columns]`.
        role: String,
        /// The nearest column, or all of them; then the other mapped columns that are missing.
        hint: String,
    },
    /// No column is known as one that is needed.
    #[error("{path}: no column for `{role}`{why}: looked for {looked_for}; the file has {found}")]
    UnknownColumn {
        /// Path of the source file.
        path: PathBuf,
        /// The role that no column has: a key of `[source.columns]`.
        role: &'static str,
        /// What needs it: empty, or `, which … needs`.
        why: String,
        /// Names that would do.
        looked_for: String,
        /// Names that are there.
        found: String,
    },
    /// Two columns differ in case only, and none is called as the manifest says.
    #[error(
        "{path}: `{first}` and `{second}` could both be the column `{column}` for `{role}`: write its name in [source.columns] as the file has it"
    )]
    AmbiguousColumn {
        /// Path of the source file.
        path: PathBuf,
        /// The name looked for.
        column: String,
        /// Its role: a key of `[source.columns]`.
        role: &'static str,
        /// One candidate.
        first: String,
        /// Another one.
        second: String,
    },
    /// Two columns have the same name.
    #[error(
        "{path}: two columns are called `{column}`: rename one, or map `{role}` to another in [source.columns] (`\"\"` takes an optional one out)"
    )]
    RepeatedColumn {
        /// Path of the source file.
        path: PathBuf,
        /// The name.
        column: String,
        /// Its role: a key of `[source.columns]`.
        role: &'static str,
    },
    /// A mapped column has a type that it cannot have.
    #[error("{path}: column `{column}`, which {mapping}: expected {expected}, found {found}")]
    ColumnType {
        /// Path of the source file.
        path: PathBuf,
        /// The file's name of the column.
        column: String,
        /// What maps it to which role: `[source.columns]` or the layout.
        mapping: String,
        /// Types that would do.
        expected: &'static str,
        /// The type in the file.
        found: String,
    },
    /// The rows behind `row` cannot be read: the file is damaged.
    #[error("{path}: unreadable after row {row}")]
    Damaged {
        /// Path of the source file.
        path: PathBuf,
        /// Number of rows read before the damage.
        row: u64,
        /// What the reader said.
        source: ArrowError,
    },
    /// A source that is missing or empty.
    #[error(transparent)]
    Source(#[from] CoreError),
}

impl From<SourceError> for StageError {
    fn from(error: SourceError) -> Self {
        match error {
            SourceError::Open { .. } => Self::environment(error),
            SourceError::Source(error) => Self::Core(error),
            error => Self::data(error),
        }
    }
}

/// Why the source does not give an image that it said it holds.
#[derive(Debug, thiserror::Error)]
pub enum ImageError {
    /// The image is larger than the reader allows.
    #[error("{bytes} bytes, {limit} at most")]
    TooLarge {
        /// Its size.
        bytes: u64,
        /// The limit.
        limit: u64,
    },
    /// There is no image in its place.
    #[error("the source holds no image here")]
    None,
    /// The shard is not where the source is read from, or not what it was when its captions were read.
    #[error("{address}: {reason}: is the source still as it was when extract-names read it?")]
    Changed {
        /// The image's address.
        address: String,
        /// What is wrong.
        reason: String,
    },
}
