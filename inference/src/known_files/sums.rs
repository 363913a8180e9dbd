//! SHA-256 of large files, remembered by size and modification time.

use std::path::{Path, PathBuf};
use std::{fs, io};

use laioncele_core::file_memory::FileMemory;
use laioncele_core::model_cache::user_cache;
use sha2::{Digest, Sha256};

/// Bytes that are read at once.
const CHUNK: usize = 1 << 20;

/// SHA-256 of files, remembered in a file.
pub struct Sums(FileMemory<String>);

impl Sums {
    /// Remembers in `memory`; without, for as long as it lives. A memory that is missing or unreadable only costs time.
    pub fn open(memory: Option<PathBuf>) -> Self {
        Self(FileMemory::open(memory))
    }

    /// Remembers for the user: `sha256.json` in the user's cache.
    pub fn of_user() -> Self {
        Self::open(user_cache().map(|folder| folder.join("sha256.json")))
    }

    /// The SHA-256 of a file, 64 hexadecimal digits. All of it is read unless it is remembered.
    ///
    /// # Errors
    /// A file that cannot be read.
    pub fn of(&self, path: &Path) -> io::Result<String> {
        if let Some(sha256) = self.remembered(path) {
            return Ok(sha256);
        }
        let sha256 = self.0.of(path, hash)?;
        self.0.save();
        Ok(sha256)
    }

    /// The SHA-256 of a file that has its size and time from when it was read.
    pub fn remembered(&self, path: &Path) -> Option<String> {
        self.0.remembered(path)
    }
}

fn hash(path: &Path) -> io::Result<String> {
    let (mut file, mut hasher) = (fs::File::open(path)?, Sha256::new());
    let mut chunk = vec![0; CHUNK];
    loop {
        let read = io::Read::read(&mut file, &mut chunk)?;
        if read == 0 {
            let digest = hasher.finalize();
            return Ok(digest.iter().map(|byte| format!("{byte:02x}")).collect());
        }
        hasher.update(&chunk[..read]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_are_remembered_until_the_file_changes() {
        let folder = tempfile::tempdir().expect("a folder");
        let (file, memory) = (folder.path().join("a"), folder.path().join("new/memory"));
        fs::write(&file, "abc").expect("written");
        // FIPS 180-4's own example.
        let abc = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        let sums = Sums::open(Some(memory.clone()));
        assert_eq!(sums.of(&file).expect("a sum"), abc);

        // The memory is believed: what it says of an unchanged file is returned.
        let text = fs::read_to_string(&memory).expect("the memory");
        fs::write(&memory, text.replace(abc, &"0".repeat(64))).expect("written");
        let again = Sums::open(Some(memory.clone()));
        assert_eq!(again.of(&file).expect("a sum"), "0".repeat(64));

        fs::write(&file, "abcd").expect("written");
        let changed = again.of(&file).expect("a sum");
        assert_ne!(changed, "0".repeat(64));
        fs::write(&memory, "no JSON").expect("written");
        assert_eq!(Sums::open(Some(memory)).of(&file).expect("a sum"), changed);
    }
}
