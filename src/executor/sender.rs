//! A worker's output, shared by its threads.

use std::cell::Cell;
use std::io::Write;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use laioncele_core::protocol::{FromWorker, lines};

thread_local! {
    /// The assignment that this thread works on.
    static TASK: Cell<Option<u64>> = const { Cell::new(None) };
}

/// A worker's output.
#[derive(Clone)]
pub(crate) struct MessageSender {
    output: Arc<Mutex<Box<dyn Write + Send>>>,
    /// The assignment that all threads work on, while there is only one.
    only: Arc<Mutex<Option<u64>>>,
}

/// Which threads work on an assignment.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Threads {
    /// This one.
    This,
    /// All of the process: it is the only one.
    All,
}

/// While it lives, log lines are about the assignment.
pub(super) struct OnTask {
    only: Option<MessageSender>,
}

impl MessageSender {
    /// Sends to `output`.
    pub(crate) fn new(output: Box<dyn Write + Send>) -> Self {
        Self {
            output: Arc::new(Mutex::new(output)),
            only: Arc::default(),
        }
    }

    /// Sends a message. Errors are ignored: if the coordinator is gone, the input ends too, and the
    /// worker exits.
    pub(crate) fn send(&self, message: &FromWorker) {
        let _ = lines::write(&mut *lock(&self.output), message);
    }

    /// Sends a line for the log, about the assignment that is worked on.
    pub(crate) fn log(&self, level: String, text: String) {
        let id = TASK.get().or(*lock(&self.only));
        self.send(&FromWorker::Log { id, level, text });
    }

    /// Begins to work on assignment `id`.
    pub(super) fn on_task(&self, id: u64, threads: Threads) -> OnTask {
        TASK.set(Some(id));
        let only = (threads == Threads::All).then(|| self.clone());
        if let Some(sender) = &only {
            *lock(&sender.only) = Some(id);
        }
        OnTask { only }
    }
}

impl Drop for OnTask {
    fn drop(&mut self) {
        TASK.set(None);
        if let Some(sender) = &self.only {
            *lock(&sender.only) = None;
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::io::{self, BufReader};

    use super::*;

    #[test]
    fn log_lines_are_about_the_task_of_their_thread() {
        let (read, write) = io::pipe().expect("a pipe");
        let sender = MessageSender::new(Box::new(write));
        let say = |sender: &MessageSender| sender.log("info".to_owned(), "x".to_owned());
        let elsewhere = || std::thread::scope(|scope| scope.spawn(|| say(&sender)).join());
        say(&sender);
        let alone = sender.on_task(1, Threads::All);
        elsewhere().expect("no panic");
        drop(alone);
        let beside = sender.on_task(2, Threads::This);
        say(&sender);
        elsewhere().expect("no panic");
        drop(beside);
        say(&sender);
        drop(sender);
        let mut reader = BufReader::new(read);
        let said = std::iter::from_fn(|| lines::read(&mut reader).expect("a message"));
        let ids: Vec<Option<u64>> = said
            .map(|message| match message {
                FromWorker::Log { id, .. } => id,
                other => panic!("{other:?}"),
            })
            .collect();
        assert_eq!(ids, [None, Some(1), Some(2), None, None]);
    }
}
