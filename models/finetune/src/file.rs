//! Safetensors files, written whole or not at all: beside their place first, synced, renamed. What a
//! crash leaves is a file that ends in `.partial`, which the next writing replaces. Equal tensors
//! give equal bytes, and those of Python's writer.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

use half::f16;
use serde::Serialize;

use crate::error::{Error, Result};

/// How numbers are stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stored {
    /// 16 bits.
    F16,
    /// 32 bits.
    F32,
}

impl Stored {
    fn name(self) -> &'static str {
        match self {
            Self::F16 => "F16",
            Self::F32 => "F32",
        }
    }

    pub(crate) fn bytes(self) -> usize {
        match self {
            Self::F16 => 2,
            Self::F32 => 4,
        }
    }

    fn encode(self, values: &[f32]) -> Vec<u8> {
        match self {
            Self::F16 => values
                .iter()
                .flat_map(|v| f16::from_f32(*v).to_le_bytes())
                .collect(),
            Self::F32 => values.iter().flat_map(|v| v.to_le_bytes()).collect(),
        }
    }
}

/// A tensor to be written: its numbers are made when their turn has come.
pub(crate) struct Entry<'a> {
    pub name: String,
    pub shape: Vec<usize>,
    pub values: Box<dyn Fn() -> Result<Vec<f32>> + 'a>,
}

/// A tensor in the header, its fields in Python's order.
#[derive(Serialize)]
struct Info<'a> {
    dtype: &'static str,
    shape: &'a [usize],
    data_offsets: [usize; 2],
}

/// Writes tensors, sorted by name, with `metadata` in the header.
pub(crate) fn write(
    path: &Path,
    metadata: &BTreeMap<&str, String>,
    stored: Stored,
    mut tensors: Vec<Entry<'_>>,
) -> Result<()> {
    tensors.sort_by(|a, b| a.name.cmp(&b.name));
    let header = header(path, metadata, stored, &tensors)?;
    replace(path, |file| {
        let io = |error| Error::io("write", path)(error);
        file.write_all(&(header.len() as u64).to_le_bytes())
            .map_err(io)?;
        file.write_all(header.as_bytes()).map_err(io)?;
        for tensor in &tensors {
            let values = (tensor.values)()?;
            Error::check_size(
                "a saved tensor",
                values.len(),
                tensor.shape.iter().product(),
            )?;
            file.write_all(&stored.encode(&values)).map_err(io)?;
        }
        Ok(())
    })
}

fn header(
    path: &Path,
    metadata: &BTreeMap<&str, String>,
    stored: Stored,
    tensors: &[Entry<'_>],
) -> Result<String> {
    let json = |value: serde_json::Result<String>| {
        value.map_err(|error| Error::File {
            path: path.into(),
            reason: error.to_string(),
        })
    };
    let mut parts = Vec::new();
    if !metadata.is_empty() {
        let text = json(serde_json::to_string(metadata))?;
        parts.push(format!("\"__metadata__\":{text}"));
    }
    let mut start = 0;
    for tensor in tensors {
        let end = start + tensor.shape.iter().product::<usize>() * stored.bytes();
        let info = Info {
            dtype: stored.name(),
            shape: &tensor.shape,
            data_offsets: [start, end],
        };
        let name = json(serde_json::to_string(&tensor.name))?;
        parts.push(format!("{name}:{}", json(serde_json::to_string(&info))?));
        start = end;
    }
    let mut header = format!("{{{}}}", parts.join(","));
    // The numbers begin at a multiple of eight.
    while !header.len().is_multiple_of(8) {
        header.push(' ');
    }
    Ok(header)
}

/// Puts what `write` writes in the place of `path`, whole or not at all, and onto the disk.
///
/// # Errors
/// What `write` returns; a folder that cannot be written.
pub fn replace(path: &Path, write: impl FnOnce(&mut BufWriter<File>) -> Result<()>) -> Result<()> {
    let partial = partial(path);
    let create = || Error::io("create", &partial);
    if let Some(folder) = path
        .parent()
        .filter(|folder| !folder.as_os_str().is_empty())
    {
        std::fs::create_dir_all(folder).map_err(Error::io("create", folder))?;
    }
    let mut writer = BufWriter::new(File::create(&partial).map_err(create())?);
    let written = write(&mut writer).and_then(|()| {
        let file = writer
            .into_inner()
            .map_err(|error| Error::io("write", &partial)(error.into_error()))?;
        file.sync_all().map_err(Error::io("sync", &partial))
    });
    if let Err(error) = written {
        // The error says what went wrong; what is left in the way is replaced next time.
        let _ = std::fs::remove_file(&partial);
        return Err(error);
    }
    std::fs::rename(&partial, path).map_err(Error::io("rename", &partial))?;
    sync_folder(path)
}

/// What lies beside `path` until it is whole.
fn partial(path: &Path) -> PathBuf {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".partial");
    path.with_file_name(name)
}

/// Puts a renamed file's name onto the disk.
fn sync_folder(path: &Path) -> Result<()> {
    let folder = match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    let sync = File::open(folder).and_then(|folder| folder.sync_all());
    sync.map_err(Error::io("sync", folder))
}

#[cfg(test)]
mod tests {
    use safetensors::SafeTensors;

    use super::*;

    fn entry(name: &str, values: Vec<f32>) -> Entry<'static> {
        Entry {
            name: name.into(),
            shape: vec![values.len()],
            values: Box::new(move || Ok(values.clone())),
        }
    }

    #[test]
    fn files_are_read_by_the_formats_own_reader() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("a/b.safetensors");
        let metadata = [("format", "pt".to_owned())].into();
        let entries = || vec![entry("z", vec![1.0]), entry("a", vec![0.5, -2.0, 3.0])];
        for stored in [Stored::F32, Stored::F16] {
            write(&path, &metadata, stored, entries()).expect("written");
            let bytes = std::fs::read(&path).expect("bytes");
            let read = SafeTensors::deserialize(&bytes).expect("safetensors");
            assert_eq!(read.tensor("a").expect("a").shape(), [3]);
            assert_eq!(read.tensor("z").expect("z").data(), stored.encode(&[1.0]));
        }
        let left = std::fs::read_dir(folder.path().join("a")).expect("a folder");
        assert_eq!(left.count(), 1);
    }

    #[test]
    fn a_failure_leaves_the_file_as_it_was() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("b.safetensors");
        std::fs::write(&path, b"before").expect("written");
        let mut wrong = entry("a", vec![1.0]);
        wrong.shape = vec![2];
        assert!(write(&path, &BTreeMap::new(), Stored::F32, vec![wrong]).is_err());
        assert_eq!(std::fs::read(&path).expect("bytes"), b"before");
        assert!(!partial(&path).exists());
    }
}
