//! Workers as child processes, on this machine or behind a command that leads to another.

use std::fs::{self, OpenOptions};
use std::io;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process_group, setpriority_process};

use super::{Launch, Process, StartedWorker, WorkerOptions};

/// The niceness of workers that yield.
const YIELDING: i32 = 10;

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
        let mut command = Command::new(&self.program);
        if let Some(scratch) = &self.scratch {
            command.arg("--scratch").arg(scratch);
        }
        command.arg("worker");
        command.envs(environment(options));
        if let Some(gpu) = &options.gpu {
            command.env("CUDA_VISIBLE_DEVICES", gpu);
        }
        spawn(command, options)
    }
}

/// The variables of a worker, but for its GPU.
///
/// No backtraces: a worker that runs out of memory while Rust's library prints one waits for itself, and still answers pings. Whoever
/// wants one runs the task alone (`worker --task`).
pub(super) fn environment(options: &WorkerOptions) -> [(&'static str, String); 4] {
    let threads = options.threads.to_string();
    [
        ("RUST_BACKTRACE", "0".to_owned()),
        ("RUST_LOG", options.log_filter.clone()),
        ("RAYON_NUM_THREADS", threads.clone()),
        ("OMP_NUM_THREADS", threads),
    ]
}

/// Starts `command` as a worker: two pipes, its standard error at the end of its log, a process group of its own.
///
/// # Errors
/// A log that cannot be written, a program that is not there.
pub(super) fn spawn(mut command: Command, options: &WorkerOptions) -> io::Result<StartedWorker> {
    if let Some(folder) = options.log.parent() {
        fs::create_dir_all(folder)?;
    }
    let mut log = OpenOptions::new();
    let log = log.create(true).append(true).open(&options.log)?;
    let mut child = command
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
