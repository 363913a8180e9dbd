//! A step that is running: its tasks, their queue, how far they are.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use laioncele_core::protocol::FailureKind;
use laioncele_core::spec::{Progress, RuntimeEnvironment, TaskSpec};

use super::cost::{Costs, Ended, Late};
use super::lane::Lane;
use super::pool::Kind;
use super::queue::{AfterFailure, Numbers, Queue, WorkerId};
use super::{Failed, StepNumber};
use crate::crew::Crew;
use crate::progress::{StepProgress, Straggler};

/// Time between two looks at the workers of a step.
const LOOK: Duration = Duration::from_secs(1);
/// Stragglers that are shown.
const SHOWN_STRAGGLERS: usize = 3;

/// A step that is running.
pub(super) struct StepRun {
    /// Its place in data order.
    pub number: StepNumber,
    pub name: String,
    pub tasks: Vec<TaskSpec>,
    pub queue: Queue,
    pub progress: StepProgress,
    running: BTreeMap<u64, Running>,
    pub costs: Costs,
    /// When what `progress` says of workers was last found out.
    looked: Option<Instant>,
    /// The rows that assignments are at, of those whose rows are looked at one by one.
    pub at_row: BTreeMap<u64, u64>,
    pub runtime_environment: RuntimeEnvironment,
    pub crew: Crew,
    pub lane: Lane,
    /// No more tasks come.
    pub closed: bool,
    pub begun: Instant,
}

#[derive(Clone, Copy, Default)]
struct Running {
    done: u64,
    found: u64,
    fraction: f64,
}

/// What a step begins with.
pub(crate) struct Beginning {
    /// Its place in data order.
    pub number: StepNumber,
    /// Its name.
    pub name: String,
    /// Its workers.
    pub crew: Crew,
    /// All of its tasks, also those that are done.
    pub all_tasks: usize,
    /// Those that may have to run.
    pub tasks: usize,
    /// Where hosts are that the network does not know.
    pub host_map: Option<laioncele_core::spec::HostMap>,
}

impl StepRun {
    /// A step without tasks so far.
    pub(super) fn new(beginning: Beginning, numbers: Numbers) -> Self {
        let Beginning {
            number,
            name,
            crew,
            all_tasks,
            tasks,
            host_map,
        } = beginning;
        let (workers, threads) = shape(&crew, all_tasks);
        Self {
            number,
            name,
            tasks: Vec::new(),
            queue: Queue::new(0, crew.at_once, numbers),
            progress: StepProgress::new(tasks),
            running: BTreeMap::new(),
            costs: Costs::new(crew.at_once),
            looked: None,
            at_row: BTreeMap::new(),
            runtime_environment: RuntimeEnvironment {
                host_map,
                threads,
                workers,
            },
            lane: Lane::of(&crew),
            crew,
            closed: false,
            begun: Instant::now(),
        }
    }

    /// The most workers.
    pub(super) fn workers(&self) -> usize {
        self.runtime_environment.workers
    }

    /// The GPU of the worker in `slot`.
    pub(super) fn gpu(&self, slot: usize) -> Option<String> {
        self.crew.gpus.iter().cycle().nth(slot).cloned()
    }

    /// The workers that it wants.
    pub(super) fn kind(&self) -> Kind {
        (self.runtime_environment.threads, self.gpu(0))
    }

    /// Whether it has nothing more to do.
    pub(super) fn ended(&self) -> bool {
        (self.closed || self.queue.is_stopped()) && self.queue.idle()
    }

    /// The tasks that failed for good.
    pub(super) fn into_failed(self) -> Vec<Failed> {
        let failed = self.queue.into_failed().into_iter();
        let tasks = self.tasks;
        let failed = failed.map(|f| Failed {
            spec: tasks[f.task].clone(),
            kind: f.kind,
            text: f.text,
        });
        failed.collect()
    }

    pub(super) fn note_progress(&mut self, worker: WorkerId, id: u64, said: Progress) {
        if self.queue.task_of(worker, id).is_none() {
            return;
        }
        let fraction = match said.total {
            0 => 0.0,
            total => (said.done as f64 / total as f64).min(1.0),
        };
        let now = Running {
            done: said.done,
            found: said.found.map_or(0, |(_, found)| found),
            fraction,
        };
        let before = self.running.insert(id, now).unwrap_or_default();
        let units = now.done.saturating_sub(before.done);
        self.progress.add_units(said.unit, units);
        if let Some((unit, _)) = said.found {
            let found = now.found.saturating_sub(before.found);
            self.progress.add_found(unit, found);
        }
        self.progress.fraction = self.running.values().map(|r| r.fraction).sum();
    }

    pub(super) fn task_failed(&mut self, worker: WorkerId, id: u64, kind: FailureKind, text: &str) {
        let Some(task) = self.queue.task_of(worker, id) else {
            return;
        };
        self.task_ended(worker, id, Ended::Lost);
        let after = self.queue.failed(worker, id, kind, text.to_owned());
        warn_of(&self.tasks[task], after, text);
    }

    /// Finds out once a second what `progress` says of workers; `host` names that of one.
    pub(super) fn look_at_workers(&mut self, host: impl Fn(WorkerId) -> String) {
        let now = Instant::now();
        if self.looked.is_some_and(|last| now - last < LOOK) {
            return;
        }
        self.looked = Some(now);
        self.progress.workers = self.costs.workers();
        self.progress.cost = self.costs.until(now);
        let straggler = |late: Late| {
            let task = self.queue.task_of(late.worker, late.assignment)?;
            Some(Straggler {
                worker: late.worker,
                host: host(late.worker),
                partition: self.tasks[task].partition.to_string(),
                seconds: late.seconds,
            })
        };
        let late = self.costs.late(now).into_iter().take(SHOWN_STRAGGLERS);
        self.progress.stragglers = late.filter_map(straggler).collect();
    }

    pub(super) fn task_ended(&mut self, worker: WorkerId, id: u64, how: Ended) {
        self.costs.ended(worker, id, how, Instant::now());
        self.running.remove(&id);
        self.at_row.remove(&id);
        self.progress.fraction = self.running.values().map(|r| r.fraction).sum();
        self.progress.tasks_done += usize::from(how != Ended::Lost);
    }
}

/// Workers, and threads of each, for a step of `step_tasks` tasks: fewer tasks than workers share all threads. Only the whole
/// step counts, not how much of it is done, so that a resumed run works as the first did.
fn shape(crew: &Crew, step_tasks: usize) -> (usize, usize) {
    let workers = crew.workers.min(step_tasks).max(1);
    let threads = match crew.shared {
        true => crew.workers * crew.threads / workers,
        false => crew.threads,
    };
    (workers, threads.max(1))
}

pub(super) fn warn_of(spec: &TaskSpec, after: AfterFailure, text: &str) {
    let (step, partition) = (&spec.step, &spec.partition);
    match after {
        AfterFailure::Retry => tracing::warn!("{step} {partition}: {text}; retrying"),
        AfterFailure::LeaveOut(row) => tracing::warn!(
            "{step} {partition}: {text}, as another at the same row; row {row} is dropped as poison"
        ),
        AfterFailure::GivenUp => tracing::error!("{step} {partition}: {text}"),
        AfterFailure::Stop => {
            tracing::error!("{step} {partition}: {text}; no more tasks are started");
        }
        AfterFailure::Cancelled => tracing::debug!("{step} {partition}: {text}"),
    }
}
