//! What a shard's photos are written as.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::error::ShardError;
use super::files::FilePhotos;
use super::parquet_photos::ParquetPhotos;
use super::photos::Photos;
use super::tar_photos::TarPhotos;

/// What a shard's photos are written as.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ShardFormat {
    /// `NNNNN.parquet`, with the photos' bytes.
    Parquet,
    /// `NNNNN.tar`, of `KEY.jpg`, `KEY.txt`, `KEY.json`.
    Webdataset,
    /// A folder `NNNNN` of such files.
    Files,
}

impl ShardFormat {
    /// The file or folder of the shard called `name`.
    pub(crate) fn path(self, folder: &Path, name: &str) -> PathBuf {
        match self {
            Self::Parquet => folder.join(format!("{name}.parquet")),
            Self::Webdataset => folder.join(format!("{name}.tar")),
            Self::Files => folder.join(name),
        }
    }

    /// Begins the photos of a shard, which appear at `path` when they are finished. With `beside`, a folder of files that
    /// is there gets the photos one by one.
    pub(crate) fn begin(self, path: &Path, beside: bool) -> Result<Box<dyn Photos>, ShardError> {
        Ok(match self {
            Self::Parquet => Box::new(ParquetPhotos::begin(path)?),
            Self::Webdataset => Box::new(TarPhotos::begin(path)?),
            Self::Files => Box::new(FilePhotos::begin(path, beside)?),
        })
    }
}
