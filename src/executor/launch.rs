//! Starting workers: a launcher hands over two pipes and a kill, and knows nothing of tasks.

use std::fs::{self, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process_group};

/// What a worker needs.
#[derive(Clone, Debug)]
pub struct Need {
    /// Threads it may use.
    pub threads: usize,
    /// The one GPU that it sees, as CUDA_VISIBLE_DEVICES names it; all of the machine's without one.
    pub gpu: Option<String>,
    /// File that takes its standard error, for after a crash.
    pub log: PathBuf,
    /// Levels of the log lines that it sends.
    pub log_filter: String,
}

/// A started worker.
pub struct Started {
    /// Its standard input: closing it asks it to leave.
    pub input: Box<dyn Write + Send>,
    /// Its standard output.
    pub output: Box<dyn Read + Send>,
    /// The process.
    pub process: Box<dyn Process>,
}

/// A worker's process, wherever it is.
pub trait Process: Send {
    /// Ends it at once, with all it started. No error where it is gone already.
    fn kill(&mut self);

    /// Waits at most `patience` for its end; how it ended, in words, or `None` where it still runs.
    fn wait(&mut self, patience: Duration) -> Option<String>;
}

/// Starts workers. Called by the executor's one thread.
pub trait Launch {
    /// Starts one worker.
    ///
    /// # Errors
    /// What the operating system says.
    fn start(&self, need: &Need) -> io::Result<Started>;
}

/// Child processes of this one, each in its own process group, so that a Ctrl-C at the terminal reaches only the
/// coordinator. A worker asks the kernel itself to die with its parent.
pub struct Local {
    program: PathBuf,
}

impl Local {
    /// Workers that run this program.
    ///
    /// # Errors
    /// Where the program's own file cannot be found.
    pub fn new() -> io::Result<Self> {
        std::env::current_exe().map(|program| Self { program })
    }
}

impl Launch for Local {
    fn start(&self, need: &Need) -> io::Result<Started> {
        if let Some(folder) = need.log.parent() {
            fs::create_dir_all(folder)?;
        }
        let log = OpenOptions::new()
            .create(true)
            .append(true)
            .open(&need.log)?;
        let threads = need.threads.to_string();
        let mut command = Command::new(&self.program);
        if let Some(gpu) = &need.gpu {
            command.env("CUDA_VISIBLE_DEVICES", gpu);
        }
        let mut child = command
            .arg("worker")
            .env("RUST_LOG", &need.log_filter)
            .env("RAYON_NUM_THREADS", &threads)
            .env("OMP_NUM_THREADS", &threads)
            .env("POLARS_MAX_THREADS", &threads)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(log)
            .process_group(0)
            .spawn()?;
        match (child.stdin.take(), child.stdout.take()) {
            (Some(input), Some(output)) => Ok(Started {
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
        // While the child is not waited for, its process id cannot belong to anybody else.
        if matches!(self.child.try_wait(), Ok(None)) {
            let group = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw);
            let killed = group.map(|g| kill_process_group(g, Signal::KILL));
            if !matches!(killed, Some(Ok(()))) {
                drop(self.child.kill());
            }
        }
    }

    fn wait(&mut self, patience: Duration) -> Option<String> {
        let deadline = Instant::now() + patience;
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
