//! `attempts/BUCKET/TIME-KEY.parquet`: when each url was asked for and what came. Times differ from run to run, so this is
//! beside the tables; one file for each result, and those of earlier results stay.

use std::collections::HashMap;

use laioncele_core::table::{Attempt, Candidate};
use laioncele_core::{CoreError, ImageId, PartWriter, Row, StageError, Task};
use laioncele_download::End;

use crate::known::Images;
use crate::outcomes::Entry;
use crate::reachability::host;

/// Rows of a row group.
const GROUP: usize = 16_384;
/// Rows encoded at once.
const HELD: usize = 1024;
/// Where these files lie, below the run's folder.
const FOLDER: &str = "attempts";

/// The attempts of one result, on their way to disk.
pub(crate) struct Attempts {
    writer: PartWriter,
    held: Vec<Attempt>,
    /// When the first one began, in milliseconds since 1970.
    first: Option<u64>,
}

impl Attempts {
    /// None yet.
    ///
    /// # Errors
    /// A full or read-only disk.
    pub(crate) fn new(task: &Task) -> Result<Self, StageError> {
        Ok(Self {
            writer: task.part_writer::<Attempt>(GROUP)?,
            held: Vec::new(),
            first: None,
        })
    }

    /// Adds the tries of a url. What was taken over from an earlier result is in that one's file.
    ///
    /// # Errors
    /// A full disk.
    pub(crate) fn add(
        &mut self,
        task: &Task,
        candidate: &Candidate,
        entry: &Entry,
    ) -> Result<(), StageError> {
        if entry.taken_over {
            return Ok(());
        }
        let row = |attempt: u32| Attempt {
            image_id: candidate.image_id,
            url: candidate.url.clone(),
            host: host(&candidate.url).unwrap_or_default(),
            attempt,
            started: 0,
            milliseconds: 0,
            reason: None,
            status: None,
            detail: None,
        };
        let (mut numbers, first) = (1.., self.held.len());
        self.held
            .extend(entry.outcome.tries.iter().map(|tried| Attempt {
                started: tried.at,
                milliseconds: tried.took,
                reason: tried.class,
                status: tried.status.map(u32::from),
                ..row(numbers.next().unwrap_or(u32::MAX))
            }));
        if self.held.len() == first {
            self.held.push(row(0));
        }
        if let (End::Dropped { reason, detail }, Some(last)) =
            (&entry.outcome.end, self.held.last_mut())
        {
            last.reason = Some(*reason);
            last.detail.clone_from(detail);
        }
        let began = entry.outcome.tries.first().map(|tried| tried.at);
        self.first = [self.first, began].into_iter().flatten().min();
        if self.held.len() >= HELD {
            self.encode(task)?;
        }
        Ok(())
    }

    fn encode(&mut self, task: &Task) -> Result<(), StageError> {
        let rows = std::mem::take(&mut self.held);
        let batch = Attempt::to_batch(rows, task.embedding_dims())?;
        Ok(self.writer.add(&batch)?)
    }

    /// Makes them a file, unless nobody was asked. Its name tells when asking began, so that a task that is done twice from
    /// one journal writes the same file twice.
    ///
    /// # Errors
    /// A full disk.
    pub(crate) fn finish(mut self, task: &Task) -> Result<(), StageError> {
        self.encode(task)?;
        if self.writer.rows() == 0 {
            return Ok(());
        }
        let (key, first) = (task.key().short(), self.first.unwrap_or(0));
        let path = format!("{FOLDER}/{}/{first:013}-{key}.parquet", task.partition());
        task.write_beside::<Attempt>(&path, self.writer)
    }
}

/// When the urls of `images` were last asked for, in milliseconds since 1970, by all attempts of the task's bucket.
///
/// # Errors
/// Damaged files.
pub(crate) fn last_asked(task: &Task, images: &Images) -> Result<HashMap<u64, u64>, StageError> {
    let mut last = HashMap::new();
    let store = task.store();
    for path in store.list(&format!("{FOLDER}/{}", task.partition()))? {
        let part = laioncele_core::Part {
            bytes: store.size(&path)?.ok_or_else(|| CoreError::Missing {
                path: store.shown(&path),
            })?,
            table: Attempt::TABLE,
            partition: task.partition().clone(),
            path,
            rows: 0,
            digest: task.key(),
        };
        for batch in task.read_columns::<Attempt>(&part, &["image_id", "started"])? {
            let batch = batch?;
            let ids: Vec<u64> = task.column(&batch, "image_id")?;
            let times: Vec<u64> = task.column(&batch, "started")?;
            for (id, time) in ids.into_iter().zip(times) {
                if images.contains(ImageId(id)) {
                    let known = last.entry(id).or_insert(time);
                    *known = time.max(*known);
                }
            }
        }
    }
    Ok(last)
}
