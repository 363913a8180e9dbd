//! The threads that decode, apart from those that drive sockets.

use std::collections::VecDeque;
use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

/// What a thread does.
pub(crate) type Job = Box<dyn FnOnce() + Send>;

/// A few threads that take jobs in the order in which they came. Idle threads sleep. Jobs that have not begun when the pool
/// is dropped never run.
pub(crate) struct Pool {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
}

#[derive(Default)]
struct Shared {
    queue: Mutex<Queue>,
    changed: Condvar,
}

#[derive(Default)]
struct Queue {
    jobs: VecDeque<Job>,
    closed: bool,
}

impl Pool {
    /// A pool of `threads` threads, one at least.
    ///
    /// # Errors
    /// No thread can be started.
    pub(crate) fn new(threads: usize) -> std::io::Result<Self> {
        let shared = Arc::new(Shared::default());
        let mut pool = Self {
            shared: shared.clone(),
            threads: Vec::new(),
        };
        for number in 0..threads.max(1) {
            let shared = shared.clone();
            let name = format!("photos-{number}");
            let thread = std::thread::Builder::new().name(name);
            pool.threads.push(thread.spawn(move || work(&shared))?);
        }
        Ok(pool)
    }

    /// A handle to give jobs with, which does not keep the threads alive.
    pub(crate) fn queue(&self) -> Jobs {
        Jobs(self.shared.clone())
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        {
            let mut queue = self.shared.lock();
            queue.closed = true;
            // Dropped outside the lock below: a job's captures may run code.
            let jobs = std::mem::take(&mut queue.jobs);
            drop(queue);
            drop(jobs);
        }
        self.shared.changed.notify_all();
        let this = std::thread::current().id();
        for thread in self.threads.drain(..).filter(|t| t.thread().id() != this) {
            // A job's panic was caught, so that there is nothing to learn here.
            let _ = thread.join();
        }
    }
}

/// Where jobs for a [`Pool`] are put.
#[derive(Clone)]
pub(crate) struct Jobs(Arc<Shared>);

impl Jobs {
    /// Puts a job at the end of the queue; after the pool's end it is dropped.
    pub(crate) fn put(&self, job: Job) {
        let mut queue = self.0.lock();
        if !queue.closed {
            queue.jobs.push_back(job);
            drop(queue);
            self.0.changed.notify_one();
        }
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn next(&self) -> Option<Job> {
        let mut queue = self.lock();
        loop {
            if queue.closed {
                return None;
            }
            if let Some(job) = queue.jobs.pop_front() {
                return Some(job);
            }
            queue = self
                .changed
                .wait(queue)
                .unwrap_or_else(PoisonError::into_inner);
        }
    }
}

fn work(shared: &Shared) {
    while let Some(job) = shared.next() {
        // Jobs report their own panics; this only keeps the thread.
        let _ = std::panic::catch_unwind(AssertUnwindSafe(job));
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    #[test]
    fn jobs_run_in_order_and_outlive_a_panic() {
        let pool = Pool::new(1).expect("a thread");
        let (sender, receiver) = mpsc::channel();
        for number in 0..10 {
            let sender = sender.clone();
            pool.queue().put(Box::new(move || {
                assert!(number != 3, "a panic that costs one job");
                sender.send(number).expect("a receiver");
            }));
        }
        drop(sender);
        assert_eq!(
            receiver.iter().collect::<Vec<_>>(),
            [0, 1, 2, 4, 5, 6, 7, 8, 9]
        );
    }

    #[test]
    fn a_dropped_pool_joins_its_threads_and_takes_no_more() {
        let pool = Pool::new(3).expect("threads");
        let queue = pool.queue();
        drop(pool);
        let (sender, receiver) = mpsc::channel::<()>();
        queue.put(Box::new(move || drop(sender)));
        assert!(receiver.recv().is_err());
    }
}
