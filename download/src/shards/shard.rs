//! One shard: what is still to be asked for, the asking, and the writing once all rows have ended.
//!
//! A shard's files appear in this order: photos, status, statistics. Then its journal goes. A kill in between leaves the
//! journal, from which the next run writes all of them again.

use std::collections::HashMap;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use super::ShardSettings;
use super::carried::Carried;
use super::error::ShardError;
use super::folder::ShardFolder;
use super::photos::Photo;
use super::row::ShardRows;
use super::stats::ShardStats;
use super::status::{self, StatusRow};
use super::tally::Tally;
use crate::journal::{Journal, JournalError, Place};
use crate::outcome::Outcome;
use crate::photo::{check, check_hash, shrink};
use crate::{Done, Engine, Item};

/// What all shards of a download share.
pub(crate) struct Work<'a> {
    pub(crate) folder: &'a ShardFolder,
    pub(crate) engine: &'a Engine,
    pub(crate) settings: &'a ShardSettings,
    pub(crate) tally: &'a Tally,
    pub(crate) stop: &'a AtomicBool,
    /// Held by the shard that is being written: writing is the disk's work, and takes memory.
    pub(crate) writing: &'a Mutex<()>,
}

/// The files of a shard.
struct Paths {
    photos: PathBuf,
    status: PathBuf,
    stats: PathBuf,
    journal: PathBuf,
}

impl Work<'_> {
    /// Brings a shard to its end: done, or interrupted with its journal on disk.
    pub(crate) fn shard(&self, shard: ShardRows) -> Result<(), ShardError> {
        let paths = self.paths(&shard);
        let start = SystemTime::now();
        let before = ShardStats::read(&paths.stats)?;
        if let Some(stats) = before.as_ref().filter(|s| !self.has_more(s, &paths)) {
            self.tally.add_before(stats.count);
            self.tally.add_shard(stats, false);
            return Ok(());
        }
        let before = match before {
            Some(_) => Some(status::read(&paths.status, &shard)?),
            None => None,
        };
        let mut journal = Journal::open(&paths.journal)?;
        let shard = Arc::new(shard);
        let todo = self.todo(&shard, before.as_deref(), &journal);
        let done_before = shard.rows.len() - todo.len();
        self.tally.add_before(done_before as u64);
        let ended = self.ask(&shard, &todo, &mut journal)?;
        journal.flush()?;
        if ended < todo.len() && self.stop.load(Ordering::Relaxed) {
            return Ok(());
        }
        let _writing = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(rows) = self.write(&shard, before, &mut journal, &paths)? else {
            return Ok(());
        };
        status::write(&paths.status, &shard, &rows, self.settings.rows_per_shard)?;
        let stats = ShardStats::of(&rows, start);
        stats.write(&paths.stats)?;
        journal.delete()?;
        self.tally.add_shard(&stats, true);
        Ok(())
    }

    fn paths(&self, shard: &ShardRows) -> Paths {
        let (folder, name) = (self.folder.path(), shard.name());
        Paths {
            photos: self.settings.format.path(folder, &name),
            status: folder.join(format!("{name}_status.parquet")),
            stats: folder.join(format!("{name}_stats.json")),
            journal: folder.join(format!("{name}.journal")),
        }
    }

    /// Whether there is something to do for a finished shard: rows to ask for again, or outcomes of an interrupted retry.
    fn has_more(&self, stats: &ShardStats, paths: &Paths) -> bool {
        let mut classes = self.settings.retry.iter();
        classes.any(|class| stats.status_dict.contains_key(class.as_str()))
            || paths.journal.exists()
    }

    /// The rows that are to be asked for: of a finished shard, those of the classes to retry.
    fn todo(
        &self,
        shard: &ShardRows,
        before: Option<&[StatusRow]>,
        journal: &Journal,
    ) -> Vec<usize> {
        let ended: HashMap<u64, Place> = latest(journal);
        let wanted = |row: &usize| match before {
            Some(before) => {
                let reason = before[*row].reason;
                reason.is_some_and(|reason| self.settings.retry.contains(&reason))
            }
            None => true,
        };
        (0..shard.rows.len())
            .filter(|row| shard.rows[*row].fault.is_none())
            .filter(wanted)
            .filter(|row| !ended.contains_key(&shard.entry(*row)))
            .collect()
    }

    /// Asks for `rows`; outcomes go to the journal. How many have ended.
    fn ask(
        &self,
        shard: &Arc<ShardRows>,
        rows: &[usize],
        journal: &mut Journal,
    ) -> Result<usize, ShardError> {
        let items = rows.iter().map(|row| Item {
            id: *row as u64,
            url: shard.rows[*row].url.clone().unwrap_or_default(),
        });
        let (rules, check_hashes, list) =
            (self.settings.rules, self.settings.check_hash, shard.clone());
        let smaller = self.settings.shrink;
        let process = move |item: &Item, bytes: Vec<u8>| {
            let row = list.rows.get(item.id as usize);
            if let Some(hash) = row
                .and_then(|row| row.hash.as_deref())
                .filter(|_| check_hashes)
            {
                check_hash(&bytes, hash)?;
            }
            match smaller {
                Some(smaller) => shrink(bytes, &rules, smaller),
                None => check(bytes, &rules),
            }
        };
        let (mut ended, mut failed): (usize, Option<JournalError>) = (0, None);
        let sink = |done: Done<_>| {
            let entry = shard.entry(done.id as usize);
            let (outcome, bytes) = Outcome::of(done);
            self.tally.add(&outcome, bytes.len());
            match journal.append(entry, &outcome, &bytes) {
                Ok(()) => {
                    ended += 1;
                    ControlFlow::Continue(())
                }
                Err(error) => {
                    failed = Some(error);
                    ControlFlow::Break(())
                }
            }
        };
        self.engine.download(items, process, sink, self.stop);
        match failed {
            Some(error) => Err(error.into()),
            None => Ok(ended),
        }
    }

    /// Writes the photos; what became of each row. None where it was interrupted.
    fn write(
        &self,
        shard: &ShardRows,
        mut before: Option<Vec<StatusRow>>,
        journal: &mut Journal,
        paths: &Paths,
    ) -> Result<Option<Vec<StatusRow>>, ShardError> {
        let format = self.settings.format;
        let places = latest(journal);
        let mut carried = match before {
            Some(_) => Some(Carried::open(format, &paths.photos)?),
            None => None,
        };
        let mut photos = format.begin(&paths.photos, carried.is_some())?;
        let mut statuses = Vec::with_capacity(shard.rows.len());
        for (number, row) in shard.rows.iter().enumerate() {
            if self.stop.load(Ordering::Relaxed) {
                return Ok(None);
            }
            let key = shard.key(number, self.settings.rows_per_shard);
            let earlier = before
                .as_mut()
                .map(|rows| std::mem::take(&mut rows[number]));
            let (status, bytes) = match (places.get(&shard.entry(number)), &row.fault, earlier) {
                (_, Some((reason, detail)), _) => (StatusRow::fault(*reason, detail), None),
                (Some(place), ..) => {
                    let status = StatusRow::of(journal.head(place)?, place.body_len());
                    let bytes = status.reason.is_none().then(|| journal.body(place));
                    (status, bytes.transpose()?)
                }
                (None, None, Some(earlier)) => {
                    let bytes = match carried.as_mut().filter(|_| earlier.reason.is_none()) {
                        Some(carried) => carried.photo(&key)?,
                        None => None,
                    };
                    (earlier, bytes)
                }
                (None, None, None) => return Err(unended(&paths.journal)),
            };
            if let Some(bytes) = &bytes {
                photos.push(&Photo {
                    key: &key,
                    row,
                    status: &status,
                    bytes,
                })?;
            }
            statuses.push(status);
        }
        photos.finish()?;
        Ok(Some(statuses))
    }
}

/// The last entry of each row.
fn latest(journal: &Journal) -> HashMap<u64, Place> {
    let places = journal.places().iter();
    places.map(|place| (place.id, *place)).collect()
}

/// Every row has ended when a shard is written, so this is a defect, or a journal that somebody changed meanwhile.
fn unended(journal: &Path) -> ShardError {
    ShardError::Damaged {
        path: journal.to_owned(),
        reason: "the outcome of a row is missing".to_owned(),
    }
}
