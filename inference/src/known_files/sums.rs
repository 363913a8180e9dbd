//! SHA-256 of large files, remembered by size and modification time.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::UNIX_EPOCH;
use std::{env, fs, io};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

/// Bytes that are read at once.
const CHUNK: usize = 1 << 20;

/// SHA-256 of files, remembered in a file.
pub struct Sums {
    memory: Option<PathBuf>,
    known: Mutex<BTreeMap<String, Remembered>>,
}

#[derive(Clone, Serialize, Deserialize)]
struct Remembered {
    size: u64,
    modified_ns: u128,
    sha256: String,
}

impl Sums {
    /// Remembers in `memory`; without, for as long as it lives. A memory that is missing or unreadable only costs time.
    pub fn open(memory: Option<PathBuf>) -> Self {
        let text = memory.as_deref().and_then(|path| fs::read(path).ok());
        let known = text.and_then(|text| serde_json::from_slice(&text).ok());
        Self {
            memory,
            known: Mutex::new(known.unwrap_or_default()),
        }
    }

    /// Remembers for the user: `laioncele/sha256.json` in `XDG_CACHE_HOME`, else in `.cache` of the home folder.
    pub fn of_user() -> Self {
        let folder = |name: &str| env::var_os(name).filter(|value| !value.is_empty());
        let cache = folder("XDG_CACHE_HOME").map(PathBuf::from);
        let cache = cache.or_else(|| Some(Path::new(&folder("HOME")?).join(".cache")));
        Self::open(cache.map(|folder| folder.join("laioncele/sha256.json")))
    }

    /// The SHA-256 of a file, 64 hexadecimal digits. All of it is read unless it is remembered.
    ///
    /// # Errors
    /// A file that cannot be read.
    pub fn of(&self, path: &Path) -> io::Result<String> {
        if let Some(sha256) = self.remembered(path) {
            return Ok(sha256);
        }
        let (name, size, modified_ns) = state(path)?;
        let sha256 = hash(path)?;
        let sum = Remembered {
            size,
            modified_ns,
            sha256: sha256.clone(),
        };
        self.lock().insert(name, sum);
        self.save();
        Ok(sha256)
    }

    /// The SHA-256 of a file that has its size and time from when it was read.
    pub fn remembered(&self, path: &Path) -> Option<String> {
        let (name, size, modified_ns) = state(path).ok()?;
        let known = self.lock();
        let sum = known.get(&name)?;
        ((sum.size, sum.modified_ns) == (size, modified_ns)).then(|| sum.sha256.clone())
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Remembered>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Writes the memory; where that fails, the next look costs time.
    fn save(&self) {
        let Some((path, folder)) = self.memory.as_deref().and_then(|p| Some((p, p.parent()?)))
        else {
            return;
        };
        let known = self.lock();
        let partial = path.with_extension(format!("{}.partial", std::process::id()));
        let written = serde_json::to_vec(&*known)
            .map_err(io::Error::from)
            .and_then(|text| {
                fs::create_dir_all(folder)?;
                fs::write(&partial, text)?;
                fs::rename(&partial, path)
            });
        if let Err(error) = written {
            tracing::debug!(path = %path.display(), %error, "sums not remembered");
        }
    }
}

/// What a file is remembered by: its path, size and time of modification (nanoseconds since 1970).
fn state(path: &Path) -> io::Result<(String, u64, u128)> {
    let meta = fs::metadata(path)?;
    let since = meta.modified().ok();
    let since = since.and_then(|time| time.duration_since(UNIX_EPOCH).ok());
    let name = path.canonicalize()?.to_string_lossy().into_owned();
    Ok((name, meta.len(), since.map_or(0, |since| since.as_nanos())))
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
