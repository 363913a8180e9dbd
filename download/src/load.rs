//! How much may be under way at once: so many requests, so many bytes.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Bodies per decoding thread that may wait for it before no more requests begin.
const WAITING_PER_THREAD: usize = 128;
/// What a body is taken to have until some have come.
const FIRST_GUESS: usize = 256 << 10;
/// Requests that are under way however large bodies are.
const ALWAYS: usize = 8;

/// Decides whether one more request may begin.
pub(crate) struct Load {
    concurrency: usize,
    memory: usize,
    waiting_limit: usize,
    waiting: Arc<AtomicUsize>,
    /// A moving average of the bytes of a body.
    typical: usize,
}

/// A body that waits to be decoded.
pub(crate) struct Waiting(Arc<AtomicUsize>);

impl Load {
    pub(crate) fn new(concurrency: usize, memory: usize, threads: usize) -> Self {
        Self {
            concurrency: concurrency.max(1),
            memory,
            waiting_limit: threads.max(1) * WAITING_PER_THREAD,
            waiting: Arc::default(),
            typical: FIRST_GUESS,
        }
    }

    /// Whether one more may begin beside `under_way`.
    pub(crate) fn has_room(&self, under_way: usize) -> bool {
        let by_bytes = (self.memory / self.typical.max(1)).max(ALWAYS);
        under_way < self.concurrency.min(by_bytes)
            && self.waiting.load(Ordering::Relaxed) < self.waiting_limit
    }

    /// A body has come.
    pub(crate) fn came(&mut self, bytes: usize) -> Waiting {
        // The mean of about the last 64.
        self.typical = self.typical - self.typical / 64 + bytes / 64;
        self.waiting.fetch_add(1, Ordering::Relaxed);
        Waiting(self.waiting.clone())
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn large_bodies_leave_room_for_fewer_requests() {
        let mut load = Load::new(1000, 100 << 20, 1);
        assert!(load.has_room(300));
        for _ in 0..1000 {
            drop(load.came(10 << 20));
        }
        assert!(load.has_room(7));
        assert!(!load.has_room(12));
        for _ in 0..1000 {
            drop(load.came(20 << 10));
        }
        assert!(load.has_room(999));
        assert!(!load.has_room(1000));
    }

    #[test]
    fn bodies_that_wait_hold_requests_back() {
        let mut load = Load::new(1000, 100 << 20, 1);
        let waiting: Vec<_> = (0..WAITING_PER_THREAD).map(|_| load.came(1000)).collect();
        assert!(!load.has_room(0));
        drop(waiting);
        assert!(load.has_room(0));
    }
}
