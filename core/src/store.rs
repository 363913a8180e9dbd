//! Where parts and records live: a local folder, read through the `object_store` crate, without async, and written by
//! [`crate::disk`], so that an object that is there is whole and on the disk.
//!
//! A write passes these fail points, each named with the folder that it writes to (`named.ledger`): `begun`, `staged` (the bytes
//! have a scratch name), `synced` (they are on the disk, but for parts, which wait for their record), `named` (readers find
//! them), `ended` (the name is on the disk too); a deletion passes `delete` and `deleted`.
//!
//! Layout below the root (the run's `--output`):
//!
//! ```text
//! tables/TABLE/PARTITION/KEY-ATTEMPT.parquet   parts; what no ledger record names does not exist for a reader
//! ledger/STEP/PARTITION/KEY.json               records, written once each (put-if-absent); `laioncele retry` replaces whole ones
//! attempts/PARTITION/NAME.parquet              when each url was asked for and what came; named by no record, never overwritten
//! laioncele/                                   what pack-shards publishes, committed parts only
//! lists/DIGEST.json                           lists of parts that records name, written once each, never changed
//! run.json                                    which manifest the run was last run with
//! manifests/DIGEST.toml                       the manifests that the run was run with, as they were
//! results.json                                what is published, from which manifest, with digests
//! earlier/DIGEST/                             what was published from an earlier manifest
//! damaged/                                    what lay in the ledger and was no record
//! queue/KEY.json                              tasks at work; read only by the run that wrote them
//! lock                                        held by the run that writes here
//! cache/  log/                                 may be deleted at any time
//! ```

mod listing;

use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use futures::TryStreamExt;
use object_store::local::LocalFileSystem;
use object_store::path::Path as ObjectPath;
use object_store::{ObjectStore, ObjectStoreExt};
use tokio::runtime::Runtime;

pub use crate::disk::Created;
use crate::disk::{Disk, Durability, LocalDisk, Writer};
use crate::error::CoreError;

pub use listing::is_inside;

/// An object store, called from ordinary threads.
#[derive(Clone)]
pub struct Store {
    objects: Arc<dyn ObjectStore>,
    runtime: Arc<Runtime>,
    writer: Arc<Writer>,
    root: PathBuf,
}

impl Store {
    /// Opens, and makes where it is missing, the local folder `root`.
    ///
    /// # Errors
    /// [`CoreError::Io`] where the folder cannot be made.
    pub fn local(root: &Path) -> Result<Self, CoreError> {
        Self::on_disk(root, Arc::new(LocalDisk))
    }

    /// As [`Store::local`], with writes through `disk`.
    pub(crate) fn on_disk(root: &Path, disk: Arc<dyn Disk>) -> Result<Self, CoreError> {
        std::fs::create_dir_all(root).map_err(|e| CoreError::from_io(root, e))?;
        let root = root
            .canonicalize()
            .map_err(|e| CoreError::from_io(root, e))?;
        let objects = LocalFileSystem::new_with_prefix(&root)
            .map_err(|source| CoreError::store(root.display().to_string(), source))?;
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|e| CoreError::from_io(&root, e))?;
        Ok(Self {
            objects: Arc::new(objects),
            runtime: Arc::new(runtime),
            writer: Arc::new(Writer::new(root.clone(), disk, Durability::PowerCut)),
            root,
        })
    }

    /// The same store, whose writes outlive what `[run] sync` of the manifest says. A new store's outlive a power cut.
    pub fn with_durability(mut self, durability: Durability) -> Self {
        self.writer = Arc::new(self.writer.with_durability(durability));
        self
    }

    /// The local folder.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The local file of an object, for tools that publish by linking: below the root, whatever `path` says. Readers go
    /// through [`Store::get`].
    pub fn local_path(&self, path: &str) -> PathBuf {
        self.root.join(ObjectPath::from(path).as_ref())
    }

    /// Writes an object; readers see all of it or nothing.
    ///
    /// # Errors
    /// [`CoreError::Io`]: full or read-only disk, no permission.
    pub fn put(&self, path: &str, bytes: impl Into<Bytes>) -> Result<(), CoreError> {
        self.writer.put(&plain(path), &bytes.into())
    }

    /// Writes an object unless these very bytes are there already, so that publishing twice touches nothing. Returns
    /// whether it wrote.
    ///
    /// # Errors
    /// As [`Store::put`] and [`Store::get`].
    pub fn put_changed(&self, path: &str, bytes: impl Into<Bytes>) -> Result<bool, CoreError> {
        let bytes = bytes.into();
        match self.get(path) {
            Ok(found) if found == bytes => return Ok(false),
            Ok(_) | Err(CoreError::Missing { .. }) => {}
            Err(error) => return Err(error),
        }
        self.put(path, bytes).map(|()| true)
    }

    /// Writes an object only where none is: of many callers exactly one wins.
    ///
    /// # Errors
    /// As [`Store::put`].
    pub fn create(&self, path: &str, bytes: impl Into<Bytes>) -> Result<Created, CoreError> {
        self.writer.create(&plain(path), &bytes.into())
    }

    /// An object's bytes.
    ///
    /// # Errors
    /// [`CoreError::Missing`] or [`CoreError::Store`].
    pub fn get(&self, path: &str) -> Result<Bytes, CoreError> {
        let object = ObjectPath::from(path);
        match self
            .runtime
            .block_on(async { self.objects.get(&object).await?.bytes().await })
        {
            Ok(bytes) => Ok(bytes),
            Err(object_store::Error::NotFound { .. }) => Err(CoreError::Missing {
                path: self.local_path(path),
            }),
            Err(source) => Err(CoreError::store(path, source)),
        }
    }

    /// The bytes of an object from `range.start` to before `range.end`.
    ///
    /// # Errors
    /// [`CoreError::Missing`], or [`CoreError::Store`], also for a range beyond the object's end.
    pub fn get_range(&self, path: &str, range: Range<u64>) -> Result<Bytes, CoreError> {
        if range.is_empty() {
            return Ok(Bytes::new());
        }
        let wanted = range.end - range.start;
        let object = ObjectPath::from(path);
        match self
            .runtime
            .block_on(self.objects.get_range(&object, range))
        {
            Ok(bytes) if bytes.len() as u64 == wanted => Ok(bytes),
            Ok(bytes) => Err(CoreError::parquet(
                path,
                format!(
                    "{} bytes where {wanted} are asked for: it is cut off",
                    bytes.len()
                ),
            )),
            Err(object_store::Error::NotFound { .. }) => Err(CoreError::Missing {
                path: self.local_path(path),
            }),
            Err(source) => Err(CoreError::store(path, source)),
        }
    }

    /// Makes a local file of the run's scratch folder an object: it is moved, so that readers see all of it or nothing.
    ///
    /// # Errors
    /// [`CoreError::Io`]: a full or read-only disk, no permission.
    pub fn adopt(&self, file: &Path, path: &str) -> Result<(), CoreError> {
        self.writer.adopt(file, &plain(path))
    }

    /// Gives an object a second name, in the place of what has it: it is published without a copy.
    ///
    /// # Errors
    /// [`CoreError::Io`]: no such object, a file system without links.
    pub fn link(&self, from: &str, to: &str) -> Result<(), CoreError> {
        self.writer.link(&plain(from), &plain(to))
    }

    /// Whether an object is there.
    ///
    /// # Errors
    /// [`CoreError::Store`].
    pub fn exists(&self, path: &str) -> Result<bool, CoreError> {
        match self
            .runtime
            .block_on(self.objects.head(&ObjectPath::from(path)))
        {
            Ok(_) => Ok(true),
            Err(object_store::Error::NotFound { .. }) => Ok(false),
            Err(source) => Err(CoreError::store(path, source)),
        }
    }

    /// Deletes an object; that none is there is no error.
    ///
    /// # Errors
    /// [`CoreError::Io`].
    pub fn delete(&self, path: &str) -> Result<(), CoreError> {
        self.writer.delete(&plain(path))
    }

    /// All objects below `prefix`, sorted.
    ///
    /// # Errors
    /// [`CoreError::Store`].
    pub fn list(&self, prefix: &str) -> Result<Vec<String>, CoreError> {
        let listed = self
            .objects
            .list(Some(&ObjectPath::from(prefix)))
            .map_ok(|meta| meta.location.to_string())
            .try_collect::<Vec<_>>();
        let mut paths = self.run(prefix, listed)?;
        paths.sort();
        Ok(paths)
    }

    fn run<T>(
        &self,
        path: &str,
        work: impl Future<Output = object_store::Result<T>>,
    ) -> Result<T, CoreError> {
        self.runtime
            .block_on(work)
            .map_err(|source| CoreError::store(path, source))
    }
}

/// `path` as `object_store` would read it again: no segment of it leads out of the store.
fn plain(path: &str) -> String {
    ObjectPath::from(path).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unchanged_bytes_are_not_written_again() -> Result<(), CoreError> {
        let folder =
            tempfile::tempdir().map_err(|e| CoreError::from_io(Path::new("tempdir"), e))?;
        let store = Store::local(folder.path())?;
        assert!(store.put_changed("a.txt", "one")?);
        assert!(!store.put_changed("a.txt", "one")?);
        assert!(store.put_changed("a.txt", "two")?);
        assert_eq!(store.get("a.txt")?, "two");
        Ok(())
    }

    #[test]
    fn exactly_one_creator_wins() -> Result<(), CoreError> {
        let folder =
            tempfile::tempdir().map_err(|e| CoreError::from_io(Path::new("tempdir"), e))?;
        Store::local(folder.path())?;
        let wins: usize = std::thread::scope(|scope| {
            let create = |k: u8| {
                let root = folder.path();
                scope.spawn(move || {
                    Store::local(root).and_then(|s| s.create("ledger/x.json", vec![k; 1000]))
                })
            };
            let threads: Vec<_> = (0..8).map(create).collect();
            threads
                .into_iter()
                .map(|t| usize::from(matches!(t.join(), Ok(Ok(Created::Won)))))
                .sum()
        });
        assert_eq!(wins, 1);
        let bytes = Store::local(folder.path())?.get("ledger/x.json")?;
        assert!(bytes.len() == 1000 && bytes.iter().all(|b| *b == bytes[0]));
        Ok(())
    }
}
