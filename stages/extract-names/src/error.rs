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
    /// The file is no Parquet, or its footer is broken.
    #[error("{path}: not a Parquet file")]
    NotParquet {
        /// Path of the source file.
        path: PathBuf,
        /// What the Parquet reader said.
        source: ParquetError,
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
    /// A mapped column has a type that it cannot have.
    #[error(
        "{path}: column `{column}`, which [source.columns] maps to `{role}`: expected {expected}, found {found}"
    )]
    ColumnType {
        /// Path of the source file.
        path: PathBuf,
        /// The file's name of the column.
        column: String,
        /// Its role: a key of `[source.columns]`.
        role: String,
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
        /// What the Parquet reader said.
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
