//! Why shards cannot be made.

use std::error::Error;
use std::io;
use std::path::{Path, PathBuf};

use laioncele_core::error::Cause;

use crate::journal::JournalError;

/// Why shards cannot be made. A url that fails is none of these.
#[derive(Debug, thiserror::Error)]
pub enum ShardError {
    /// The file system refused.
    #[error("cannot access {path}")]
    Io {
        /// The file or folder at hand.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A table cannot be written or read.
    #[error("cannot read or write the table {path}")]
    Table {
        /// The Parquet file.
        path: PathBuf,
        /// What the reader or writer said.
        source: Cause,
    },
    /// A journal cannot be used.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// The list cannot be read to its end.
    #[error("the list of urls cannot be read")]
    Rows(#[source] Cause),
    /// The folder is not empty, and no download has begun in it.
    #[error("{path} is not empty and holds no download: choose another folder")]
    NotEmpty {
        /// The folder.
        path: PathBuf,
    },
    /// Another process downloads into the folder.
    #[error("another process downloads into {path}")]
    Locked {
        /// The folder.
        path: PathBuf,
    },
    /// The folder's shards were made with other settings.
    #[error("{path} was begun with other settings: {differences}")]
    OtherSettings {
        /// The folder.
        path: PathBuf,
        /// What was, and what is.
        differences: String,
    },
    /// The list is not the one that the folder's shards were made of.
    #[error("{path} was begun with other input: {difference}")]
    OtherInput {
        /// The folder.
        path: PathBuf,
        /// What is other.
        difference: String,
    },
    /// A file of a finished shard is not as it was written.
    #[error("{path} is damaged: {reason}")]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
}

impl ShardError {
    pub(crate) fn io(path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Io { path, source }
    }

    pub(crate) fn table<E: Into<Cause>>(path: &Path) -> impl FnOnce(E) -> Self {
        let path = path.to_owned();
        move |error| {
            let source = error.into();
            Self::Table { path, source }
        }
    }

    /// Whether there is no room left to write to.
    pub fn is_disk_full(&self) -> bool {
        let mut next: Option<&(dyn Error + 'static)> = Some(self);
        while let Some(error) = next {
            if let Some(error) = error.downcast_ref::<io::Error>() {
                let full = [
                    io::ErrorKind::StorageFull,
                    io::ErrorKind::QuotaExceeded,
                    io::ErrorKind::FileTooLarge,
                ];
                if full.contains(&error.kind()) {
                    return true;
                }
            }
            next = error.source();
        }
        false
    }
}
