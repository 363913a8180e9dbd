//! The executor: assigns the tasks of the steps that run to worker processes and collects their records.
//!
//! The coordinator owns the queue and the attempts. A task is done when its ledger record exists,
//! not when a worker says so: the record is looked up after every `done` and before every retry.

pub(crate) mod cost;
mod dispatch;
mod heartbeat;
mod lane;
pub(crate) mod launch;
mod pool;
mod queue;
mod sender;
mod signals;
pub(crate) mod silence;
mod slots;
mod step_run;
mod suspects;
mod task_log;
mod throttled_progress;
pub(crate) mod wire_log;
pub(crate) mod worker;

use std::path::PathBuf;

use laioncele_core::ledger::Record;
use laioncele_core::protocol::FailureKind;
use laioncele_core::spec::TaskSpec;
use laioncele_core::store::Store;

pub(crate) use cost::Cost;
pub(crate) use dispatch::{Executor, Options};
pub(crate) use sender::MessageSender;
pub(crate) use signals::watch as watch_signals;
pub(crate) use step_run::Beginning;

/// A step, by its place in data order.
pub(crate) type StepNumber = usize;
/// A task, by its index in the step's list.
type TaskIndex = usize;

/// The results of a step's tasks.
#[derive(Debug, Default)]
pub(crate) struct Outcome {
    /// The records of the tasks that are done.
    pub records: Vec<Record>,
    /// The tasks that failed for good.
    pub failed: Vec<Failed>,
    /// Whether the run was asked to stop.
    pub interrupted: bool,
    /// What workers spent on them.
    pub cost: Cost,
}

/// A task that failed for good.
#[derive(Debug)]
pub(crate) struct Failed {
    /// The failed task.
    pub spec: TaskSpec,
    /// The class of failure.
    pub kind: FailureKind,
    /// The error message.
    pub text: String,
}

/// Object path of a task's spec while the task runs.
pub(crate) fn spec_path(spec: &TaskSpec) -> String {
    format!("queue/{}.json", spec.key)
}

/// The file for the standard error of worker `number`.
pub(crate) fn worker_log(store: &Store, number: usize) -> PathBuf {
    store.local_path(&format!("log/worker-{number}.log"))
}

#[cfg(test)]
mod simulation;
#[cfg(test)]
mod tests;
