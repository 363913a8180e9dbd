//! The errors of the contracts, and how a stage's failure is classed.

use std::io;
use std::path::{Path, PathBuf};

use crate::digest::Digest;

/// What can go wrong below the stages: in the store, the ledger, the manifest, a table.
#[derive(Debug, thiserror::Error)]
pub enum CoreError {
    /// A file or folder that is needed is not there.
    #[error("{path} does not exist")]
    Missing {
        /// What was looked for.
        path: PathBuf,
    },
    /// The file system refused.
    #[error("{path}: {source}")]
    Io {
        /// The file or folder at hand.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The object store refused.
    #[error("store: {path}: {source}")]
    Store {
        /// The object at hand.
        path: String,
        /// Why.
        source: object_store::Error,
    },
    /// A Parquet file or Arrow batch is broken.
    #[error("{path}: {reason}")]
    Parquet {
        /// The file or part.
        path: String,
        /// What the reader said.
        reason: String,
    },
    /// A part's schema is not the table's.
    #[error(
        "{path}: the schema is not that of table `{table}`\n  expected: {expected}\n  found:    {found}"
    )]
    Schema {
        /// The part.
        path: String,
        /// The table it should hold.
        table: String,
        /// The declared schema.
        expected: String,
        /// The schema in the file.
        found: String,
    },
    /// A part or record was written by a newer program.
    #[error(
        "{path}: written as version {found} of {what}, this program reads up to version {known}: use a newer laioncele, or another --output"
    )]
    Newer {
        /// The part or record.
        path: String,
        /// Table or record.
        what: String,
        /// Version found.
        found: u32,
        /// Newest version this program knows.
        known: u32,
    },
    /// A part's bytes are not what its record says.
    #[error(
        "{path}: digest {found} where the ledger has {expected}: the part was changed or damaged; delete its ledger record to make it again"
    )]
    Damaged {
        /// The part.
        path: String,
        /// Digest in the record.
        expected: Digest,
        /// Digest of the bytes.
        found: Digest,
    },
    /// A ledger record that is not JSON of the known form.
    #[error("ledger record {path}: {reason}")]
    Record {
        /// The record.
        path: String,
        /// What is wrong.
        reason: String,
    },
    /// The manifest is wrong.
    #[error("{path}: {reason}")]
    Manifest {
        /// The manifest file.
        path: PathBuf,
        /// What is wrong, with the nearest valid key where one is near.
        reason: String,
    },
    /// The source's folder holds no Parquet file.
    #[error("[source] path: {path} holds no .parquet file")]
    EmptySource {
        /// The folder.
        path: PathBuf,
    },
    /// The rows do not add up at a commit: a defect in the stage, never a matter of data.
    #[error("step `{step}`: {rows_in} {unit} rows in, but {rows_out} out + {dropped} dropped")]
    Unaccounted {
        /// The step that commits.
        step: String,
        /// What was counted.
        unit: String,
        /// Rows in.
        rows_in: u64,
        /// Rows out.
        rows_out: u64,
        /// Rows dropped with a reason.
        dropped: u64,
    },
    /// Another run holds the output folder.
    #[error(
        "{path} is in use by another laioncele (process {holder}): wait for it, or choose another --output"
    )]
    Locked {
        /// The lock file.
        path: PathBuf,
        /// Process id in the lock file.
        holder: String,
    },
}

impl CoreError {
    /// An input/output error on `path`; "not found" becomes [`CoreError::Missing`].
    pub fn from_io(path: &Path, source: io::Error) -> Self {
        if source.kind() == io::ErrorKind::NotFound {
            return Self::Missing {
                path: path.to_owned(),
            };
        }
        Self::Io {
            path: path.to_owned(),
            source,
        }
    }

    /// A Parquet or Arrow error on `path`.
    pub fn parquet(path: impl Into<String>, reason: impl std::fmt::Display) -> Self {
        Self::Parquet {
            path: path.into(),
            reason: reason.to_string(),
        }
    }
}

/// Why a task as a whole failed. A bad row never gets here: it is dropped with its reason.
#[derive(Debug, thiserror::Error)]
pub enum StageError {
    /// The input as a whole cannot be used (not Parquet, lacks a column): trying again changes nothing.
    #[error("{0}")]
    Data(String),
    /// The environment is wrong (missing weights, full disk, no network at all): stops the stage.
    #[error("{0}")]
    Environment(String),
    /// Memory ran out; worth one more try with less at a time.
    #[error("out of memory: {0}")]
    Memory(String),
    /// The run was asked to stop.
    #[error("cancelled")]
    Cancelled,
    /// A contract was broken or the store failed.
    #[error(transparent)]
    Core(#[from] CoreError),
}

impl StageError {
    /// Wraps any error as an environment failure, keeping its chain of causes in the text.
    pub fn environment(error: impl std::error::Error) -> Self {
        Self::Environment(chain(&error))
    }

    /// Wraps any error as a failure of the input, keeping its chain of causes in the text.
    pub fn data(error: impl std::error::Error) -> Self {
        Self::Data(chain(&error))
    }
}

/// `error: cause: cause of the cause`, leaving out causes that the message already ends in.
pub fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            text = format!("{text}: {cause_text}");
        }
        next = cause.source();
    }
    text
}
