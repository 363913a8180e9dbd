//! The memory that decoders take together: photos wait for it before they are decoded.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

/// A budget of bytes for the decoders of a process. Whoever needs more than there is waits for all others to be done and
/// goes alone.
pub(crate) struct PixelRoom {
    whole: u64,
    taken: Mutex<u64>,
    given_back: Condvar,
    /// Held by the one that waits, so that the others wait behind it and it is not overtaken for ever.
    turn: Mutex<()>,
}

/// What one decoder has of a [`PixelRoom`], given back when this is dropped.
pub(crate) struct PixelShare<'a> {
    room: &'a PixelRoom,
    bytes: u64,
}

/// Less than this is not worth waiting for.
const SMALL: u64 = 1 << 20;

impl PixelRoom {
    /// A budget of `bytes`.
    pub(crate) const fn new(bytes: u64) -> Self {
        Self {
            whole: bytes,
            taken: Mutex::new(0),
            given_back: Condvar::new(),
            turn: Mutex::new(()),
        }
    }

    /// Waits until there are `bytes`. Not to be called by whoever holds a share.
    pub(crate) fn take(&self, bytes: u64) -> PixelShare<'_> {
        let bytes = match bytes {
            ..SMALL => 0,
            bytes => bytes.min(self.whole),
        };
        if bytes > 0 {
            let _turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
            let full = |taken: &mut u64| *taken + bytes > self.whole;
            let waited = self.given_back.wait_while(self.taken(), full);
            *waited.unwrap_or_else(PoisonError::into_inner) += bytes;
        }
        PixelShare { room: self, bytes }
    }

    fn taken(&self) -> MutexGuard<'_, u64> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for PixelShare<'_> {
    fn drop(&mut self) {
        if self.bytes > 0 {
            *self.room.taken() -= self.bytes;
            self.room.given_back.notify_all();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};

    use super::*;

    #[test]
    fn decoders_keep_to_the_budget_together() {
        let room = PixelRoom::new(100 << 20);
        let (now, most) = (AtomicU64::new(0), AtomicU64::new(0));
        std::thread::scope(|scope| {
            for number in 0..8_u64 {
                let (room, now, most) = (&room, &now, &most);
                scope.spawn(move || {
                    for step in 0..50 {
                        let bytes = ((number * 31 + step * 17) % 100 + 1) << 20;
                        let _share = room.take(bytes);
                        let sum = now.fetch_add(bytes, Ordering::SeqCst) + bytes;
                        most.fetch_max(sum, Ordering::SeqCst);
                        std::thread::yield_now();
                        now.fetch_sub(bytes, Ordering::SeqCst);
                    }
                });
            }
        });
        let most = most.load(Ordering::SeqCst);
        assert!(most > 0 && most <= 100 << 20, "{most}");
    }

    #[test]
    fn one_that_needs_more_than_all_goes_alone_and_small_ones_do_not_wait() {
        let room = PixelRoom::new(10 << 20);
        let alone = room.take(1 << 40);
        assert_eq!(*room.taken(), 10 << 20);
        drop(room.take(1000));
        drop(alone);
        assert_eq!(*room.taken(), 0);
    }
}
