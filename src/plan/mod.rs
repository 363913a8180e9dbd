//! The plan: which tasks exist, which are done, which must run and why, and which cannot be keyed
//! yet.
//!
//! Planning is a pure function of [`PlanInputs`] and [`Records`]: it touches no file, so the same
//! inputs always give the same plan. [`inputs`] gathers them. A task is done when a record under
//! its key exists and nothing of it is lost, nor of what was pruned of it needed; its key is known once every step that writes a table
//! it reads is complete.

pub mod cause;
pub mod estimate;
pub mod forecast;
pub mod inputs;
mod planner;
mod records;
pub mod stages;

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use laioncele_core::ledger::Record;
use laioncele_core::spec::TaskSpec;
use laioncele_core::{
    Digest, Part, PartList, Partition, Partitioning, Reads, Shared, StageName, TableId,
};

pub use cause::{Cause, Loss, Pruned};
pub use planner::{PlanError, Planner, keeps_to_itself, plan, plan_whole};
pub use records::Records;

/// What the planner knows of a step.
#[derive(Clone, Debug)]
pub struct StepInfo {
    /// Its name, unique among all steps.
    pub name: String,
    /// The stage that it belongs to.
    pub stage: StageName,
    /// The step's version, part of every key.
    pub version: u32,
    /// How its work is split into tasks.
    pub partitioning: Partitioning,
    /// The tables it reads.
    pub reads: Vec<Reads>,
    /// The tables it writes.
    pub writes: Vec<TableId>,
    /// The settings its result depends on, flattened: `verify_images.same_person_photo` → `0.4`.
    pub settings: Shared<BTreeMap<String, String>>,
    /// The models it uses: label → digest.
    pub models: Shared<BTreeMap<String, Digest>>,
}

/// Everything outside the ledger that a plan depends on.
#[derive(Clone, Debug)]
pub struct PlanInputs {
    /// The steps, in data order.
    pub steps: Vec<StepInfo>,
    /// Number of name buckets.
    pub buckets: u32,
    /// The source's files as parts of [`TableId::Captions`], sorted by partition.
    pub shards: Vec<Part>,
}

/// The tasks of all steps.
#[derive(Clone, Debug, PartialEq)]
pub struct Plan {
    /// One entry per step of the inputs, in the same order.
    pub steps: Vec<StepPlan>,
}

/// The tasks of a step.
#[derive(Clone, Debug, PartialEq)]
pub struct StepPlan {
    /// The step's name.
    pub name: String,
    /// The stage that it belongs to.
    pub stage: StageName,
    /// Its tasks, in partition order.
    pub tasks: Vec<TaskPlan>,
    /// The lists of parts that its tasks read; a run stores them before it runs one.
    pub lists: Vec<PartList>,
}

/// A task and its state.
#[derive(Clone, Debug, PartialEq)]
pub struct TaskPlan {
    /// The partition it works on.
    pub partition: Partition,
    /// Done, missing or waiting.
    pub state: State,
}

/// Whether a task is done, must run, or cannot be planned yet.
#[derive(Clone, Debug, PartialEq)]
pub enum State {
    /// Its record exists.
    Done(Arc<Record>),
    /// It must run.
    Missing {
        /// The task, ready to be handed out.
        spec: Box<TaskSpec>,
        /// Why, most telling first: what is lost of its result, or what changed since the newest
        /// record of the same step and partition. Never empty.
        causes: Vec<Cause>,
    },
    /// A step before it has tasks to run, so its inputs and key are not known.
    Waiting {
        /// The first such step.
        on: String,
    },
}

impl StepPlan {
    /// The records of its done tasks.
    pub fn records(&self) -> impl Iterator<Item = &Arc<Record>> {
        self.tasks.iter().filter_map(|t| match &t.state {
            State::Done(record) => Some(record),
            State::Missing { .. } | State::Waiting { .. } => None,
        })
    }

    /// Marks tasks as done that a run has done since the step was planned.
    pub fn mark_done(&mut self, records: impl IntoIterator<Item = Record>) {
        let mut records: HashMap<Digest, Record> =
            records.into_iter().map(|r| (r.key, r)).collect();
        for task in &mut self.tasks {
            if let State::Missing { spec, .. } = &task.state
                && let Some(record) = records.remove(&spec.key)
            {
                task.state = State::Done(Arc::new(record));
            }
        }
    }

    /// Whether every task is done.
    pub fn complete(&self) -> bool {
        self.records().count() == self.tasks.len()
    }

    /// The tasks that must run, with their causes.
    pub fn missing(&self) -> impl Iterator<Item = (&TaskSpec, &[Cause])> {
        self.tasks.iter().filter_map(|t| match &t.state {
            State::Missing { spec, causes } => Some((&**spec, causes.as_slice())),
            State::Done(_) | State::Waiting { .. } => None,
        })
    }

    /// The step that its tasks wait for, if any waits.
    pub fn waits_for(&self) -> Option<&str> {
        self.tasks.iter().find_map(|t| match &t.state {
            State::Waiting { on } => Some(on.as_str()),
            State::Done(_) | State::Missing { .. } => None,
        })
    }

    /// Why its tasks must run: each distinct first cause with the number of tasks it holds for,
    /// most frequent first.
    pub fn first_causes(&self) -> Vec<(Cause, usize)> {
        let mut counts = BTreeMap::<String, (&Cause, usize)>::new();
        for cause in self.missing().filter_map(|(_, causes)| causes.first()) {
            counts.entry(cause.to_string()).or_insert((cause, 0)).1 += 1;
        }
        let mut causes: Vec<_> = counts.into_values().map(|(c, n)| (c.clone(), n)).collect();
        causes.sort_by_key(|(_, n)| std::cmp::Reverse(*n));
        causes
    }
}

impl Plan {
    /// The step called `name`.
    pub fn step(&self, name: &str) -> Option<&StepPlan> {
        self.steps.iter().find(|step| step.name == name)
    }

    /// The first step of the chain of steps that `step` waits for that waits for no other.
    pub fn root_of(&self, step: &StepPlan) -> Option<&StepPlan> {
        let mut root = self.step(step.waits_for()?)?;
        // Steps wait for earlier ones only.
        while let Some(on) = root.waits_for().and_then(|on| self.step(on)) {
            root = on;
        }
        Some(root)
    }
}

#[cfg(test)]
mod tests;
