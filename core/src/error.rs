//! The errors of the contracts, and how a stage's failure is classed.
//!
//! In this workspace an error's message says what failed and leaves its cause to `source()`. [`chain`] joins the two where
//! an error leaves the program.

use std::error::Error;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use crate::digest::Digest;
use crate::drops::Unit;

/// The cause of an error, of any type.
pub type Cause = Box<dyn Error + Send + Sync>;

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
    #[error("cannot access {path}")]
    Io {
        /// The file or folder at hand.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A model that cannot be loaded, since nothing tells which of its files to read.
    #[error("the model in {path} cannot be used")]
    Model {
        /// The model's file or folder.
        path: PathBuf,
        /// What is wrong.
        source: Cause,
    },
    /// The object store refused.
    #[error("cannot access {path} in the store")]
    Store {
        /// The object at hand.
        path: String,
        /// Why.
        source: Complete<object_store::Error>,
    },
    /// A bucket that a run lies in refused, or cannot be reached.
    #[error("cannot access {url}: {reason}")]
    Bucket {
        /// The bucket, or the object at hand.
        url: String,
        /// Why, in words that hold no key.
        reason: String,
    },
    /// A Parquet file or Arrow batch is broken.
    #[error("cannot read or write the table in {path}")]
    Parquet {
        /// The file or part.
        path: String,
        /// What the reader or writer said.
        source: Complete<Cause>,
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
    #[error("ledger record {path} cannot be used")]
    Record {
        /// The record.
        path: String,
        /// What is wrong.
        source: Cause,
    },
    /// The manifest is wrong.
    #[error("{path}: {reason}")]
    Manifest {
        /// The manifest file.
        path: PathBuf,
        /// What is wrong, with the nearest valid key where one is near.
        reason: String,
    },
    /// A list that people wrote has something wrong in it.
    #[error("{path}: {reason}")]
    List {
        /// The file.
        path: PathBuf,
        /// What is wrong, with its line.
        reason: String,
    },
    /// An entry of the source holds no file that can be read.
    #[error(
        "[source] path: {path} holds no file of a known format (.parquet, .csv, .tsv, .jsonl, .json, .ndjson, .tar)"
    )]
    EmptySource {
        /// The file, folder or pattern.
        path: PathBuf,
    },
    /// The rows do not add up at a commit: a defect in the stage, never a matter of data.
    #[error("step `{step}`: {rows_in} {unit} rows in, but {rows_out} out + {dropped} dropped")]
    Unaccounted {
        /// The step that commits.
        step: String,
        /// What was counted.
        unit: Unit,
        /// Rows in.
        rows_in: u64,
        /// Rows out.
        rows_out: u64,
        /// Rows dropped with a reason.
        dropped: u64,
    },
    /// A task dropped rows of a unit that it does not balance: a defect in the stage.
    #[error("step `{step}`: {dropped} {unit} rows dropped, but no balance of {unit} rows")]
    UnbalancedDrops {
        /// The step that commits.
        step: String,
        /// The unit of the dropped rows.
        unit: Unit,
        /// Rows dropped.
        dropped: u64,
    },
    /// A task balances no unit at all: a defect in the stage.
    #[error("step `{step}` balances no rows; each task balances at least one unit")]
    NothingBalanced {
        /// The step that commits.
        step: String,
    },
    /// Another run holds the output folder.
    #[error("{path} is in use by another laioncele ({holder}): {wait}, or choose another --output")]
    Locked {
        /// The lock file.
        path: PathBuf,
        /// Who it is, and since when.
        holder: String,
        /// What to wait for.
        wait: String,
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
    pub fn parquet(path: impl Into<String>, cause: impl Into<Cause>) -> Self {
        Self::Parquet {
            path: path.into(),
            source: Complete(cause.into()),
        }
    }

    /// A refusal of the object store on `path`.
    pub fn store(path: impl Into<String>, cause: object_store::Error) -> Self {
        Self::Store {
            path: path.into(),
            source: Complete(cause),
        }
    }

    /// A ledger record at `path` that cannot be used.
    pub fn record(path: impl Into<String>, cause: impl Into<Cause>) -> Self {
        Self::Record {
            path: path.into(),
            source: cause.into(),
        }
    }
}

/// An error of another crate whose message already tells its causes (Arrow's, Parquet's and `object_store`'s do): the
/// chain ends here, so that no cause is told twice.
#[derive(Debug)]
pub struct Complete<E>(pub E);

impl<E: fmt::Display> fmt::Display for Complete<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl<E: fmt::Debug + fmt::Display> Error for Complete<E> {}

/// An error with a message that says where it happened.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub struct Context {
    message: String,
    source: Cause,
}

impl Context {
    /// `message`, caused by `source`.
    pub fn new(message: impl Into<String>, source: impl Into<Cause>) -> Self {
        Self {
            message: message.into(),
            source: source.into(),
        }
    }
}

/// Why a task as a whole failed. A bad row never gets here: it is dropped with its reason.
#[derive(Debug, thiserror::Error)]
pub enum StageError {
    /// The input as a whole cannot be used (not Parquet, lacks a column): trying again changes nothing.
    #[error(transparent)]
    Data(Cause),
    /// The environment is wrong (missing weights, full disk, no network at all): stops the stage.
    #[error(transparent)]
    Environment(Cause),
    /// Memory ran out; worth one more try with less at a time.
    #[error("out of memory")]
    Memory(#[source] Cause),
    /// The run was asked to stop.
    #[error("cancelled")]
    Cancelled,
    /// A contract was broken or the store failed.
    #[error(transparent)]
    Core(#[from] CoreError),
}

impl StageError {
    /// A failure of the environment: an error, or a message.
    pub fn environment(cause: impl Into<Cause>) -> Self {
        Self::Environment(cause.into())
    }

    /// A failure of the input: an error, or a message.
    pub fn data(cause: impl Into<Cause>) -> Self {
        Self::Data(cause.into())
    }

    /// Whether there was no room left to write to.
    pub fn is_disk_full(&self) -> bool {
        match self {
            Self::Data(cause) | Self::Environment(cause) | Self::Memory(cause) => {
                is_disk_full(&**cause)
            }
            Self::Core(error) => is_disk_full(error),
            Self::Cancelled => false,
        }
    }
}

/// Whether `error` or one of its causes says that there is no room left to write to.
pub fn is_disk_full(error: &(dyn Error + 'static)) -> bool {
    const FULL: [io::ErrorKind; 3] = [
        io::ErrorKind::StorageFull,
        io::ErrorKind::QuotaExceeded,
        io::ErrorKind::FileTooLarge,
    ];
    // What `Complete` keeps from being told twice is a cause all the same.
    let cause = |error: &'_ (dyn Error + 'static)| match error.downcast_ref::<CoreError>() {
        Some(CoreError::Parquet { source, .. }) => is_disk_full(&*source.0),
        Some(CoreError::Store { source, .. }) => is_disk_full(&source.0),
        _ => error.source().is_some_and(is_disk_full),
    };
    let kind = error.downcast_ref::<io::Error>().map(io::Error::kind);
    kind.is_some_and(|kind| FULL.contains(&kind)) || cause(error)
}

/// `error: cause: cause of the cause`. Our messages never contain their source; those of other crates may end in it, and
/// such a cause is not said again.
pub fn chain(error: &dyn Error) -> String {
    let causes = std::iter::successors(error.source(), |cause| (*cause).source());
    causes.fold(error.to_string(), |text, cause| {
        let cause = cause.to_string();
        if text.ends_with(&format!(": {cause}")) {
            text
        } else {
            format!("{text}: {cause}")
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused() -> io::Error {
        io::Error::from(io::ErrorKind::PermissionDenied)
    }

    #[test]
    fn chain_tells_each_cause_once() {
        let error = CoreError::from_io(Path::new("data/run"), refused());
        assert_eq!(chain(&error), "cannot access data/run: permission denied");
        let stage = StageError::data(Context::new("photo 7 no longer decodes", error));
        assert_eq!(
            chain(&stage),
            "photo 7 no longer decodes: cannot access data/run: permission denied"
        );
        let memory = StageError::Memory("1 GB was asked for".into());
        assert_eq!(chain(&memory), "out of memory: 1 GB was asked for");
    }

    #[test]
    fn a_full_disk_is_known_below_every_error() {
        let full = || io::Error::from(io::ErrorKind::StorageFull);
        let parquet = || parquet::errors::ParquetError::External(Box::new(full()));
        let generic = |source| object_store::Error::Generic {
            store: "LocalFileSystem",
            source,
        };
        for error in [
            StageError::Core(CoreError::from_io(Path::new("x"), full())),
            StageError::Core(CoreError::parquet("x", parquet())),
            StageError::Core(CoreError::store("x", generic(Box::new(full())))),
            StageError::environment(Context::new("cannot write", full())),
        ] {
            assert!(error.is_disk_full(), "{error:?}");
        }
        for error in [
            StageError::Core(CoreError::from_io(Path::new("x"), refused())),
            StageError::Core(CoreError::store("x", generic(Box::new(refused())))),
            StageError::environment("the disk is full of words"),
            StageError::Cancelled,
        ] {
            assert!(!error.is_disk_full(), "{error:?}");
        }
    }

    /// A cause that repeats a word of the message is still told.
    #[test]
    fn chain_leaves_no_cause_out() {
        let error = Context::new("no face in photo 7", "no face");
        assert_eq!(chain(&error), "no face in photo 7: no face");
    }

    #[test]
    fn chain_says_a_cause_once_that_a_foreign_message_ends_in() {
        let error = parquet::errors::ParquetError::External(Box::new(refused()));
        let text = chain(&Context::new(
            "captions/a.parquet: not a Parquet file",
            error,
        ));
        assert_eq!(text.matches("permission denied").count(), 1, "{text}");
    }

    #[test]
    fn chain_ends_at_errors_that_tell_their_causes_themselves() {
        let cause = object_store::Error::Generic {
            store: "LocalFileSystem",
            source: Box::new(refused()),
        };
        let text = chain(&CoreError::store("ledger/x.json", cause));
        assert_eq!(text.matches("permission denied").count(), 1, "{text}");
    }
}
