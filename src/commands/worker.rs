//! `laioncele worker`: runs tasks for a coordinator, or one task by itself.

use std::fs::File;
use std::io::{self, Read};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use clap::Args;
use laioncele_core::CoreError;
use laioncele_core::protocol::FailureKind;
use laioncele_core::resources::Resources;
use laioncele_core::spec::{RowCare, RuntimeEnvironment};
use laioncele_core::store::Store;
use laioncele_core::task::{NullReporter, WorkerContext};
use rustix::process::{Signal, set_parent_process_death_signal};

use crate::args::{RunPaths, Verbosity};
use crate::executor::MessageSender;
use crate::executor::launch::Program;
use crate::executor::silence::{self, LEAVE_AFTER};
use crate::executor::worker::{self, TaskFailure};
use crate::failure::{Exit, Failure};
use crate::logging;
use crate::output;
use crate::registry;
use crate::session::manifest_of_run;
use crate::words::{count, duration};
use crate::world_web::WorldWeb;

const EXAMPLES: &str = "\
Examples:
  laioncele worker --task laioncele-output/queue/KEY.json
  srun --unbuffered laioncele worker                  driven by `laioncele run` over pipes

Without --task it reads tasks as JSON lines from standard input and answers on standard output,
until its input ends. A failed run prints the --task command of each failed task.";

/// `laioncele worker`
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Worker {
    /// Run this task only, then exit
    #[arg(long, value_name = "FILE")]
    task: Option<PathBuf>,
    /// Tell the coordinator the digest of this program's file
    #[arg(long, hide = true, conflicts_with = "task")]
    identify: bool,
    #[command(flatten)]
    paths: RunPaths,
}

impl Worker {
    /// Whether a coordinator drives it over pipes.
    pub(crate) fn is_driven(&self) -> bool {
        self.task.is_none()
    }

    /// Runs tasks.
    ///
    /// # Errors
    /// Errors of the pipes; with `--task`, the error of the task.
    pub(crate) fn execute(self, verbosity: &Verbosity) -> Result<(), Failure> {
        match &self.task {
            Some(task) => run_one(task, &self.paths),
            None => driven(verbosity, self.identify)
                .map_err(|e| Failure::new(Exit::Environment, e.to_string())),
        }
    }
}

fn driven(verbosity: &Verbosity, identify: bool) -> io::Result<()> {
    // If the coordinator is killed, the worker must not go on without it.
    set_parent_process_death_signal(Some(Signal::KILL))?;
    // Native libraries may print to standard output, which carries the protocol: send their text to
    // standard error.
    let pipe = File::from(rustix::io::dup(io::stdout())?);
    rustix::stdio::dup2_stdout(io::stderr())?;
    let sender = MessageSender::new(Box::new(pipe));
    logging::to_coordinator(verbosity, sender.clone());
    let program = match identify {
        true => Some(Program::this(None)?.digest),
        false => None,
    };
    // The end of input means: exit at once, finish nothing.
    let leave = || std::process::exit(0);
    let input: Box<dyn Read + Send> = match identify {
        true => Box::new(silence::watch(io::stdin(), LEAVE_AFTER, cut_off)?),
        false => Box::new(io::stdin()),
    };
    worker::serve(&registry::steps(), program, input, &sender, leave)
}

/// Leaves a run whose coordinator is not heard any more.
fn cut_off() {
    let silence = duration(LEAVE_AFTER);
    output::message(&format!(
        "leaving: the coordinator has said nothing for {silence}"
    ));
    std::process::exit(0);
}

fn run_one(task: &PathBuf, paths: &RunPaths) -> Result<(), Failure> {
    let store = Store::open(&paths.output)?;
    let bytes = match task.strip_prefix(&paths.output) {
        Ok(path) if store.bucket().is_some() => store.get(&path.to_string_lossy())?.to_vec(),
        _ => std::fs::read(task).map_err(|e| CoreError::from_io(task, e))?,
    };
    let spec = worker::read_spec(&task.to_string_lossy(), &bytes)?;
    let manifest = manifest_of_run(paths)?;
    let mut web = WorldWeb::of(&manifest)?;
    let runtime_environment = RuntimeEnvironment {
        host_map: web.host_map()?,
        threads: std::thread::available_parallelism().map_or(1, usize::from),
        workers: 1,
    };
    let context = WorkerContext {
        store: store.with_durability(manifest.run.durability()),
        manifest: Arc::new(manifest),
        resources: Arc::new(Resources::default()),
        runtime_environment,
        cancelled: Arc::new(AtomicBool::new(false)),
        rows: RowCare::default(),
    };
    let attempt = format!("alone-{:x}", std::process::id());
    let name = format!("{} {}", spec.step, spec.partition);
    let (record, won) = worker::perform(
        &registry::steps(),
        spec,
        attempt,
        context,
        Box::new(NullReporter),
    )
    .map_err(|f| failed(&name, &f))?;
    let parts = count(record.outputs.len(), "part");
    let took = duration(std::time::Duration::from_secs_f64(record.seconds));
    output::message(&if won {
        format!("{name}: {parts} in {took}")
    } else {
        format!("{name}: already done")
    });
    Ok(())
}

fn failed(name: &str, failure: &TaskFailure) -> Failure {
    let exit = match failure.kind {
        FailureKind::Environment => Exit::Environment,
        FailureKind::Cancelled => Exit::Interrupted,
        FailureKind::Internal | FailureKind::Panic => Exit::Defect,
        FailureKind::Data | FailureKind::Memory => Exit::TasksFailed,
    };
    Failure::new(exit, format!("{name}: {}", failure.text))
}
