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
/// How long a process that was asked to end may take.
const GRACE: Duration = Duration::from_secs(3);

/// How a process is ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ending {
    /// Killed at once: it is the worker.
    Kill,
    /// Asked first, and killed when it does not end: it leads to the worker, and `srun`, for one, ends that when it is asked
    /// and leaves it alone when it is killed.
    Ask,
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
        let mut command = Command::new(&self.program);
        if let Some(scratch) = &self.scratch {
            command.arg("--scratch").arg(scratch);
        }
        command.arg("worker");
        command.envs(environment(options));
        if let Some(gpu) = &options.gpu {
            command.env("CUDA_VISIBLE_DEVICES", gpu);
        }
        spawn(command, options, Ending::Kill)
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

/// Starts `command` as a worker, ended by `ending`: two pipes, its standard error at the end of its log, a process group of its own.
///
/// # Errors
/// A log that cannot be written, a program that is not there.
pub(super) fn spawn(
    mut command: Command,
    options: &WorkerOptions,
    ending: Ending,
) -> io::Result<StartedWorker> {
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
            process: Box::new(LocalProcess {
                child: Some(child),
                ending,
                asked: None,
            }),
        }),
        _ => Err(io::Error::other("a worker without pipes")),
    }
}

struct LocalProcess {
    /// Gone once this is dropped.
    child: Option<Child>,
    ending: Ending,
    /// When it was asked to end.
    asked: Option<Instant>,
}

/// Sends a signal to a child that has not been waited for, whose process id is therefore not reused, and to its group.
fn signal(child: &mut Child, signal: Signal) {
    if matches!(child.try_wait(), Ok(None)) {
        let group = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
        let sent = group.map(|g| kill_process_group(g, signal));
        if !matches!(sent, Some(Ok(()))) {
            drop(child.kill());
        }
    }
}

/// Waits for a child that was asked to end, and kills it if it does not.
fn see_off(mut child: Child) {
    let deadline = Instant::now() + GRACE;
    while Instant::now() < deadline {
        if !matches!(child.try_wait(), Ok(None)) {
            return;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    signal(&mut child, Signal::KILL);
    drop(child.wait());
}

impl Process for LocalProcess {
    fn kill(&mut self) {
        let Some(child) = &mut self.child else {
            return;
        };
        match (self.ending, self.asked) {
            (Ending::Kill, _) => signal(child, Signal::KILL),
            (Ending::Ask, None) => {
                self.asked = Some(Instant::now());
                signal(child, Signal::TERM);
            }
            (Ending::Ask, Some(asked)) if asked.elapsed() > GRACE => signal(child, Signal::KILL),
            (Ending::Ask, Some(_)) => {}
        }
    }

    fn wait(&mut self, timeout: Duration) -> Option<String> {
        let child = self.child.as_mut()?;
        let deadline = Instant::now() + timeout;
        loop {
            match child.try_wait() {
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
        let Some(mut child) = self.child.take() else {
            return;
        };
        match self.ending {
            Ending::Kill => drop(child.wait()),
            // The coordinator does not wait for what other machines have to do.
            Ending::Ask => {
                let thread = std::thread::Builder::new().name("ending".to_owned());
                drop(thread.spawn(move || see_off(child)));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A process behind `sh -c script` that has said that it is there.
    fn started(script: &str, ending: Ending) -> (Box<dyn Process>, Box<dyn io::Read + Send>) {
        let folder = tempfile::tempdir().expect("a folder");
        let options = WorkerOptions {
            slot: 0,
            threads: 1,
            gpu: None,
            log: folder.path().join("log"),
            log_filter: String::new(),
            yields: false,
        };
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        let mut worker = spawn(command, &options, ending).expect("started");
        let mut byte = [0];
        worker.output.read_exact(&mut byte).expect("a byte");
        (worker.process, worker.output)
    }

    #[test]
    fn what_leads_to_a_worker_is_asked_to_end_it() {
        let script = "trap 'echo ended; exit 7' TERM; echo; while :; do sleep 0.01; done";
        let (mut process, mut output) = started(script, Ending::Ask);
        process.kill();
        let mut text = String::new();
        output.read_to_string(&mut text).expect("its output");
        assert_eq!(text, "ended\n");
        let ended = process.wait(GRACE);
        assert_eq!(ended.as_deref(), Some("ended with exit code 7"));
    }

    #[test]
    fn what_does_not_end_when_it_is_asked_is_killed() {
        let script = "trap '' TERM; echo; while :; do sleep 0.01; done";
        let (process, mut output) = started(script, Ending::Ask);
        // Nobody but the processes holds the other end: it closes when they are gone.
        drop(process);
        let read = output.read_to_end(&mut Vec::new());
        assert_eq!(read.expect("its output"), 0);
    }
}
