//! The bytes of an object, a block at a time. A few blocks are held: the columns of a Parquet file are read side by side.

use std::collections::VecDeque;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use object_store::ObjectMeta;

use crate::bucket::Bucket;
use crate::error::chain;

/// Bytes of a block: one request.
const BLOCK: u64 = 2 << 20;
/// Blocks that are held of an open object: 32 MiB.
const HELD: usize = 16;

/// An object in one version.
pub(super) struct Blocks {
    bucket: Arc<Bucket>,
    path: String,
    about: ObjectMeta,
    /// Number and bytes, the one that was used last at the end.
    held: Mutex<VecDeque<(u64, Bytes)>>,
}

impl Blocks {
    /// The object `path` of `bucket` in the version that `about` tells of.
    pub(super) fn new(bucket: Arc<Bucket>, path: String, about: ObjectMeta) -> Self {
        Self {
            bucket,
            path,
            about,
            held: Mutex::default(),
        }
    }

    /// Reads some bytes from `at` on into `buffer`; 0 at the end.
    ///
    /// # Errors
    /// What the store says; another version of the object.
    pub(super) fn read(&self, at: u64, buffer: &mut [u8]) -> io::Result<usize> {
        if at >= self.about.size || buffer.is_empty() {
            return Ok(0);
        }
        let block = self.block(at / BLOCK)?;
        let from = usize::try_from(at % BLOCK).map_err(io::Error::other)?;
        let found = block.get(from..).unwrap_or_default();
        let length = found.len().min(buffer.len());
        buffer[..length].copy_from_slice(&found[..length]);
        Ok(length)
    }

    fn block(&self, number: u64) -> io::Result<Bytes> {
        // Held while the block comes: of several readers one asks for it.
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(at) = held.iter().position(|(found, _)| *found == number)
            && let Some(entry) = held.remove(at)
        {
            let bytes = entry.1.clone();
            held.push_back(entry);
            return Ok(bytes);
        }
        let start = number * BLOCK;
        let range = start..self.about.size.min(start + BLOCK);
        let wanted = range.end - range.start;
        let got = self.bucket.get_range_of(&self.path, range, &self.about);
        let bytes = got.map_err(|error| io::Error::other(chain(&error)))?;
        if bytes.len() as u64 != wanted {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        if held.len() >= HELD {
            held.pop_front();
        }
        held.push_back((number, bytes.clone()));
        Ok(bytes)
    }
}

#[cfg(test)]
mod tests {
    use object_store::memory::InMemory;
    use object_store::path::Path as ObjectPath;
    use object_store::{ObjectStore, ObjectStoreExt};

    use super::*;

    fn object(bytes: Vec<u8>) -> (Arc<dyn ObjectStore>, Arc<Bucket>, Blocks) {
        let memory: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
        let mut builder = tokio::runtime::Builder::new_current_thread();
        let runtime = builder.build().expect("a runtime");
        let path = ObjectPath::from("a/b");
        let put = memory.put(&path, bytes.into());
        runtime.block_on(put).expect("put");
        let bucket = Arc::new(Bucket::of(memory.clone(), runtime, "s3://b"));
        let about = bucket.about("a/b").expect("asked").expect("there");
        let blocks = Blocks::new(bucket.clone(), "a/b".to_owned(), about);
        (memory, bucket, blocks)
    }

    #[test]
    fn any_place_is_read_and_no_more_blocks_are_held_than_may_be() {
        let length = (BLOCK as usize) * (HELD + 2) + 5;
        let bytes: Vec<u8> = (0..length).map(|at| (at * 7 / 3) as u8).collect();
        let (_, _, blocks) = object(bytes.clone());
        let mut buffer = [0; 64];
        let edge = BLOCK as usize;
        for at in [0, edge - 3, 5, edge * 3, length - 5, edge * (HELD + 1), 9] {
            let read = blocks.read(at as u64, &mut buffer).expect("read");
            assert!(read > 0);
            assert_eq!(buffer[..read], bytes[at..at + read]);
        }
        assert_eq!(blocks.read(length as u64, &mut buffer).ok(), Some(0));
        for block in 0..HELD + 2 {
            blocks
                .read(block as u64 * BLOCK, &mut buffer)
                .expect("read");
        }
        assert_eq!(blocks.held.lock().map(|held| held.len()).ok(), Some(HELD));
    }

    #[test]
    fn another_version_is_no_part_of_what_was_opened() {
        let (memory, bucket, blocks) = object(vec![1; 10]);
        let mut buffer = [0; 4];
        let path = ObjectPath::from("a/b");
        let put = memory.put(&path, vec![2; 10].into());
        bucket.run("a/b", put).expect("put");
        let error = blocks.read(0, &mut buffer).expect_err("another version");
        assert!(error.to_string().contains("changed"), "{error}");
    }
}
