//! The memory that bodies under way may take together, in bytes.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// A budget of bytes that all bodies under way share. Whoever needs more than is free waits; one at a time may go beyond
/// the budget, so that bodies which wait for each other cannot last.
#[derive(Clone)]
pub struct Room {
    free: Arc<Semaphore>,
    beyond: Arc<Semaphore>,
}

/// The bytes that one body holds of a [`Room`], given back when this is dropped.
pub struct RoomShare {
    room: Room,
    held: Vec<OwnedSemaphorePermit>,
    bytes: usize,
}

/// One permit stands for so many bytes.
const UNIT: usize = 1024;

impl Room {
    /// A budget of `bytes`.
    pub fn new(bytes: usize) -> Self {
        let units = (bytes / UNIT).clamp(1, Semaphore::MAX_PERMITS);
        Self {
            free: Arc::new(Semaphore::new(units)),
            beyond: Arc::new(Semaphore::new(1)),
        }
    }

    /// An empty share.
    pub fn share(&self) -> RoomShare {
        RoomShare {
            room: self.clone(),
            held: Vec::new(),
            bytes: 0,
        }
    }
}

impl RoomShare {
    /// Waits until the share may hold `bytes` in all. What it has already is kept.
    pub async fn grow_to(&mut self, bytes: usize) {
        if bytes <= self.bytes {
            return;
        }
        let units = u32::try_from((bytes - self.bytes).div_ceil(UNIT)).unwrap_or(u32::MAX);
        let free = self.room.free.clone().acquire_many_owned(units);
        let beyond = self.room.beyond.clone().acquire_owned();
        // Neither semaphore is ever closed.
        let permit = tokio::select! {
            biased;
            permit = free => permit,
            permit = beyond => {
                // It may go on as far as it wants: the pass for one is held until the body is dropped.
                self.bytes = usize::MAX;
                permit
            }
        };
        self.held.extend(permit.ok());
        if self.bytes != usize::MAX {
            self.bytes += units as usize * UNIT;
        }
    }
}
