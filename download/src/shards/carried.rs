//! The photos that a finished shard holds, for the shard that takes its place.

use std::io;
use std::path::{Path, PathBuf};

use super::error::ShardError;
use super::format::ShardFormat;
use super::parquet_photos::ParquetIndex;
use super::tar_photos::TarIndex;

/// The photos that a finished shard holds.
pub(crate) struct Carried {
    path: PathBuf,
    kind: Kind,
}

enum Kind {
    Parquet(Box<ParquetIndex>),
    Tar(TarIndex),
    /// Files stay where they are.
    Files,
}

impl Carried {
    /// The photos of the shard at `path`.
    pub(crate) fn open(format: ShardFormat, path: &Path) -> Result<Self, ShardError> {
        let kind = match format {
            ShardFormat::Parquet => Kind::Parquet(Box::new(ParquetIndex::open(path)?)),
            ShardFormat::Webdataset => {
                Kind::Tar(TarIndex::open(path).map_err(ShardError::io(path))?)
            }
            ShardFormat::Files => Kind::Files,
        };
        let path = path.to_owned();
        Ok(Self { path, kind })
    }

    /// The bytes of the photo called `key`; keys are asked for in ascending order. None where nothing has to be carried.
    pub(crate) fn photo(&mut self, key: &str) -> Result<Option<Vec<u8>>, ShardError> {
        let found: io::Result<Option<Vec<u8>>> = match &mut self.kind {
            Kind::Files => return Ok(None),
            Kind::Tar(index) => index.photo(key),
            Kind::Parquet(index) => Ok(index.photo(key)?),
        };
        let found = found.map_err(ShardError::io(&self.path))?;
        let missing = || ShardError::Damaged {
            path: self.path.clone(),
            reason: format!("its photo {key} is gone"),
        };
        found.map(Some).ok_or_else(missing)
    }
}
