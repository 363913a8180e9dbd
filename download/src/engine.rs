//! Many urls at once: what a caller sees.

use std::ops::ControlFlow;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use laioncele_core::spec::HostMap;
use laioncele_core::{DropReason, StageError};
use laioncele_web::{Client, Failure};

use crate::allocator::give_back_large_blocks;
use crate::cpu::Pool;
use crate::delivery::{Deliver, Ended, Held, Outcomes};
use crate::item::{Done, Item};
use crate::settings::EngineSettings;
use crate::traffic::Traffic;

/// Items that are taken from the calls' iterators before they have their turn, at most: hosts are interleaved among these,
/// so that one host's urls leave room for others as long as there are fewer of them in a row. All calls share them, but
/// each may have an eighth however many the others have.
pub const LOOK_AHEAD: usize = 32_768;
/// And bytes of their urls.
const LOOK_AHEAD_BYTES: usize = 8 << 20;
/// What each call may have of both, whatever the others have.
const OWN_SHARE: usize = 8;
/// Items taken at once, before outcomes are looked at again.
const TAKEN_AT_ONCE: usize = 512;
/// How long a caller sleeps at most before it looks whether it is cancelled.
const NAP: Duration = Duration::from_millis(100);

/// Downloads. One is shared by all tasks of a worker, which may use it at the same time.
pub struct Engine {
    traffic: Arc<Traffic>,
    runtime: Option<tokio::runtime::Runtime>,
    /// What all calls have taken.
    taken: Taken,
    _pool: Pool,
}

impl Engine {
    /// An engine whose hosts under `map` all lead to one address. The process gives large blocks of memory back as soon as
    /// they are freed from then on.
    ///
    /// # Errors
    /// What the client says; the shared folder cannot be made; no threads can be started.
    pub fn new(mut settings: EngineSettings, map: Option<HostMap>) -> Result<Self, StageError> {
        give_back_large_blocks();
        settings.concurrency = crate::files::requests(settings.concurrency);
        let client = Client::new(settings.web.clone(), map)?;
        let pool = Pool::new(settings.threads).map_err(StageError::environment)?;
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(settings.threads.div_ceil(4).clamp(1, 4))
            .thread_name("sockets")
            .enable_all()
            .build()
            .map_err(StageError::environment)?;
        let handle = runtime.handle().clone();
        let traffic = Traffic::new(settings, client, handle, pool.queue())
            .map_err(StageError::environment)?;
        runtime.spawn(traffic.clone().clock());
        Ok(Self {
            traffic,
            runtime: Some(runtime),
            taken: Taken::default(),
            _pool: pool,
        })
    }

    /// Downloads `items`, which are taken as there is room for them ([`LOOK_AHEAD`] at most wait for their turn).
    /// `process` gets the bytes on a thread that may compute; a panic in it costs that item (`corrupt`). `sink` gets each
    /// outcome on the caller's thread, in the order in which they end, and may break off. Ends when all items have ended,
    /// `sink` breaks off, or `cancelled` is set (what is under way is then discarded).
    pub fn download<T: Send + 'static>(
        &self,
        items: impl Iterator<Item = Item>,
        process: impl Fn(&Item, Vec<u8>) -> Result<T, Failure> + Send + Sync + 'static,
        mut sink: impl FnMut(Done<T>) -> ControlFlow<()>,
        cancelled: &AtomicBool,
    ) {
        let outcomes = Arc::new(Outcomes::default());
        let delivery = Arc::new(Delivery {
            process,
            outcomes: outcomes.clone(),
        });
        // Closes the call on every way out, a panic of `sink` included.
        let call = self.traffic.open(delivery);
        let mut intake = Intake::new(items, &self.taken);
        let mut done = Vec::new();
        while !cancelled.load(Ordering::Relaxed) {
            let batch = intake.take();
            let more = batch.len() == TAKEN_AT_ONCE;
            call.ask(batch);
            if intake.is_over() {
                return;
            }
            outcomes.wait(if more { Duration::ZERO } else { NAP }, &mut done);
            for outcome in done.drain(..) {
                intake.ended(outcome.url_bytes);
                let flow = sink(outcome.done);
                drop(outcome.held);
                if flow.is_break() || cancelled.load(Ordering::Relaxed) {
                    return;
                }
            }
            self.traffic.room_was_made();
        }
    }
}

/// Items taken that have not ended, and the bytes of their urls.
#[derive(Default)]
struct Taken {
    items: AtomicUsize,
    url_bytes: AtomicUsize,
}

/// The items of one call: taken as there is room for them, counted until they have ended.
struct Intake<'a, I: Iterator> {
    items: std::iter::Peekable<I>,
    under_way: usize,
    url_bytes: usize,
    all: &'a Taken,
}

impl<'a, I: Iterator<Item = Item>> Intake<'a, I> {
    fn new(items: I, all: &'a Taken) -> Self {
        Self {
            items: items.peekable(),
            under_way: 0,
            url_bytes: 0,
            all,
        }
    }

    fn take(&mut self) -> Vec<Item> {
        let mut batch = Vec::new();
        while batch.len() < TAKEN_AT_ONCE
            && self.has_room()
            && let Some(item) = self.items.next()
        {
            self.under_way += 1;
            self.url_bytes += item.url.len();
            self.all.items.fetch_add(1, Ordering::Relaxed);
            let bytes = item.url.len();
            self.all.url_bytes.fetch_add(bytes, Ordering::Relaxed);
            batch.push(item);
        }
        batch
    }

    fn has_room(&self) -> bool {
        let fits = |own, all: &AtomicUsize, most| {
            own < most / OWN_SHARE || all.load(Ordering::Relaxed) < most
        };
        fits(self.under_way, &self.all.items, LOOK_AHEAD)
            && fits(self.url_bytes, &self.all.url_bytes, LOOK_AHEAD_BYTES)
    }

    fn ended(&mut self, url_bytes: usize) {
        self.under_way -= 1;
        self.url_bytes -= url_bytes;
        self.all.items.fetch_sub(1, Ordering::Relaxed);
        self.all.url_bytes.fetch_sub(url_bytes, Ordering::Relaxed);
    }

    fn is_over(&mut self) -> bool {
        self.under_way == 0 && self.items.peek().is_none()
    }
}

impl<I: Iterator> Drop for Intake<'_, I> {
    fn drop(&mut self) {
        // Of a call that was broken off.
        let (items, url_bytes) = (self.under_way, self.url_bytes);
        self.all.items.fetch_sub(items, Ordering::Relaxed);
        self.all.url_bytes.fetch_sub(url_bytes, Ordering::Relaxed);
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

/// What a call does with what arrives.
struct Delivery<T, F> {
    process: F,
    outcomes: Arc<Outcomes<T>>,
}

impl<T, F> Deliver for Delivery<T, F>
where
    T: Send + 'static,
    F: Fn(&Item, Vec<u8>) -> Result<T, Failure> + Send + Sync + 'static,
{
    fn bytes(&self, ended: Ended, bytes: Vec<u8>, held: Held) {
        let work = AssertUnwindSafe(|| (self.process)(&ended.item, bytes));
        let result = std::panic::catch_unwind(work).unwrap_or_else(|_| {
            let detail = "panicked while it was processed".to_owned();
            Err(Failure::last(DropReason::Corrupt, detail))
        });
        self.outcomes.put(ended, result, Some(held));
    }

    fn failure(&self, ended: Ended, failure: Failure) {
        self.outcomes.put(ended, Err(failure), None);
    }
}
