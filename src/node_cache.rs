//! Models and the program on machines that have neither: the coordinator publishes files by their digests in the run's store, workers
//! fetch them into a folder of their machine. `docs/machines.md` tells it, decision 56 why it is so.
//!
//! ```text
//! in the store                      cache/models/DIGEST        a file of a model, by its BLAKE3 digest
//!                                   cache/models/lists/DIGEST  a list of models: paths of the manifest, digests of files
//!                                   cache/programs/SHA-256     the program, and the libraries that it loads
//! in the folder of a machine        views/DIGEST/…             links to files of models at the paths of the manifest, one view for each list
//!                                   programs/SHA-256/          the program and its libraries
//! ```
//!
//! The folder of a machine is one of [`laioncele_core::kept_files`]. Models that the manifest has by url are published like others, from the
//! coordinator's copy, and found at their urls.

mod list;
mod machine;
pub(crate) mod program;
mod publish;
mod worker;

use std::io;
use std::path::{Path, PathBuf};

use laioncele_core::{CoreError, Digest};

use list::{ListedFile, ListedModel, ModelList};
pub(crate) use publish::publish;
pub(crate) use worker::NodeModels;

/// Where models lie in the run's store.
const MODELS: &str = "cache/models";

/// The object of a file of a model.
fn object_of(digest: Digest) -> String {
    format!("{MODELS}/{digest}")
}

/// Why a machine does not have a model.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CacheError {
    /// The machine's folder.
    #[error("the node cache cannot write {path}")]
    Folder {
        /// The file or folder at hand.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The run's store.
    #[error("{label} cannot be fetched")]
    Store {
        /// The model.
        label: String,
        /// Why.
        source: Box<CoreError>,
    },
    /// What lies in the store is not what its name says.
    #[error(
        "{label} cannot be fetched: {object} has the digest {found}: it was changed or damaged; delete it and run the same command again"
    )]
    Damaged {
        /// The model.
        label: String,
        /// The object.
        object: PathBuf,
        /// Digest of its bytes.
        found: Digest,
    },
    /// A task's model that is not in the list.
    #[error("{label} of digest {digest} is not among the models that were published for the run")]
    Unlisted {
        /// The model.
        label: String,
        /// Its digest in the task's key.
        digest: Digest,
    },
    /// The run was asked to stop.
    #[error("cancelled")]
    Cancelled,
}

/// What the folder's own code says.
impl From<CoreError> for CacheError {
    fn from(error: CoreError) -> Self {
        match error {
            CoreError::Io { path, source } => Self::Folder { path, source },
            error => Self::Folder {
                path: PathBuf::new(),
                source: io::Error::other(error),
            },
        }
    }
}

impl CacheError {
    fn folder(path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Folder { path, source }
    }
}

#[cfg(test)]
mod tests;
