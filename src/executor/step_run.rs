//! Runs the tasks of one step on the pool: assigns tasks, handles events, collects records, reports
//! progress.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use laioncele_core::CoreError;
use laioncele_core::ledger::{Ledger, Record};
use laioncele_core::protocol::{FailureKind, FromWorker, ToWorker};
use laioncele_core::spec::{HostMap, Progress, RuntimeEnvironment, TaskSpec};
use laioncele_core::store::Store;

use super::launch::{Launch, WorkerOptions};
use super::pool::{Event, Pool};
use super::queue::{AfterFailure, Assignment, Queue, WorkerId};
use super::{Failed, Outcome, spec_path, wire_log, worker_log};
use crate::crew::Crew;
use crate::failure::{Exit, Failure};
use crate::progress::{Reporter, StepProgress};

/// How often the pool is checked when no event comes.
const TICK: Duration = Duration::from_millis(200);
/// How long tasks may take to stop after an interrupt.
const STOP_TIMEOUT: Duration = Duration::from_secs(10);
/// Workers that may exit before their hello, one after another, until the run fails.
const MAX_FAILED_STARTS: u32 = 3;

/// Options of a run.
#[derive(Clone, Debug)]
pub(crate) struct Options {
    /// The workers of the next step.
    pub crew: Crew,
    /// The manifest file.
    pub manifest: PathBuf,
    /// The run's folder.
    pub output: PathBuf,
    /// Levels of the workers' log lines.
    pub log_filter: String,
    /// Name of this run, part of its attempts' names.
    pub run_name: String,
}

/// Runs steps one after another and keeps the workers between them.
pub(crate) struct Executor {
    options: Options,
    store: Store,
    pool: Pool,
    next_id: u64,
    failed_starts: u32,
    interrupted: Option<Instant>,
}

impl Executor {
    /// An executor without workers yet.
    pub(crate) fn new(options: Options, store: Store, launcher: Box<dyn Launch>) -> Self {
        Self {
            options,
            store,
            pool: Pool::new(launcher),
            next_id: 1,
            failed_starts: 0,
            interrupted: None,
        }
    }

    /// A sender for signals.
    pub(crate) fn events(&self) -> std::sync::mpsc::Sender<Event> {
        self.pool.sender()
    }

    /// Whether the run was asked to stop. For use between steps: it also handles the events that
    /// came since the last.
    pub(crate) fn interrupted(&mut self) -> bool {
        while let Some(event) = self.pool.next_event(Duration::ZERO) {
            match event {
                Event::Interrupt => self.interrupted = Some(Instant::now()),
                Event::Ended(worker, reason) => drop(self.pool.remove(worker, reason)),
                Event::Message(..) => {}
            }
        }
        self.interrupted.is_some()
    }

    /// Sets the workers of the steps that follow.
    pub(crate) fn set_crew(&mut self, crew: Crew) {
        self.options.crew = crew;
    }

    /// Runs `tasks`, all of one step that has `step_tasks` tasks in total.
    ///
    /// # Errors
    /// Workers that do not start; store errors. Failed tasks are in the outcome.
    pub(crate) fn run(
        &mut self,
        tasks: &[TaskSpec],
        step_tasks: usize,
        host_map: Option<HostMap>,
        reporter: &mut dyn Reporter,
    ) -> Result<Outcome, Failure> {
        let (workers, threads) = self.shape(step_tasks);
        let mut step = StepRun {
            tasks,
            queue: Queue::new(tasks.len(), self.options.crew.at_once, self.next_id),
            records: Vec::new(),
            progress: StepProgress::new(tasks.len()),
            running: BTreeMap::new(),
            at_row: BTreeMap::new(),
            runtime_environment: RuntimeEnvironment {
                host_map,
                threads,
                workers,
            },
            workers,
        };
        let result = self.event_loop(&mut step, reporter);
        self.next_id = step.queue.next_id();
        result?;
        let failed = step.queue.into_failed().into_iter();
        Ok(Outcome {
            records: step.records,
            failed: failed
                .map(|f| Failed {
                    spec: tasks[f.task].clone(),
                    kind: f.kind,
                    text: f.text,
                })
                .collect(),
            interrupted: self.interrupted.is_some(),
        })
    }

    /// Workers, and threads of each, for a step of `step_tasks` tasks: fewer tasks than workers
    /// share all threads. Only the whole step counts, not how much of it is done, so that a resumed
    /// run works as the first did.
    fn shape(&self, step_tasks: usize) -> (usize, usize) {
        let crew = &self.options.crew;
        let workers = crew.workers.min(step_tasks).max(1);
        let threads = match crew.shared {
            true => crew.workers * crew.threads / workers,
            false => crew.threads,
        };
        (workers, threads.max(1))
    }

    fn event_loop(
        &mut self,
        step: &mut StepRun,
        reporter: &mut dyn Reporter,
    ) -> Result<(), Failure> {
        loop {
            self.assign_tasks(step)?;
            if step.queue.idle() {
                return Ok(());
            }
            if let Some(event) = self.pool.next_event(TICK) {
                self.handle_event(step, event, reporter)?;
            }
            self.pool.check_heartbeats();
            reporter.progress(&step.progress);
            let overdue = |since: Instant| since.elapsed() > STOP_TIMEOUT;
            if self.interrupted.is_some_and(overdue) {
                self.pool.kill();
                return Ok(());
            }
        }
    }

    fn assign_tasks(&mut self, step: &mut StepRun) -> Result<(), Failure> {
        let wanted = step.workers.min(self.pool.len() + step.queue.waiting());
        let options = &self.options;
        let threads = step.runtime_environment.threads;
        let filled = self.pool.fill(wanted, |id, slot| WorkerOptions {
            slot,
            threads,
            gpu: options.crew.gpus.iter().cycle().nth(slot).cloned(),
            log: worker_log(&options.output, id),
            log_filter: options.log_filter.clone(),
        });
        filled.map_err(|e| no_workers(&e.to_string()))?;
        // A task for each worker in turn, so that few tasks are spread over all of them.
        let mut asking = self.pool.ready();
        while !asking.is_empty() {
            let mut served = Vec::with_capacity(asking.len());
            for worker in asking {
                if let Some(assignment) = step.queue.next_for(worker, step.workers) {
                    self.assign(step, worker, assignment)?;
                    served.push(worker);
                }
            }
            asking = served;
        }
        Ok(())
    }

    fn assign(
        &mut self,
        step: &StepRun,
        worker: WorkerId,
        assignment: Assignment,
    ) -> Result<(), Failure> {
        let spec = &step.tasks[assignment.task];
        let path = spec_path(spec);
        let bytes = serde_json::to_vec(spec)
            .map_err(|e| Failure::new(Exit::Defect, format!("task {path}: {e}")))?;
        self.store.put(&path, bytes)?;
        let rows = step.queue.care(assignment.task);
        let mut runtime_environment = step.runtime_environment.clone();
        if rows.one_by_one {
            runtime_environment.threads = 1;
        }
        let message = ToWorker::Task {
            id: assignment.id,
            spec: path,
            attempt: format!("{}-{}", self.options.run_name, assignment.id),
            manifest: self.options.manifest.clone(),
            output: self.options.output.clone(),
            runtime_environment,
            rows,
        };
        self.pool.send(worker, &message);
        Ok(())
    }

    fn handle_event(
        &mut self,
        step: &mut StepRun,
        event: Event,
        reporter: &mut dyn Reporter,
    ) -> Result<(), Failure> {
        match event {
            Event::Interrupt => self.interrupt(step, reporter),
            Event::Ended(worker, reason) => self.worker_ended(step, worker, reason)?,
            Event::Message(worker, message) => self.handle_message(step, worker, message)?,
        }
        Ok(())
    }

    fn handle_message(
        &mut self,
        step: &mut StepRun,
        worker: WorkerId,
        message: FromWorker,
    ) -> Result<(), Failure> {
        match message {
            FromWorker::Progress { id, progress } => step.note_progress(worker, id, progress),
            FromWorker::AtRow { id, row: Some(row) } => drop(step.at_row.insert(id, row)),
            FromWorker::AtRow { id, row: None } => drop(step.at_row.remove(&id)),
            FromWorker::Log { level, text } => wire_log::relay(worker, &level, &text),
            FromWorker::Done { id, .. } => {
                self.failed_starts = 0;
                if !self.collect_record(step, worker, id)? {
                    let text = "reported as done, but it has no record".to_owned();
                    step.task_failed(worker, id, FailureKind::Internal, &text);
                }
            }
            FromWorker::Failed { id, kind, text } => {
                if !self.collect_record(step, worker, id)? {
                    let wrong_place =
                        kind == FailureKind::Environment && self.pool.retire_host(worker, &text);
                    // What is wrong with one machine is no fault of the task, and stops nothing.
                    let kind = if wrong_place {
                        FailureKind::Cancelled
                    } else {
                        kind
                    };
                    step.task_failed(worker, id, kind, &text);
                }
            }
            FromWorker::Hello { .. } | FromWorker::Pong { .. } => {}
        }
        Ok(())
    }

    /// Collects the record of assignment `id`. Returns whether it exists.
    fn collect_record(
        &mut self,
        step: &mut StepRun,
        worker: WorkerId,
        id: u64,
    ) -> Result<bool, CoreError> {
        let Some(task) = step.queue.task_of(worker, id) else {
            // Its record was collected before.
            return Ok(true);
        };
        let spec = &step.tasks[task];
        let ledger = Ledger::new(self.store.clone());
        let Some(record) = ledger.find(&spec.step, &spec.partition, spec.key)? else {
            return Ok(false);
        };
        // The record that is to be replaced is not the new one.
        if spec
            .again
            .as_ref()
            .is_some_and(|a| a.replaces == record.attempt)
        {
            return Ok(false);
        }
        step.queue.finished(worker, id);
        step.task_ended(id, true);
        step.records.push(record);
        self.store.delete(&spec_path(spec))?;
        Ok(true)
    }

    fn worker_ended(
        &mut self,
        step: &mut StepRun,
        worker: WorkerId,
        reason: Option<String>,
    ) -> Result<(), Failure> {
        let Some((reason, greeted)) = self.pool.remove(worker, reason) else {
            return Ok(());
        };
        let at_row = step.at_row.clone();
        let held: Vec<_> = step.queue.held().filter(|(w, _)| *w == worker).collect();
        for (_, assignment) in held {
            if !self.collect_record(step, worker, assignment.id)? {
                step.task_ended(assignment.id, false);
            }
        }
        let log = worker_log(&self.options.output, worker);
        if !greeted {
            self.failed_starts += 1;
            if self.failed_starts >= MAX_FAILED_STARTS {
                let obstacles = self.pool.obstacles();
                let about = obstacles.map_or(String::new(), |text| format!(" ({text})"));
                let text = format!("they {reason}{about}; see {}", log.display());
                return Err(no_workers(&text));
            }
        }
        let text = format!("{reason} (its log: {})", log.display());
        let at = |id| at_row.get(&id).copied();
        for (task, after) in step.queue.lost(worker, &reason, &text, at) {
            warn_of(&step.tasks[task], after, &format!("its worker {text}"));
        }
        Ok(())
    }

    fn interrupt(&mut self, step: &mut StepRun, reporter: &mut dyn Reporter) {
        if self.interrupted.is_some() {
            self.pool.kill();
            step.queue.abandon();
            return;
        }
        self.interrupted = Some(Instant::now());
        reporter
            .note("stopping: running tasks get 10 seconds; press Ctrl-C again to kill them now");
        step.queue.stop();
        let held: Vec<_> = step.queue.held().collect();
        for (worker, assignment) in held {
            self.pool
                .send(worker, &ToWorker::Cancel { id: assignment.id });
        }
    }
}

fn warn_of(spec: &TaskSpec, after: AfterFailure, text: &str) {
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

fn no_workers(reason: &str) -> Failure {
    Failure::new(Exit::Environment, format!("workers do not start: {reason}"))
}

/// A step that is running.
struct StepRun<'a> {
    tasks: &'a [TaskSpec],
    queue: Queue,
    records: Vec<Record>,
    progress: StepProgress,
    running: BTreeMap<u64, Running>,
    /// The rows that assignments are at, of those whose rows are looked at one by one.
    at_row: BTreeMap<u64, u64>,
    runtime_environment: RuntimeEnvironment,
    workers: usize,
}

#[derive(Clone, Copy, Default)]
struct Running {
    done: u64,
    found: u64,
    fraction: f64,
}

impl StepRun<'_> {
    fn note_progress(&mut self, worker: WorkerId, id: u64, said: Progress) {
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

    fn task_failed(&mut self, worker: WorkerId, id: u64, kind: FailureKind, text: &str) {
        let Some(task) = self.queue.task_of(worker, id) else {
            return;
        };
        self.task_ended(id, false);
        let after = self.queue.failed(worker, id, kind, text.to_owned());
        warn_of(&self.tasks[task], after, text);
    }

    fn task_ended(&mut self, id: u64, done: bool) {
        self.running.remove(&id);
        self.at_row.remove(&id);
        self.progress.fraction = self.running.values().map(|r| r.fraction).sum();
        self.progress.tasks_done += usize::from(done);
    }
}
