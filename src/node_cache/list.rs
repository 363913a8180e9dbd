//! Which models a run's machines may need, by the paths that the manifest gives them.

use std::path::PathBuf;

use laioncele_core::Digest;
use serde::{Deserialize, Serialize};

/// Models of so many bytes are fetched for every task: settings are read from some, the specs of face networks.
pub(super) const SMALL: u64 = 64 << 10;

/// The models of a run's steps.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct ModelList {
    pub models: Vec<ListedModel>,
}

/// A model: one file, or those of a folder that are read.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct ListedModel {
    /// As tasks' keys call it.
    pub label: String,
    /// As tasks' keys have it.
    pub digest: Digest,
    pub files: Vec<ListedFile>,
}

/// A file of a model.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct ListedFile {
    /// Where the manifest has it: from the root of the file system, or at a url.
    pub path: PathBuf,
    pub bytes: u64,
    pub digest: Digest,
}

impl ListedModel {
    pub(super) fn bytes(&self) -> u64 {
        self.files.iter().map(|file| file.bytes).sum()
    }
}
