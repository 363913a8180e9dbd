//! How many, how fast, how patiently.

use std::time::Duration;

use laioncele_web::WebSettings;

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
    /// Requests under way at once; fewer where the process may not have so many files open.
    pub concurrency: usize,
    /// Requests under way at once to one host, over all workers of a run.
    pub per_host: usize,
    /// Requests a second to one host, over all workers of a run; none: no limit.
    pub per_host_rate: Option<f64>,
    /// Failures of one host in a row after which it is left alone for a while: twice `deadline`, and twice as long each
    /// further time in a row.
    pub breaker_after: u32,
    /// Bytes that bodies under way may take together.
    pub memory: usize,
    /// Threads that decode.
    pub threads: usize,
    /// A folder that all workers of a run share, for the limits per host; none: there is one worker.
    pub shared: Option<std::path::PathBuf>,
}

impl Default for EngineSettings {
    fn default() -> Self {
        Self {
            web: WebSettings {
                connect_timeout: Duration::from_secs(5),
                timeout: Duration::from_secs(10),
                ..WebSettings::default()
            },
            retries: 2,
            backoff: Duration::from_secs(1),
            deadline: Duration::from_secs(30),
            concurrency: 1000,
            per_host: 8,
            per_host_rate: None,
            breaker_after: 10,
            memory: 100 << 20,
            threads: std::thread::available_parallelism().map_or(1, usize::from),
            shared: None,
        }
    }
}
