//! The worker protocol: JSON lines, one message a line, at most 1 MiB each; data always by object path.
//!
//! To the worker: [`ToWorker`] on its standard input; end of input means finish nothing, leave. From it:
//! [`FromWorker`] on its standard output. Unknown fields are ignored on both sides; the version is in the hello.
//! A line is never the truth: a task counts when its ledger record exists.

pub mod lines;

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::digest::Digest;
use crate::spec::{Progress, RowCare, RuntimeEnvironment};

pub use lines::LineError;

/// Version of the protocol, in the hello.
///
/// 1: a task's `surroundings`. 2: its `runtime_environment`. 3: its `rows`, `at_row` and `panic`. 4: its `manifest` is an object
/// of the run's store, no file of the coordinator's machine; `overdue`. 5: its `node_cache`; the
/// `id` of a `log`.
pub const PROTOCOL: u32 = 5;

/// Longest line in bytes.
pub const MAX_LINE: usize = 1 << 20;

/// Where a worker keeps models on its machine, and where it fetches them from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeCache {
    /// A folder of the worker's machine.
    pub folder: PathBuf,
    /// Object of the run's store: the list of models, with the digests of their files.
    pub models: String,
}

/// A line to a worker.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
#[expect(
    clippy::large_enum_variant,
    reason = "nearly all messages are tasks, and few are held at a time"
)]
pub enum ToWorker {
    /// Do this task.
    Task {
        /// Number of this assignment.
        id: u64,
        /// Object path of the [`TaskSpec`](crate::spec::TaskSpec).
        spec: String,
        /// Try: part of the parts' names.
        attempt: String,
        /// Object path of the recorded manifest.
        manifest: String,
        /// The run's output: a folder that all machines see at this path, or a bucket's url.
        output: PathBuf,
        /// What the result does not depend on.
        #[serde(default, alias = "surroundings")]
        runtime_environment: RuntimeEnvironment,
        /// How it treats its rows.
        #[serde(default)]
        rows: RowCare,
        /// Where its models are, if not where the manifest says.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        node_cache: Option<NodeCache>,
    },
    /// Stop working on it.
    Cancel {
        /// The assignment.
        id: u64,
    },
    /// Answer with a pong.
    Ping {
        /// Comes back.
        n: u64,
    },
}

/// How a failed task failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FailureKind {
    /// The input as a whole cannot be used.
    Data,
    /// Missing weights, full disk: stops the stage.
    Environment,
    /// Out of memory.
    Memory,
    /// Asked to stop.
    Cancelled,
    /// A panic: it may be one row's.
    Panic,
    /// A broken contract: a defect.
    Internal,
}

/// A line from a worker.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum FromWorker {
    /// First line.
    Hello {
        /// [`PROTOCOL`].
        protocol: u32,
        /// Program version.
        build: String,
        /// Host name.
        host: String,
        /// Process id.
        pid: u32,
        /// Processors it may use.
        cpus: usize,
        /// Digest of the program's file, from workers that were asked for it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        program: Option<String>,
    },
    /// At most two a second; also the heartbeat.
    Progress {
        /// The assignment.
        id: u64,
        /// How far it is.
        #[serde(flatten)]
        progress: Progress,
    },
    /// The task looks at a row, or at none any more: before each row that is looked at by itself ([`RowCare`]), so that the
    /// coordinator knows what a worker died of.
    AtRow {
        /// The assignment.
        id: u64,
        /// Id of the row.
        row: Option<u64>,
    },
    /// A look at a row, or at several at once, takes longer than a row may: the worker asks to be ended.
    Overdue {
        /// The assignment.
        id: u64,
        /// Id of the row, where it is one.
        row: Option<u64>,
        /// Seconds that a row may take.
        limit: u64,
    },
    /// A line for the log.
    Log {
        /// The assignment that it is about, if it is about one.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        id: Option<u64>,
        /// `error`, `warn`, `info`, `debug`.
        level: String,
        /// What.
        text: String,
    },
    /// The task's record exists.
    Done {
        /// The assignment.
        id: u64,
        /// Its key.
        key: Digest,
        /// Whether this copy's record won.
        won: bool,
    },
    /// The task failed as a whole.
    Failed {
        /// The assignment.
        id: u64,
        /// How.
        kind: FailureKind,
        /// Why.
        text: String,
    },
    /// Answer to a ping.
    Pong {
        /// The ping's.
        n: u64,
    },
}
