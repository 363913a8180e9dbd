//! Outcomes kept on disk as they come, so that a killed download goes on where it was.
//!
//! A journal is a file that only grows: a mark, then entries of `crc32 head_length body_length id head body` (integers
//! little-endian). Who downloads writes it, and deletes it when what it holds has been written elsewhere. Entries with a
//! body are written at once; others are buffered, for [`FLUSH_EVERY`] at most while more come. A kill loses those in the
//! buffer and leaves a torn entry at most, which the next [`Journal::open`] cuts off. After a power loss everything behind the last byte that the system had
//! written may be gone or zero: the checksums tell, and what stands before the first entry that is not whole is kept.
//! Nothing is synchronized to the disk: every outcome can be asked for again.
//!
//! In memory there is the index only, [`Place`]: 24 bytes an entry, where room was made for all at once.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, BufReader, Read, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde::Serialize;
use serde::de::DeserializeOwned;

const MARK: &[u8; 8] = b"laionj1\n";
/// Bytes of an entry before its head.
const FRAME: usize = 20;
/// Bytes of a head at most: longer lengths are damage.
const MAX_HEAD: u32 = 64 << 20;
/// Buffered bytes that are written at once.
const BUFFER: usize = 256 << 10;
/// How long entries without a body stay in the buffer while others come.
pub const FLUSH_EVERY: Duration = Duration::from_millis(50);

/// Why a journal cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    /// The file system refused.
    #[error("cannot access {path}")]
    Io {
        /// The journal.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Another process (or part of this one) has it open.
    #[error("{path} is in use by another process")]
    Locked {
        /// The journal.
        path: PathBuf,
    },
    /// The file is something else.
    #[error("{path} is no journal of a download: move it away")]
    NotAJournal {
        /// The file.
        path: PathBuf,
    },
    /// An entry could not be written: the disk is full, most of the time. The file is whole up to the entry before.
    #[error(
        "cannot write to {path}: the {kept} outcomes that it holds are kept, and those behind them are asked for again"
    )]
    Write {
        /// The journal.
        path: PathBuf,
        /// Entries that are on disk.
        kept: usize,
        /// Why.
        source: io::Error,
    },
    /// The head of an entry is not of the form that the caller expects, which a checksum does not tell.
    #[error("{path}: the entry of item {id} is of another form")]
    Head {
        /// The journal.
        path: PathBuf,
        /// The item.
        id: u64,
        /// What is wrong.
        source: serde_json::Error,
    },
}

/// Where an entry is in its journal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// The item's number.
    pub id: u64,
    at: u64,
    head: u32,
    body: u32,
}

impl Place {
    /// Bytes of its body.
    pub fn body_len(&self) -> u64 {
        self.body.into()
    }
}

/// An open journal, locked for this process.
#[derive(Debug)]
pub struct Journal {
    path: PathBuf,
    file: File,
    places: Vec<Place>,
    /// Bytes of whole entries on disk, the mark included.
    written: u64,
    /// How many of `places` are on disk.
    kept: usize,
    buffer: Vec<u8>,
    flushed: Instant,
    failed: bool,
}

impl Journal {
    /// Opens the journal at `path`, or makes it; a torn tail is cut off. Reads the whole file once.
    ///
    /// # Errors
    /// [`JournalError::Locked`] where it is open already, [`JournalError::NotAJournal`], [`JournalError::Io`].
    pub fn open(path: &Path) -> Result<Self, JournalError> {
        let io = |source| JournalError::Io {
            path: path.to_owned(),
            source,
        };
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(path)
            .map_err(io)?;
        file.try_lock().map_err(|error| match error {
            TryLockError::WouldBlock => JournalError::Locked {
                path: path.to_owned(),
            },
            TryLockError::Error(error) => io(error),
        })?;
        let found = scan(&file).map_err(io)?;
        let Some((places, mut written)) = found else {
            let path = path.to_owned();
            return Err(JournalError::NotAJournal { path });
        };
        file.set_len(written).map_err(io)?;
        if written == 0 {
            file.write_all_at(MARK, 0).map_err(io)?;
            written = MARK.len() as u64;
        }
        Ok(Self {
            path: path.to_owned(),
            file,
            kept: places.len(),
            places,
            written,
            buffer: Vec::new(),
            flushed: Instant::now(),
            failed: false,
        })
    }

    /// Adds an entry. Several of one item may follow each other; the last one counts.
    ///
    /// # Errors
    /// [`JournalError::Write`]; the journal then takes no more entries.
    pub fn append<H: Serialize>(
        &mut self,
        id: u64,
        head: &H,
        body: &[u8],
    ) -> Result<(), JournalError> {
        let start = self.buffer.len();
        let appended = frame(&mut self.buffer, id, head, body);
        let (head, body) = match appended {
            Ok(lengths) => lengths,
            Err(source) => {
                self.buffer.truncate(start);
                return Err(self.unwritable(source));
            }
        };
        let at = self.written + (start + FRAME) as u64;
        let place = Place { id, at, head, body };
        self.places.push(place);
        let is_due = self.flushed.elapsed() >= FLUSH_EVERY;
        if body > 0 || is_due || self.buffer.len() >= BUFFER {
            self.flush()?;
        }
        Ok(())
    }

    /// Writes what is buffered.
    ///
    /// # Errors
    /// [`JournalError::Write`]; the journal then takes no more entries, and those that were buffered are gone.
    pub fn flush(&mut self) -> Result<(), JournalError> {
        self.flushed = Instant::now();
        if self.failed {
            return Err(self.unwritable(io::Error::other("it could not be written before")));
        }
        if let Err(source) = self.file.write_all_at(&self.buffer, self.written) {
            self.failed = true;
            self.places.truncate(self.kept);
            self.buffer = Vec::new();
            // Where this fails too, the next opening cuts the torn entry off.
            let _ = self.file.set_len(self.written);
            return Err(self.unwritable(source));
        }
        self.written += self.buffer.len() as u64;
        self.kept = self.places.len();
        self.buffer.clear();
        self.buffer.shrink_to(BUFFER);
        Ok(())
    }

    fn unwritable(&self, source: io::Error) -> JournalError {
        JournalError::Write {
            path: self.path.clone(),
            kept: self.kept,
            source,
        }
    }

    /// All entries, in the order in which they were added, or where they have been sorted, in that order.
    pub fn places(&self) -> &[Place] {
        &self.places
    }

    /// Makes room in the index for so many more entries.
    pub fn reserve(&mut self, entries: usize) {
        self.places.reserve_exact(entries);
    }

    /// Writes what is buffered, and puts the index in the order of the items' numbers, the last entry of each alone. What
    /// is appended later stands behind them.
    ///
    /// # Errors
    /// Those of [`Journal::flush`].
    pub fn sort(&mut self) -> Result<(), JournalError> {
        self.flush()?;
        self.places
            .sort_unstable_by_key(|place| (place.id, place.at));
        self.places.dedup_by(|later, earlier| {
            let same = later.id == earlier.id;
            if same {
                *earlier = *later;
            }
            same
        });
        self.kept = self.places.len();
        Ok(())
    }

    /// The head of an entry.
    ///
    /// # Errors
    /// [`JournalError::Io`], [`JournalError::Head`], and those of [`Journal::flush`].
    pub fn head<H: DeserializeOwned>(&mut self, place: &Place) -> Result<H, JournalError> {
        let bytes = self.read(place.at, place.head)?;
        serde_json::from_slice(&bytes).map_err(|source| JournalError::Head {
            path: self.path.clone(),
            id: place.id,
            source,
        })
    }

    /// The body of an entry.
    ///
    /// # Errors
    /// [`JournalError::Io`], and those of [`Journal::flush`].
    pub fn body(&mut self, place: &Place) -> Result<Vec<u8>, JournalError> {
        self.read(place.at + u64::from(place.head), place.body)
    }

    fn read(&mut self, at: u64, length: u32) -> Result<Vec<u8>, JournalError> {
        if at + u64::from(length) > self.written {
            self.flush()?;
        }
        let mut bytes = vec![0; length as usize];
        match self.file.read_exact_at(&mut bytes, at) {
            Ok(()) => Ok(bytes),
            Err(source) => Err(JournalError::Io {
                path: self.path.clone(),
                source,
            }),
        }
    }

    /// Deletes the file: what it held is written elsewhere.
    ///
    /// # Errors
    /// [`JournalError::Io`].
    pub fn delete(self) -> Result<(), JournalError> {
        std::fs::remove_file(&self.path).map_err(|source| JournalError::Io {
            path: self.path.clone(),
            source,
        })
    }
}

impl Drop for Journal {
    fn drop(&mut self) {
        if !self.failed {
            // An error has nowhere to go; what is lost is asked for again.
            let _ = self.flush();
        }
    }
}

/// Appends an entry to `buffer`; the lengths of head and body.
fn frame<H: Serialize>(
    buffer: &mut Vec<u8>,
    id: u64,
    head: &H,
    body: &[u8],
) -> io::Result<(u32, u32)> {
    let start = buffer.len();
    buffer.resize(start + FRAME, 0);
    serde_json::to_writer(&mut *buffer, head)?;
    let head_length = buffer.len() - start - FRAME;
    buffer.write_all(body)?;
    let too_long = |_| io::Error::from(io::ErrorKind::FileTooLarge);
    let head = u32::try_from(head_length).map_err(too_long)?;
    if head > MAX_HEAD {
        return Err(io::ErrorKind::FileTooLarge.into());
    }
    let body = u32::try_from(body.len()).map_err(too_long)?;
    buffer[start + 4..start + 8].copy_from_slice(&head.to_le_bytes());
    buffer[start + 8..start + 12].copy_from_slice(&body.to_le_bytes());
    buffer[start + 12..start + FRAME].copy_from_slice(&id.to_le_bytes());
    let crc = crc32fast::hash(&buffer[start + 4..]);
    buffer[start..start + 4].copy_from_slice(&crc.to_le_bytes());
    Ok((head, body))
}

/// The whole entries at the start of `file`, and where they end; 0 for a file that has not even its mark. None of a file
/// that begins otherwise.
fn scan(file: &File) -> io::Result<Option<(Vec<Place>, u64)>> {
    let mut reader = BufReader::with_capacity(1 << 20, file);
    let mut mark = Vec::new();
    (&mut reader)
        .take(MARK.len() as u64)
        .read_to_end(&mut mark)?;
    if mark.len() < MARK.len() && MARK.starts_with(&mark) {
        return Ok(Some((Vec::new(), 0)));
    }
    if mark != MARK {
        return Ok(None);
    }
    let (mut places, mut end) = (Vec::new(), MARK.len() as u64);
    while let Some(place) = entry(&mut reader, end)? {
        end = place.at + u64::from(place.head) + u64::from(place.body);
        places.push(place);
    }
    Ok(Some((places, end)))
}

/// The next entry, which begins at `start`; none where the file ends or is damaged.
fn entry(reader: &mut impl Read, start: u64) -> io::Result<Option<Place>> {
    let mut frame = Vec::with_capacity(FRAME);
    reader.take(FRAME as u64).read_to_end(&mut frame)?;
    let Ok(frame) = <[u8; FRAME]>::try_from(frame) else {
        return Ok(None);
    };
    let number =
        |at: usize| u32::from_le_bytes([frame[at], frame[at + 1], frame[at + 2], frame[at + 3]]);
    let (crc, head, body) = (number(0), number(4), number(8));
    if head > MAX_HEAD {
        return Ok(None);
    }
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&frame[4..]);
    let length = u64::from(head) + u64::from(body);
    let read = io::copy(&mut reader.take(length), &mut Summed(&mut hasher))?;
    let place = Place {
        id: u64::from(number(12)) | u64::from(number(16)) << 32,
        at: start + FRAME as u64,
        head,
        body,
    };
    Ok((read == length && hasher.finalize() == crc).then_some(place))
}

struct Summed<'a>(&'a mut crc32fast::Hasher);

impl Write for Summed<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.update(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
#[path = "journal_tests.rs"]
mod tests;
