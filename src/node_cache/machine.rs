//! The folder of a machine in which its workers keep files of models: each is fetched once, by whoever comes first, and is there whole or
//! not at all.

use std::fs::{self, File};
use std::io::Write;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use laioncele_core::manifest::mirrored;
use laioncele_core::store::Store;
use laioncele_core::{ByteHasher, Digest};

use super::{CacheError, ListedFile, ModelList, object_of};

/// Bytes that are fetched at once.
const PIECE: u64 = 16 << 20;

/// The folder.
pub(super) struct Folder {
    root: PathBuf,
}

impl Folder {
    /// The folder at `root`, made where it is missing.
    ///
    /// # Errors
    /// [`CacheError::Folder`], as of all that follow.
    pub(super) fn open(root: &Path) -> Result<Self, CacheError> {
        for name in ["files", "views", "partial", "locks"] {
            let folder = root.join(name);
            fs::create_dir_all(&folder).map_err(CacheError::folder(&folder))?;
        }
        Ok(Self {
            root: root.to_owned(),
        })
    }

    /// The file of this digest, which may not be there.
    pub(super) fn file(&self, digest: Digest) -> PathBuf {
        self.root.join("files").join(digest.to_string())
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
        let (path, lock) = (self.file(file.digest), self.lock_of(file.digest)?);
        let locked = CacheError::folder(&path);
        // Many look at once, one fetches.
        if lock.0.lock_shared().is_ok() && is_whole(&path, file) {
            return Ok(());
        }
        lock.0
            .unlock()
            .and_then(|()| lock.0.lock())
            .map_err(locked)?;
        if is_whole(&path, file) {
            return Ok(());
        }
        if path.exists() {
            tracing::warn!("{} is damaged: fetched again", path.display());
        }
        let partial = self.root.join("partial").join(file.digest.to_string());
        let fetched = copy(store, label, file, &partial, cancelled);
        let kept = fetched.and_then(|()| {
            fs::rename(&partial, &path).map_err(CacheError::folder(&path))?;
            let files = self.root.join("files");
            let folder = File::open(&files).and_then(|folder| folder.sync_all());
            folder.map_err(CacheError::folder(&files))
        });
        kept.inspect_err(|_| drop(fs::remove_file(&partial)))
    }

    /// A folder with a link to each file of `list`, which is called `digest`, at the path that the manifest gives it. Links to
    /// files that are not here lead nowhere.
    ///
    /// # Errors
    /// No room.
    pub(super) fn view(&self, digest: Digest, list: &ModelList) -> Result<PathBuf, CacheError> {
        let view = self.root.join("views").join(digest.to_string());
        let links = |at: &Path| -> Vec<(PathBuf, PathBuf)> {
            let files = list.models.iter().flat_map(|model| &model.files);
            let link = |file: &ListedFile| (mirrored(at, &file.path), self.file(file.digest));
            files.map(link).collect()
        };
        let is_there = |(link, target): &(PathBuf, PathBuf)| {
            fs::read_link(link).is_ok_and(|found| found == *target)
        };
        let lock = self.lock_of(digest)?;
        lock.0.lock().map_err(CacheError::folder(&view))?;
        if view.is_dir() && links(&view).iter().all(is_there) {
            return Ok(view);
        }
        let partial = self.root.join("partial").join(digest.to_string());
        let made = make_links(&partial, &links(&partial))
            .and_then(|()| remove(&view))
            .and_then(|()| fs::rename(&partial, &view));
        made.map_err(CacheError::folder(&view))?;
        Ok(view)
    }

    /// The lock on whatever is called `digest`, not taken yet; it goes with the value.
    fn lock_of(&self, digest: Digest) -> Result<Lock, CacheError> {
        let path = self.root.join("locks").join(digest.to_string());
        let file = File::options().create(true).append(true).open(&path);
        file.map(Lock).map_err(CacheError::folder(&path))
    }
}

struct Lock(File);

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

fn make_links(folder: &Path, links: &[(PathBuf, PathBuf)]) -> std::io::Result<()> {
    remove(folder)?;
    fs::create_dir_all(folder)?;
    for (link, target) in links {
        fs::create_dir_all(link.parent().unwrap_or(folder))?;
        match symlink(target, link) {
            // Two models share the file.
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {}
            made => made?,
        }
    }
    Ok(())
}

fn remove(folder: &Path) -> std::io::Result<()> {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}
