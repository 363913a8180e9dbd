//! `laioncele/shards.json`: what is published, and what it was made from.

use std::collections::{BTreeMap, BTreeSet};

use laioncele_core::store::Store;
use laioncele_core::{CoreError, Digest};
use serde::{Deserialize, Serialize};

/// The folder of the dataset in the store.
pub(crate) const FOLDER: &str = "laioncele";
const INDEX: &str = "laioncele/shards.json";
/// The dataset card's path in the store.
pub(crate) const CARD: &str = "laioncele/README.md";
/// The path of the dataset's description in Croissant.
pub(crate) const CROISSANT: &str = "laioncele/croissant.json";
/// The path of what is said of the licences.
pub(crate) const LICENCE: &str = "laioncele/LICENSE.md";
/// The mean name embedding's path in the store.
pub(crate) const MEAN: &str = "laioncele/name_mean.safetensors";

/// What is published.
#[derive(Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Index {
    /// Digest of everything that the folder depends on.
    pub(crate) state: String,
    /// Digest of the manifest's text that the folder belongs to.
    #[serde(default)]
    pub(crate) manifest: Option<Digest>,
    /// Digest of what the shards were made from and of their form, where they are no links.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) form: Option<Digest>,
    /// The shards, in order.
    pub(crate) shards: Vec<Shard>,
    /// The shards once more as tar files.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) tars: Vec<Tar>,
    /// The sheets, by bucket.
    pub(crate) sheets: BTreeMap<String, BucketSheets>,
}

/// A published shard.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Shard {
    /// `train-00000-of-00004.parquet`
    pub(crate) file: String,
    /// BLAKE3 of its bytes.
    pub(crate) digest: Digest,
    /// SHA-256 of its bytes, hexadecimal.
    #[serde(default)]
    pub(crate) sha256: String,
    /// Number of examples.
    pub(crate) rows: u64,
    /// Size of the file.
    pub(crate) bytes: u64,
}

/// A shard as a tar file.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Tar {
    /// `train-00000-of-00004.tar`
    pub(crate) file: String,
    /// Digest of the Parquet shard and of the tar file's form.
    pub(crate) key: String,
    /// Size of the file.
    pub(crate) bytes: u64,
}

impl Tar {
    /// Its path in the store.
    pub(crate) fn path(&self) -> String {
        format!("{FOLDER}/{}", self.file)
    }
}

impl Shard {
    /// Its path in the store.
    pub(crate) fn path(&self) -> String {
        format!("{FOLDER}/{}", self.file)
    }

    /// `train`, `validation` or `test`.
    pub(crate) fn split(&self) -> &str {
        self.file.split('-').next().unwrap_or_default()
    }
}

/// The sheets of a bucket.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct BucketSheets {
    /// Digest of everything that they show.
    pub(crate) key: String,
    /// Their paths in the store.
    pub(crate) paths: Vec<String>,
}

impl Index {
    /// The stored index. One that cannot be read counts as empty: everything is published anew.
    pub(crate) fn load(store: &Store) -> Self {
        let bytes = store.get(INDEX).ok();
        let index = bytes.and_then(|bytes| serde_json::from_slice(&bytes).ok());
        index.unwrap_or_default()
    }

    /// Stores the index.
    ///
    /// # Errors
    /// Store errors.
    pub(crate) fn save(&self, store: &Store) -> Result<(), CoreError> {
        let text = serde_json::to_vec_pretty(self).map_err(|e| CoreError::parquet(INDEX, e))?;
        store.put(INDEX, text)
    }

    /// Deletes the stored index: without it the folder counts as unfinished.
    ///
    /// # Errors
    /// Store errors.
    pub(crate) fn delete(store: &Store) -> Result<(), CoreError> {
        store.delete(INDEX)
    }

    /// Whether all files it names, and what is written beside them, exist.
    ///
    /// # Errors
    /// Store errors.
    pub(crate) fn is_complete(&self, store: &Store) -> Result<bool, CoreError> {
        all_exist(
            store,
            self.paths()
                .iter()
                .map(String::as_str)
                .chain([CARD, CROISSANT]),
        )
    }

    /// The paths of shards, tar files and sheets.
    pub(crate) fn paths(&self) -> BTreeSet<String> {
        let sheets = self.sheets.values().flat_map(|sheets| sheets.paths.clone());
        let shards = self.shards.iter().map(Shard::path);
        let tars = self.tars.iter().map(Tar::path);
        sheets.chain(shards).chain(tars).collect()
    }
}

/// Whether the store has all of `paths`.
///
/// # Errors
/// Store errors.
pub(crate) fn all_exist<'a>(
    store: &Store,
    paths: impl IntoIterator<Item = &'a str>,
) -> Result<bool, CoreError> {
    for path in paths {
        if !store.exists(path)? {
            return Ok(false);
        }
    }
    Ok(true)
}
