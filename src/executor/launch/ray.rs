//! Workers on the nodes of a Ray cluster, behind one Python process (`ray_shim.py`) that carries the lines of all of them.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, BufRead, BufReader, PipeWriter, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::local::environment;
use super::{Launch, Process, Program, StartedWorker, WorkerOptions};

const SHIM: &str = include_str!("ray_shim.py");
/// How long joining the cluster may take.
const JOIN_TIMEOUT: Duration = Duration::from_mins(1);

/// Workers on a Ray cluster.
pub(crate) struct Ray {
    shim: Arc<Shim>,
    program: Program,
    start_timeout: Duration,
    next: AtomicU64,
    cluster: Cluster,
    /// Machines that get no more workers.
    avoided: RefCell<Vec<String>>,
    /// Where the shim's own output goes.
    log: PathBuf,
    _process: ShimProcess,
}

impl Drop for Ray {
    fn drop(&mut self) {
        lock(&self.shim.input).take();
    }
}

/// What a cluster has.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Cluster {
    /// CPUs that Ray was told of.
    pub cpus: usize,
    /// GPUs that Ray was told of.
    pub gpus: usize,
}

/// The shim's input and those who wait for what it says.
struct Shim {
    /// Closed when the launcher goes, whoever still holds the shim.
    input: Mutex<Option<ChildStdin>>,
    workers: Mutex<BTreeMap<u64, Ends>>,
}

/// Where what a worker says goes.
struct Ends {
    output: PipeWriter,
    log: File,
    exit: Sender<String>,
}

#[derive(Serialize)]
#[serde(untagged)]
enum ToShim<'a> {
    Start {
        start: u64,
        command: Vec<String>,
        env: BTreeMap<&'static str, String>,
        cpus: usize,
        gpus: u8,
        avoid: Vec<String>,
    },
    Send {
        send: u64,
        line: &'a str,
    },
    Close {
        close: u64,
    },
    Kill {
        kill: u64,
    },
}

#[derive(Deserialize)]
#[serde(untagged)]
enum FromShim {
    Fatal { fatal: String },
    Ready { ready: Value },
    Line { w: u64, line: String },
    Log { w: u64, log: String },
    Exit { w: u64, exit: String },
}

impl Ray {
    /// Joins the cluster at `address` (`host:port` of its head, or `auto`) with the interpreter `python`. What libraries print
    /// goes to `log`.
    ///
    /// # Errors
    /// No such interpreter, no package `ray` or too old a one, no cluster at the address.
    pub(crate) fn join(
        python: &Path,
        address: &str,
        program: Program,
        start_timeout: Duration,
        log: &Path,
    ) -> io::Result<Self> {
        let mut child = Command::new(python)
            .args(["-u", "-c", SHIM, address])
            .env("RAY_USAGE_STATS_ENABLED", "0")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(open_log(log)?)
            .spawn()
            .map_err(|e| io::Error::new(e.kind(), format!("{}: {e}", python.display())))?;
        let (Some(input), Some(output)) = (child.stdin.take(), child.stdout.take()) else {
            return Err(io::Error::other("a shim without pipes"));
        };
        let process = ShimProcess(child);
        let shim = Arc::new(Shim {
            input: Mutex::new(Some(input)),
            workers: Mutex::default(),
        });
        let (ready, joined) = channel();
        let listener = Arc::clone(&shim);
        std::thread::Builder::new()
            .name("ray".to_owned())
            .spawn(move || listener.listen(output, &ready))?;
        let cluster = wait_for(&joined, log)?;
        Ok(Self {
            shim,
            program,
            start_timeout,
            next: AtomicU64::new(1),
            cluster,
            avoided: RefCell::default(),
            log: log.to_owned(),
            _process: process,
        })
    }

    /// What the cluster had when it was joined.
    pub(crate) fn cluster(&self) -> Cluster {
        self.cluster
    }
}

fn wait_for(joined: &Receiver<Result<Value, String>>, log: &Path) -> io::Result<Cluster> {
    let resources = match joined.recv_timeout(JOIN_TIMEOUT) {
        Ok(Ok(ready)) => ready["resources"].clone(),
        Ok(Err(fatal)) => return Err(io::Error::other(fatal)),
        Err(RecvTimeoutError::Timeout) => {
            return Err(io::Error::other(
                "the Ray cluster did not answer within a minute",
            ));
        }
        Err(RecvTimeoutError::Disconnected) => {
            return Err(ended(log));
        }
    };
    let of = |name: &str| resources[name].as_f64().map_or(0, |n| n as usize);
    Ok(Cluster {
        cpus: of("CPU"),
        gpus: of("GPU"),
    })
}

/// The error that the shim is gone.
fn ended(log: &Path) -> io::Error {
    io::Error::other(format!("the Ray shim ended; see {}", log.display()))
}

fn open_log(log: &Path) -> io::Result<File> {
    if let Some(folder) = log.parent() {
        fs::create_dir_all(folder)?;
    }
    OpenOptions::new().create(true).append(true).open(log)
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Shim {
    fn say(&self, message: &ToShim) -> io::Result<()> {
        let mut line = serde_json::to_vec(message)?;
        line.push(b'\n');
        match &mut *lock(&self.input) {
            Some(input) => input.write_all(&line).and_then(|()| input.flush()),
            None => Err(io::ErrorKind::BrokenPipe.into()),
        }
    }

    /// Hands on what the shim says, until it ends; then all workers have.
    fn listen(&self, output: ChildStdout, ready: &Sender<Result<Value, String>>) {
        for line in BufReader::new(output).lines() {
            let Ok(line) = line else { break };
            match serde_json::from_str(&line) {
                Ok(FromShim::Fatal { fatal }) => drop(ready.send(Err(fatal))),
                Ok(FromShim::Ready { ready: what }) => drop(ready.send(Ok(what))),
                Ok(FromShim::Line { w, line }) => {
                    self.hand_on(w, |ends| writeln!(ends.output, "{line}"));
                }
                Ok(FromShim::Log { w, log }) => self.hand_on(w, |ends| writeln!(ends.log, "{log}")),
                Ok(FromShim::Exit { w, exit }) => {
                    let ends = lock(&self.workers).remove(&w);
                    drop(ends.map(|ends| ends.exit.send(exit)));
                }
                Err(error) => tracing::warn!("the Ray shim said what nobody understands: {error}"),
            }
        }
        lock(&self.workers).clear();
    }

    fn hand_on(&self, worker: u64, write: impl FnOnce(&mut Ends) -> io::Result<()>) {
        let mut workers = lock(&self.workers);
        // Who reads no more has been given up.
        if workers
            .get_mut(&worker)
            .is_some_and(|ends| write(ends).is_err())
        {
            workers.remove(&worker);
        }
    }
}

impl Launch for Ray {
    fn start(&self, options: &WorkerOptions) -> io::Result<StartedWorker> {
        let worker = self.next.fetch_add(1, Ordering::Relaxed);
        let (read, output) = io::pipe()?;
        let (exit, exited) = channel();
        let log = open_log(&options.log)?;
        lock(&self.shim.workers).insert(worker, Ends { output, log, exit });
        let mut command = self.program.command.clone();
        command.extend(["worker", "--identify"].map(str::to_owned));
        let start = ToShim::Start {
            start: worker,
            command,
            env: environment(options).into_iter().collect(),
            cpus: options.threads,
            gpus: u8::from(options.gpu.is_some()),
            avoid: self.avoided.borrow().clone(),
        };
        self.shim.say(&start).map_err(|_| ended(&self.log))?;
        let shim = Arc::clone(&self.shim);
        Ok(StartedWorker {
            input: Box::new(RayInput {
                shim: Arc::clone(&shim),
                worker,
                line: Vec::new(),
            }),
            output: Box::new(read),
            process: Box::new(RayProcess {
                shim,
                worker,
                exited,
                how: None,
            }),
        })
    }

    fn start_timeout(&self) -> Duration {
        self.start_timeout
    }

    fn program(&self) -> Option<&str> {
        Some(&self.program.digest)
    }

    fn avoid(&self, machine: &str) {
        self.avoided.borrow_mut().push(machine.to_owned());
    }

    fn obstacles(&self) -> Option<String> {
        let Cluster { cpus, gpus } = self.cluster;
        Some(format!(
            "the cluster has {cpus} CPUs and {gpus} GPUs: is there room for a worker of this size?"
        ))
    }
}

/// A worker's standard input, line by line.
struct RayInput {
    shim: Arc<Shim>,
    worker: u64,
    line: Vec<u8>,
}

impl Write for RayInput {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        for &byte in bytes {
            if byte != b'\n' {
                self.line.push(byte);
                continue;
            }
            let line = String::from_utf8(std::mem::take(&mut self.line));
            let line = line.map_err(|e| io::Error::new(io::ErrorKind::InvalidData, e))?;
            let send = self.worker;
            self.shim.say(&ToShim::Send { send, line: &line })?;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for RayInput {
    fn drop(&mut self) {
        // If the shim is gone, so is the worker.
        drop(self.shim.say(&ToShim::Close { close: self.worker }));
    }
}

struct RayProcess {
    shim: Arc<Shim>,
    worker: u64,
    exited: Receiver<String>,
    how: Option<String>,
}

impl Process for RayProcess {
    fn kill(&mut self) {
        if self.how.is_none() {
            drop(self.shim.say(&ToShim::Kill { kill: self.worker }));
            lock(&self.shim.workers).remove(&self.worker);
        }
    }

    fn wait(&mut self, timeout: Duration) -> Option<String> {
        if self.how.is_none() {
            self.how = match self.exited.recv_timeout(timeout) {
                Ok(how) => Some(how),
                Err(RecvTimeoutError::Timeout) => None,
                Err(RecvTimeoutError::Disconnected) => Some("went with the Ray shim".to_owned()),
            };
        }
        self.how.clone()
    }
}

impl Drop for RayProcess {
    fn drop(&mut self) {
        self.kill();
    }
}

/// The shim, killed if it does not end by itself.
struct ShimProcess(Child);

impl Drop for ShimProcess {
    fn drop(&mut self) {
        for _ in 0..40 {
            if !matches!(self.0.try_wait(), Ok(None)) {
                return;
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        drop(self.0.kill());
        drop(self.0.wait());
    }
}
