//! How files come to be whole or not at all.

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};

use super::error::ShardError;

/// The name of `path` until it is whole.
pub(crate) fn unfinished(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".tmp");
    name.into()
}

/// Makes what was written at [`unfinished`] appear at `path`.
pub(crate) fn appear(path: &Path) -> Result<(), ShardError> {
    fs::rename(unfinished(path), path).map_err(ShardError::io(path))
}

/// Writes `bytes` to `path`, wholly or not at all.
pub(crate) fn replace(path: &Path, bytes: &[u8]) -> Result<(), ShardError> {
    let unfinished = unfinished(path);
    let written = File::create(&unfinished)
        .and_then(|mut file| file.write_all(bytes).and_then(|()| file.sync_data()));
    if let Err(error) = written {
        // A part of it helps nobody.
        let _ = fs::remove_file(&unfinished);
        return Err(ShardError::io(&unfinished)(error));
    }
    appear(path)
}

/// Deletes a file that is not finished when it is dropped; after `appear`, there is none.
#[derive(Debug)]
pub(crate) struct Unfinished(pub(crate) PathBuf);

impl Drop for Unfinished {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}
