//! What was found out about files, remembered by their size and modification time.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::UNIX_EPOCH;
use std::{fs, io};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

/// A value for each file, such as a digest of its bytes, in memory and, if wanted, in a file: a second run over gigabytes
/// of unchanged weights reads only their metadata.
pub struct FileMemory<T> {
    path: Option<PathBuf>,
    known: Mutex<BTreeMap<String, Remembered<T>>>,
}

#[derive(Clone, Serialize, Deserialize)]
struct Remembered<T> {
    size: u64,
    modified_ns: u128,
    // As memories of earlier versions call it.
    #[serde(alias = "digest", alias = "sha256")]
    value: T,
}

impl<T: Clone + Serialize + DeserializeOwned> FileMemory<T> {
    /// Loads what the file `path` remembers; one that is missing or unreadable only costs time. Without a path it lasts as
    /// long as the value.
    pub fn open(path: Option<PathBuf>) -> Self {
        let text = path.as_deref().and_then(|path| fs::read(path).ok());
        let known = text.and_then(|text| serde_json::from_slice(&text).ok());
        Self {
            path,
            known: Mutex::new(known.unwrap_or_default()),
        }
    }

    /// What is remembered of `file`, else what `read` finds in it.
    ///
    /// # Errors
    /// No regular file, one that cannot be looked at; what `read` returns.
    pub fn of(&self, file: &Path, read: impl FnOnce(&Path) -> io::Result<T>) -> io::Result<T> {
        let (name, size, modified_ns) = state(file)?;
        if let Some(value) = self.known_as(&name, size, modified_ns) {
            return Ok(value);
        }
        let value = read(file)?;
        let remembered = Remembered {
            size,
            modified_ns,
            value: value.clone(),
        };
        self.lock().insert(name, remembered);
        Ok(value)
    }

    /// Remembers `value` of `file` as it is now.
    ///
    /// # Errors
    /// No regular file, one that cannot be looked at.
    pub fn remember(&self, file: &Path, value: T) -> io::Result<()> {
        let (name, size, modified_ns) = state(file)?;
        let remembered = Remembered {
            size,
            modified_ns,
            value,
        };
        self.lock().insert(name, remembered);
        Ok(())
    }

    /// What is remembered of a file that has its size and time from then.
    pub fn remembered(&self, file: &Path) -> Option<T> {
        let (name, size, modified_ns) = state(file).ok()?;
        self.known_as(&name, size, modified_ns)
    }

    /// Writes the file; a failure only costs time on the next run.
    pub fn save(&self) {
        let path = self.path.as_deref();
        let Some((path, folder)) = path.and_then(|path| Some((path, path.parent()?))) else {
            return;
        };
        let known = self.lock();
        let partial = path.with_extension(format!("{}.partial", std::process::id()));
        let text = serde_json::to_vec(&*known).map_err(io::Error::from);
        let written = text.and_then(|text| {
            fs::create_dir_all(folder)?;
            fs::write(&partial, text)?;
            fs::rename(&partial, path)
        });
        if let Err(error) = written {
            tracing::debug!(path = %path.display(), %error, "what files are is not remembered");
        }
    }

    fn known_as(&self, name: &str, size: u64, modified_ns: u128) -> Option<T> {
        let known = self.lock();
        let found = known.get(name)?;
        ((found.size, found.modified_ns) == (size, modified_ns)).then(|| found.value.clone())
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Remembered<T>>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What a file is remembered by: its path, size and time of modification (nanoseconds since 1970).
fn state(file: &Path) -> io::Result<(String, u64, u128)> {
    let about = fs::metadata(file)?;
    if !about.is_file() {
        // Reading a pipe would wait for somebody who writes.
        return Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            "no regular file",
        ));
    }
    let since = about.modified().ok();
    let since = since.and_then(|time| time.duration_since(UNIX_EPOCH).ok());
    let name = file.canonicalize().unwrap_or_else(|_| file.to_owned());
    let name = name.to_string_lossy().into_owned();
    Ok((name, about.len(), since.map_or(0, |since| since.as_nanos())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_remembered_until_the_file_changes() {
        let folder = tempfile::tempdir().expect("a folder");
        let (file, memory) = (folder.path().join("a"), folder.path().join("new/memory"));
        let length = |file: &Path| fs::read(file).map(|bytes| bytes.len());
        let never = |_: &Path| -> io::Result<usize> { panic!("read again") };
        fs::write(&file, "abc").expect("written");
        let first = FileMemory::open(Some(memory.clone()));
        assert_eq!(first.remembered(&file), None);
        assert_eq!(first.of(&file, length).expect("a value"), 3);
        assert_eq!(first.of(&file, never).expect("a value"), 3);
        first.save();
        let second = FileMemory::open(Some(memory.clone()));
        assert_eq!(second.of(&file, never).expect("a value"), 3);
        fs::write(&file, "abcd").expect("written");
        assert_eq!(second.remembered(&file), None);
        assert_eq!(second.of(&file, length).expect("a value"), 4);
        second.remember(&file, 7).expect("remembered");
        assert_eq!(second.of(&file, never).expect("a value"), 7);
        assert!(second.of(folder.path(), never).is_err(), "a folder");
        assert!(second.of(&folder.path().join("b"), never).is_err());
        fs::write(&memory, "no JSON").expect("written");
        assert_eq!(
            FileMemory::<usize>::open(Some(memory)).remembered(&file),
            None
        );
    }

    #[test]
    fn memories_of_earlier_versions_are_read() {
        for name in ["digest", "sha256", "value"] {
            let text = format!("{{\"size\":3,\"modified_ns\":5,\"{name}\":\"x\"}}");
            let read: Remembered<String> = serde_json::from_str(&text).expect("an entry");
            assert_eq!(
                (read.size, read.modified_ns, read.value.as_str()),
                (3, 5, "x")
            );
        }
    }
}
