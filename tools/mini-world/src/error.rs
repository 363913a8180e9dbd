//! What can go wrong with a world on disk.

use std::path::PathBuf;

use laioncele_core::CoreError;

use crate::people::PeopleError;
use crate::recipe::RecipeError;

/// Why a world cannot be built, read, served or scored.
#[derive(Debug, thiserror::Error)]
pub enum WorldError {
    /// A file or a table cannot be read or written.
    #[error(transparent)]
    Core(#[from] CoreError),
    /// A JSON file has another content than this kind of file.
    #[error("{path}: not a file of an embedded world")]
    Json {
        /// The file.
        path: PathBuf,
        /// Where it differs.
        source: serde_json::Error,
    },
    /// A newer program wrote the truth.
    #[error("{path}: written by a newer version (format {found}, this program knows {known})")]
    Newer {
        /// The truth's file.
        path: PathBuf,
        /// Its format.
        found: u32,
        /// The newest format that this program reads.
        known: u32,
    },
    /// There are too few names or people for a world of this size.
    #[error("{folder} has too few {what} for a world of this size")]
    TooFewPeople {
        /// The people's folder.
        folder: PathBuf,
        /// What there is too little of.
        what: &'static str,
    },
    /// The people's files cannot be read.
    #[error("cannot read the people of the embedded world")]
    People(#[from] PeopleError),
    /// An image cannot be rendered.
    #[error(transparent)]
    Recipe(#[from] RecipeError),
    /// The port cannot be listened on.
    #[error("cannot listen on 127.0.0.1:{port}")]
    Listen {
        /// The port.
        port: u16,
        /// The reason that the system gives.
        source: std::io::Error,
    },
}
