//! What can go wrong with a world on disk.

use std::path::PathBuf;

use laioncele_core::CoreError;

use crate::picture::PictureError;

/// Why a world cannot be built, read, served or scored.
#[derive(Debug, thiserror::Error)]
pub enum WorldError {
    /// Reading or writing a file or a table.
    #[error(transparent)]
    Core(#[from] CoreError),
    /// A JSON file of another shape.
    #[error("{path}: not the file of an embedded world")]
    Json {
        /// The file.
        path: PathBuf,
        /// Where it differs.
        source: serde_json::Error,
    },
    /// A truth that a newer program wrote.
    #[error("{path}: written by a newer version (format {found}, this program knows {known})")]
    Newer {
        /// The file.
        path: PathBuf,
        /// Its format.
        found: u32,
        /// Ours.
        known: u32,
    },
    /// The people's file has too few names or faces for a world of this size.
    #[error("the people of {folder} are too few: {what}")]
    TooFewPeople {
        /// The people's folder.
        folder: PathBuf,
        /// Of what there are too few.
        what: &'static str,
    },
    /// The people's files cannot be read.
    #[error("the people of {folder} cannot be read: {reason}")]
    People {
        /// The people's folder.
        folder: PathBuf,
        /// Why.
        reason: String,
    },
    /// A picture cannot be drawn.
    #[error(transparent)]
    Picture(#[from] PictureError),
    /// The port cannot be listened on.
    #[error("cannot listen on 127.0.0.1:{port}")]
    Listen {
        /// The port.
        port: u16,
        /// Why.
        source: std::io::Error,
    },
}
