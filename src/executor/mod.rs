//! The executor: hands a step's tasks to worker processes and brings back their records.
//!
//! The coordinator owns the queue, the attempts and the truth. A task counts when its ledger record exists, never
//! because a line says so: the record is looked for after every `done` and before every retry.

mod heartbeat;
pub mod launch;
mod lines;
mod pool;
mod queue;
mod signals;
mod step_run;
pub mod wire_log;
pub mod worker;

use std::path::PathBuf;

use laioncele_core::ledger::Record;
use laioncele_core::protocol::{FailureKind, TaskSpec};

pub use signals::watch as watch_signals;
pub use step_run::{Executor, Options};
pub use worker::Voice;

/// What became of a step's tasks.
#[derive(Debug, Default)]
pub struct Outcome {
    /// The records of the tasks that are done.
    pub records: Vec<Record>,
    /// The tasks that failed for good.
    pub failed: Vec<Failed>,
    /// Whether the run was asked to stop.
    pub interrupted: bool,
}

/// A task that failed for good.
#[derive(Debug)]
pub struct Failed {
    /// The task.
    pub spec: TaskSpec,
    /// How.
    pub kind: FailureKind,
    /// Why.
    pub text: String,
}

/// Where a task's spec is while it is worked on.
pub fn spec_path(spec: &TaskSpec) -> String {
    format!("queue/{}.json", spec.key)
}

/// The file that takes the standard error of worker `number`.
pub fn worker_log(output: &std::path::Path, number: usize) -> PathBuf {
    output.join("log").join(format!("worker-{number}.log"))
}

#[cfg(test)]
mod tests;
