//! The folder of a download: `download.json` says what its shards are made of and how, so that nobody goes on with other
//! input or settings unawares.
//!
//! `download.json` is written when the download begins, and again when files are added to its input. `.lock` is held while a
//! process downloads. A kill may leave `*.tmp`, which the next opening deletes, and journals, with which it goes on.

use std::fs::{self, File, TryLockError};
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};

use super::error::ShardError;
use super::whole::replace;

/// Bytes at both ends of an input file that tell it from another one of the same size.
const ENDS: u64 = 64 << 10;

/// The folder of a download, locked for this process.
#[derive(Debug)]
pub struct ShardFolder {
    path: PathBuf,
    _lock: File,
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Description {
    version: u32,
    settings: Map<String, Value>,
    input: Vec<InputFile>,
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct InputFile {
    path: String,
    bytes: u64,
    /// SHA-256 of its ends.
    digest: String,
}

impl ShardFolder {
    /// Opens the folder at `path`, or makes it, for shards of `input` made with `settings`. Input may have been added at the
    /// end since the folder was begun.
    ///
    /// # Errors
    /// [`ShardError::NotEmpty`], [`ShardError::Locked`], [`ShardError::OtherSettings`], [`ShardError::OtherInput`], or
    /// [`ShardError::Io`].
    pub fn open(
        path: &Path,
        settings: Map<String, Value>,
        input: &[PathBuf],
    ) -> Result<Self, ShardError> {
        fs::create_dir_all(path).map_err(ShardError::io(path))?;
        let description = path.join("download.json");
        if !description.exists() && has_files(path)? {
            let path = path.to_owned();
            return Err(ShardError::NotEmpty { path });
        }
        let lock = path.join(".lock");
        let file = File::create(&lock).map_err(ShardError::io(&lock))?;
        file.try_lock().map_err(|error| match error {
            TryLockError::WouldBlock => ShardError::Locked {
                path: path.to_owned(),
            },
            TryLockError::Error(error) => ShardError::io(&lock)(error),
        })?;
        let input = input.iter().map(|path| InputFile::of(path));
        let wanted = Description {
            version: 1,
            settings,
            input: input.collect::<Result<_, _>>()?,
        };
        let before = read(&description)?;
        if let Some(before) = &before {
            before.check(&wanted, path)?;
        }
        if before.as_ref() != Some(&wanted) {
            let text = serde_json::to_vec_pretty(&wanted);
            let text = text.map_err(|e| ShardError::io(&description)(e.into()))?;
            replace(&description, &text)?;
        }
        delete_unfinished(path)?;
        Ok(Self {
            path: path.to_owned(),
            _lock: file,
        })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

/// Whether there is anything in the folder but hidden files.
fn has_files(path: &Path) -> Result<bool, ShardError> {
    let entries = fs::read_dir(path).map_err(ShardError::io(path))?;
    for entry in entries {
        let name = entry.map_err(ShardError::io(path))?.file_name();
        if !name.to_string_lossy().starts_with('.') {
            return Ok(true);
        }
    }
    Ok(false)
}

fn delete_unfinished(path: &Path) -> Result<(), ShardError> {
    for entry in fs::read_dir(path).map_err(ShardError::io(path))? {
        let path = entry.map_err(ShardError::io(path))?.path();
        if path.extension().is_some_and(|e| e == "tmp") {
            let deleted = match path.is_dir() {
                true => fs::remove_dir_all(&path),
                false => fs::remove_file(&path),
            };
            deleted.map_err(ShardError::io(&path))?;
        }
    }
    Ok(())
}

fn read(path: &Path) -> Result<Option<Description>, ShardError> {
    let text = match fs::read(path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(ShardError::io(path)(error)),
    };
    let read = serde_json::from_slice(&text).map(Some);
    read.map_err(|error| ShardError::Damaged {
        path: path.to_owned(),
        reason: error.to_string(),
    })
}

impl Description {
    /// Whether shards that were made as `self` says may lie beside those that are made as `wanted`.
    fn check(&self, wanted: &Self, path: &Path) -> Result<(), ShardError> {
        let keys = self.settings.keys().chain(wanted.settings.keys());
        let mut differences = Vec::new();
        for key in keys {
            let (was, is) = (self.settings.get(key), wanted.settings.get(key));
            let word = |value: Option<&Value>| match value {
                None | Some(Value::Null) => "not set".to_owned(),
                Some(value) => value.to_string(),
            };
            let difference = format!("{key} was {}, is {}", word(was), word(is));
            if was != is && !differences.contains(&difference) {
                differences.push(difference);
            }
        }
        if !differences.is_empty() {
            return Err(ShardError::OtherSettings {
                path: path.to_owned(),
                differences: differences.join("; "),
            });
        }
        let differs = |difference: String| ShardError::OtherInput {
            path: path.to_owned(),
            difference,
        };
        for (number, was) in self.input.iter().enumerate() {
            let Some(is) = wanted.input.get(number) else {
                return Err(differs(format!("{} is gone", was.path)));
            };
            if (was.bytes, &was.digest) != (is.bytes, &is.digest) {
                let place = number + 1;
                let text = format!(
                    "file {place} was {}, is {}, and their contents differ",
                    was.path, is.path
                );
                return Err(differs(text));
            }
        }
        Ok(())
    }
}

impl InputFile {
    fn of(path: &Path) -> Result<Self, ShardError> {
        let io = |error| ShardError::io(path)(error);
        let mut file = File::open(path).map_err(io)?;
        let bytes = file.metadata().map_err(io)?.len();
        let mut hasher = Sha256::new();
        for start in [0, bytes.saturating_sub(ENDS)] {
            let mut end = Vec::new();
            file.seek(SeekFrom::Start(start)).map_err(io)?;
            (&file).take(ENDS).read_to_end(&mut end).map_err(io)?;
            hasher.update(&end);
        }
        let digest = hasher
            .finalize()
            .iter()
            .map(|b| format!("{b:02x}"))
            .collect();
        Ok(Self {
            path: path.display().to_string(),
            bytes,
            digest,
        })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn settings(side: Option<u32>) -> Map<String, Value> {
        let Value::Object(map) = json!({"max_side": side, "format": "parquet"}) else {
            unreachable!("an object");
        };
        map
    }

    #[test]
    fn a_folder_goes_on_with_the_same_settings_and_more_input_only() {
        let folder = tempfile::tempdir().expect("a folder");
        let input: Vec<PathBuf> = ["a", "b", "c"].map(|n| folder.path().join(n)).into();
        for path in &input {
            fs::write(path, path.display().to_string()).expect("written");
        }
        let output = folder.path().join("out");
        let open = |side, input: &[PathBuf]| ShardFolder::open(&output, settings(side), input);
        let first = open(None, &input[..2]).expect("begun");
        assert!(matches!(
            open(None, &input[..2]),
            Err(ShardError::Locked { .. })
        ));
        drop(first);
        fs::write(output.join("x.parquet.tmp"), "half").expect("written");
        drop(open(None, &input).expect("more input"));
        assert!(!output.join("x.parquet.tmp").exists());

        let error = open(Some(256), &input).expect_err("another size");
        assert!(
            error.to_string().ends_with("max_side was not set, is 256"),
            "{error}"
        );
        let error = open(None, &input[..2]).expect_err("less input");
        assert!(matches!(error, ShardError::OtherInput { .. }), "{error}");
        fs::write(&input[0], "changed").expect("written");
        let error = open(None, &input).expect_err("other input");
        assert!(error.to_string().contains("file 1"), "{error}");
    }

    #[test]
    fn a_folder_with_other_files_is_left_alone() {
        let folder = tempfile::tempdir().expect("a folder");
        fs::write(folder.path().join("thesis.tex"), "").expect("written");
        let error = ShardFolder::open(folder.path(), settings(None), &[]).expect_err("not empty");
        assert!(matches!(error, ShardError::NotEmpty { .. }));
    }
}
