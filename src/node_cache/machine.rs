//! The folder of a machine in which its workers keep files of models: each is fetched once, by whoever comes first, and is there whole or
//! not at all.

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};

use laioncele_core::kept_files::KeptFiles;
use laioncele_core::manifest::mirrored;
use laioncele_core::store::Store;
use laioncele_core::{ByteHasher, Digest};

use super::{CacheError, ListedFile, ModelList, object_of};

/// Bytes that are fetched at once.
const PIECE: u64 = 16 << 20;

/// The folder.
pub(super) struct Folder(KeptFiles);

impl Folder {
    /// The folder at `root`, made where it is missing.
    ///
    /// # Errors
    /// [`CacheError::Folder`], as of all that follow.
    pub(super) fn open(root: &Path) -> Result<Self, CacheError> {
        Ok(Self(KeptFiles::open(root)?))
    }

    /// The file of this digest, which may not be there.
    pub(super) fn file(&self, digest: Digest) -> PathBuf {
        self.0.file(digest)
    }

    /// Sees to it that `file` of the model `label` is here: looks at its bytes, and fetches it where they are none or others.
    ///
    /// # Errors
    /// No room; an object that is missing or damaged; [`CacheError::Cancelled`] once `cancelled` says so.
    pub(super) fn fetch(
        &self,
        store: &Store,
        label: &str,
        file: &ListedFile,
        cancelled: &dyn Fn() -> bool,
    ) -> Result<(), CacheError> {
        let name = file.digest.to_string();
        let (path, lock) = (self.file(file.digest), self.0.lock(&name)?);
        let locked = CacheError::folder(&path);
        // Many look at once, one fetches.
        if lock.lock_shared().is_ok() && is_whole(&path, file) {
            return Ok(());
        }
        lock.unlock().and_then(|()| lock.lock()).map_err(locked)?;
        if is_whole(&path, file) {
            return Ok(());
        }
        if path.exists() {
            tracing::warn!("{} is damaged: fetched again", path.display());
        }
        let partial = self.0.partial(&name);
        let fetched = copy(store, label, file, &partial, cancelled);
        let kept = fetched.and_then(|()| Ok(self.0.keep(&partial, file.digest).map(drop)?));
        kept.inspect_err(|_| drop(fs::remove_file(&partial)))
    }

    /// A folder with a link to each file of `list`, which is called `digest`, at the path that the manifest gives it. Links to
    /// files that are not here lead nowhere.
    ///
    /// # Errors
    /// No room.
    pub(super) fn view(&self, digest: Digest, list: &ModelList) -> Result<PathBuf, CacheError> {
        let files = list.models.iter().flat_map(|model| &model.files);
        let link = |file: &ListedFile| (mirrored(Path::new(""), &file.path), file.digest);
        let links: Vec<(PathBuf, Digest)> = files.map(link).collect();
        Ok(self.0.view(digest, &links)?)
    }
}

/// Whether `path` has the bytes of `file`. What cannot be read has not.
fn is_whole(path: &Path, file: &ListedFile) -> bool {
    fs::metadata(path).is_ok_and(|found| found.len() == file.bytes)
        && Digest::of_file(path).is_ok_and(|found| found == file.digest)
}

/// Writes the object of `file` to `target` and puts it on the disk.
fn copy(
    store: &Store,
    label: &str,
    file: &ListedFile,
    target: &Path,
    cancelled: &dyn Fn() -> bool,
) -> Result<(), CacheError> {
    let object = object_of(file.digest);
    let write = |error| CacheError::folder(target)(error);
    // What a killed worker left is overwritten.
    let mut output = File::create(target).map_err(write)?;
    let (mut hasher, mut at) = (ByteHasher::default(), 0);
    while at < file.bytes {
        if cancelled() {
            return Err(CacheError::Cancelled);
        }
        let end = file.bytes.min(at + PIECE);
        let piece = store.get_range(&object, at..end);
        let piece = piece.map_err(|source| CacheError::Store {
            label: label.to_owned(),
            source: Box::new(source),
        })?;
        hasher.add(&piece);
        output.write_all(&piece).map_err(write)?;
        at = end;
    }
    let found = hasher.finish();
    if found != file.digest {
        return Err(CacheError::Damaged {
            label: label.to_owned(),
            object: store.shown(&object),
            found,
        });
    }
    output.sync_all().map_err(write)
}
