//! Hands out the tasks of all steps that are running: assigns them, handles events, collects records, reports progress.
//!
//! Steps of different lanes (processor, GPUs, network) run beside each other, each lane with workers of its own. Of the steps
//! of a lane one is served until none of its tasks waits, then the next in data order. While the network has nothing to do,
//! the last step before it is served first, so that names reach it before all of them are ready.

mod answers;

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use laioncele_core::ledger::Record;
use laioncele_core::protocol::{NodeCache, ToWorker};
use laioncele_core::spec::{HostMap, TaskSpec};
use laioncele_core::store::Store;

use super::lane::Lane;
use super::launch::{Launch, WorkerOptions};
use super::pool::{Event, Pool};
use super::queue::{Assignment, Numbers, WorkerId};
use super::step_run::{Beginning, StepRun};
use super::{Outcome, StepNumber, spec_path, worker_log};
use crate::crew::Crew;
use crate::failure::{Exit, Failure};
use crate::progress::Reporter;

/// How often the pool is checked when no event comes.
const TICK: Duration = Duration::from_millis(200);
/// Events that are handled between two looks at all workers.
const EVENTS: usize = 64;
/// How long a lane waits for its first worker before others make room for it.
const NO_ROOM: Duration = Duration::from_secs(10);
/// How long tasks may take to stop after an interrupt.
const STOP_TIMEOUT: Duration = Duration::from_secs(10);

/// Options of a run.
#[derive(Clone, Debug)]
pub(crate) struct Options {
    /// The workers of [`Executor::run`]'s step.
    pub crew: Crew,
    /// The object that the manifest is recorded as.
    pub manifest: String,
    /// The run's folder.
    pub output: PathBuf,
    /// Where workers keep models on their machines, if not where the manifest says.
    pub node_cache: Option<NodeCache>,
    /// Levels of the workers' log lines.
    pub log_filter: String,
    /// Name of this run, part of its attempts' names.
    pub run_name: String,
    /// The most workers of all lanes together, where they run on other machines: a worker too many would wait there for
    /// ever.
    pub capacity: Option<usize>,
}

/// Runs steps and keeps the workers between them.
pub(crate) struct Executor {
    options: Options,
    store: Store,
    pool: Pool,
    numbers: Numbers,
    steps: BTreeMap<StepNumber, StepRun>,
    /// The step that each lane served last.
    served: BTreeMap<Lane, StepNumber>,
    /// When workers last went for others that were kept waiting.
    made_room: Option<Instant>,
    stopped: bool,
    interrupted: Option<Instant>,
}

impl Executor {
    /// An executor without workers yet.
    pub(crate) fn new(options: Options, store: Store, launcher: Box<dyn Launch>) -> Self {
        Self {
            options,
            store,
            pool: Pool::new(launcher),
            numbers: Numbers::from(1),
            steps: BTreeMap::new(),
            served: BTreeMap::new(),
            made_room: None,
            stopped: false,
            interrupted: None,
        }
    }

    /// A sender for signals.
    pub(crate) fn events(&self) -> std::sync::mpsc::Sender<Event> {
        self.pool.sender()
    }

    /// Whether the run was asked to stop. While no step runs it also handles the events that came since the last.
    pub(crate) fn interrupted(&mut self) -> bool {
        while self.is_idle()
            && let Some(event) = self.pool.next_event(Duration::ZERO)
        {
            match event {
                Event::Interrupt => self.interrupted = Some(Instant::now()),
                Event::Ended(worker, reason) => drop(self.pool.remove(worker, reason, false)),
                Event::Message(..) => {}
            }
        }
        self.interrupted.is_some()
    }

    /// Whether no step runs.
    pub(crate) fn is_idle(&self) -> bool {
        self.steps.is_empty()
    }

    /// Whether any worker holds a task.
    fn is_at_work(&self) -> bool {
        self.steps.values().any(|step| step.queue.is_held())
    }

    /// Begins a step, to which tasks are added with [`Executor::push`] until it is closed.
    pub(crate) fn begin(&mut self, beginning: Beginning) {
        let number = beginning.number;
        let mut step = StepRun::new(beginning, self.numbers.clone());
        if self.stopped {
            step.queue.stop();
        }
        self.steps.insert(number, step);
    }

    /// Adds a task to a step that was begun.
    pub(crate) fn push(&mut self, step: StepNumber, task: TaskSpec) {
        if let Some(step) = self.steps.get_mut(&step) {
            step.tasks.push(task);
            step.queue.push();
        }
    }

    /// One of the tasks that may have to run need not.
    pub(crate) fn spare(&mut self, step: StepNumber) {
        if let Some(step) = self.steps.get_mut(&step) {
            step.progress.spare();
        }
    }

    /// Says that a step gets no more tasks: it ends when those that it has do.
    pub(crate) fn close(&mut self, step: StepNumber) {
        if let Some(step) = self.steps.get_mut(&step) {
            step.closed = true;
        }
    }

    /// Says that no step gets more tasks than it has.
    pub(crate) fn close_all(&mut self) {
        for step in self.steps.values_mut() {
            step.closed = true;
        }
    }

    /// Hands out no more tasks, of any step. Those that run go on.
    pub(crate) fn stop(&mut self) {
        self.stopped = true;
        for step in self.steps.values_mut() {
            step.queue.stop();
            step.closed = true;
        }
    }

    /// The steps that have ended since the last call, with the time that each took. The records of an outcome were given out
    /// by [`Executor::turn`].
    pub(crate) fn take_ended(&mut self) -> Vec<(StepNumber, Outcome, Duration)> {
        let interrupted = self.interrupted.is_some();
        let ended = self.steps.extract_if(.., |_, step| step.ended());
        let ended = ended.map(|(number, step)| {
            let took = step.begun.elapsed();
            let outcome = Outcome {
                records: Vec::new(),
                cost: step.costs.until(Instant::now()),
                failed: step.into_failed(),
                interrupted,
            };
            (number, outcome, took)
        });
        let ended: Vec<_> = ended.collect();
        let on_network = |step: &StepRun| step.lane == Lane::Network;
        if !ended.is_empty() && !self.steps.values().any(on_network) {
            // What they hold of hosts and photos is of no use any more, and others run beside them.
            self.pool.release(Lane::Network);
        }
        ended
    }

    /// Runs `tasks`, all of one step that has `step_tasks` tasks in total; its progress is told as that of `name`.
    ///
    /// # Errors
    /// Workers that do not start; store errors. Failed tasks are in the outcome.
    pub(crate) fn run(
        &mut self,
        name: &str,
        tasks: &[TaskSpec],
        step_tasks: usize,
        host_map: Option<HostMap>,
        reporter: &mut dyn Reporter,
    ) -> Result<Outcome, Failure> {
        let number = 0;
        self.begin(Beginning {
            number,
            name: name.to_owned(),
            crew: self.options.crew.clone(),
            all_tasks: step_tasks,
            tasks: tasks.len(),
            host_map,
        });
        for task in tasks {
            self.push(number, task.clone());
        }
        self.close(number);
        let mut records = Vec::new();
        loop {
            if let Some((_, outcome, _)) = self.take_ended().pop() {
                return Ok(Outcome { records, ..outcome });
            }
            let done = self.turn(reporter)?;
            records.extend(done.into_iter().map(|(_, record)| record));
        }
    }

    /// Assigns what can be assigned, waits a moment for something to happen, and handles it. Returns the records of the tasks
    /// that are done by it.
    ///
    /// # Errors
    /// Workers that do not start; store errors.
    pub(crate) fn turn(
        &mut self,
        reporter: &mut dyn Reporter,
    ) -> Result<Vec<(StepNumber, Record)>, Failure> {
        for lane in Lane::ALL {
            self.serve(lane)?;
        }
        let mut done = Vec::new();
        if self.steps.values().all(StepRun::ended) {
            return Ok(done);
        }
        // What comes together costs one look at all workers.
        let mut patience = TICK;
        for _ in 0..EVENTS {
            let Some(event) = self.pool.next_event(patience) else {
                break;
            };
            self.handle_event(event, &mut done, reporter)?;
            patience = Duration::ZERO;
        }
        self.pool.check_heartbeats();
        for step in self.steps.values_mut() {
            step.look_at_workers(|worker| self.pool.host(worker));
            reporter.progress(&step.name, &step.progress);
        }
        let overdue = |since: Instant| since.elapsed() > STOP_TIMEOUT;
        if self.interrupted.is_some_and(overdue) {
            self.kill();
        }
        Ok(done)
    }

    /// Starts the workers of a lane and gives them tasks.
    fn serve(&mut self, lane: Lane) -> Result<(), Failure> {
        let mut chosen = self.choice(lane);
        while let Some(number) = chosen {
            if !self.fill(lane, number)? {
                return Ok(());
            }
            self.served.insert(lane, number);
            self.assign_tasks(lane, number)?;
            // What workers are left over is for the next step, once no task of this one waits.
            let waits = |number: &StepNumber| self.steps[number].queue.waiting() > 0;
            chosen = self
                .choice(lane)
                .filter(|next| *next != number && !waits(&number));
        }
        Ok(())
    }

    /// The step of `lane` whose tasks are handed out now.
    fn choice(&self, lane: Lane) -> Option<StepNumber> {
        let waits = |step: &&StepRun| step.lane == lane && step.queue.waiting() > 0;
        let waiting = || self.steps.values().filter(waits).map(|step| step.number);
        if let Some(network) = self.hungry()
            && lane != Lane::Network
            && let Some(last) = waiting().rfind(|number| *number < network)
        {
            return Some(last);
        }
        let served = self.served.get(&lane);
        let same = waiting().find(|number| Some(number) == served);
        same.or_else(|| waiting().next())
    }

    /// The step of the network that has nothing to do and will get more.
    fn hungry(&self) -> Option<StepNumber> {
        let mut steps = self.steps.values();
        let hungry = steps.find(|s| s.lane == Lane::Network && s.queue.idle() && !s.closed);
        hungry.map(|step| step.number)
    }

    /// Starts workers for a step; `false` while those of the lane are of another kind and at work.
    fn fill(&mut self, lane: Lane, number: StepNumber) -> Result<bool, Failure> {
        let step = &self.steps[&number];
        let mut others = self.steps.values().filter(|other| other.lane == lane);
        if !self.pool.has_kind(lane, &step.kind()) && others.any(|other| other.queue.is_held()) {
            return Ok(false);
        }
        let wanted = step
            .workers()
            .min(self.pool.len(lane) + step.queue.waiting());
        let (threads, _) = step.kind();
        let wanted = match self.options.capacity {
            Some(capacity) => wanted.min(self.room(lane, capacity)),
            None => wanted,
        };
        let step = &self.steps[&number];
        let slots = step.crew.workers;
        let filled = self
            .pool
            .fill(lane, wanted, slots, |id, slot| WorkerOptions {
                slot,
                threads,
                gpu: step.gpu(slot),
                log: worker_log(&self.store, id),
                log_filter: self.options.log_filter.clone(),
                yields: lane != Lane::Network,
            });
        filled.map_err(|e| no_workers(&e.to_string()))?;
        Ok(true)
    }

    /// How many workers `lane` may have, of `capacity` in all. A lane that finds no room takes it from workers of other lanes
    /// that have nothing to do; computing leaves one of four or more to the network, so that it need not wait.
    fn room(&mut self, lane: Lane, capacity: usize) -> usize {
        self.make_room(lane);
        let beside: Vec<WorkerId> = self.pool.beside(lane).collect();
        let mut room = capacity.saturating_sub(beside.len());
        if room == 0 && self.pool.len(lane) == 0 {
            let busy = |worker: &WorkerId| self.steps.values().any(|s| s.queue.holds(*worker));
            if let Some(idle) = beside.into_iter().find(|worker| !busy(worker)) {
                self.pool.dismiss(idle);
                room = 1;
            }
        }
        match lane {
            Lane::Network => room,
            Lane::Processor | Lane::Gpu if capacity >= 4 => room.min(capacity - 1),
            Lane::Processor | Lane::Gpu => room,
        }
    }

    /// Where a lane's workers do not come though there is said to be room, a machine may be gone: of the other lanes the idle
    /// workers that do not come either go, and one that is there.
    fn make_room(&mut self, lane: Lane) {
        let lately = self.made_room.is_some_and(|at| at.elapsed() < NO_ROOM);
        if lately || !self.pool.is_kept_waiting(lane, NO_ROOM) {
            return;
        }
        self.made_room = Some(Instant::now());
        let here: BTreeSet<WorkerId> = Lane::ALL
            .iter()
            .flat_map(|lane| self.pool.ready(*lane))
            .collect();
        let busy = |worker: &WorkerId| self.steps.values().any(|s| s.queue.holds(*worker));
        let idle = self.pool.beside(lane).filter(|worker| !busy(worker));
        let (there, coming): (Vec<_>, Vec<_>) = idle.partition(|worker| here.contains(worker));
        for worker in coming.into_iter().chain(there.into_iter().take(1)) {
            self.pool.dismiss(worker);
        }
    }

    /// A task for each worker in turn, so that few tasks are spread over all of them. Workers with a task of another step get
    /// none.
    fn assign_tasks(&mut self, lane: Lane, number: StepNumber) -> Result<(), Failure> {
        let elsewhere = |worker: &WorkerId| {
            let mut others = self.steps.values().filter(|other| other.number != number);
            others.any(|other| other.queue.holds(*worker))
        };
        let mut asking = self.pool.ready(lane);
        asking.retain(|worker| !elsewhere(worker));
        while !asking.is_empty() {
            let mut served = Vec::with_capacity(asking.len());
            for worker in asking {
                let Some(step) = self.steps.get_mut(&number) else {
                    return Ok(());
                };
                let workers = step.workers();
                if let Some(assignment) = step.queue.next_for(worker, workers) {
                    self.assign(number, worker, assignment)?;
                    served.push(worker);
                }
            }
            asking = served;
        }
        Ok(())
    }

    fn assign(
        &mut self,
        number: StepNumber,
        worker: WorkerId,
        assignment: Assignment,
    ) -> Result<(), Failure> {
        let step = &self.steps[&number];
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
            attempt: self.attempt(assignment.id),
            manifest: self.options.manifest.clone(),
            output: self.options.output.clone(),
            runtime_environment,
            rows,
            node_cache: self.options.node_cache.clone(),
        };
        self.pool.send(worker, &message);
        if let Some(step) = self.steps.get_mut(&number) {
            step.costs.assigned(worker, assignment.id, Instant::now());
        }
        Ok(())
    }

    /// The name of the attempt with this number.
    fn attempt(&self, id: u64) -> String {
        format!("{}-{id}", self.options.run_name)
    }

    /// The step of which `worker` holds assignment `id`.
    fn step_of(&mut self, worker: WorkerId, id: u64) -> Option<&mut StepRun> {
        let mut steps = self.steps.values_mut();
        steps.find(|step| step.queue.task_of(worker, id).is_some())
    }

    fn interrupt(&mut self, reporter: &mut dyn Reporter) {
        if self.interrupted.is_some() {
            self.kill();
            return;
        }
        self.interrupted = Some(Instant::now());
        reporter
            .note("stopping: running tasks get 10 seconds; press Ctrl-C again to kill them now");
        self.stop();
        let held: Vec<_> = self.steps.values().flat_map(|s| s.queue.held()).collect();
        for (worker, assignment) in held {
            self.pool
                .send(worker, &ToWorker::Cancel { id: assignment.id });
        }
    }

    fn kill(&mut self) {
        self.pool.kill();
        for step in self.steps.values_mut() {
            step.queue.abandon();
            step.costs.abandoned(Instant::now());
        }
    }
}

fn no_workers(reason: &str) -> Failure {
    Failure::new(Exit::Environment, format!("workers do not start: {reason}"))
}
