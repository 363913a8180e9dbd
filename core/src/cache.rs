//! What a run keeps only to save work: bytes under `cache/FOLDER`. They may be deleted at any time, no record names them.

use bytes::Bytes;

use crate::error::CoreError;
use crate::store::Store;

/// A folder of a run's cache.
#[derive(Clone)]
pub struct Cache {
    store: Store,
    folder: String,
}

impl Cache {
    /// The cache folder `folder` (one path segment) of the run in `store`.
    pub fn new(store: Store, folder: &str) -> Self {
        let folder = format!("cache/{folder}");
        Self { store, folder }
    }

    /// The names of what is there, sorted.
    ///
    /// # Errors
    /// Store errors.
    pub fn names(&self) -> Result<Vec<String>, CoreError> {
        let paths = self.store.list(&self.folder)?;
        let name = |path: &String| path.rsplit('/').next().map(str::to_owned);
        Ok(paths.iter().filter_map(name).collect())
    }

    /// What is under `name`; none where nothing is.
    ///
    /// # Errors
    /// Store errors.
    pub fn get(&self, name: &str) -> Result<Option<Bytes>, CoreError> {
        match self.store.get(&self.path(name)) {
            Ok(bytes) => Ok(Some(bytes)),
            Err(CoreError::Missing { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Keeps `bytes` under `name`, instead of what was there.
    ///
    /// # Errors
    /// A full disk and the like.
    pub fn put(&self, name: &str, bytes: Vec<u8>) -> Result<(), CoreError> {
        self.store.put(&self.path(name), bytes)
    }

    fn path(&self, name: &str) -> String {
        format!("{}/{name}", self.folder)
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    #[test]
    fn what_is_put_is_listed_and_read_back() -> Result<(), CoreError> {
        let folder =
            tempfile::tempdir().map_err(|e| CoreError::from_io(Path::new("tempdir"), e))?;
        let cache = Cache::new(Store::local(folder.path())?, "answers");
        assert_eq!((cache.names()?, cache.get("a")?), (vec![], None));
        cache.put("b", b"two".to_vec())?;
        cache.put("a", b"one".to_vec())?;
        assert_eq!(cache.names()?, ["a", "b"]);
        assert_eq!(cache.get("b")?.as_deref(), Some(&b"two"[..]));
        Ok(())
    }
}
