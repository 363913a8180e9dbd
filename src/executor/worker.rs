//! A worker: reads tasks, does them one at a time, answers, and keeps its models between the tasks
//! of a stage.
//!
//! A second thread listens, so that pings and cancels are handled while a task runs.

use std::any::Any;
use std::collections::BTreeMap;
use std::io::{self, BufReader, Read, Write};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use laioncele_core::error::Context;
use laioncele_core::ledger::Record;
use laioncele_core::protocol::{FailureKind, FromWorker, PROTOCOL, ToWorker};
use laioncele_core::resources::Resources;
use laioncele_core::spec::{Progress, RuntimeEnvironment, TaskSpec};
use laioncele_core::store::Store;
use laioncele_core::task::{ProgressReporter, WorkerContext, host_name};
use laioncele_core::{CoreError, Manifest, StageError, StageName, Step, Task};

use super::lines;
use crate::plan::inputs;

/// Shortest time between two progress messages.
const PROGRESS_INTERVAL: Duration = Duration::from_millis(500);
/// Longest text of a failure in characters: a line must stay far below the protocol's limit.
const MAX_TEXT: usize = 16_384;

/// A worker's output, shared by its threads.
#[derive(Clone)]
pub(crate) struct MessageSender(Arc<Mutex<Box<dyn Write + Send>>>);

impl MessageSender {
    /// Sends to `output`.
    pub(crate) fn new(output: Box<dyn Write + Send>) -> Self {
        Self(Arc::new(Mutex::new(output)))
    }

    /// Sends a message. Errors are ignored: if the coordinator is gone, the input ends too, and the
    /// worker exits.
    pub(crate) fn send(&self, message: &FromWorker) {
        let mut output = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let _ = lines::write(&mut *output, message);
    }
}

/// A task to do.
struct TaskRequest {
    id: u64,
    spec: String,
    attempt: String,
    manifest: PathBuf,
    output: PathBuf,
    runtime_environment: RuntimeEnvironment,
    cancelled: Arc<AtomicBool>,
}

/// Does the tasks read from `input` until it ends. The listening thread calls `at_end` at the end
/// of input, possibly while a task runs.
///
/// # Errors
/// If the listening thread does not start.
pub(crate) fn serve(
    steps: &[Box<dyn Step>],
    input: impl Read + Send + 'static,
    sender: &MessageSender,
    at_end: impl FnOnce() + Send + 'static,
) -> io::Result<()> {
    sender.send(&FromWorker::Hello {
        protocol: PROTOCOL,
        build: env!("CARGO_PKG_VERSION").to_owned(),
        host: host_name(),
        pid: std::process::id(),
        cpus: std::thread::available_parallelism().map_or(1, usize::from),
    });
    let (queue, requests) = channel();
    let listener = sender.clone();
    std::thread::Builder::new()
        .name("listener".to_owned())
        .spawn(move || {
            listen(input, &queue, &listener);
            at_end();
        })?;
    let mut state = WorkerState::default();
    for request in requests {
        let answer = state.handle(steps, &request, sender);
        sender.send(&answer);
    }
    Ok(())
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
            } => {
                // Assignments are done in order: a flag without another holder belongs to a
                // finished one.
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
        Self::new(kind_of(&error), &laioncele_core::error::chain(&error))
    }
}

impl From<CoreError> for TaskFailure {
    fn from(error: CoreError) -> Self {
        StageError::Core(error).into()
    }
}

/// What a worker keeps between tasks.
#[derive(Default)]
struct WorkerState {
    manifest: Option<Arc<Manifest>>,
    store: Option<(PathBuf, Store)>,
    resources: Arc<Resources>,
    stage: Option<StageName>,
}

impl WorkerState {
    fn handle(
        &mut self,
        steps: &[Box<dyn Step>],
        request: &TaskRequest,
        sender: &MessageSender,
    ) -> FromWorker {
        match self.run_task(steps, request, sender) {
            Ok((record, won)) => FromWorker::Done {
                id: request.id,
                key: record.key,
                won,
            },
            Err(TaskFailure { kind, text }) => FromWorker::Failed {
                id: request.id,
                kind,
                text,
            },
        }
    }

    fn run_task(
        &mut self,
        steps: &[Box<dyn Step>],
        request: &TaskRequest,
        sender: &MessageSender,
    ) -> Result<(Record, bool), TaskFailure> {
        let store = self.store(&request.output)?;
        let spec = read_spec(&request.spec, &store.get(&request.spec)?)?;
        if self.stage.replace(spec.stage) != Some(spec.stage) {
            // Another stage uses other models: free those of the last one.
            self.resources = Arc::default();
        }
        let context = WorkerContext {
            manifest: self.manifest(&request.manifest)?,
            store,
            resources: self.resources.clone(),
            runtime_environment: request.runtime_environment.clone(),
            cancelled: request.cancelled.clone(),
        };
        let report = ThrottledProgress::new(request.id, sender.clone());
        perform(
            steps,
            spec,
            request.attempt.clone(),
            context,
            Box::new(report),
        )
    }

    fn manifest(&mut self, path: &Path) -> Result<Arc<Manifest>, CoreError> {
        match &self.manifest {
            Some(manifest) if manifest.path() == path => Ok(manifest.clone()),
            _ => {
                let manifest = Arc::new(Manifest::load(path)?);
                self.manifest = Some(manifest.clone());
                Ok(manifest)
            }
        }
    }

    fn store(&mut self, output: &Path) -> Result<Store, CoreError> {
        match &self.store {
            Some((folder, store)) if folder == output => Ok(store.clone()),
            _ => {
                let store = Store::local(output)?;
                self.store = Some((output.to_owned(), store.clone()));
                Ok(store)
            }
        }
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
/// What the step returns; a manifest that is no longer the one that the task was planned with.
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
    if inputs::settings(&**step, &context.manifest)? != spec.key_parts.settings {
        let manifest = context.manifest.path().display();
        let text =
            format!("{manifest} was changed after the task was planned: run `laioncele run` again");
        return Err(environment(&text));
    }
    let mut task = Task::new(spec, attempt, context, report)?;
    match catch_unwind(AssertUnwindSafe(|| step.run(&mut task))) {
        Ok(result) => result.and_then(|()| task.commit()).map_err(Into::into),
        Err(panic) => {
            let text = format!("panicked: {}", panic_text(&*panic));
            Err(TaskFailure::new(FailureKind::Internal, &text))
        }
    }
}

fn panic_text(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|s| (*s).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "without a message".to_owned())
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

/// Sends a task's progress to the coordinator, at most twice a second.
struct ThrottledProgress {
    id: u64,
    sender: MessageSender,
    last: Mutex<Option<Instant>>,
}

impl ThrottledProgress {
    fn new(id: u64, sender: MessageSender) -> Self {
        Self {
            id,
            sender,
            last: Mutex::new(None),
        }
    }
}

impl ProgressReporter for ThrottledProgress {
    fn progress(&self, progress: Progress) {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        let due = last.is_none_or(|at| at.elapsed() >= PROGRESS_INTERVAL);
        if due {
            *last = Some(Instant::now());
            self.sender.send(&FromWorker::Progress {
                id: self.id,
                progress,
            });
        }
    }
}
