//! A worker on another machine leaves when its coordinator says nothing any more.
//!
//! Normally the end of a worker's input tells it that the coordinator is gone. Where what leads to a worker is lost without a
//! word (a cut network, an `srun` that was killed), the end never comes, and the worker would keep its processors, memory
//! and GPU from others for ever. The coordinator speaks to each worker at least every half a minute
//! ([`heartbeat`](super::heartbeat)), as long as it does nothing else for long.

use std::io::{self, Read};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

/// Silence after which a worker leaves. Generous: between two steps the coordinator may plan or publish for minutes.
pub(crate) const LEAVE_AFTER: Duration = Duration::from_mins(15);
/// What was said while this process was stopped is read within this time.
const SECOND_LOOK: Duration = Duration::from_secs(5);

/// A worker's input, of which it is known when something last came.
pub(crate) struct Watched<R> {
    input: R,
    heard: Arc<Mutex<Instant>>,
}

/// Reads `input`, and calls `leave` when nothing has come for `patience`.
///
/// # Errors
/// If the watching thread does not start.
pub(crate) fn watch<R>(
    input: R,
    patience: Duration,
    leave: impl FnOnce() + Send + 'static,
) -> io::Result<Watched<R>> {
    let heard = Arc::new(Mutex::new(Instant::now()));
    let watched = Arc::downgrade(&heard);
    std::thread::Builder::new()
        .name("silence".to_owned())
        .spawn(move || {
            if wait_for_silence(&watched, patience) {
                leave();
            }
        })?;
    Ok(Watched { input, heard })
}

/// Whether nothing came for `patience` at last; not if nobody reads any more.
fn wait_for_silence(heard: &Weak<Mutex<Instant>>, patience: Duration) -> bool {
    let mut looked = false;
    loop {
        let Some(silence) = heard.upgrade().map(|heard| lock(&heard).elapsed()) else {
            return false;
        };
        let rest = patience.checked_sub(silence);
        if rest.is_none() && looked {
            return true;
        }
        looked = rest.is_none();
        std::thread::sleep(rest.unwrap_or(SECOND_LOOK.min(patience)));
    }
}

impl<R: Read> Read for Watched<R> {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        let read = self.input.read(bytes)?;
        *lock(&self.heard) = Instant::now();
        Ok(read)
    }
}

fn lock(heard: &Mutex<Instant>) -> MutexGuard<'_, Instant> {
    heard.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::sync::mpsc::channel;

    use super::*;

    #[test]
    fn a_worker_leaves_once_nothing_comes() {
        let (reader, mut writer) = io::pipe().expect("a pipe");
        let (left, leaves) = channel();
        let patience = Duration::from_millis(300);
        let leave = move || left.send(()).expect("a listener");
        let mut input = watch(reader, patience, leave).expect("watched");
        let mut byte = [0];
        for _ in 0..4 {
            writer.write_all(b"x").expect("written");
            input.read_exact(&mut byte).expect("read");
        }
        let heard = *lock(&input.heard);
        leaves.recv().expect("left");
        assert!(heard.elapsed() >= patience);
    }

    #[test]
    fn nobody_leaves_whose_input_ended() {
        let (left, leaves) = channel::<()>();
        let leave = move || left.send(()).expect("a listener");
        drop(watch(io::empty(), Duration::from_millis(10), leave).expect("watched"));
        assert!(leaves.recv().is_err(), "the watch ended without a word");
    }
}
