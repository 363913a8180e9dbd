//! What a worker says of a task while it does it.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use laioncele_core::protocol::FromWorker;
use laioncele_core::spec::Progress;
use laioncele_core::task::ProgressReporter;

use super::sender::MessageSender;

/// Shortest time between two progress messages.
const PROGRESS_INTERVAL: Duration = Duration::from_millis(500);

/// Sends a task's progress to the coordinator, at most twice a second.
pub(super) struct ThrottledProgress {
    id: u64,
    sender: MessageSender,
    last: Mutex<Option<Instant>>,
}

impl ThrottledProgress {
    /// Of the assignment `id`.
    pub(super) fn new(id: u64, sender: MessageSender) -> Self {
        Self {
            id,
            sender,
            last: Mutex::new(None),
        }
    }
}

impl ProgressReporter for ThrottledProgress {
    fn progress(&self, progress: Progress) {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        let due = last.is_none_or(|at| at.elapsed() >= PROGRESS_INTERVAL);
        if due {
            *last = Some(Instant::now());
            self.sender.send(&FromWorker::Progress {
                id: self.id,
                progress,
            });
        }
    }

    fn at_row(&self, row: Option<u64>) {
        let id = self.id;
        self.sender.send(&FromWorker::AtRow { id, row });
    }

    fn overdue(&self, row: Option<u64>, limit: Duration) {
        let (id, limit) = (self.id, limit.as_secs());
        self.sender.send(&FromWorker::Overdue { id, row, limit });
    }
}
