//! From outcomes to parts, in the order of the candidates.

use std::sync::atomic::Ordering;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

use laioncele_core::forgotten::Forgotten;
use laioncele_core::table::{Candidate, Image, Photo};
use laioncele_core::{DropReason, ImageId, PartWriter, Row, StageError, Task, Unit};
use laioncele_download::{End, check_hash};

use crate::attempts::Attempts;
use crate::candidates::{Wanted, candidates};
use crate::outcomes::Outcomes;
use crate::reachability::Counts;
use crate::settings::{OnHashMismatch, Settings};

/// Photo bytes in a part, and one photo more.
const PART_BYTES: usize = 128 << 20;
/// Photo bytes in a row group, and one batch more: what is held in memory.
const GROUP_BYTES: usize = 16 << 20;
/// Photo bytes that are encoded at once, and one photo more.
const BATCH_BYTES: usize = 4 << 20;
/// Rows that are encoded at once.
const BATCH_ROWS: usize = 1024;
/// Candidates between two looks whether the task is cancelled.
const LOOK_EVERY: u64 = 128;
/// How often a task that waits for its turn looks whether it is cancelled.
const LOOK: Duration = Duration::from_millis(100);

/// The turn to hold a row group in memory: one of a worker's tasks has it at a time.
pub(crate) struct Turn(Arc<(Mutex<bool>, Condvar)>);

impl Turn {
    /// Waits for it.
    ///
    /// # Errors
    /// A run that is asked to stop.
    pub(crate) fn take(task: &Task) -> Result<Self, StageError> {
        let turns = task.resource("turn to write", || Ok(<(Mutex<bool>, Condvar)>::default()))?;
        let cancelled = task.cancelled();
        {
            let (taken, free) = &*turns;
            let mut taken = taken.lock().unwrap_or_else(PoisonError::into_inner);
            while *taken {
                if cancelled.load(Ordering::Relaxed) {
                    return Err(StageError::Cancelled);
                }
                let woken = free.wait_timeout(taken, LOOK);
                (taken, _) = woken.unwrap_or_else(PoisonError::into_inner);
            }
            *taken = true;
        }
        Ok(Self(turns))
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        let (taken, free) = &*self.0;
        *taken.lock().unwrap_or_else(PoisonError::into_inner) = false;
        free.notify_one();
    }
}

/// Writes the photos of all candidates and drops the others.
///
/// # Errors
/// A full disk, a damaged journal, an image without an outcome.
pub(crate) fn parts(
    task: &mut Task,
    settings: &Settings,
    wanted: &Wanted,
    outcomes: &mut Outcomes,
) -> Result<(), StageError> {
    let forgotten = task.forgotten()?;
    let mut photos = Photos::new(task)?;
    let (mut attempts, mut counts) = (Attempts::new(task)?, Counts::default());
    let (mut marks, ended) = (wanted.images.marks(), wanted.images.len() as u64);
    for (k, candidate) in (1..).zip(candidates(task)?) {
        let candidate = candidate?;
        let (name, image) = (candidate.name_id, candidate.image_id);
        if !wanted.is_known(&candidate) {
            let reason = DropReason::UnknownName;
            task.drop_row(Unit::Image, image.0, Some(name), reason, None);
            continue;
        }
        let (entry, place) = outcomes.find(image)?.ok_or_else(|| lost(image))?;
        let photo = match &entry.outcome.end {
            End::Dropped { reason, detail } => Err((*reason, detail.clone())),
            end @ End::Photo { .. } => photo(
                &candidate,
                end,
                outcomes.bytes(&place)?,
                settings,
                forgotten.as_ref(),
            ),
        };
        if marks.first(image) {
            attempts.add(task, &candidate, &entry)?;
            counts.add(&candidate.url, reason(&entry.outcome.end));
        }
        match photo {
            Ok(photo) => photos.add(task, photo)?,
            Err((reason, detail)) => {
                task.drop_row(Unit::Image, image.0, Some(name), reason, detail);
            }
        }
        if k % LOOK_EVERY == 0 {
            // Nothing is done anew: this only asks whether to stop.
            task.progress(ended, ended, Unit::Image)?;
        }
    }
    let written = photos.finish(task, true)?;
    counts.write(task)?;
    attempts.finish(task)?;
    task.balance(Unit::Image, wanted.rows, written);
    Ok(())
}

fn lost(image: ImageId) -> StageError {
    StageError::data(format!("image {image} has no outcome"))
}

/// Why a url is none of the photos.
pub(crate) fn reason(end: &End) -> Option<DropReason> {
    match end {
        End::Photo { .. } => None,
        End::Dropped { reason, .. } => Some(*reason),
    }
}

/// The photo's row, unless the source's metadata has a hash of other bytes or it was taken down.
pub(crate) fn photo(
    candidate: &Candidate,
    end: &End,
    bytes: Vec<u8>,
    settings: &Settings,
    forgotten: Option<&Forgotten>,
) -> Result<Photo, (DropReason, Option<String>)> {
    let (sha256, extension, width, height) = match end {
        End::Photo {
            sha256,
            extension,
            width,
            height,
            ..
        } => (sha256, extension, *width, *height),
        End::Dropped { reason, detail } => return Err((*reason, detail.clone())),
    };
    // The same photo behind another url.
    if forgotten.is_some_and(|stones| stones.has_sha256(sha256)) {
        return Err((DropReason::Forgotten, None));
    }
    let expected = candidate.hash.as_deref();
    if let Some(expected) = expected.filter(|_| settings.on_hash_mismatch == OnHashMismatch::Drop) {
        check_hash(&bytes, expected).map_err(|failure| (failure.reason, failure.detail))?;
    }
    Ok(Photo {
        name_id: candidate.name_id,
        image_id: candidate.image_id,
        url: candidate.url.clone(),
        caption: candidate.caption.clone(),
        image: Image {
            bytes,
            path: format!("{}.{extension}", candidate.image_id),
        },
        sha256: sha256.clone(),
        width,
        height,
    })
}

/// Photos on their way to parts.
pub(crate) struct Photos {
    writer: PartWriter,
    held: Vec<Photo>,
    held_bytes: usize,
    group_bytes: usize,
    part_bytes: usize,
    /// Photos of all parts.
    written: u64,
}

impl Photos {
    /// None yet.
    ///
    /// # Errors
    /// A full or read-only disk.
    pub(crate) fn new(task: &Task) -> Result<Self, StageError> {
        Ok(Self {
            writer: Self::writer(task)?,
            held: Vec::new(),
            held_bytes: 0,
            group_bytes: 0,
            part_bytes: 0,
            written: 0,
        })
    }

    fn writer(task: &Task) -> Result<PartWriter, StageError> {
        task.part_writer::<Photo>(usize::MAX >> 1)
    }

    /// Adds a photo.
    ///
    /// # Errors
    /// A full disk.
    pub(crate) fn add(&mut self, task: &mut Task, photo: Photo) -> Result<(), StageError> {
        self.held_bytes += photo.image.bytes.len();
        self.held.push(photo);
        self.written += 1;
        if self.held_bytes >= BATCH_BYTES || self.held.len() >= BATCH_ROWS {
            self.encode(task)?;
        }
        if self.part_bytes >= PART_BYTES {
            let writer = std::mem::replace(&mut self.writer, Self::writer(task)?);
            let own = task.partition().clone();
            task.write_part::<Photo>(&own, writer)?;
            (self.group_bytes, self.part_bytes) = (0, 0);
        }
        Ok(())
    }

    fn encode(&mut self, task: &Task) -> Result<(), StageError> {
        let rows = std::mem::take(&mut self.held);
        let batch = Photo::to_batch(rows, task.embedding_dims())?;
        self.writer.add(&batch)?;
        self.part_bytes += self.held_bytes;
        self.group_bytes += std::mem::take(&mut self.held_bytes);
        if self.group_bytes >= GROUP_BYTES {
            self.writer.end_group()?;
            self.group_bytes = 0;
        }
        Ok(())
    }

    /// Writes the last part, without rows only if `always`; how many photos there are in all.
    ///
    /// # Errors
    /// A full disk.
    pub(crate) fn finish(mut self, task: &mut Task, always: bool) -> Result<u64, StageError> {
        self.encode(task)?;
        let first = self.written == self.writer.rows();
        if self.writer.rows() > 0 || (always && first) {
            let own = task.partition().clone();
            task.write_part::<Photo>(&own, self.writer)?;
        }
        Ok(self.written)
    }
}
