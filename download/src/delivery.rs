//! What has ended and waits for the caller's thread.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

use laioncele_web::{Failure, RoomShare};

use crate::item::{Attempt, Done, Item};

/// What an outcome holds until the caller has taken it: memory, and a place among the call's untaken ones.
pub(crate) struct Held {
    _share: RoomShare,
    untaken: Arc<AtomicUsize>,
}

impl Held {
    pub(crate) fn new(share: RoomShare, untaken: Arc<AtomicUsize>) -> Self {
        untaken.fetch_add(1, Ordering::Relaxed);
        Self {
            _share: share,
            untaken,
        }
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.untaken.fetch_sub(1, Ordering::Relaxed);
    }
}

/// An item that has ended, without its outcome.
pub(crate) struct Ended {
    pub(crate) item: Item,
    pub(crate) attempts: Vec<Attempt>,
    pub(crate) redirected_to: Option<String>,
}

/// Takes what arrived for a call, whatever it makes of it.
pub(crate) trait Deliver: Send + Sync {
    /// The bytes have arrived; called on a thread that may compute.
    fn bytes(&self, ended: Ended, bytes: Vec<u8>, held: Held);
    /// There are none, for good.
    fn failure(&self, ended: Ended, failure: Failure);
}

/// An item's end, and what it holds.
pub(crate) struct Outcome<T> {
    pub(crate) done: Done<T>,
    pub(crate) url_bytes: usize,
    pub(crate) held: Option<Held>,
}

/// Outcomes in the order in which items ended.
pub(crate) struct Outcomes<T> {
    ended: Mutex<Vec<Outcome<T>>>,
    some: Condvar,
}

impl<T> Default for Outcomes<T> {
    fn default() -> Self {
        Self {
            ended: Mutex::default(),
            some: Condvar::new(),
        }
    }
}

impl<T> Outcomes<T> {
    pub(crate) fn put(&self, ended: Ended, result: Result<T, Failure>, held: Option<Held>) {
        let outcome = Outcome {
            url_bytes: ended.item.url.len(),
            done: Done {
                id: ended.item.id,
                result,
                attempts: ended.attempts,
                redirected_to: ended.redirected_to,
            },
            held,
        };
        let mut ended = self.ended.lock().unwrap_or_else(PoisonError::into_inner);
        ended.push(outcome);
        if ended.len() == 1 {
            self.some.notify_one();
        }
    }

    /// Moves what there is into `to`, which is empty; waits for it for `at_most`.
    pub(crate) fn wait(&self, at_most: Duration, to: &mut Vec<Outcome<T>>) {
        let ended = self.ended.lock().unwrap_or_else(PoisonError::into_inner);
        let waited = self
            .some
            .wait_timeout_while(ended, at_most, |ended| ended.is_empty());
        let (mut ended, _) = waited.unwrap_or_else(PoisonError::into_inner);
        std::mem::swap(&mut *ended, to);
    }
}
