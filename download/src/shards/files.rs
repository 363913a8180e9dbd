//! Photos as files in a folder: `KEY.jpg`, `KEY.txt`, `KEY.json`.

use std::fs;
use std::path::{Path, PathBuf};

use super::error::ShardError;
use super::photos::{Photo, Photos};
use super::whole::{appear, unfinished};

pub(crate) struct FilePhotos {
    path: PathBuf,
    /// Where files are written: the folder itself, or the one that will take its name.
    folder: PathBuf,
    finished: bool,
}

impl FilePhotos {
    /// Begins a folder that appears at `path`, or, with `beside`, goes on with the one that is there.
    pub(crate) fn begin(path: &Path, beside: bool) -> Result<Self, ShardError> {
        let folder = if beside {
            path.to_owned()
        } else {
            let folder = unfinished(path);
            if folder.exists() {
                fs::remove_dir_all(&folder).map_err(ShardError::io(&folder))?;
            }
            folder
        };
        fs::create_dir_all(&folder).map_err(ShardError::io(&folder))?;
        Ok(Self {
            path: path.to_owned(),
            folder,
            finished: beside,
        })
    }

    fn add(&self, name: &str, bytes: &[u8]) -> Result<(), ShardError> {
        let path = self.folder.join(name);
        if self.finished {
            // Beside others it must not be seen before it is whole.
            let hidden = self.folder.join(format!(".{name}.tmp"));
            let written = fs::write(&hidden, bytes).and_then(|()| fs::rename(&hidden, &path));
            written.map_err(ShardError::io(&path))
        } else {
            fs::write(&path, bytes).map_err(ShardError::io(&path))
        }
    }
}

impl Photos for FilePhotos {
    fn push(&mut self, photo: &Photo) -> Result<(), ShardError> {
        let key = photo.key;
        self.add(&format!("{key}.{}", photo.extension()), photo.bytes)?;
        if let Some(caption) = &photo.row.caption {
            self.add(&format!("{key}.txt"), caption.as_bytes())?;
        }
        self.add(&format!("{key}.json"), &photo.json())
    }

    fn finish(mut self: Box<Self>) -> Result<(), ShardError> {
        if self.finished {
            return Ok(());
        }
        if self.path.exists() {
            // A kill after this folder appeared and before the statistics were written.
            fs::remove_dir_all(&self.path).map_err(ShardError::io(&self.path))?;
        }
        appear(&self.path)?;
        self.finished = true;
        Ok(())
    }
}

impl Drop for FilePhotos {
    fn drop(&mut self) {
        if !self.finished {
            // What is left is deleted when the shard is begun again.
            let _ = fs::remove_dir_all(&self.folder);
        }
    }
}
