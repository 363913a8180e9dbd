//! A worker: reads tasks, does them one at a time, or as many at once as their step says, answers,
//! and keeps its models between the tasks of a stage.
//!
//! A second thread listens, so that pings and cancels are handled while a task runs.

use std::collections::BTreeMap;
use std::io::{self, BufReader, Read};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Condvar, Mutex, PoisonError};

use laioncele_core::error::Context;
use laioncele_core::file_digests::digest_of_copy;
use laioncele_core::ledger::Record;
use laioncele_core::model_cache;
use laioncele_core::protocol::{FailureKind, FromWorker, NodeCache, PROTOCOL, ToWorker, lines};
use laioncele_core::resources::Resources;
use laioncele_core::spec::{RowCare, RuntimeEnvironment, TaskSpec};
use laioncele_core::store::Store;
use laioncele_core::task::{ProgressReporter, WorkerContext, host_name, panic_text};
use laioncele_core::{CoreError, Manifest, StageError, StageName, Step, Task};

use super::sender::{MessageSender, Threads};
use super::throttled_progress::ThrottledProgress;
use crate::node_cache::{CacheError, NodeModels};
use crate::plan::inputs;
use crate::report::PEAK_MEMORY;

/// Longest text of a failure in characters: a line must stay far below the protocol's limit.
const MAX_TEXT: usize = 16_384;

/// A task to do.
struct TaskRequest {
    id: u64,
    spec: String,
    attempt: String,
    manifest: String,
    output: PathBuf,
    runtime_environment: RuntimeEnvironment,
    rows: RowCare,
    node_cache: Option<NodeCache>,
    cancelled: Arc<AtomicBool>,
}

/// Does the tasks read from `input` until it ends. The listening thread calls `at_end` at the end
/// of input, possibly while a task runs. `program` is the digest that the hello tells.
///
/// # Errors
/// If the listening thread does not start.
pub(crate) fn serve(
    steps: &[Box<dyn Step>],
    program: Option<String>,
    input: impl Read + Send + 'static,
    sender: &MessageSender,
    at_end: impl FnOnce() + Send + 'static,
) -> io::Result<()> {
    sender.send(&FromWorker::Hello {
        protocol: PROTOCOL,
        build: env!("CARGO_PKG_VERSION").to_owned(),
        host: machine_name(),
        pid: std::process::id(),
        cpus: std::thread::available_parallelism().map_or(1, usize::from),
        program,
    });
    let (queue, requests) = channel();
    let listener = sender.clone();
    std::thread::Builder::new()
        .name("listener".to_owned())
        .spawn(move || {
            listen(input, &queue, &listener);
            at_end();
        })?;
    let (mut state, running) = (WorkerState::default(), Running::default());
    std::thread::scope(|scope| {
        for request in requests {
            let preparing = sender.on_task(request.id, Threads::This);
            let prepared = state.prepare(&request, steps, &running);
            drop(preparing);
            let threads = match state.at_once {
                1 => Threads::All,
                _ => Threads::This,
            };
            let work = {
                let sender = sender.clone();
                move || {
                    let _on = sender.on_task(request.id, threads);
                    let done = prepared.and_then(|task| task.perform(steps, &request, &sender));
                    sender.send(&answer(request.id, done));
                }
            };
            if state.at_once == 1 {
                work();
                continue;
            }
            let slot = running.begin();
            let thread = std::thread::Builder::new().name(format!("task-{}", slot.number));
            thread.spawn_scoped(scope, move || {
                work();
                drop(slot);
            })?;
        }
        Ok(())
    })
}

/// The machine that this worker is on, by the name that the one who placed it there knows.
fn machine_name() -> String {
    std::env::var("SLURMD_NODENAME").unwrap_or_else(|_| host_name())
}

/// The tasks that run at once.
#[derive(Clone, Default)]
struct Running(Arc<(Mutex<u64>, Condvar)>);

/// A task's place among those that run at once, free again when this is dropped.
struct Slot {
    running: Running,
    /// How many ran when it had begun, itself included.
    number: u64,
}

impl Running {
    /// Waits until fewer than `most` tasks run.
    fn wait_for_fewer_than(&self, most: u64) {
        let (running, ended) = &*self.0;
        let guard = running.lock().unwrap_or_else(PoisonError::into_inner);
        drop(ended.wait_while(guard, |running| *running >= most));
    }

    fn begin(&self) -> Slot {
        let mut running = self.0.0.lock().unwrap_or_else(PoisonError::into_inner);
        *running += 1;
        Slot {
            running: self.clone(),
            number: *running,
        }
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        let (running, ended) = &*self.running.0;
        *running.lock().unwrap_or_else(PoisonError::into_inner) -= 1;
        ended.notify_all();
    }
}

fn answer(id: u64, result: Result<(Record, bool), TaskFailure>) -> FromWorker {
    match result {
        Ok((record, won)) => FromWorker::Done {
            id,
            key: record.key,
            won,
        },
        Err(TaskFailure { kind, text }) => FromWorker::Failed { id, kind, text },
    }
}

/// A task that can begin.
struct ReadyTask {
    spec: TaskSpec,
    context: WorkerContext,
}

impl ReadyTask {
    fn perform(
        self,
        steps: &[Box<dyn Step>],
        request: &TaskRequest,
        sender: &MessageSender,
    ) -> Result<(Record, bool), TaskFailure> {
        let report = Box::new(ThrottledProgress::new(request.id, sender.clone()));
        let attempt = request.attempt.clone();
        perform(steps, self.spec, attempt, self.context, report)
    }
}

/// Handles tasks, cancels and pings until the input ends or breaks the protocol.
fn listen(input: impl Read, requests: &Sender<TaskRequest>, sender: &MessageSender) {
    let mut reader = BufReader::new(input);
    let mut cancels = BTreeMap::<u64, Arc<AtomicBool>>::new();
    loop {
        let message = match lines::read(&mut reader) {
            Ok(Some(message)) => message,
            Ok(None) => return,
            Err(error) => {
                tracing::error!("the input breaks the protocol: {error}");
                return;
            }
        };
        match message {
            ToWorker::Ping { n } => sender.send(&FromWorker::Pong { n }),
            ToWorker::Cancel { id } => {
                if let Some(cancelled) = cancels.get(&id) {
                    cancelled.store(true, Ordering::Relaxed);
                }
            }
            ToWorker::Task {
                id,
                spec,
                attempt,
                manifest,
                output,
                runtime_environment,
                rows,
                node_cache,
            } => {
                // A flag without another holder belongs to a finished assignment.
                cancels.retain(|_, flag| Arc::strong_count(flag) > 1);
                let cancelled = Arc::new(AtomicBool::new(false));
                cancels.insert(id, cancelled.clone());
                let request = TaskRequest {
                    id,
                    spec,
                    attempt,
                    manifest,
                    output,
                    runtime_environment,
                    rows,
                    node_cache,
                    cancelled,
                };
                if requests.send(request).is_err() {
                    return;
                }
            }
        }
    }
}

/// How a task failed as a whole.
#[derive(Debug)]
pub(crate) struct TaskFailure {
    /// The class of failure.
    pub kind: FailureKind,
    /// The error with its causes, cut to fit a protocol line.
    pub text: String,
}

impl TaskFailure {
    fn new(kind: FailureKind, text: &str) -> Self {
        let text = text.chars().take(MAX_TEXT).collect();
        Self { kind, text }
    }
}

impl From<StageError> for TaskFailure {
    fn from(error: StageError) -> Self {
        let text = laioncele_core::error::chain(&error);
        if error.is_disk_full() {
            let text = format!("{text}; make room on the disk and run the same command again");
            return Self::new(FailureKind::Environment, &text);
        }
        Self::new(kind_of(&error), &text)
    }
}

impl From<CoreError> for TaskFailure {
    fn from(error: CoreError) -> Self {
        StageError::Core(error).into()
    }
}

impl From<CacheError> for TaskFailure {
    fn from(error: CacheError) -> Self {
        match error {
            CacheError::Cancelled => StageError::Cancelled.into(),
            error => StageError::environment(error).into(),
        }
    }
}

/// The run that a worker works for.
#[derive(Clone)]
struct OpenRun {
    output: PathBuf,
    /// The object that the manifest is recorded as.
    recorded: String,
    store: Store,
    manifest: Arc<Manifest>,
}

/// What a worker keeps between tasks.
#[derive(Default)]
struct WorkerState {
    run: Option<OpenRun>,
    /// The run's models on this machine, where it keeps them.
    models: Option<NodeModels>,
    resources: Arc<Resources>,
    stage: Option<StageName>,
    /// How many tasks of the last task's step run at once.
    at_once: usize,
}

impl WorkerState {
    /// What the requested task needs to begin. Waits until it may.
    fn prepare(
        &mut self,
        request: &TaskRequest,
        steps: &[Box<dyn Step>],
        running: &Running,
    ) -> Result<ReadyTask, TaskFailure> {
        let OpenRun {
            store, manifest, ..
        } = self.run(&request.output, &request.manifest)?;
        let spec = read_spec(&request.spec, &store.get(&request.spec)?)?;
        let step = steps.iter().find(|s| s.spec().name == spec.step);
        self.at_once = step.map_or(1, |step| step.tasks_at_once().max(1));
        let another_stage = self.stage.replace(spec.stage) != Some(spec.stage);
        if another_stage {
            running.wait_for_fewer_than(1);
            // Another stage uses other models: free those of the last one.
            self.resources = Arc::default();
        }
        running.wait_for_fewer_than(self.at_once as u64);
        let manifest = match &request.node_cache {
            Some(from) => self.with_models(from, &store, &manifest, &spec, &request.cancelled)?,
            None => manifest,
        };
        let context = WorkerContext {
            manifest,
            store,
            resources: self.resources.clone(),
            runtime_environment: request.runtime_environment.clone(),
            cancelled: request.cancelled.clone(),
            rows: request.rows.clone(),
        };
        Ok(ReadyTask { spec, context })
    }

    /// The manifest of the run in `store`, with the models of a task fetched to this machine.
    fn with_models(
        &mut self,
        from: &NodeCache,
        store: &Store,
        manifest: &Manifest,
        spec: &TaskSpec,
        cancelled: &AtomicBool,
    ) -> Result<Arc<Manifest>, CacheError> {
        let known = self.models.take().filter(|models| models.are_of(from));
        let models = match known {
            Some(models) => models,
            None => NodeModels::open(store, manifest, from)?,
        };
        let models = self.models.insert(models);
        models.fetch(store, &spec.key_parts, &|| {
            cancelled.load(Ordering::Relaxed)
        })
    }

    /// The run at `output` with the manifest that is recorded there as the object `recorded`.
    fn run(&mut self, output: &Path, recorded: &str) -> Result<OpenRun, CoreError> {
        let same = |run: &&OpenRun| run.output == output && run.recorded == recorded;
        if let Some(run) = self.run.as_ref().filter(same) {
            return Ok(run.clone());
        }
        let store = Store::open(output)?;
        let manifest = Manifest::of_run(&store, recorded)?;
        self.models = None;
        let run = OpenRun {
            output: output.to_owned(),
            recorded: recorded.to_owned(),
            store: store.with_durability(manifest.run.durability()),
            manifest: Arc::new(manifest),
        };
        Ok(self.run.insert(run).clone())
    }
}

/// Parses the spec at `path`.
///
/// # Errors
/// [`CoreError::Record`].
pub(crate) fn read_spec(path: &str, bytes: &[u8]) -> Result<TaskSpec, CoreError> {
    serde_json::from_slice(bytes)
        .map_err(|e| CoreError::record(path, Context::new("not a task", e)))
}

/// Does one task and commits it; a panic becomes a failure of this task.
///
/// # Errors
/// What the step returns; a manifest or a model by url that is no longer the one that the task was planned with.
pub(crate) fn perform(
    steps: &[Box<dyn Step>],
    spec: TaskSpec,
    attempt: String,
    context: WorkerContext,
    report: Box<dyn ProgressReporter>,
) -> Result<(Record, bool), TaskFailure> {
    let environment = |text: &str| TaskFailure::new(FailureKind::Environment, text);
    let step = steps.iter().find(|s| s.spec().name == spec.step);
    let step =
        step.ok_or_else(|| environment(&format!("this program has no step `{}`", spec.step)))?;
    if inputs::settings(&**step, &context.manifest)? != *spec.key_parts.settings {
        let manifest = context.manifest.path().display();
        let text =
            format!("{manifest} was changed after the task was planned: run `laioncele run` again");
        return Err(environment(&text));
    }
    check_copies(&**step, &spec, &context.manifest)?;
    let mut task = Task::new(spec, attempt, context, report)?;
    match catch_unwind(AssertUnwindSafe(|| step.run(&mut task))) {
        Ok(result) => {
            if let Some(bytes) = peak_memory() {
                task.metric(PEAK_MEMORY, bytes as f64);
            }
            result.and_then(|()| task.commit()).map_err(Into::into)
        }
        Err(panic) => {
            let text = format!("panicked: {}", panic_text(&*panic));
            Err(TaskFailure::new(FailureKind::Panic, &text))
        }
    }
}

/// What is at a url may have changed since the task was planned, and each machine has a copy of its own.
fn check_copies(step: &dyn Step, spec: &TaskSpec, manifest: &Manifest) -> Result<(), TaskFailure> {
    for model in step.models(manifest)? {
        let found = digest_of_copy(&model)?;
        let planned = spec.key_parts.models.get(&model.label);
        if found.is_some() && found.as_ref() != planned {
            let url = model_cache::origin(&model.path).unwrap_or(model.path);
            let text = format!(
                "{} was changed after the task was planned: run `laioncele run` again",
                url.display()
            );
            return Err(TaskFailure::new(FailureKind::Environment, &text));
        }
    }
    Ok(())
}

/// The most memory that this process has had so far, in bytes: Linux tells.
fn peak_memory() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kibibytes: u64 = line.split_whitespace().next()?.parse().ok()?;
    Some(kibibytes * 1024)
}

/// The class of a failure, for the coordinator.
fn kind_of(error: &StageError) -> FailureKind {
    match error {
        StageError::Data(_)
        | StageError::Core(CoreError::Parquet { .. } | CoreError::Schema { .. }) => {
            FailureKind::Data
        }
        StageError::Core(
            CoreError::Unaccounted { .. }
            | CoreError::UnbalancedDrops { .. }
            | CoreError::NothingBalanced { .. },
        ) => FailureKind::Internal,
        StageError::Environment(_) | StageError::Core(_) => FailureKind::Environment,
        StageError::Memory(_) => FailureKind::Memory,
        StageError::Cancelled => FailureKind::Cancelled,
    }
}
