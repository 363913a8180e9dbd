//! BLAKE3 digests: of bytes, of files and folders (remembered by size and time), and of named fields (task keys, ids).

use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Mutex;
use std::time::UNIX_EPOCH;

use serde::{Deserialize, Serialize};

use crate::error::CoreError;

/// A 32-byte BLAKE3 digest; written as 64 hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Digest(pub [u8; 32]);

impl Digest {
    /// The digest of `bytes`.
    pub fn of(bytes: &[u8]) -> Self {
        Self(*blake3::hash(bytes).as_bytes())
    }

    /// The first 16 hexadecimal digits: enough for a file name inside one run.
    pub fn short(&self) -> String {
        self.to_string()[..16].to_owned()
    }

    /// The first eight bytes, little-endian.
    pub fn low_u64(&self) -> u64 {
        u64::from_le_bytes(std::array::from_fn(|i| self.0[i]))
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|b| write!(f, "{b:02x}"))
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Digest({})", self.short())
    }
}

impl FromStr for Digest {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        blake3::Hash::from_hex(text)
            .map(|h| Self(*h.as_bytes()))
            .map_err(|e| format!("not a digest: `{text}` ({e})"))
    }
}

impl Serialize for Digest {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Digest {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?
            .parse()
            .map_err(serde::de::Error::custom)
    }
}

/// Hashes named fields; every name and value is length-prefixed, so different fields never give the same bytes.
pub struct KeyHasher(blake3::Hasher);

impl KeyHasher {
    /// Starts a hash in its own `domain`, so that equal fields of different things differ.
    pub fn new(domain: &str) -> Self {
        let mut hasher = Self(blake3::Hasher::new());
        hasher.chunk(domain.as_bytes());
        hasher
    }

    /// Adds the bytes `value` under `name`.
    #[must_use]
    pub fn bytes(mut self, name: &str, value: &[u8]) -> Self {
        self.chunk(name.as_bytes());
        self.chunk(value);
        self
    }

    /// Adds a text.
    #[must_use]
    pub fn text(self, name: &str, value: &str) -> Self {
        self.bytes(name, value.as_bytes())
    }

    /// Adds a number.
    #[must_use]
    pub fn number(self, name: &str, value: u64) -> Self {
        self.bytes(name, &value.to_le_bytes())
    }

    /// Adds a digest.
    #[must_use]
    pub fn digest(self, name: &str, value: Digest) -> Self {
        self.bytes(name, &value.0)
    }

    /// The digest of all fields so far.
    pub fn finish(self) -> Digest {
        Digest(*self.0.finalize().as_bytes())
    }

    fn chunk(&mut self, bytes: &[u8]) {
        self.0.update(&(bytes.len() as u64).to_le_bytes());
        self.0.update(bytes);
    }
}

/// Digests of files and folders outside the store (models, the source's shards).
///
/// A file's digest is remembered with its size and modification time, in memory and, when a memory file is given,
/// on disk: a second run over gigabytes of unchanged weights reads only their metadata.
pub struct FileDigests {
    memory: Option<PathBuf>,
    known: Mutex<BTreeMap<String, Remembered>>,
}

#[derive(Clone, Serialize, Deserialize)]
struct Remembered {
    size: u64,
    modified_ns: u128,
    digest: Digest,
}

impl FileDigests {
    /// Loads what `memory` remembers; a missing or unreadable memory only costs time.
    pub fn open(memory: Option<PathBuf>) -> Self {
        let known = memory
            .as_ref()
            .and_then(|p| fs::read(p).ok())
            .and_then(|b| serde_json::from_slice(&b).ok());
        Self {
            memory,
            known: Mutex::new(known.unwrap_or_default()),
        }
    }

    /// The digest of one file's bytes, or of a folder: its files' relative names and digests, sorted by name.
    ///
    /// # Errors
    /// [`CoreError::Missing`] where nothing is, [`CoreError::Io`] where it cannot be read.
    pub fn of(&self, path: &Path) -> Result<Digest, CoreError> {
        if !path.is_dir() {
            return self.of_file(path);
        }
        let mut hasher = KeyHasher::new("folder");
        for file in files_below(path)? {
            let name = file
                .strip_prefix(path)
                .unwrap_or(&file)
                .to_string_lossy()
                .into_owned();
            hasher = hasher.digest(&name, self.of_file(&file)?);
        }
        Ok(hasher.finish())
    }

    fn of_file(&self, path: &Path) -> Result<Digest, CoreError> {
        let meta = fs::metadata(path).map_err(|e| CoreError::from_io(path, e))?;
        let modified_ns = meta
            .modified()
            .ok()
            .and_then(|t| t.duration_since(UNIX_EPOCH).ok())
            .map_or(0, |d| d.as_nanos());
        let name = path
            .canonicalize()
            .unwrap_or_else(|_| path.to_owned())
            .to_string_lossy()
            .into_owned();
        let lock = || {
            self.known
                .lock()
                .unwrap_or_else(std::sync::PoisonError::into_inner)
        };
        if let Some(hit) = lock()
            .get(&name)
            .filter(|r| r.size == meta.len() && r.modified_ns == modified_ns)
        {
            return Ok(hit.digest);
        }
        let digest = hash_file(path)?;
        lock().insert(
            name,
            Remembered {
                size: meta.len(),
                modified_ns,
                digest,
            },
        );
        Ok(digest)
    }

    /// Writes the memory file; a failure only costs time on the next run.
    pub fn save(&self) {
        let Some(path) = &self.memory else { return };
        let known = self
            .known
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        if let (Ok(text), Some(folder)) = (serde_json::to_vec(&*known), path.parent()) {
            let partial = path.with_extension(format!("{}.partial", std::process::id()));
            let written = fs::create_dir_all(folder)
                .and_then(|()| fs::write(&partial, text))
                .and_then(|()| fs::rename(&partial, path));
            if let Err(error) = written {
                tracing::debug!(path = %path.display(), %error, "digests not remembered");
            }
        }
    }
}

fn hash_file(path: &Path) -> Result<Digest, CoreError> {
    let mut file = fs::File::open(path).map_err(|e| CoreError::from_io(path, e))?;
    let (mut hasher, mut buffer) = (blake3::Hasher::new(), vec![0; 1 << 18]);
    loop {
        let n = file
            .read(&mut buffer)
            .map_err(|e| CoreError::from_io(path, e))?;
        if n == 0 {
            return Ok(Digest(*hasher.finalize().as_bytes()));
        }
        hasher.update(&buffer[..n]);
    }
}

/// All files below `folder`, sorted by path.
fn files_below(folder: &Path) -> Result<Vec<PathBuf>, CoreError> {
    let (mut files, mut open) = (Vec::new(), vec![folder.to_owned()]);
    while let Some(next) = open.pop() {
        for entry in fs::read_dir(&next).map_err(|e| CoreError::from_io(&next, e))? {
            let path = entry.map_err(|e| CoreError::from_io(&next, e))?.path();
            if path.is_dir() {
                open.push(path)
            } else {
                files.push(path)
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
    fn a_key_is_pinned() {
        let key = KeyHasher::new("test")
            .text("a", "b")
            .number("n", 7)
            .finish();
        assert_eq!(
            key,
            KeyHasher::new("test")
                .text("a", "b")
                .number("n", 7)
                .finish()
        );
        assert_ne!(
            key,
            KeyHasher::new("test")
                .text("ab", "")
                .number("n", 7)
                .finish()
        );
        assert_eq!(key.to_string().parse(), Ok(key));
    }

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
}
