//! Photos as a tar file that the `webdataset` library reads: the files of a sample follow each other.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, BufReader, BufWriter, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use super::error::ShardError;
use super::photos::{Photo, Photos};
use super::whole::{Unfinished, appear, unfinished};

pub(crate) struct TarPhotos {
    path: PathBuf,
    tar: tar::Builder<BufWriter<File>>,
    _unfinished: Unfinished,
}

impl TarPhotos {
    pub(crate) fn begin(path: &Path) -> Result<Self, ShardError> {
        let unfinished = unfinished(path);
        let file = File::create(&unfinished).map_err(ShardError::io(&unfinished))?;
        Ok(Self {
            path: path.to_owned(),
            tar: tar::Builder::new(BufWriter::with_capacity(1 << 20, file)),
            _unfinished: Unfinished(unfinished),
        })
    }

    fn add(&mut self, name: &str, bytes: &[u8]) -> Result<(), ShardError> {
        let mut header = tar::Header::new_ustar();
        header.set_size(bytes.len() as u64);
        header.set_mode(0o644);
        header.set_mtime(0);
        header.set_uid(0);
        header.set_gid(0);
        let added = self.tar.append_data(&mut header, name, bytes);
        added.map_err(ShardError::io(&self.path))
    }
}

impl Photos for TarPhotos {
    fn push(&mut self, photo: &Photo) -> Result<(), ShardError> {
        let key = photo.key;
        self.add(&format!("{key}.{}", photo.extension()), photo.bytes)?;
        if let Some(caption) = &photo.row.caption {
            self.add(&format!("{key}.txt"), caption.as_bytes())?;
        }
        self.add(&format!("{key}.json"), &photo.json())
    }

    fn finish(self: Box<Self>) -> Result<(), ShardError> {
        let Self {
            path,
            tar,
            _unfinished,
        } = *self;
        let file = tar.into_inner().and_then(|mut buffer| {
            buffer.flush()?;
            buffer.into_inner().map_err(io::IntoInnerError::into_error)
        });
        let synced = file.and_then(|file| file.sync_data());
        synced.map_err(ShardError::io(&path))?;
        appear(&path)
    }
}

/// Where the photos of a tar file are, by key.
pub(crate) struct TarIndex {
    file: File,
    places: HashMap<String, (u64, u64)>,
}

impl TarIndex {
    /// Reads the headers of a file that [`TarPhotos`] wrote.
    pub(crate) fn open(path: &Path) -> io::Result<Self> {
        let mut places = HashMap::new();
        let mut archive = tar::Archive::new(BufReader::new(File::open(path)?));
        for entry in archive.entries_with_seek()? {
            let entry = entry?;
            let name = entry.path()?.to_string_lossy().into_owned();
            if let Some((key, extension)) = name.split_once('.')
                && !matches!(extension, "txt" | "json")
            {
                places.insert(key.to_owned(), (entry.raw_file_position(), entry.size()));
            }
        }
        let file = File::open(path)?;
        Ok(Self { file, places })
    }

    /// The bytes of a photo.
    pub(crate) fn photo(&self, key: &str) -> io::Result<Option<Vec<u8>>> {
        let Some((at, length)) = self.places.get(key) else {
            return Ok(None);
        };
        let mut bytes = Vec::new();
        let mut file = &self.file;
        file.seek(SeekFrom::Start(*at))?;
        file.take(*length).read_to_end(&mut bytes)?;
        Ok(Some(bytes))
    }
}
