//! Starting workers: a launcher provides two pipes and a way to kill, and knows nothing of tasks.

mod command;
mod local;
mod ray;

use std::io::{self, Read, Write};
use std::path::PathBuf;
use std::time::Duration;

pub(crate) use command::{Prefix, Slurm};
pub(crate) use local::Local;
pub(crate) use ray::Ray;

use laioncele_core::Digest;

/// A program and its digest.
#[derive(Clone, Debug)]
pub(crate) struct Program {
    /// What runs it on other machines, before its arguments: its path, or a command that fetches it first.
    pub command: Vec<String>,
    /// The BLAKE3 digest of the file, in hexadecimal digits.
    pub digest: String,
}

impl Program {
    /// This process's program, which lies at `elsewhere` on other machines, or at the same place.
    ///
    /// # Errors
    /// Where the program's own file cannot be found or read.
    pub(crate) fn this(elsewhere: Option<PathBuf>) -> io::Result<Self> {
        let path = std::env::current_exe()?;
        let digest = Digest::of_file(&path)?.to_string();
        let path = elsewhere.unwrap_or(path);
        Ok(Self {
            command: vec![path.to_string_lossy().into_owned()],
            digest,
        })
    }
}

/// How a worker is started.
#[derive(Clone, Debug)]
pub(crate) struct WorkerOptions {
    /// Its place among the workers, from 0; a replacement takes over the place.
    pub slot: usize,
    /// Threads it may use.
    pub threads: usize,
    /// The only GPU it may use, as CUDA_VISIBLE_DEVICES names it; `None` leaves all GPUs of this machine visible, and on
    /// others none.
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

    /// How long a worker may take until its hello. Generous: a machine that swaps is slow, not dead.
    fn start_timeout(&self) -> Duration {
        Duration::from_mins(2)
    }

    /// The digest of the program that workers must be. `None` where they are started from this very file.
    fn program(&self) -> Option<&str> {
        None
    }

    /// Places no more workers on this machine, as workers name it. Nothing where slots say which machine it is: those stay
    /// empty.
    fn avoid(&self, machine: &str) {
        let _ = machine;
    }

    /// What may keep workers from starting, for the message that none has.
    fn obstacles(&self) -> Option<String> {
        None
    }
}
