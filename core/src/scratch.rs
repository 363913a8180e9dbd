//! Files that a task needs while it runs: parts as they are written, sorted runs that do not fit in memory, objects of the
//! store before they have their names.
//!
//! They lie in `cache/scratch` of the run's folder, on the disk of its tables, so that a finished part is moved and not
//! copied. Who makes one deletes it; what a kill leaves behind is deleted when the next run begins.

use std::fs::File;
use std::path::{Path, PathBuf};

pub use crate::disk::SCRATCH;
use crate::disk::unused_name;
use crate::error::CoreError;
use crate::store::Store;

/// A file that is deleted with this value.
#[derive(Debug)]
pub struct ScratchFile {
    path: PathBuf,
}

impl ScratchFile {
    /// A new, empty file of `store`, open for writing.
    ///
    /// # Errors
    /// [`CoreError::Io`]: a full or read-only disk.
    pub fn create(store: &Store) -> Result<(Self, File), CoreError> {
        let folder = store.local_path(SCRATCH);
        std::fs::create_dir_all(&folder).map_err(|e| CoreError::from_io(&folder, e))?;
        let path = folder.join(unused_name());
        let file = File::options()
            .create(true)
            .truncate(true)
            .read(true)
            .write(true)
            .open(&path);
        let file = file.map_err(|e| CoreError::from_io(&path, e))?;
        Ok((Self { path }, file))
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for ScratchFile {
    fn drop(&mut self) {
        // Gone where it became a part.
        drop(std::fs::remove_file(&self.path));
    }
}

/// Deletes what killed tasks left behind. Only for who holds the run's lock.
///
/// # Errors
/// [`CoreError::Io`].
pub fn clear(store: &Store) -> Result<(), CoreError> {
    let folder = store.local_path(SCRATCH);
    match std::fs::remove_dir_all(&folder) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(CoreError::from_io(&folder, error))
        }
        _ => Ok(()),
    }
}
