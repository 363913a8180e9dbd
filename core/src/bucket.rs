//! A run's objects in a bucket of an object store: S3 and what speaks its language, Google Cloud Storage, Azure.
//!
//! An object appears whole, and is durable when the call that writes it returns: what a record names was written before the
//! record. Records and leases rest on puts with a condition, so that a store which ignores the condition is no place for a run;
//! [`Bucket::check`] finds out before one begins.
//!
//! Writes pass the fail points that writes to a folder pass (`begun`, `staged`, `synced`, `named`, `ended`; `delete`,
//! `deleted`): the first three before the request, the others after its answer.

mod address;
mod conditional;
mod fetch;
mod pieces;
mod reason;

use std::fs::File;
use std::io::Read;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::{StreamExt, TryStreamExt, stream};
use object_store::multipart::MultipartStore;
use object_store::path::Path as ObjectPath;
use object_store::{
    GetOptions, GetRange, ObjectMeta, ObjectStore, ObjectStoreExt, PutMode, PutOptions, PutPayload,
};
use tokio::runtime::Runtime;

use crate::disk::Created;
use crate::error::CoreError;
use crate::fail_point;

pub use address::{Patience, is_url};
pub use conditional::{Seen, Version};

/// Where uploads in pieces are noted while they are under way.
pub const UPLOADS: &str = "uploads";
/// Files of more bytes are sent in pieces of [`PIECE`].
const MOST_IN_ONE: u64 = 16 << 20;
/// Bytes of a piece. S3 takes ten thousand of them for an object: 80 GB.
const PIECE: usize = 8 << 20;
/// The largest object that a store copies by one request, in bytes: that of S3.
const MOST_COPIED: u64 = 5 << 30;
/// Requests under way at once, where many objects are read, copied or deleted.
const AT_ONCE: usize = 32;
/// Times that a put with a condition is sent where its answer does not tell what became of it, and a question whose answer is cut off.
const UNSURE: u32 = 4;

/// A run's place in a bucket.
pub struct Bucket {
    objects: Arc<dyn ObjectStore>,
    /// The same store, where uploads in pieces have names by which they can be given up.
    uploads: Option<Arc<dyn MultipartStore>>,
    runtime: Arc<Runtime>,
    url: String,
}

impl Bucket {
    /// Opens `url`, such as `s3://bucket/runs/1`; asks nobody yet. Keys, endpoint and region are those of the environment
    /// (`AWS_…`, `GOOGLE_…`, `AZURE_…`, as the `object_store` crate reads them), and are kept nowhere.
    ///
    /// # Errors
    /// [`CoreError::Bucket`]: a url of another kind, settings that cannot be.
    pub fn open(url: &str, patience: Patience) -> Result<Self, CoreError> {
        let runtime = address::runtime().map_err(|e| refused(url, e.to_string()))?;
        let found = address::objects(url, patience).map_err(|reason| refused(url, reason))?;
        let (objects, uploads) = found;
        Ok(Self {
            uploads: Some(uploads),
            ..Self::of(objects, runtime, url)
        })
    }

    /// A bucket that `objects` reaches.
    pub(crate) fn of(objects: Arc<dyn ObjectStore>, runtime: Runtime, url: &str) -> Self {
        Self {
            objects,
            uploads: None,
            runtime: Arc::new(runtime),
            url: url.trim_end_matches('/').to_owned(),
        }
    }

    /// The url, without a slash at its end.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The object `path` as a person would name it.
    pub(crate) fn shown(&self, path: &str) -> String {
        format!("{}/{path}", self.url)
    }

    /// Writes the object `path`, over what is there.
    pub(crate) fn put(&self, path: &str, bytes: Bytes) -> Result<(), CoreError> {
        self.before(path)?;
        let object = ObjectPath::from(path);
        let put = self.objects.put(&object, PutPayload::from(bytes));
        self.run(path, async { put.await.map(drop) })?;
        self.after(path)
    }

    /// Writes the object `path` where none is. A request whose answer got lost is sent again; that the object is there then,
    /// with these very bytes, is its own doing.
    pub(crate) fn create(&self, path: &str, bytes: &Bytes) -> Result<Created, CoreError> {
        self.before(path)?;
        let object = ObjectPath::from(path);
        for left in (0..UNSURE).rev() {
            let options = PutOptions::from(PutMode::Create);
            let payload = PutPayload::from(bytes.clone());
            let put = self.objects.put_opts(&object, payload, options);
            let created = match self.runtime.block_on(put) {
                Ok(_) => Created::Won,
                Err(object_store::Error::AlreadyExists { .. }) => match self.get(path) {
                    Ok(found) if found == *bytes => Created::Won,
                    Ok(_) => Created::Lost,
                    // Another's put was refused at the same time, or it was deleted since.
                    Err(CoreError::Missing { .. }) if left > 0 => continue,
                    Err(error) => return Err(error),
                },
                Err(error) if left > 0 && reason::may_have_happened(&error) => {
                    std::thread::sleep(Duration::from_millis(200));
                    continue;
                }
                Err(error) => return Err(self.fail(path, &error)),
            };
            self.after(path)?;
            return Ok(created);
        }
        Err(refused(
            &self.shown(path),
            "others write it all the time".to_owned(),
        ))
    }

    /// Writes the object `path` with the bytes of `file`, in pieces where they are many: no more than a few pieces are in memory.
    pub(crate) fn upload(&self, file: &Path, path: &str) -> Result<(), CoreError> {
        let io = |e| CoreError::from_io(file, e);
        let mut source = File::open(file).map_err(io)?;
        let size = source.metadata().map_err(io)?.len();
        if size <= MOST_IN_ONE {
            let mut bytes = Vec::with_capacity(size as usize);
            source.read_to_end(&mut bytes).map_err(io)?;
            return self.put(path, bytes.into());
        }
        self.before(path)?;
        self.send_pieces(path, || {
            let mut piece = Vec::with_capacity(PIECE);
            let read = source.by_ref().take(PIECE as u64).read_to_end(&mut piece);
            read.map(|_| Bytes::from(piece)).map_err(io)
        })?;
        self.after(path)
    }

    /// Copies the object `from`, in the bucket. S3 copies no more than 5 GB by one request: larger ones come and go through this
    /// machine, in pieces.
    pub(crate) fn copy(&self, from: &str, to: &str) -> Result<(), CoreError> {
        if let Some(size) = self.size(from)?.filter(|size| *size > MOST_COPIED) {
            return self.copy_in_pieces(from, to, size);
        }
        self.before(to)?;
        let (source, target) = (ObjectPath::from(from), ObjectPath::from(to));
        match self.runtime.block_on(self.objects.copy(&source, &target)) {
            Err(error) if reason::is_missing(&error) => Err(self.missing(from)),
            Err(error) => Err(self.fail(to, &error)),
            Ok(()) => self.after(to),
        }
    }

    /// Takes the object `path` away; that none is there is no error.
    pub(crate) fn delete(&self, path: &str) -> Result<(), CoreError> {
        self.reach("delete", path)?;
        let object = ObjectPath::from(path);
        match self.runtime.block_on(self.objects.delete(&object)) {
            Err(error) if !reason::is_missing(&error) => return Err(self.fail(path, &error)),
            _ => {}
        }
        self.reach("deleted", path)
    }

    /// An object's bytes.
    pub(crate) fn get(&self, path: &str) -> Result<Bytes, CoreError> {
        let object = ObjectPath::from(path);
        let got = async { self.objects.get(&object).await?.bytes().await };
        self.found(path, self.runtime.block_on(got))
    }

    /// The bytes of many objects, each as [`Bucket::get`] gives them, in their order.
    pub(crate) fn get_all(&self, paths: &[String]) -> Vec<Result<Bytes, CoreError>> {
        let get = |path: &String| {
            let object = ObjectPath::from(path.as_str());
            async move { self.objects.get(&object).await?.bytes().await }
        };
        let got = stream::iter(paths.iter().map(get)).buffered(AT_ONCE);
        let got: Vec<_> = self.runtime.block_on(got.collect());
        let found = paths.iter().zip(got);
        found.map(|(path, got)| self.found(path, got)).collect()
    }

    /// Some bytes of an object.
    pub(crate) fn get_range(
        &self,
        path: &str,
        range: std::ops::Range<u64>,
    ) -> Result<Bytes, CoreError> {
        let object = ObjectPath::from(path);
        let got = self
            .runtime
            .block_on(self.objects.get_range(&object, range));
        self.found(path, got)
    }

    /// Some bytes of an object, of the version that `about` tells of.
    pub(crate) fn get_range_of(
        &self,
        path: &str,
        range: std::ops::Range<u64>,
        about: &ObjectMeta,
    ) -> Result<Bytes, CoreError> {
        let options = GetOptions {
            range: Some(GetRange::Bounded(range)),
            if_match: about.e_tag.clone(),
            ..GetOptions::default()
        };
        let object = ObjectPath::from(path);
        let got = async { self.objects.get_opts(&object, options).await?.bytes().await };
        match self.runtime.block_on(got) {
            Err(object_store::Error::Precondition { .. }) => {
                let reason = "it has changed since it was opened".to_owned();
                Err(refused(&self.shown(path), reason))
            }
            got => self.found(path, got),
        }
    }

    /// The size of an object.
    pub(crate) fn size(&self, path: &str) -> Result<Option<u64>, CoreError> {
        Ok(self.about(path)?.map(|meta| meta.size))
    }

    /// What is said of an object; none where none is there.
    pub(crate) fn about(&self, path: &str) -> Result<Option<ObjectMeta>, CoreError> {
        match self
            .runtime
            .block_on(self.objects.head(&ObjectPath::from(path)))
        {
            Ok(meta) => Ok(Some(meta)),
            Err(error) if reason::is_missing(&error) => Ok(None),
            Err(error) => Err(self.fail(path, &error)),
        }
    }

    /// What is said of all objects below `prefix`.
    pub(crate) fn list(&self, prefix: &str) -> Result<Vec<ObjectMeta>, CoreError> {
        let folder = ObjectPath::from(prefix);
        self.ask(prefix, || self.objects.list(Some(&folder)).try_collect())
    }

    /// Whether an object is below `prefix`.
    pub(crate) fn any(&self, prefix: &str) -> Result<bool, CoreError> {
        let folder = ObjectPath::from(prefix);
        let first = || {
            let mut listed = self.objects.list(Some(&folder));
            async move { listed.next().await.transpose() }
        };
        Ok(self.ask(prefix, first)?.is_some())
    }

    /// What `question` is answered; it is asked again where the answer was cut off, which `object_store` itself does for bytes of objects only.
    fn ask<T, F: Future<Output = object_store::Result<T>>>(
        &self,
        path: &str,
        question: impl Fn() -> F,
    ) -> Result<T, CoreError> {
        for _ in 1..UNSURE {
            match self.runtime.block_on(question()) {
                Err(error) if reason::is_cut(&error) => {
                    std::thread::sleep(Duration::from_millis(200));
                }
                answer => return answer.map_err(|error| self.fail(path, &error)),
            }
        }
        self.run(path, question())
    }

    /// Gives all objects below the folder `from` names below `to`, in the place of what is there. Copies come first: a crash
    /// leaves some objects twice.
    pub(crate) fn move_folder(&self, from: &str, to: &str) -> Result<(), CoreError> {
        let moved = self.names(from)?;
        if moved.is_empty() {
            return Ok(());
        }
        let target = |path: &ObjectPath| {
            let below = path.as_ref().strip_prefix(from).unwrap_or_default();
            ObjectPath::from(format!("{to}{below}"))
        };
        self.delete_all(to, self.names(to)?)?;
        let copy = |path: ObjectPath| async move { self.objects.copy(&path, &target(&path)).await };
        let copies = stream::iter(moved.clone()).map(copy);
        let copies = copies.buffer_unordered(AT_ONCE).try_collect::<Vec<()>>();
        self.run(to, copies)?;
        self.delete_all(from, moved)
    }

    fn names(&self, prefix: &str) -> Result<Vec<ObjectPath>, CoreError> {
        let listed = self.list(prefix)?.into_iter();
        Ok(listed.map(|meta| meta.location).collect())
    }

    fn delete_all(&self, prefix: &str, names: Vec<ObjectPath>) -> Result<(), CoreError> {
        let names = stream::iter(names).map(Ok).boxed();
        let deleted = self.objects.delete_stream(names);
        self.run(prefix, deleted.try_collect::<Vec<_>>()).map(drop)
    }

    fn found(&self, path: &str, got: object_store::Result<Bytes>) -> Result<Bytes, CoreError> {
        match got {
            Ok(bytes) => Ok(bytes),
            Err(error) if reason::is_missing(&error) => Err(self.missing(path)),
            Err(error) => Err(self.fail(path, &error)),
        }
    }

    fn missing(&self, path: &str) -> CoreError {
        CoreError::Missing {
            path: self.shown(path).into(),
        }
    }

    pub(crate) fn run<T>(
        &self,
        path: &str,
        work: impl Future<Output = object_store::Result<T>>,
    ) -> Result<T, CoreError> {
        let done = self.runtime.block_on(work);
        done.map_err(|error| self.fail(path, &error))
    }

    fn fail(&self, path: &str, error: &object_store::Error) -> CoreError {
        refused(&self.shown(path), reason::of(error))
    }

    fn before(&self, path: &str) -> Result<(), CoreError> {
        let ways = ["begun", "staged", "synced"];
        ways.iter().try_for_each(|way| self.reach(way, path))
    }

    fn after(&self, path: &str) -> Result<(), CoreError> {
        let ways = ["named", "ended"];
        ways.iter().try_for_each(|way| self.reach(way, path))
    }

    fn reach(&self, way: &str, path: &str) -> Result<(), CoreError> {
        let name = || {
            let folder = path.split('/').next().unwrap_or_default();
            format!("{way}.{folder}")
        };
        fail_point::reach(name).map_err(|source| CoreError::Io {
            path: self.shown(path).into(),
            source,
        })
    }
}

fn refused(url: &str, reason: String) -> CoreError {
    CoreError::Bucket {
        url: url.to_owned(),
        reason,
    }
}

#[cfg(test)]
mod tests;
