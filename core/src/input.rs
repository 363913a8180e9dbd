//! Files that a manifest names for input: on this machine, or objects of a bucket by their urls (`s3://bucket/name`, and
//! what else [`crate::bucket`] reaches), with the keys of the environment.
//!
//! An object is read by ranges: the blocks around what is asked for, of which some are held, so that a footer, a column of a
//! row group or the next lines of a text cost a request a block and not the whole object. All ranges are of the version
//! that was there when it was opened: one that is replaced meanwhile ends the reading with an error.

mod blocks;

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufReader, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use object_store::ObjectMeta;
use parquet::errors::ParquetError;
use parquet::file::reader::{ChunkReader, Length};

use crate::bucket::{Bucket, Patience};
use crate::digest::{Digest, KeyHasher};
use crate::error::{CoreError, chain};
use crate::store::url_of;

use blocks::Blocks;

/// The buckets that were opened, by their urls: connections are kept.
static OPEN: Mutex<BTreeMap<String, Arc<Bucket>>> = Mutex::new(BTreeMap::new());

/// What is known of an object before it is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ObjectAbout {
    /// Its size.
    pub bytes: u64,
    /// Of its size and of the tag that the store gives each version: not of its bytes, which nobody has read.
    pub digest: Digest,
}

impl ObjectAbout {
    fn of(meta: &ObjectMeta) -> Self {
        Self {
            bytes: meta.size,
            digest: version(meta).finish(),
        }
    }
}

/// An object's size and the tag that the store gives its version, or else its time.
pub(crate) fn version(meta: &ObjectMeta) -> KeyHasher {
    let changed = || meta.last_modified.to_rfc3339();
    let tag = meta.e_tag.clone().or_else(|| meta.version.clone());
    KeyHasher::new("object-version")
        .number("bytes", meta.size)
        .text("tag", &tag.unwrap_or_else(changed))
}

/// What is known of the object at `url`; none where none is there.
///
/// # Errors
/// [`CoreError::Bucket`].
pub fn object(url: &str) -> Result<Option<ObjectAbout>, CoreError> {
    let (bucket, path) = place(url)?;
    let found = bucket.about(&path)?;
    Ok(found.map(|meta| ObjectAbout::of(&meta)))
}

/// The objects below the folder `url`, by their urls.
///
/// # Errors
/// [`CoreError::Bucket`].
pub fn objects_below(url: &str) -> Result<Vec<(PathBuf, ObjectAbout)>, CoreError> {
    let (bucket, path) = place(url)?;
    let found = bucket.list(&path)?.into_iter();
    let named = |meta: ObjectMeta| {
        let url = bucket.shown(meta.location.as_ref());
        (url.into(), ObjectAbout::of(&meta))
    };
    Ok(found.map(named).collect())
}

/// The bucket of `url`, and the path of its object there.
pub(crate) fn place(url: &str) -> Result<(Arc<Bucket>, String), CoreError> {
    let begin = url.find("://").map_or(0, |at| at + 3);
    let (name, path) = match url[begin..].split_once('/') {
        Some((name, path)) => (&url[..begin + name.len()], path.trim_matches('/')),
        None => (url, ""),
    };
    let mut open = OPEN.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(bucket) = open.get(name) {
        return Ok((bucket.clone(), path.to_owned()));
    }
    let bucket = Arc::new(Bucket::open(name, Patience::Usual)?);
    open.insert(name.to_owned(), bucket.clone());
    Ok((bucket, path.to_owned()))
}

/// An open file or object.
pub struct InputFile {
    inner: Inner,
    length: u64,
}

enum Inner {
    Local(File),
    Object { blocks: Arc<Blocks>, at: u64 },
}

impl InputFile {
    /// Opens the file or object at `path`.
    ///
    /// # Errors
    /// What the system or the store says; [`io::ErrorKind::NotFound`] where nothing is there.
    pub fn open(path: &Path) -> io::Result<Self> {
        let Some(url) = url_of(path) else {
            let file = File::open(path)?;
            let length = file.metadata()?.len();
            let inner = Inner::Local(file);
            return Ok(Self { inner, length });
        };
        let (bucket, object) = place(url).map_err(failed)?;
        let about = bucket.about(&object).map_err(failed)?;
        let missing = || io::Error::new(io::ErrorKind::NotFound, "there is no such object");
        let about = about.ok_or_else(missing)?;
        let length = about.size;
        let blocks = Arc::new(Blocks::new(bucket, object, about));
        Ok(Self {
            inner: Inner::Object { blocks, at: 0 },
            length,
        })
    }

    /// Its size.
    pub fn length(&self) -> u64 {
        self.length
    }
}

fn failed(error: CoreError) -> io::Error {
    io::Error::other(chain(&error))
}

impl Read for InputFile {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match &mut self.inner {
            Inner::Local(file) => file.read(buffer),
            Inner::Object { blocks, at } => {
                let read = blocks.read(*at, buffer)?;
                *at += read as u64;
                Ok(read)
            }
        }
    }
}

impl Seek for InputFile {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        match &mut self.inner {
            Inner::Local(file) => file.seek(to),
            Inner::Object { at, .. } => {
                let (from, by) = match to {
                    SeekFrom::Start(at) => (at, 0),
                    SeekFrom::End(by) => (self.length, by),
                    SeekFrom::Current(by) => (*at, by),
                };
                let before = || io::Error::from(io::ErrorKind::InvalidInput);
                *at = from.checked_add_signed(by).ok_or_else(before)?;
                Ok(*at)
            }
        }
    }
}

impl Length for InputFile {
    fn len(&self) -> u64 {
        self.length
    }
}

/// Reads a file or object from some place on.
pub enum InputReader {
    /// Of a file.
    Local(BufReader<File>),
    /// Of an object.
    Object(BufReader<InputFile>),
}

impl Read for InputReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Local(file) => file.read(buffer),
            Self::Object(object) => object.read(buffer),
        }
    }
}

impl ChunkReader for InputFile {
    type T = InputReader;

    fn get_read(&self, start: u64) -> Result<Self::T, ParquetError> {
        match &self.inner {
            Inner::Local(file) => Ok(InputReader::Local(file.get_read(start)?)),
            Inner::Object { blocks, .. } => {
                let inner = Inner::Object {
                    blocks: blocks.clone(),
                    at: start,
                };
                let length = self.length;
                let file = Self { inner, length };
                Ok(InputReader::Object(BufReader::new(file)))
            }
        }
    }

    fn get_bytes(&self, start: u64, length: usize) -> Result<Bytes, ParquetError> {
        match &self.inner {
            Inner::Local(file) => file.get_bytes(start, length),
            Inner::Object { blocks, .. } => {
                let mut bytes = vec![0; length];
                let mut filled = 0;
                while filled < length {
                    match blocks.read(start + filled as u64, &mut bytes[filled..])? {
                        0 => return Err(ParquetError::EOF("it is cut off".to_owned())),
                        read => filled += read,
                    }
                }
                Ok(bytes.into())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_is_a_bucket_and_an_object_in_it() -> Result<(), CoreError> {
        let (bucket, path) = place("s3://pool/laion/part-0.parquet")?;
        assert_eq!(
            (bucket.url(), path.as_str()),
            ("s3://pool", "laion/part-0.parquet")
        );
        let (again, root) = place("s3://pool")?;
        assert!(Arc::ptr_eq(&bucket, &again) && root.is_empty());
        assert_eq!(place("s3://pool/laion/")?.1, "laion");
        assert!(place("ftp://pool/x").is_err());
        Ok(())
    }

    #[test]
    fn a_file_of_this_machine_is_read_as_it_is() -> io::Result<()> {
        let folder = tempfile::tempdir()?;
        let path = folder.path().join("a.txt");
        std::fs::write(&path, "0123456789")?;
        let mut file = InputFile::open(&path)?;
        let mut text = String::new();
        file.seek(SeekFrom::Start(7))?;
        file.read_to_string(&mut text)?;
        assert_eq!((text.as_str(), file.length()), ("789", 10));
        assert_eq!(file.get_bytes(2, 3).ok(), Some(Bytes::from_static(b"234")));
        let missing = InputFile::open(&folder.path().join("none"));
        let kind = missing.err().map(|error| error.kind());
        assert_eq!(kind, Some(io::ErrorKind::NotFound));
        Ok(())
    }
}
