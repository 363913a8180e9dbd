//! What can be wrong with a package.

use std::path::PathBuf;

/// Why a package does not load.
#[derive(Debug, thiserror::Error)]
pub enum NerError {
    /// A file that is needed cannot be read.
    #[error("{path}: {source}")]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A file is not what it should be.
    #[error("{path}: damaged or of an unknown form: {reason} (SHA-256 {sha256})")]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
        /// Digest of the bytes found.
        sha256: String,
    },
    /// A whole package, but not one of en_core_web_sm's architecture.
    #[error("{path}: not of en_core_web_sm's architecture: {what} is {found}, expected {expected}")]
    Architecture {
        /// The file that says so.
        path: PathBuf,
        /// Which part.
        what: String,
        /// What it should be.
        expected: String,
        /// What it is.
        found: String,
    },
}
