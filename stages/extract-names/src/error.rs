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
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The file is no Parquet, or its footer is broken.
    #[error("{path}: not a Parquet file")]
    NotParquet {
        /// The file.
        path: PathBuf,
        /// What the Parquet reader said.
        source: ParquetError,
    },
    /// A mapped column is not there.
    #[error("{path}: no column `{column}`, which [source.columns] maps to `{role}`{hint}")]
    MissingColumn {
        /// The file.
        path: PathBuf,
        /// The file's name of the column.
        column: String,
        /// Ours.
        role: String,
        /// The nearest column, or all of them.
        hint: String,
    },
    /// A mapped column has a type that it cannot have.
    #[error(
        "{path}: column `{column}`, which [source.columns] maps to `{role}`: expected {expected}, found {found}"
    )]
    ColumnType {
        /// The file.
        path: PathBuf,
        /// The file's name of the column.
        column: String,
        /// Ours.
        role: String,
        /// Types that would do.
        expected: &'static str,
        /// The type in the file.
        found: String,
    },
    /// The rows behind `row` cannot be read: the file is damaged.
    #[error("{path}: unreadable after row {row}")]
    Damaged {
        /// The file.
        path: PathBuf,
        /// Rows read before.
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
