//! Starting workers: a launcher provides two pipes and a way to kill, and knows nothing of tasks.

use std::fs::{self, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process_group, setpriority_process};

/// The niceness of workers that yield.
const YIELDING: i32 = 10;

/// How a worker is started.
#[derive(Clone, Debug)]
pub(crate) struct WorkerOptions {
    /// Threads it may use.
    pub threads: usize,
    /// The only GPU it may use, as CUDA_VISIBLE_DEVICES names it; `None` leaves all GPUs visible.
    pub gpu: Option<String>,
    /// File for its standard error.
    pub log: PathBuf,
    /// Levels of the log lines that it sends.
    pub log_filter: String,
    /// Whether workers that wait for the network come first where processors are short: those keep to the times of hosts.
    pub yields: bool,
}

/// A started worker.
pub(crate) struct StartedWorker {
    /// Its standard input. Closing it asks the worker to exit.
    pub input: Box<dyn Write + Send>,
    /// Its standard output.
    pub output: Box<dyn Read + Send>,
    /// A handle to wait for it and to kill it.
    pub process: Box<dyn Process>,
}

/// A worker's process, wherever it is.
pub(crate) trait Process: Send {
    /// Kills it and its children. No error if it has exited.
    fn kill(&mut self);

    /// Waits at most `timeout` for its exit. Returns how it exited, in words, or `None` if it still
    /// runs.
    fn wait(&mut self, timeout: Duration) -> Option<String>;
}

/// Starts workers. Called by the executor's one thread.
pub(crate) trait Launch {
    /// Starts one worker.
    ///
    /// # Errors
    /// What the operating system says.
    fn start(&self, options: &WorkerOptions) -> io::Result<StartedWorker>;
}

/// Child processes of this one, each in its own process group, so that a Ctrl-C at the terminal
/// reaches only the coordinator. A worker asks the kernel to kill it when its parent dies.
pub(crate) struct Local {
    program: PathBuf,
    /// Where scratch folders of runs in buckets lie, if that was said.
    scratch: Option<PathBuf>,
}

impl Local {
    /// Workers that run this program.
    ///
    /// # Errors
    /// Where the program's own file cannot be found.
    pub(crate) fn new() -> io::Result<Self> {
        let scratch = laioncele_core::store::scratch_place();
        std::env::current_exe().map(|program| Self { program, scratch })
    }
}

impl Launch for Local {
    fn start(&self, options: &WorkerOptions) -> io::Result<StartedWorker> {
        if let Some(folder) = options.log.parent() {
            fs::create_dir_all(folder)?;
        }
        let log = OpenOptions::new()
            .create(true)
            .append(true)
            .open(&options.log)?;
        let threads = options.threads.to_string();
        let mut command = Command::new(&self.program);
        if let Some(gpu) = &options.gpu {
            command.env("CUDA_VISIBLE_DEVICES", gpu);
        }
        if let Some(scratch) = &self.scratch {
            command.arg("--scratch").arg(scratch);
        }
        let mut child = command
            .arg("worker")
            .env("RUST_LOG", &options.log_filter)
            .env("RAYON_NUM_THREADS", &threads)
            .env("OMP_NUM_THREADS", &threads)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(log)
            .process_group(0)
            .spawn()?;
        if options.yields
            && let Err(error) = setpriority_process(Some(Pid::from_child(&child)), YIELDING)
        {
            tracing::debug!("a worker has the priority of all others: {error}");
        }
        match (child.stdin.take(), child.stdout.take()) {
            (Some(input), Some(output)) => Ok(StartedWorker {
                input: Box::new(input),
                output: Box::new(output),
                process: Box::new(LocalProcess { child }),
            }),
            _ => Err(io::Error::other("a worker without pipes")),
        }
    }
}

struct LocalProcess {
    child: Child,
}

impl Process for LocalProcess {
    fn kill(&mut self) {
        // Until the child is waited for, its process id is not reused.
        if matches!(self.child.try_wait(), Ok(None)) {
            let group = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw);
            let killed = group.map(|g| kill_process_group(g, Signal::KILL));
            if !matches!(killed, Some(Ok(()))) {
                drop(self.child.kill());
            }
        }
    }

    fn wait(&mut self, timeout: Duration) -> Option<String> {
        let deadline = Instant::now() + timeout;
        loop {
            match self.child.try_wait() {
                Ok(Some(status)) => {
                    return Some(match (status.code(), status.signal()) {
                        (Some(code), _) => format!("ended with exit code {code}"),
                        (None, Some(9)) => {
                            "was killed by signal 9 (the kernel does so when memory runs out)"
                                .to_owned()
                        }
                        (None, signal) => {
                            format!("was ended by signal {}", signal.unwrap_or_default())
                        }
                    });
                }
                Ok(None) if Instant::now() < deadline => {
                    std::thread::sleep(Duration::from_millis(5));
                }
                Ok(None) => return None,
                Err(error) => return Some(format!("cannot be waited for: {error}")),
            }
        }
    }
}

impl Drop for LocalProcess {
    fn drop(&mut self) {
        self.kill();
        drop(self.child.wait());
    }
}
