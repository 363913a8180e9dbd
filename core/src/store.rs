//! Where parts and records live: a local folder, read through the `object_store` crate, without async, and written by
//! [`crate::disk`], so that an object that is there is whole and on the disk; or a bucket ([`crate::bucket`]).
//!
//! A run in a bucket has a scratch folder on each machine that works on it: files that a task needs while it runs, journals
//! of downloads, logs ([`ON_THE_MACHINE`]). What is there may be deleted at any time and costs work that was under way, no
//! result.
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
//! probe/                                      how a bucket is tried out: nothing stays
//! uploads/                                    of a bucket: uploads in pieces that have not ended
//! cache/models/  cache/programs/               what other machines fetch by its digest (`--node-cache`)
//! cache/  log/                                 may be deleted at any time
//! ```

mod folder;
mod listing;
mod machine;

use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use object_store::local::LocalFileSystem;
use object_store::path::Path as ObjectPath;
use object_store::{ObjectMeta, ObjectStore, ObjectStoreExt};
use tokio::runtime::Runtime;

use crate::bucket::{Bucket, Patience};
pub use crate::disk::Created;
use crate::disk::{Disk, Durability, LocalDisk, Writer};
use crate::error::CoreError;

use folder::Look;
pub use listing::is_inside;
pub use machine::{ON_THE_MACHINE, place_scratch, scratch_place};

/// An object store, called from ordinary threads.
#[derive(Clone)]
pub struct Store {
    /// The local folder: the run's, or this machine's scratch folder for a run in a bucket.
    objects: Arc<dyn ObjectStore>,
    runtime: Arc<Runtime>,
    writer: Arc<Writer>,
    root: PathBuf,
    /// Where all but scratch is, for a run in a bucket.
    bucket: Option<Arc<Bucket>>,
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
            bucket: None,
        })
    }

    /// Opens what `place` names: a folder as [`Store::local`] does, or a bucket by its url (`s3://bucket/prefix`), of which
    /// nothing is asked yet.
    ///
    /// # Errors
    /// As [`Store::local`]; [`CoreError::Bucket`].
    pub fn open(place: &Path) -> Result<Self, CoreError> {
        Self::with_patience(place, Patience::Usual)
    }

    /// As [`Store::open`]; of a bucket it is soon known where it cannot be reached. For the first question of a command.
    ///
    /// # Errors
    /// As [`Store::open`].
    pub fn at_once(place: &Path) -> Result<Self, CoreError> {
        Self::with_patience(place, Patience::Short)
    }

    fn with_patience(place: &Path, patience: Patience) -> Result<Self, CoreError> {
        match url_of(place) {
            Some(url) => Self::in_bucket(Bucket::open(url, patience)?),
            None => Self::local(place),
        }
    }

    /// The store in `bucket`, with a scratch folder on this machine.
    ///
    /// # Errors
    /// [`CoreError::Io`] where the scratch folder cannot be made.
    pub fn in_bucket(bucket: Bucket) -> Result<Self, CoreError> {
        let scratch = machine::scratch_of(bucket.url())?;
        // Nothing on this disk has to outlive the machine.
        let store = Self::local(&scratch)?.with_durability(Durability::Kill);
        Ok(Self {
            bucket: Some(Arc::new(bucket)),
            ..store
        })
    }

    /// The bucket of a run that lies in one.
    pub fn bucket(&self) -> Option<&Arc<Bucket>> {
        self.bucket.as_ref()
    }

    /// The bucket, where the object `path` lies in one.
    fn bucket_of(&self, path: &str) -> Option<&Bucket> {
        let scratch = || ON_THE_MACHINE.iter().any(|folder| path.starts_with(folder));
        self.bucket.as_deref().filter(|_| !scratch())
    }

    /// The same store, whose writes outlive what `[run] sync` of the manifest says. A new store's outlive a power cut.
    pub fn with_durability(mut self, durability: Durability) -> Self {
        if self.bucket.is_some() {
            // What a bucket has taken is durable.
            return self;
        }
        self.writer = Arc::new(self.writer.with_durability(durability));
        self
    }

    /// The local folder: that of the run, or the scratch folder of a run in a bucket.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The object `path` as a person would name it: a file, or a url.
    pub fn shown(&self, path: &str) -> PathBuf {
        match self.bucket_of(path) {
            Some(bucket) => bucket.shown(path).into(),
            None => self.local_path(path),
        }
    }

    /// The local file of an object that lies on this machine: of any in a folder, of scratch of a run in a bucket. Below the
    /// root, whatever `path` says. Readers go through [`Store::get`], or [`Store::local_copy`] where they need a file.
    pub fn local_path(&self, path: &str) -> PathBuf {
        self.root.join(ObjectPath::from(path).as_ref())
    }

    /// Writes an object; readers see all of it or nothing.
    ///
    /// # Errors
    /// [`CoreError::Io`]: full or read-only disk, no permission.
    pub fn put(&self, path: &str, bytes: impl Into<Bytes>) -> Result<(), CoreError> {
        match self.bucket_of(path) {
            Some(bucket) => bucket.put(path, bytes.into()),
            None => self.writer.put(&plain(path), &bytes.into()),
        }
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
        match self.bucket_of(path) {
            Some(bucket) => bucket.create(path, &bytes.into()),
            None => self.writer.create(&plain(path), &bytes.into()),
        }
    }

    /// An object's bytes.
    ///
    /// # Errors
    /// [`CoreError::Missing`] or [`CoreError::Store`].
    pub fn get(&self, path: &str) -> Result<Bytes, CoreError> {
        if let Some(bucket) = self.bucket_of(path) {
            return bucket.get(path);
        }
        let file = self.local_path(path);
        let bytes = std::fs::read(&file).map_err(|e| CoreError::from_io(&file, e));
        bytes.map(Bytes::from)
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
        let bytes = match self.bucket_of(path) {
            Some(bucket) => bucket.get_range(path, range)?,
            None => self.local_range(path, range)?,
        };
        if bytes.len() as u64 == wanted {
            return Ok(bytes);
        }
        let found = bytes.len();
        let text = format!("{found} bytes where {wanted} are asked for: it is cut off");
        Err(CoreError::parquet(path, text))
    }

    fn local_range(&self, path: &str, range: Range<u64>) -> Result<Bytes, CoreError> {
        let object = ObjectPath::from(path);
        let got = self.objects.get_range(&object, range);
        match self.runtime.block_on(got) {
            Err(object_store::Error::NotFound { .. }) => Err(CoreError::Missing {
                path: self.local_path(path),
            }),
            got => got.map_err(|source| CoreError::store(path, source)),
        }
    }

    /// Writes an object with the bytes of a file outside the store, which stays; readers see all of it or nothing.
    ///
    /// # Errors
    /// As [`Store::put`]; a file that cannot be read.
    pub fn put_file(&self, file: &Path, path: &str) -> Result<(), CoreError> {
        if let Some(bucket) = self.bucket_of(path) {
            return bucket.upload(file, path);
        }
        let source = std::fs::File::open(file).map_err(|e| CoreError::from_io(file, e))?;
        self.writer.copy(source, &plain(path))
    }

    /// Makes a local file of the run's scratch folder an object: it is moved, so that readers see all of it or nothing.
    ///
    /// # Errors
    /// [`CoreError::Io`]: a full or read-only disk, no permission.
    pub fn adopt(&self, file: &Path, path: &str) -> Result<(), CoreError> {
        let Some(bucket) = self.bucket_of(path) else {
            return self.writer.adopt(file, &plain(path));
        };
        bucket.upload(file, path)?;
        // It has moved. One that stays is deleted when the next run begins.
        drop(std::fs::remove_file(file));
        Ok(())
    }

    /// Gives an object a second name, in the place of what has it: it is published without a copy; in a bucket by a copy
    /// that the store makes itself.
    ///
    /// # Errors
    /// [`CoreError::Io`]: no such object, a file system without links.
    pub fn link(&self, from: &str, to: &str) -> Result<(), CoreError> {
        match self.bucket_of(to) {
            Some(bucket) => bucket.copy(from, to),
            None => self.writer.link(&plain(from), &plain(to)),
        }
    }

    /// Whether an object is there.
    ///
    /// # Errors
    /// [`CoreError::Store`].
    pub fn exists(&self, path: &str) -> Result<bool, CoreError> {
        Ok(self.size(path)?.is_some())
    }

    /// The size of an object in bytes; none where it is not there.
    ///
    /// # Errors
    /// [`CoreError::Store`].
    pub fn size(&self, path: &str) -> Result<Option<u64>, CoreError> {
        if let Some(bucket) = self.bucket_of(path) {
            return bucket.size(path);
        }
        let object = ObjectPath::from(path);
        let head = self.objects.head(&object);
        match self.runtime.block_on(head) {
            Ok(meta) => Ok(Some(meta.size)),
            Err(object_store::Error::NotFound { .. }) => Ok(None),
            Err(source) => Err(CoreError::store(path, source)),
        }
    }

    /// Gives up an upload in pieces that is noted below [`UPLOADS`](crate::bucket::UPLOADS). Only for who holds the run's lock.
    ///
    /// # Errors
    /// [`CoreError::Bucket`].
    pub fn abandon_upload(&self, noted: &str) -> Result<(), CoreError> {
        match self.bucket_of(noted) {
            Some(bucket) => bucket.abandon_upload(noted),
            None => self.delete(noted),
        }
    }

    /// Deletes an object; that none is there is no error.
    ///
    /// # Errors
    /// [`CoreError::Io`].
    pub fn delete(&self, path: &str) -> Result<(), CoreError> {
        match self.bucket_of(path) {
            Some(bucket) => bucket.delete(path),
            None => self.writer.delete(&plain(path)),
        }
    }

    /// All objects below `prefix`, sorted.
    ///
    /// # Errors
    /// [`CoreError::Store`].
    pub fn list(&self, prefix: &str) -> Result<Vec<String>, CoreError> {
        let listed = self.found(prefix, Look::Names)?.into_iter();
        let mut paths: Vec<String> = listed.map(|found| found.path).collect();
        paths.sort();
        Ok(paths)
    }

    /// Whether an object is below `prefix`.
    ///
    /// # Errors
    /// [`CoreError::Store`].
    pub fn any(&self, prefix: &str) -> Result<bool, CoreError> {
        match self.bucket_of(prefix) {
            Some(bucket) => bucket.any(prefix),
            None => Ok(!self.found(prefix, Look::Names)?.is_empty()),
        }
    }

    /// The objects below `prefix`, in no order.
    fn found(&self, prefix: &str, look: Look) -> Result<Vec<Found>, CoreError> {
        if let Some(bucket) = self.bucket_of(prefix) {
            return Ok(bucket.list(prefix)?.into_iter().map(Found::of).collect());
        }
        let listed = folder::list(&self.root, &plain(prefix), look);
        listed.map_err(|error| CoreError::from_io(&self.local_path(prefix), error))
    }
}

/// An object as a listing shows it.
struct Found {
    path: String,
    size: u64,
    /// Another one after each write.
    version: String,
}

impl Found {
    fn of(meta: ObjectMeta) -> Self {
        let tag = meta.e_tag.or(meta.version);
        Self {
            path: meta.location.to_string(),
            size: meta.size,
            version: tag.unwrap_or_else(|| format!("{} {}", meta.size, meta.last_modified)),
        }
    }
}

/// `place` as a url, if it is one.
pub fn url_of(place: &Path) -> Option<&str> {
    place.to_str().filter(|place| crate::bucket::is_url(place))
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
    fn files_from_elsewhere_become_objects_and_stay() -> Result<(), CoreError> {
        let folder =
            tempfile::tempdir().map_err(|e| CoreError::from_io(Path::new("tempdir"), e))?;
        let store = Store::local(&folder.path().join("run"))?;
        let file = folder.path().join("weights");
        std::fs::write(&file, "weights").map_err(|e| CoreError::from_io(&file, e))?;
        store.put("cache/models/x", "an earlier, longer one")?;
        store.put_file(&file, "cache/models/x")?;
        assert_eq!(store.get("cache/models/x")?, "weights");
        assert!(file.is_file());
        assert_eq!(store.list("cache/scratch")?, Vec::<String>::new());
        let missing = store.put_file(&folder.path().join("no"), "cache/models/y");
        assert!(matches!(missing, Err(CoreError::Missing { .. })));
        assert!(!store.exists("cache/models/y")?);
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
