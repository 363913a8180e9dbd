//! What can be wrong with a package.

use std::path::PathBuf;

/// Why a package does not load.
#[derive(Debug, thiserror::Error)]
#[allow(
    missing_docs,
    reason = "each variant's message says what its fields are"
)]
pub enum NerError {
    /// A file that is needed cannot be read.
    #[error("cannot read {path}")]
    Read {
        path: PathBuf,
        source: std::io::Error,
    },
    /// A file is not what it should be.
    #[error("{path}: damaged or of an unknown form: {reason} (SHA-256 {sha256})")]
    Damaged {
        path: PathBuf,
        reason: String,
        /// Digest of the bytes found.
        sha256: String,
    },
    /// A whole package, but not one of en_core_web_sm's architecture.
    #[error("{path}: not of en_core_web_sm's architecture: {what} is {found}, expected {expected}")]
    Architecture {
        /// The file that says so.
        path: PathBuf,
        what: String,
        /// What it should be.
        expected: String,
        /// What it is.
        found: String,
    },
}
