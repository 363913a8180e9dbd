//! Digests of files and folders, remembered by size and modification time.

use std::fs;
use std::path::{Path, PathBuf};

use crate::digest::{Digest, KeyHasher};
use crate::error::CoreError;
use crate::file_memory::FileMemory;
use crate::model_cache;
use crate::step::ModelFiles;

/// Digests of files and folders outside the store (models, the source's shards). A file's digest is remembered as [`FileMemory`] does.
pub struct FileDigests(FileMemory<Digest>);

impl FileDigests {
    /// Loads what `memory` remembers; a missing or unreadable memory only costs time.
    pub fn open(memory: Option<PathBuf>) -> Self {
        Self(FileMemory::open(memory))
    }

    /// The digest of one file's bytes, or of a folder: its files' relative names and digests, sorted by name.
    ///
    /// # Errors
    /// [`CoreError::Missing`] where nothing is, [`CoreError::Io`] where it cannot be read.
    pub fn of(&self, path: &Path) -> Result<Digest, CoreError> {
        if !path.is_dir() {
            return self.of_file(path);
        }
        self.of_files(path, &files_below(path)?)
    }

    /// The digest of what is read of a model: that of [`FileDigests::of`] where every file of its folder is.
    ///
    /// # Errors
    /// As [`FileDigests::of`]; [`CoreError::Model`] where the folder does not tell what is read of it.
    pub fn of_model(&self, model: &ModelFiles) -> Result<Digest, CoreError> {
        let path = &model.path;
        let meta = fs::metadata(path).map_err(|e| CoreError::from_io(path, e))?;
        if !meta.is_dir() {
            return self.of_file(path);
        }
        let files = (model.files_read)(path).map_err(|source| CoreError::Model {
            path: path.clone(),
            source,
        });
        let mut files = files?;
        files.sort();
        files.dedup();
        self.of_files(path, &files)
    }

    /// The digest of `files` (sorted) by their names relative to `folder`.
    fn of_files(&self, folder: &Path, files: &[PathBuf]) -> Result<Digest, CoreError> {
        let mut hasher = KeyHasher::new("folder");
        for file in files {
            let name = file
                .strip_prefix(folder)
                .unwrap_or(file)
                .to_string_lossy()
                .into_owned();
            hasher = hasher.digest(&name, self.of_file(file)?);
        }
        Ok(hasher.finish())
    }

    fn of_file(&self, path: &Path) -> Result<Digest, CoreError> {
        let digest = self.0.of(path, Digest::of_file);
        digest.map_err(|e| CoreError::from_io(path, e))
    }

    /// Writes the memory file; a failure only costs time on the next run.
    pub fn save(&self) {
        self.0.save();
    }
}

/// The digest of a model that is a copy of something at a url; none of any other.
///
/// # Errors
/// As [`FileDigests::of_model`].
pub fn digest_of_copy(model: &ModelFiles) -> Result<Option<Digest>, CoreError> {
    if model_cache::origin(&model.path).is_none() {
        return Ok(None);
    }
    let digests = FileDigests::open(model_cache::digests_of_copies());
    let digest = digests.of_model(model)?;
    digests.save();
    Ok(Some(digest))
}

/// All files below `folder`, sorted by path.
fn files_below(folder: &Path) -> Result<Vec<PathBuf>, CoreError> {
    let (mut files, mut open) = (Vec::new(), vec![folder.to_owned()]);
    while let Some(next) = open.pop() {
        for entry in fs::read_dir(&next).map_err(|e| CoreError::from_io(&next, e))? {
            let path = entry.map_err(|e| CoreError::from_io(&next, e))?.path();
            match fs::metadata(&path) {
                Ok(meta) if meta.is_dir() => open.push(path),
                // Opening a pipe would wait for somebody who writes.
                Ok(meta) if !meta.is_file() => {}
                _ => files.push(path),
            }
        }
    }
    files.sort();
    Ok(files)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_changes_with_names_and_bytes() -> Result<(), CoreError> {
        let folder =
            tempfile::tempdir().map_err(|e| CoreError::from_io(Path::new("tempdir"), e))?;
        let write = |name: &str, text: &str| {
            fs::write(folder.path().join(name), text)
                .map_err(|e| CoreError::from_io(folder.path(), e))
        };
        write("a", "1")?;
        let first = FileDigests::open(None).of(folder.path())?;
        write("b", "1")?;
        let second = FileDigests::open(None).of(folder.path())?;
        write("b", "2")?;
        let third = FileDigests::open(None).of(folder.path())?;
        assert!(first != second && second != third && first != third);
        Ok(())
    }

    /// What lies beside the files that are read is not looked at: here it cannot even be opened.
    #[test]
    fn of_a_model_only_what_is_read_counts() -> Result<(), CoreError> {
        let folder =
            tempfile::tempdir().map_err(|e| CoreError::from_io(Path::new("tempdir"), e))?;
        let root = folder.path();
        let write = |name: &str, text: &str| {
            fs::write(root.join(name), text).map_err(|e| CoreError::from_io(root, e))
        };
        let model = ModelFiles::folder("models.test", root.to_owned(), |folder| {
            Ok(["weights", "config.json"]
                .map(|name| folder.join(name))
                .into())
        });
        let digest = || FileDigests::open(None).of_model(&model);
        assert!(
            matches!(digest(), Err(CoreError::Missing { path }) if path.ends_with("config.json"))
        );
        write("config.json", "{}")?;
        write("weights", "1")?;
        let first = digest()?;
        assert_eq!(first, FileDigests::open(None).of(root)?);
        std::os::unix::fs::symlink(root.join("nowhere"), root.join("model.onnx"))
            .map_err(|e| CoreError::from_io(root, e))?;
        assert!(FileDigests::open(None).of(root).is_err());
        assert_eq!(digest()?, first);
        write("weights", "2")?;
        assert_ne!(digest()?, first);
        Ok(())
    }

    #[test]
    fn a_folder_in_place_of_one_file_is_refused() {
        let model = ModelFiles::file("models.test", std::env::temp_dir());
        let error = FileDigests::open(None).of_model(&model);
        assert!(matches!(error, Err(CoreError::Model { .. })), "{error:?}");
    }
}
