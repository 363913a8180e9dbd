//! What the connections of a server share.

use std::collections::HashMap;
use std::net::TcpStream;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use crate::web::Web;

/// What the connections of a server share.
pub(super) struct State {
    pub(super) web: Web,
    stopped: AtomicBool,
    /// Files that were served, by the key of their page. All files of a world take some megabytes.
    pub(super) files: Mutex<HashMap<String, Arc<[u8]>>>,
    /// How often each page that fails at first was requested.
    pub(super) visits: Mutex<HashMap<String, Visits>>,
    /// Open connections, so that a stopping server can close them.
    pub(super) open: Mutex<HashMap<u64, TcpStream>>,
}

/// The requests of a page.
#[derive(Clone, Copy)]
pub(super) struct Visits {
    pub(super) first: Instant,
    pub(super) count: u32,
    /// Whether one came back sooner than it was asked to.
    pub(super) too_early: bool,
}

impl Visits {
    /// None yet, of a page that is being requested for the first time.
    pub(super) fn now() -> Self {
        Self {
            first: Instant::now(),
            count: 0,
            too_early: false,
        }
    }
}

impl State {
    pub(super) fn new(web: Web) -> Self {
        Self {
            web,
            stopped: AtomicBool::new(false),
            files: Mutex::default(),
            visits: Mutex::default(),
            open: Mutex::default(),
        }
    }

    pub(super) fn stop(&self) {
        self.stopped.store(true, Ordering::SeqCst);
    }

    pub(super) fn is_stopped(&self) -> bool {
        self.stopped.load(Ordering::SeqCst)
    }
}

/// Locks `mutex`. A panicked connection leaves nothing half-done in these maps.
pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
