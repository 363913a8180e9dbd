//! Reading a local folder of the store without going through `object_store`, which hands each call to another thread: a ledger
//! of a hundred thousand records is opened in a fraction of the time.

use std::fs::{self, Metadata};
use std::io::{self, ErrorKind};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::Found;

/// Folders fewer than these are read by one thread.
const FEW: usize = 64;

/// Whether listed objects are looked at, or only named.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Look {
    /// Their names only: their sizes are 0, their versions empty.
    Names,
    /// Size and version too.
    Whole,
}

/// All files below `root/prefix`, links followed, in no order; none where that is no folder.
///
/// # Errors
/// A folder that cannot be read. What vanishes meanwhile is not there.
pub(super) fn list(root: &Path, prefix: &str, look: Look) -> io::Result<Vec<Found>> {
    let lister = Lister { root, look };
    let mut found = Vec::new();
    let mut folders = vec![root.join(prefix)];
    // From the top, one level after another, until there are folders enough for all threads.
    while !folders.is_empty() && folders.len() < FEW {
        let mut below = Vec::new();
        for folder in &folders {
            lister.read(folder, &mut found, &mut below)?;
        }
        folders = below;
    }
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let share = folders.len().div_ceil(threads).max(1);
    let lister = &lister;
    let parts: io::Result<Vec<Vec<Found>>> = std::thread::scope(|scope| {
        let start = |folders| scope.spawn(move || lister.read_all(folders));
        let threads: Vec<_> = folders.chunks(share).map(start).collect();
        let joined = threads.into_iter().map(|thread| {
            let panicked = |panic| std::panic::resume_unwind(panic);
            thread.join().unwrap_or_else(panicked)
        });
        joined.collect()
    });
    found.extend(parts?.into_iter().flatten());
    Ok(found)
}

struct Lister<'a> {
    root: &'a Path,
    look: Look,
}

impl Lister<'_> {
    /// All files of `folders` and below.
    fn read_all(&self, folders: &[PathBuf]) -> io::Result<Vec<Found>> {
        let mut found = Vec::new();
        let mut left = folders.to_vec();
        while let Some(folder) = left.pop() {
            self.read(&folder, &mut found, &mut left)?;
        }
        Ok(found)
    }

    /// The files of one folder, and the folders in it.
    fn read(
        &self,
        folder: &Path,
        found: &mut Vec<Found>,
        below: &mut Vec<PathBuf>,
    ) -> io::Result<()> {
        let entries = match fs::read_dir(folder) {
            Err(error)
                if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) =>
            {
                return Ok(());
            }
            entries => entries?,
        };
        for entry in entries {
            let entry = entry?;
            let path = entry.path();
            let kind = entry.file_type()?;
            if kind.is_dir() {
                below.push(path);
            } else if kind.is_symlink() || self.look == Look::Whole {
                match fs::metadata(&path) {
                    Ok(about) if about.is_dir() => below.push(path),
                    Ok(about) => found.extend(self.found(&path, Some(&about))),
                    Err(error) if error.kind() == ErrorKind::NotFound => {}
                    Err(error) => return Err(error),
                }
            } else {
                found.extend(self.found(&path, None));
            }
        }
        Ok(())
    }

    /// The object that lies at `path`. Names that are not UTF-8 are no object's.
    fn found(&self, path: &Path, about: Option<&Metadata>) -> Option<Found> {
        let path = path.strip_prefix(self.root).ok()?.to_str()?.to_owned();
        let version = |about: &Metadata| {
            let time = i128::from(about.mtime()) * 1_000_000_000 + i128::from(about.mtime_nsec());
            format!("{:x}-{time:x}-{:x}", about.ino(), about.len())
        };
        Some(Found {
            path,
            size: about.map_or(0, Metadata::len),
            version: about.map_or_else(String::new, version),
        })
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    #[test]
    fn all_files_are_found_however_many_folders_there_are() {
        let folder = tempfile::tempdir().expect("a folder");
        let root = folder.path();
        let mut expected = BTreeMap::new();
        for number in 0..300 {
            let path = format!("ledger/step-{}/bucket-{number}/a.json", number % 3);
            fs::create_dir_all(root.join(&path).parent().expect("a folder")).expect("made");
            fs::write(root.join(&path), vec![b'x'; number]).expect("written");
            expected.insert(path, number as u64);
        }
        fs::write(root.join("ledger/top.json"), "12").expect("written");
        expected.insert("ledger/top.json".to_owned(), 2);
        // Links are followed, those that lead nowhere are nothing.
        let elsewhere = tempfile::tempdir().expect("a folder");
        fs::write(elsewhere.path().join("far.json"), "1").expect("written");
        std::os::unix::fs::symlink(elsewhere.path(), root.join("ledger/link")).expect("a link");
        std::os::unix::fs::symlink(root.join("nowhere"), root.join("ledger/dead")).expect("a link");
        expected.insert("ledger/link/far.json".to_owned(), 1);
        let found = list(root, "ledger", Look::Whole).expect("listed");
        let sizes: BTreeMap<_, _> = found.iter().map(|f| (f.path.clone(), f.size)).collect();
        assert_eq!(sizes, expected);
        let versions: std::collections::BTreeSet<_> = found.iter().map(|f| &f.version).collect();
        assert_eq!(versions.len(), expected.len(), "a version each");
        let names = list(root, "ledger", Look::Names).expect("listed");
        assert_eq!(names.len(), expected.len());
        assert!(
            list(root, "absent", Look::Whole)
                .expect("nothing")
                .is_empty()
        );
    }
}
