//! What lies below a folder of the store, in one listing; and deleting for good.

use std::collections::HashMap;
use std::fs::File;
use std::io::ErrorKind;
use std::path::{Component, Path};

use super::Store;
use super::folder::Look;
use crate::error::CoreError;
use crate::parallel::in_parallel;

impl Store {
    /// The sizes in bytes of all objects below `prefix`, by their paths: one listing, however many there are.
    ///
    /// # Errors
    /// [`CoreError::Store`].
    pub fn sizes(&self, prefix: &str) -> Result<HashMap<String, u64>, CoreError> {
        let listed = self.found(prefix, Look::Whole)?.into_iter();
        Ok(listed.map(|found| (found.path, found.size)).collect())
    }

    /// The sizes of the objects at `paths`, all below `prefix`, in their order; none of what is not there. A folder is asked for
    /// each of them, whatever else lies there; a bucket for one listing.
    ///
    /// # Errors
    /// [`CoreError::Store`], [`CoreError::Bucket`].
    pub fn sizes_of(&self, prefix: &str, paths: &[&str]) -> Result<Vec<Option<u64>>, CoreError> {
        if self.bucket_of(prefix).is_some() {
            let listed = self.sizes(prefix)?;
            return Ok(paths
                .iter()
                .map(|path| listed.get(*path).copied())
                .collect());
        }
        let size = |path: &&str| match std::fs::metadata(self.root().join(path)) {
            Ok(about) => Ok(about.is_file().then_some(about.len())),
            Err(e) if matches!(e.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {
                Ok(None)
            }
            Err(error) => Err(CoreError::from_io(&self.root().join(path), error)),
        };
        in_parallel(paths, size).into_iter().collect()
    }

    /// What tells versions of the objects below `prefix` apart, by their paths: another one after each write.
    ///
    /// # Errors
    /// [`CoreError::Store`].
    pub fn versions(&self, prefix: &str) -> Result<HashMap<String, String>, CoreError> {
        let listed = self.found(prefix, Look::Whole)?.into_iter();
        Ok(listed.map(|found| (found.path, found.version)).collect())
    }

    /// Moves all objects below the folder `from` to the folder `to`, in the place of what is there; nothing where `from` is
    /// not there.
    ///
    /// # Errors
    /// [`CoreError::Io`].
    pub fn move_folder(&self, from: &str, to: &str) -> Result<(), CoreError> {
        if let Some(bucket) = self.bucket_of(from) {
            return bucket.move_folder(from, to);
        }
        let (from, to) = (self.local_path(from), self.local_path(to));
        if !from.is_dir() {
            return Ok(());
        }
        let above = to.parent().unwrap_or(self.root());
        std::fs::create_dir_all(above).map_err(|e| CoreError::from_io(above, e))?;
        match std::fs::remove_dir_all(&to) {
            Err(error) if error.kind() != ErrorKind::NotFound => {
                return Err(CoreError::from_io(&to, error));
            }
            _ => {}
        }
        std::fs::rename(&from, &to).map_err(|e| CoreError::from_io(&to, e))
    }

    /// Deletes the folders below `folders`, and these, that hold nothing. Local stores alone have such.
    ///
    /// # Errors
    /// [`CoreError::Io`].
    pub fn remove_empty_folders(&self, folders: &[&str]) -> Result<(), CoreError> {
        for folder in folders {
            remove_if_empty(&self.local_path(folder))?;
        }
        Ok(())
    }

    /// Deletes an object so that a power failure does not bring it back.
    ///
    /// # Errors
    /// [`CoreError::Store`], [`CoreError::Io`].
    pub fn delete_for_good(&self, path: &str) -> Result<(), CoreError> {
        self.delete(path)?;
        if self.bucket_of(path).is_some() {
            return Ok(());
        }
        let file = self.local_path(path);
        let folder = file.parent().unwrap_or(self.root());
        match File::open(folder).and_then(|folder| folder.sync_all()) {
            Err(error) if error.kind() != ErrorKind::NotFound => {
                Err(CoreError::from_io(folder, error))
            }
            _ => Ok(()),
        }
    }
}

/// Deletes `folder` if no file is in it or below. Whether it is gone.
fn remove_if_empty(folder: &Path) -> Result<bool, CoreError> {
    let fail = |error| CoreError::from_io(folder, error);
    let entries = match std::fs::read_dir(folder) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(true),
        entries => entries.map_err(fail)?,
    };
    let mut empty = true;
    for entry in entries {
        let entry = entry.map_err(fail)?;
        let is_folder = entry.file_type().map_err(fail)?.is_dir();
        empty &= is_folder && remove_if_empty(&entry.path())?;
    }
    if empty {
        std::fs::remove_dir(folder).map_err(fail)?;
    }
    Ok(empty)
}

/// Whether `path` is that of an object below the store's root, and of nothing outside: relative, without `..`.
pub fn is_inside(path: &str) -> bool {
    let normal = |part: Component<'_>| matches!(part, Component::Normal(_));
    !path.is_empty() && !path.contains(['\\', '\0']) && Path::new(path).components().all(normal)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_those_of_all_objects_below_a_folder() -> Result<(), CoreError> {
        let folder =
            tempfile::tempdir().map_err(|e| CoreError::from_io(Path::new("tempdir"), e))?;
        let store = Store::local(folder.path())?;
        assert_eq!(store.sizes("tables")?, HashMap::new());
        store.put("tables/a/1.parquet", "1")?;
        store.put("tables/b/c/2.parquet", "22")?;
        store.put("ledger/x.json", "333")?;
        let expected = [("tables/a/1.parquet", 1), ("tables/b/c/2.parquet", 2)];
        let expected = expected.map(|(path, size)| (path.to_owned(), size));
        assert_eq!(store.sizes("tables")?, HashMap::from(expected));
        let asked = [
            "tables/b/c/2.parquet",
            "tables/a",
            "tables/a/1.parquet",
            "tables/a/1.parquet/x",
            "tables/x/y",
        ];
        let found = store.sizes_of("tables", &asked)?;
        assert_eq!(found, [Some(2), None, Some(1), None, None]);
        let before = store.versions("tables")?;
        assert_eq!(before, store.versions("tables")?);
        store.put("tables/a/1.parquet", "2")?;
        let after = store.versions("tables")?;
        assert_ne!(before["tables/a/1.parquet"], after["tables/a/1.parquet"]);
        assert_eq!(
            before["tables/b/c/2.parquet"],
            after["tables/b/c/2.parquet"]
        );
        store.delete_for_good("tables/a/1.parquet")?;
        store.delete_for_good("tables/a/1.parquet")?;
        store.delete_for_good("nowhere/at/all")?;
        assert_eq!(store.sizes("tables")?.len(), 1);
        Ok(())
    }

    #[test]
    fn paths_that_lead_outside_are_told_apart() {
        for path in ["tables/names/bucket-0001/k-a.parquet", "a..b/..c"] {
            assert!(is_inside(path), "{path}");
        }
        for path in [
            "",
            "/etc/passwd",
            "../x",
            "tables/../../x",
            "./x",
            "a\\..\\b",
            "a\0b",
        ] {
            assert!(!is_inside(path), "{path}");
        }
    }

    /// Whatever a record says, the local file of an object lies below the root.
    #[test]
    fn local_paths_never_leave_the_root() -> Result<(), CoreError> {
        let folder =
            tempfile::tempdir().map_err(|e| CoreError::from_io(Path::new("tempdir"), e))?;
        let store = Store::local(folder.path())?;
        for path in ["/etc/passwd", "../x", "tables/../../x", "a//b", "."] {
            let local = store.local_path(path);
            assert!(
                local.starts_with(store.root()),
                "{path}: {}",
                local.display()
            );
            let up = local.components().any(|part| part == Component::ParentDir);
            assert!(!up, "{path}: {}", local.display());
        }
        assert_eq!(
            store.local_path("tables/a.x"),
            store.root().join("tables/a.x")
        );
        Ok(())
    }
}
