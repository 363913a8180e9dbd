//! A folder of a machine that keeps files by the digests of their bytes, for all processes of the machine: each file is fetched once, by
//! whoever comes first, and is there whole or not at all.
//!
//! ```text
//! files/DIGEST     files, whole
//! views/DIGEST/…   links to them, by the names that their readers know them by
//! partial/         what is being written; a killed process leaves it to the next that has the same lock
//! locks/           who writes it
//! ```
//!
//! Nothing deletes what is there. Whoever made the folder may, while nobody uses it.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use crate::digest::Digest;
use crate::error::CoreError;

/// The folder.
pub struct KeptFiles {
    root: PathBuf,
}

impl KeptFiles {
    /// The folder at `root`, made where it is missing.
    ///
    /// # Errors
    /// [`CoreError::Io`], as of all that follow.
    pub fn open(root: &Path) -> Result<Self, CoreError> {
        for name in ["files", "views", "partial", "locks"] {
            let folder = root.join(name);
            fs::create_dir_all(&folder).map_err(failed(&folder))?;
        }
        Ok(Self {
            root: root.to_owned(),
        })
    }

    /// The folder's path.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The file of this digest, which may not be there.
    pub fn file(&self, digest: Digest) -> PathBuf {
        self.root.join("files").join(digest.to_string())
    }

    /// Where what is called `name` is written before it has its place. Only for who has the lock of that name.
    pub fn partial(&self, name: &str) -> PathBuf {
        self.root.join("partial").join(name)
    }

    /// The lock on what is called `name`, not taken yet. It goes with the value, however the process ends; two values exclude each
    /// other in one process too.
    ///
    /// # Errors
    /// No room, no right to write.
    pub fn lock(&self, name: &str) -> Result<File, CoreError> {
        let path = self.root.join("locks").join(name);
        let file = File::options().create(true).append(true).open(&path);
        file.map_err(failed(&path))
    }

    /// Gives the whole file `partial` its place, on the disk. Returns the place.
    ///
    /// # Errors
    /// No room, a folder in the way.
    pub fn keep(&self, partial: &Path, digest: Digest) -> Result<PathBuf, CoreError> {
        let path = self.file(digest);
        fs::rename(partial, &path).map_err(failed(&path))?;
        let folder = self.root.join("files");
        let synced = File::open(&folder).and_then(|folder| folder.sync_all());
        synced.map_err(failed(&folder))?;
        Ok(path)
    }

    /// The folder that is called `digest`, with a link to each file of `links` by a relative path. Links to files that are not
    /// here lead nowhere.
    ///
    /// # Errors
    /// No room.
    pub fn view(&self, digest: Digest, links: &[(PathBuf, Digest)]) -> Result<PathBuf, CoreError> {
        let view = self.root.join("views").join(digest.to_string());
        let is_there = |(name, target): &(PathBuf, Digest)| {
            fs::read_link(view.join(name)).is_ok_and(|found| found == self.file(*target))
        };
        let lock = self.lock(&digest.to_string())?;
        lock.lock().map_err(failed(&view))?;
        if view.is_dir() && links.iter().all(is_there) {
            return Ok(view);
        }
        let partial = self.partial(&digest.to_string());
        let made = self
            .make_links(&partial, links)
            .and_then(|()| remove(&view))
            .and_then(|()| fs::rename(&partial, &view));
        made.map_err(failed(&view))?;
        Ok(view)
    }

    fn make_links(&self, folder: &Path, links: &[(PathBuf, Digest)]) -> io::Result<()> {
        remove(folder)?;
        fs::create_dir_all(folder)?;
        for (name, target) in links {
            let link = folder.join(name);
            fs::create_dir_all(link.parent().unwrap_or(folder))?;
            match symlink(self.file(*target), link) {
                // Named twice: two models share the file.
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                made => made?,
            }
        }
        Ok(())
    }
}

/// Unlike [`CoreError::from_io`] it says of a missing file, too, what could not be done: it is nobody's but the program's.
fn failed(path: &Path) -> impl FnOnce(io::Error) -> CoreError {
    let path = path.to_owned();
    move |source| CoreError::Io { path, source }
}

fn remove(folder: &Path) -> io::Result<()> {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}
