//! Runs the tasks of one step on the pool: hands out, hears, looks for the records, tells the progress.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use laioncele_core::CoreError;
use laioncele_core::ledger::{Ledger, Record};
use laioncele_core::protocol::{
    FailureKind, FromWorker, HostMap, Progress, Surroundings, TaskSpec, ToWorker,
};
use laioncele_core::store::Store;

use super::launch::{Launch, Need};
use super::pool::{Event, Pool};
use super::queue::{Assignment, Queue, Verdict, WorkerId};
use super::{Failed, Outcome, spec_path, wire_log, worker_log};
use crate::failure::{Exit, Failure};
use crate::progress::{Reporter, StepProgress};

/// How often the pool is looked after when nothing happens.
const TICK: Duration = Duration::from_millis(200);
/// How long tasks may take to stop when asked to.
const STOP_WITHIN: Duration = Duration::from_secs(10);
/// Workers that may end before their hello, one after another, until the run gives up.
const MAX_STILLBORN: u32 = 3;

/// What the executor is told once per run.
#[derive(Clone, Debug)]
pub struct Options {
    /// Workers at most.
    pub workers: usize,
    /// Threads of each, in steps with at least as many tasks as workers.
    pub threads_per_worker: usize,
    /// GPUs that they take turns to get; none are given out without any.
    pub gpus: Vec<String>,
    /// The manifest file.
    pub manifest: PathBuf,
    /// The run's folder.
    pub output: PathBuf,
    /// Levels of the workers' log lines.
    pub log_filter: String,
    /// Names this run in its attempts.
    pub run_name: String,
}

/// Runs steps, one after another, on workers that it keeps between them.
pub struct Executor {
    options: Options,
    store: Store,
    pool: Pool,
    next_id: u64,
    stillborn: u32,
    interrupted: Option<Instant>,
}

impl Executor {
    /// An executor without workers yet.
    pub fn new(options: Options, store: Store, launcher: Box<dyn Launch>) -> Self {
        Self {
            options,
            store,
            pool: Pool::new(launcher),
            next_id: 1,
            stillborn: 0,
            interrupted: None,
        }
    }

    /// Where signals go.
    pub fn events(&self) -> std::sync::mpsc::Sender<Event> {
        self.pool.sender()
    }

    /// Whether the run was asked to stop; to be asked between steps, when nobody else hears the workers.
    pub fn interrupted(&mut self) -> bool {
        while let Some(event) = self.pool.next(Duration::ZERO) {
            match event {
                Event::Interrupt => self.interrupted = Some(Instant::now()),
                Event::Ended(worker, reason) => drop(self.pool.bury(worker, reason)),
                Event::Said(..) => {}
            }
        }
        self.interrupted.is_some()
    }

    /// Runs `tasks`, all of one step whose work is cut into `spread_over` tasks.
    ///
    /// # Errors
    /// Workers that do not start, a store that fails. Failed tasks are in the outcome.
    pub fn run(
        &mut self,
        tasks: &[TaskSpec],
        spread_over: usize,
        host_map: Option<HostMap>,
        reporter: &mut dyn Reporter,
    ) -> Result<Outcome, Failure> {
        let (workers, threads) = self.shape(spread_over);
        let mut step = StepRun {
            tasks,
            queue: Queue::new(tasks.len(), self.next_id),
            records: Vec::new(),
            progress: StepProgress::new(tasks.len()),
            running: BTreeMap::new(),
            surroundings: Surroundings { host_map, threads },
            workers,
        };
        let result = self.drive(&mut step, reporter);
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

    /// Workers, and threads of each, for a step of `spread_over` tasks: fewer tasks than workers share all threads.
    /// Only the whole step counts, not how much of it is done, so that a resumed run works as the first did.
    fn shape(&self, spread_over: usize) -> (usize, usize) {
        let workers = self.options.workers.min(spread_over).max(1);
        let threads = self.options.workers * self.options.threads_per_worker;
        (workers, (threads / workers).max(1))
    }

    fn drive(&mut self, step: &mut StepRun, reporter: &mut dyn Reporter) -> Result<(), Failure> {
        loop {
            self.hand_out(step)?;
            if step.queue.idle() {
                return Ok(());
            }
            if let Some(event) = self.pool.next(TICK) {
                self.hear(step, event, reporter)?;
            }
            self.pool.check_hearts();
            reporter.progress(&step.progress);
            let overdue = |since: Instant| since.elapsed() > STOP_WITHIN;
            if self.interrupted.is_some_and(overdue) {
                self.pool.kill();
                return Ok(());
            }
        }
    }

    fn hand_out(&mut self, step: &mut StepRun) -> Result<(), Failure> {
        let wanted = step.workers.min(self.pool.len() + step.queue.waiting());
        let options = &self.options;
        let threads = step.surroundings.threads;
        let filled = self.pool.fill(wanted, |id, place| Need {
            threads,
            gpu: options.gpus.iter().cycle().nth(place).cloned(),
            log: worker_log(&options.output, id),
            log_filter: options.log_filter.clone(),
        });
        filled.map_err(|e| no_workers(&e.to_string()))?;
        for worker in self.pool.ready() {
            while let Some(assignment) = step.queue.next_for(worker, step.workers) {
                self.assign(step, worker, assignment)?;
            }
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
        let message = ToWorker::Task {
            id: assignment.id,
            spec: path,
            attempt: format!("{}-{}", self.options.run_name, assignment.id),
            manifest: self.options.manifest.clone(),
            output: self.options.output.clone(),
            surroundings: step.surroundings.clone(),
        };
        self.pool.tell(worker, &message);
        Ok(())
    }

    fn hear(
        &mut self,
        step: &mut StepRun,
        event: Event,
        reporter: &mut dyn Reporter,
    ) -> Result<(), Failure> {
        match event {
            Event::Interrupt => self.interrupt(step, reporter),
            Event::Ended(worker, reason) => self.worker_ended(step, worker, reason)?,
            Event::Said(worker, message) => self.said(step, worker, message)?,
        }
        Ok(())
    }

    fn said(
        &mut self,
        step: &mut StepRun,
        worker: WorkerId,
        message: FromWorker,
    ) -> Result<(), Failure> {
        match message {
            FromWorker::Progress { id, progress } => step.note_progress(worker, id, progress),
            FromWorker::Log { level, text } => wire_log::relay(worker, &level, &text),
            FromWorker::Done { id, .. } => {
                self.stillborn = 0;
                if !self.look_for_record(step, worker, id)? {
                    let text = "said done, but there is no record of it".to_owned();
                    self.task_failed(step, worker, id, FailureKind::Internal, text);
                }
            }
            FromWorker::Failed { id, kind, text } => {
                if !self.look_for_record(step, worker, id)? {
                    self.task_failed(step, worker, id, kind, text);
                }
            }
            FromWorker::Hello { .. } | FromWorker::Pong { .. } => {}
        }
        Ok(())
    }

    /// Whether the record of assignment `id` exists; takes it up if so.
    fn look_for_record(
        &mut self,
        step: &mut StepRun,
        worker: WorkerId,
        id: u64,
    ) -> Result<bool, CoreError> {
        let Some(task) = step.queue.task_of(worker, id) else {
            // An assignment that nobody waits for: it was taken up before.
            return Ok(true);
        };
        let spec = &step.tasks[task];
        let ledger = Ledger::new(self.store.clone());
        let Some(record) = ledger.find(&spec.step, &spec.partition, spec.key)? else {
            return Ok(false);
        };
        step.queue.finished(worker, id);
        step.task_ended(id, true);
        step.records.push(record);
        self.store.delete(&spec_path(spec))?;
        Ok(true)
    }

    fn task_failed(
        &self,
        step: &mut StepRun,
        worker: WorkerId,
        id: u64,
        kind: FailureKind,
        text: String,
    ) {
        let Some(task) = step.queue.task_of(worker, id) else {
            return;
        };
        step.task_ended(id, false);
        let verdict = step.queue.failed(worker, id, kind, text.clone());
        warn_of(&step.tasks[task], verdict, &text);
    }

    fn worker_ended(
        &mut self,
        step: &mut StepRun,
        worker: WorkerId,
        reason: Option<String>,
    ) -> Result<(), Failure> {
        let Some((reason, greeted)) = self.pool.bury(worker, reason) else {
            return Ok(());
        };
        let held: Vec<_> = step.queue.held().filter(|(w, _)| *w == worker).collect();
        for (_, assignment) in held {
            if !self.look_for_record(step, worker, assignment.id)? {
                step.task_ended(assignment.id, false);
            }
        }
        let log = worker_log(&self.options.output, worker);
        if !greeted {
            self.stillborn += 1;
            if self.stillborn >= MAX_STILLBORN {
                let text = format!("they {reason}; their last words are in {}", log.display());
                return Err(no_workers(&text));
            }
        }
        let reason = format!("{reason} (its log: {})", log.display());
        if let Some((task, verdict)) = step.queue.lost(worker, &reason) {
            warn_of(&step.tasks[task], verdict, &format!("its worker {reason}"));
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
        reporter.note("stopping: tasks at work get 10 seconds; once more to end them now");
        step.queue.stop();
        let held: Vec<_> = step.queue.held().collect();
        for (worker, assignment) in held {
            self.pool
                .tell(worker, &ToWorker::Cancel { id: assignment.id });
        }
    }
}

fn warn_of(spec: &TaskSpec, verdict: Verdict, text: &str) {
    let (step, partition) = (&spec.step, &spec.partition);
    match verdict {
        Verdict::Retry => tracing::warn!("{step} {partition}: {text}; trying again"),
        Verdict::GivenUp => tracing::error!("{step} {partition}: {text}"),
        Verdict::Stop => tracing::error!("{step} {partition}: {text}; nothing more is started"),
        Verdict::Cancelled => tracing::debug!("{step} {partition}: {text}"),
    }
}

fn no_workers(reason: &str) -> Failure {
    Failure::new(Exit::Environment, format!("workers do not start: {reason}"))
}

/// A step at work.
struct StepRun<'a> {
    tasks: &'a [TaskSpec],
    queue: Queue,
    records: Vec<Record>,
    progress: StepProgress,
    running: BTreeMap<u64, Running>,
    surroundings: Surroundings,
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

    fn task_ended(&mut self, id: u64, done: bool) {
        self.running.remove(&id);
        self.progress.fraction = self.running.values().map(|r| r.fraction).sum();
        self.progress.tasks_done += usize::from(done);
    }
}
