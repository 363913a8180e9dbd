//! What is known of the bucket's urls so far, on disk: a journal that outlives a killed task.

use std::collections::HashMap;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use laioncele_core::ledger::Record;
use laioncele_core::store::Store;
use laioncele_core::{CoreError, ImageId, StageError, Task};
use laioncele_download::{End, Journal, JournalError, Outcome, Place};
use serde::{Deserialize, Serialize};

use crate::known::Images;

/// Where journals lie, below the run's folder.
const FOLDER: &str = "cache/downloads";
const EXTENSION: &str = "journal";
/// What stands in a journal's name before the attempt whose failures are tried again.
const AFTER: &str = "-after-";

/// How long another process may still have a journal open: a worker ends a moment after the run that started it was killed.
const LAST_OWNER: Duration = Duration::from_secs(15);

/// How a url ended. The bytes of a photo are the entry's body.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Entry {
    #[serde(flatten)]
    pub(crate) outcome: Outcome,
    /// Whether it was taken over from an earlier result, so that nobody was asked.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) taken_over: bool,
}

impl Entry {
    /// An outcome that nobody had to be asked for.
    pub(crate) fn taken_over(end: End) -> Self {
        Self {
            taken_over: true,
            ..Self::unasked(end)
        }
    }

    /// An outcome without any try.
    pub(crate) fn unasked(end: End) -> Self {
        Self {
            outcome: Outcome {
                end,
                tries: Vec::new(),
                redirected_to: None,
            },
            taken_over: false,
        }
    }
}

/// The outcomes of a task.
pub(crate) struct Outcomes {
    journal: Journal,
    /// Entries at the start of the journal's index that are in the order of images, the last of each alone.
    sorted: usize,
}

impl Outcomes {
    /// What an interrupted attempt at this task left, or nothing yet. `after` names the attempt whose failures are tried
    /// again; empty for a first result.
    ///
    /// # Errors
    /// A full or read-only disk; a journal that another process has open.
    pub(crate) fn open(task: &Task, after: &str) -> Result<Self, StageError> {
        let after = match after {
            "" => String::new(),
            attempt => format!("{AFTER}{attempt}"),
        };
        let name = format!("{}{after}.{EXTENSION}", task.key());
        let folder = task.store().local_path(FOLDER);
        std::fs::create_dir_all(&folder).map_err(|e| CoreError::from_io(&folder, e))?;
        let journal = opened(&folder.join(name), &task.cancelled())?;
        Ok(Self { journal, sorted: 0 })
    }

    /// Adds how the url of `image` ended. The last entry of an image counts.
    ///
    /// # Errors
    /// A full disk. What was added before is kept.
    pub(crate) fn add(
        &mut self,
        image: ImageId,
        entry: &Entry,
        bytes: &[u8],
    ) -> Result<(), StageError> {
        let added = self.journal.append(image.0, entry, bytes);
        added.map_err(StageError::environment)
    }

    /// Makes room for so many more outcomes: an index that grows by itself takes up to twice as much.
    pub(crate) fn reserve(&mut self, outcomes: usize) {
        self.journal.reserve(outcomes);
    }

    /// How many entries there are.
    pub(crate) fn len(&self) -> usize {
        self.journal.places().len()
    }

    /// The images whose urls have ended.
    pub(crate) fn images(&self) -> Images {
        Images::new(self.journal.places().iter().map(|p| p.id).collect())
    }

    /// How the url of `image` ended, and where its bytes are; none where it has not.
    ///
    /// # Errors
    /// A damaged journal.
    pub(crate) fn find(&mut self, image: ImageId) -> Result<Option<(Entry, Place)>, StageError> {
        if self.sorted < self.len() {
            self.journal.sort().map_err(StageError::environment)?;
            self.sorted = self.len();
        }
        let places = self.journal.places();
        let found = places.binary_search_by_key(&image.0, |place| place.id);
        let Ok(at) = found else {
            return Ok(None);
        };
        let place = places[at];
        let head = self.journal.head(&place).map_err(StageError::environment)?;
        Ok(Some((head, place)))
    }

    /// The bytes of a photo.
    ///
    /// # Errors
    /// A damaged journal.
    pub(crate) fn bytes(&mut self, place: &Place) -> Result<Vec<u8>, StageError> {
        self.journal.body(place).map_err(StageError::environment)
    }

    /// Deletes the journal, once committed parts hold all of it. Where that fails, the next run does it ([`prune`]).
    pub(crate) fn delete(self) {
        if let Err(error) = self.journal.delete() {
            tracing::debug!("{}", laioncele_core::error::chain(&error));
        }
    }
}

/// Deletes the journals of tasks that are committed: `records` are those of this step. Only for who holds the run's lock.
///
/// # Errors
/// [`CoreError::Io`].
pub fn prune<'a>(
    store: &Store,
    records: impl Iterator<Item = &'a Record>,
) -> Result<(), CoreError> {
    let folder = store.local_path(FOLDER);
    let committed: HashMap<String, &str> = records
        .map(|record| (record.key.to_string(), record.attempt.as_str()))
        .collect();
    let entries = match std::fs::read_dir(&folder) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        entries => entries.map_err(|e| CoreError::from_io(&folder, e))?,
    };
    for entry in entries {
        let path = entry.map_err(|e| CoreError::from_io(&folder, e))?.path();
        if is_done(&path, &committed) {
            std::fs::remove_file(&path).map_err(|e| CoreError::from_io(&path, e))?;
        }
    }
    Ok(())
}

/// Whether what the journal is for has been committed.
fn is_done(path: &Path, committed: &HashMap<String, &str>) -> bool {
    let name = path.file_stem().unwrap_or_default().to_string_lossy();
    if path.extension().is_none_or(|e| e != EXTENSION) {
        return false;
    }
    match name.split_once(AFTER) {
        None => committed.contains_key(&*name),
        // Another attempt than the one to be replaced stands there: it has been.
        Some((key, replaced)) => committed.get(key).is_some_and(|now| *now != replaced),
    }
}

/// The journal at `path`, which another process may be about to leave.
fn opened(path: &Path, cancelled: &AtomicBool) -> Result<Journal, StageError> {
    let begun = Instant::now();
    loop {
        match Journal::open(path) {
            Err(JournalError::Locked { .. }) if begun.elapsed() < LAST_OWNER => {
                if cancelled.load(Ordering::Relaxed) {
                    return Err(StageError::Cancelled);
                }
                std::thread::sleep(Duration::from_millis(50));
            }
            opened => return opened.map_err(StageError::environment),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn journals_of_committed_tasks_are_done_with() {
        let committed = HashMap::from([("aa".to_owned(), "run-7")]);
        let done = |name: &str| is_done(Path::new(name), &committed);
        assert!(done("x/aa.journal") && done("aa-after-run-3.journal"));
        for kept in [
            "bb.journal",
            "aa-after-run-7.journal",
            "aa.txt",
            "bb-after-run-7.journal",
        ] {
            assert!(!done(kept), "{kept}");
        }
    }

    #[test]
    fn entries_of_both_kinds_come_back_from_their_json() -> serde_json::Result<()> {
        let end = End::Dropped {
            reason: laioncele_core::DropReason::Dns,
            detail: None,
        };
        for entry in [Entry::taken_over(end.clone()), Entry::unasked(end)] {
            let text = serde_json::to_string(&entry)?;
            assert_eq!(serde_json::from_str::<Entry>(&text)?, entry);
        }
        Ok(())
    }
}
