//! What of a run in a bucket lies on the machines that work on it.

use std::fs::{self, DirBuilder};
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::PathBuf;
use std::sync::OnceLock;

use super::Store;
use crate::digest::Digest;
use crate::error::CoreError;

/// What is never in a bucket: files of running tasks, journals of downloads and what workers know of hosts, digests of this
/// machine's files, logs.
pub const ON_THE_MACHINE: [&str; 5] = [
    "cache/scratch",
    "cache/downloads",
    "cache/hosts",
    "cache/digests.json",
    "log/",
];
/// Where copies lie of objects that are needed as files.
const COPIES: &str = "cache/copies";

static SCRATCH: OnceLock<PathBuf> = OnceLock::new();

/// Says in which folder the scratch folders of runs in buckets lie, for the rest of the process; of several calls the first
/// counts. Without one it is the system's for temporary files.
pub fn place_scratch(folder: PathBuf) {
    drop(SCRATCH.set(folder));
}

/// What was said by [`place_scratch`].
pub fn scratch_place() -> Option<PathBuf> {
    SCRATCH.get().cloned()
}

/// The scratch folder of the run at `url`, made where it is missing.
///
/// # Errors
/// [`CoreError::Io`], also where the folder is another user's.
pub(super) fn scratch_of(url: &str) -> Result<PathBuf, CoreError> {
    let user = rustix::process::getuid().as_raw();
    let parent = match SCRATCH.get() {
        Some(folder) => folder.clone(),
        None => std::env::temp_dir().join(format!("laioncele-{user}")),
    };
    let folder = parent.join(Digest::of(url.as_bytes()).short());
    let io = |e| CoreError::from_io(&folder, e);
    let mut builder = DirBuilder::new();
    builder
        .recursive(true)
        .mode(0o700)
        .create(&folder)
        .map_err(io)?;
    // Whoever may make folders in the system's may have been there first.
    let owner = fs::symlink_metadata(&parent).map_err(io)?;
    if SCRATCH.get().is_none() && (owner.uid() != user || !owner.is_dir()) {
        let text = format!(
            "{} is another user's: choose a folder with --scratch",
            parent.display()
        );
        return Err(io(std::io::Error::new(
            std::io::ErrorKind::PermissionDenied,
            text,
        )));
    }
    Ok(folder)
}

impl Store {
    /// A local file with the bytes of an object: the object itself, or a copy of one in a bucket. Not to be written to.
    ///
    /// # Errors
    /// As [`Store::get`]; [`CoreError::Io`] where there is no room for a copy.
    pub fn local_copy(&self, path: &str) -> Result<PathBuf, CoreError> {
        if self.bucket_of(path).is_none() {
            return Ok(self.local_path(path));
        }
        let bytes = self.get(path)?;
        let name = path.rsplit('/').next().unwrap_or(path);
        let copy = format!("{COPIES}/{}-{name}", Digest::of(&bytes).short());
        let file = self.local_path(&copy);
        if fs::metadata(&file).is_ok_and(|found| found.len() == bytes.len() as u64) {
            return Ok(file);
        }
        self.writer.put(&copy, &bytes)?;
        Ok(file)
    }

    /// The digest of an object, read whole.
    ///
    /// # Errors
    /// As [`Store::get`].
    pub fn digest(&self, path: &str) -> Result<Digest, CoreError> {
        Ok(Digest::of(&self.get(path)?))
    }
}
