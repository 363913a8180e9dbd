//! The executor with workers in threads, real pipes and a real store: crashes, false reports, wrong
//! environments, interrupts.

use std::io::{self, PipeWriter, Read, Write};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::Sender;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use laioncele_core::file_digests::FileDigests;
use laioncele_core::ledger::Ledger;
use laioncele_core::protocol::{FailureKind, FromWorker, PROTOCOL, ToWorker, lines};
use laioncele_core::spec::TaskSpec;
use laioncele_core::store::Store;
use laioncele_core::table::UniquePhoto;
use laioncele_core::{
    CoreError, ImageId, Manifest, NameId, Partitioning, StageError, StageName, Step, StepSpec,
    TableId, Task, Unit,
};

use super::launch::{Launch, Process, StartedWorker, WorkerOptions};
use super::pool::Event;
use super::{Executor, MessageSender, Options, Outcome, worker};
use crate::crew::Crew;
use crate::failure::{Exit, Failure};
use crate::plan::{self, Records, inputs};
use crate::progress::QuietReporter;

const MANIFEST: &str = "[run]\nseed = 1\nbuckets = 4\n[source]\npath = \"captions\"\n[source.columns]\n\
    url = \"URL\"\ncaption = \"TEXT\"\n[embedding_dims]\nname_tokens = 8\nname_channels = 4\nface = 4\nfeatures = 3\n";

/// The object that the manifest is recorded as.
const RECORDED: &str = "manifests/one.toml";

type Behaviour = Arc<dyn Fn(&mut Task) -> Result<(), StageError> + Send + Sync>;

/// A step that writes one row per bucket, after `behaviour`.
struct OneRow {
    behaviour: Behaviour,
    at_once: usize,
}

const SPEC: StepSpec = StepSpec {
    name: "one-row",
    stage: StageName::DedupeImages,
    version: 1,
    partitioning: Partitioning::Buckets,
    reads: &[],
    writes: &[TableId::UniquePhotos],
};

impl Step for OneRow {
    fn spec(&self) -> &'static StepSpec {
        &SPEC
    }

    fn settings(&self, manifest: &Manifest) -> Result<serde_json::Value, CoreError> {
        Ok(serde_json::json!({"run": {"seed": manifest.run.seed}}))
    }

    fn tasks_at_once(&self) -> usize {
        self.at_once
    }

    fn run(&self, task: &mut Task) -> Result<(), StageError> {
        (self.behaviour)(task)?;
        task.balance(Unit::Image, 1, 1);
        task.write(vec![UniquePhoto {
            name_id: NameId(1),
            image_id: ImageId(2),
            average_hash: 3,
            copies: 0,
        }])
    }
}

/// What a worker thread does.
#[derive(Clone, Copy, PartialEq)]
enum Script {
    /// Its work.
    Serve,
    /// Exits without a hello.
    ExitBeforeHello,
    /// Sends its hello, exits at its first task.
    CrashAtFirstTask,
    /// Reports its first task as done without doing it.
    FalselyReportDone,
    /// Does its first task and exits before it reports that.
    CrashBeforeDone,
}

/// Starts threads instead of processes.
struct Threads {
    behaviour: Behaviour,
    at_once: usize,
    script: fn(usize) -> Script,
    started: Arc<AtomicUsize>,
}

impl Launch for Threads {
    fn start(&self, _: &WorkerOptions) -> io::Result<StartedWorker> {
        let number = self.started.fetch_add(1, Ordering::SeqCst) + 1;
        let script = (self.script)(number);
        let (task_reader, input) = io::pipe()?;
        let (output, answers) = io::pipe()?;
        let steps: Vec<Box<dyn Step>> = vec![Box::new(OneRow {
            behaviour: self.behaviour.clone(),
            at_once: self.at_once,
        })];
        let thread = std::thread::spawn(move || run_script(script, &steps, task_reader, answers));
        Ok(StartedWorker {
            input: Box::new(input),
            output: Box::new(output),
            process: Box::new(Thread { thread }),
        })
    }
}

struct Thread {
    thread: JoinHandle<()>,
}

impl Process for Thread {
    fn kill(&mut self) {}

    fn wait(&mut self, timeout: Duration) -> Option<String> {
        let deadline = Instant::now() + timeout;
        while !self.thread.is_finished() && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(1));
        }
        self.thread.is_finished().then(|| "ended".to_owned())
    }
}

fn run_script(
    script: Script,
    steps: &[Box<dyn Step>],
    tasks: impl Read + Send + 'static,
    answers: PipeWriter,
) {
    match script {
        Script::ExitBeforeHello => {}
        Script::Serve => {
            let sender = MessageSender::new(Box::new(answers));
            worker::serve(steps, None, tasks, &sender, || {}).expect("a thread");
        }
        Script::CrashBeforeDone => {
            let sender = MessageSender::new(Box::new(CutBeforeDone(Some(answers))));
            worker::serve(steps, None, tasks, &sender, || {}).expect("a thread");
        }
        Script::CrashAtFirstTask | Script::FalselyReportDone => {
            let sender = MessageSender::new(Box::new(answers));
            sender.send(&hello());
            let mut tasks = io::BufReader::new(tasks);
            while let Ok(Some(message)) = lines::read::<ToWorker>(&mut tasks) {
                match message {
                    ToWorker::Task { id, .. } if script == Script::FalselyReportDone => {
                        let key = laioncele_core::Digest::of(b"not done");
                        let won = true;
                        sender.send(&FromWorker::Done { id, key, won });
                    }
                    _ => return,
                }
            }
        }
    }
}

fn hello() -> FromWorker {
    FromWorker::Hello {
        protocol: PROTOCOL,
        build: env!("CARGO_PKG_VERSION").to_owned(),
        host: String::new(),
        pid: 0,
        cpus: 1,
        program: None,
    }
}

/// A pipe that is cut where a task would be reported as done.
struct CutBeforeDone(Option<PipeWriter>);

impl Write for CutBeforeDone {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if bytes.windows(13).any(|w| w == b"\"type\":\"done\"") {
            self.0 = None;
        }
        match &mut self.0 {
            Some(pipe) => pipe.write(bytes),
            None => Err(io::ErrorKind::BrokenPipe.into()),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A run of [`OneRow`]'s four tasks.
struct Harness {
    folder: tempfile::TempDir,
    /// Workers started so far.
    started: Arc<AtomicUsize>,
    tasks: Vec<TaskSpec>,
}

impl Harness {
    fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let write = |name: &str, text: &str| {
            std::fs::write(folder.path().join(name), text).expect("a file");
        };
        std::fs::create_dir(folder.path().join("captions")).expect("a folder");
        write("captions/a.parquet", "only its digest counts");
        write("manifest.toml", MANIFEST);
        let manifest = Manifest::load(&folder.path().join("manifest.toml")).expect("valid");
        let steps: Vec<Box<dyn Step>> = vec![Box::new(OneRow {
            behaviour: Arc::new(|_| Ok(())),
            at_once: 1,
        })];
        let digests = FileDigests::open(None);
        let inputs = inputs::gather(&manifest, &steps, StageName::Evaluate, &digests, false)
            .expect("plan inputs");
        let plan = plan::plan(&inputs, &Records::default()).expect("a plan");
        let tasks = plan.steps[0].missing().map(|(s, _)| s.clone()).collect();
        let started = Arc::default();
        let harness = Self {
            folder,
            started,
            tasks,
        };
        harness.record_manifest(MANIFEST);
        harness
    }

    /// Records `text` as the run's manifest.
    fn record_manifest(&self, text: &str) {
        self.store().put(RECORDED, text.to_owned()).expect("put");
    }

    fn store(&self) -> Store {
        Store::local(&self.output()).expect("a store")
    }

    fn output(&self) -> std::path::PathBuf {
        self.folder.path().join("output")
    }

    fn executor(
        &self,
        (workers, at_once): (usize, usize),
        script: fn(usize) -> Script,
        behaviour: Behaviour,
    ) -> Executor {
        let launcher = Threads {
            behaviour,
            at_once,
            script,
            started: self.started.clone(),
        };
        let options = Options {
            crew: Crew {
                workers,
                threads: 1,
                shared: true,
                gpus: Vec::new(),
                at_once,
            },
            manifest: RECORDED.to_owned(),
            output: self.output(),
            node_cache: None,
            log_filter: String::new(),
            run_name: "test".to_owned(),
            capacity: None,
        };
        Executor::new(options, self.store(), Box::new(launcher))
    }

    fn run(
        &self,
        workers: usize,
        script: fn(usize) -> Script,
        behaviour: impl Fn(&mut Task) -> Result<(), StageError> + Send + Sync + 'static,
    ) -> Result<Outcome, Failure> {
        self.run_at_once((workers, 1), script, behaviour)
    }

    /// With so many workers, of which each runs so many tasks at once.
    fn run_at_once(
        &self,
        crew: (usize, usize),
        script: fn(usize) -> Script,
        behaviour: impl Fn(&mut Task) -> Result<(), StageError> + Send + Sync + 'static,
    ) -> Result<Outcome, Failure> {
        let mut executor = self.executor(crew, script, Arc::new(behaviour));
        executor.run(
            "one-row",
            &self.tasks,
            self.tasks.len(),
            None,
            &mut QuietReporter,
        )
    }

    fn in_ledger(&self) -> usize {
        Ledger::new(self.store()).all().expect("records").len()
    }

    fn queued(&self) -> usize {
        let entries = std::fs::read_dir(self.output().join("queue"));
        entries.map_or(0, Iterator::count)
    }
}

fn in_bucket(task: &Task, bucket: u32) -> bool {
    *task.partition() == laioncele_core::Partition::Bucket(bucket)
}

#[test]
fn all_tasks_are_done_and_the_queue_is_empty() {
    let harness = Harness::new();
    let outcome = harness
        .run(2, |_| Script::Serve, |_| Ok(()))
        .expect("a run");
    assert_eq!((outcome.records.len(), outcome.failed.len()), (4, 0));
    assert_eq!((harness.in_ledger(), harness.queued()), (4, 0));
}

#[test]
fn crashed_workers_cost_an_attempt_each_and_no_task() {
    let harness = Harness::new();
    let script = |n| match n {
        1 | 2 => Script::CrashAtFirstTask,
        _ => Script::Serve,
    };
    let outcome = harness.run(1, script, |_| Ok(())).expect("a run");
    assert_eq!((outcome.records.len(), outcome.failed.len()), (4, 0));
}

#[test]
fn a_task_that_crashes_every_worker_is_given_up() {
    let harness = Harness::new();
    let outcome = harness
        .run(1, |_| Script::CrashAtFirstTask, |_| Ok(()))
        .expect("a run");
    assert_eq!((outcome.records.len(), outcome.failed.len()), (0, 4));
    assert!(outcome.failed[0].text.contains("3 attempts"));
    assert_eq!(
        harness.queued(),
        4,
        "specs of failed tasks stay, to rerun them"
    );
}

#[test]
fn a_worker_that_crashes_after_its_commit_has_done_its_task() {
    let harness = Harness::new();
    let script = |n| match n {
        1 => Script::CrashBeforeDone,
        _ => Script::Serve,
    };
    let outcome = harness.run(1, script, |_| Ok(())).expect("a run");
    assert_eq!((outcome.records.len(), outcome.failed.len()), (4, 0));
    assert_eq!(harness.in_ledger(), 4);
}

#[test]
fn done_without_a_record_is_a_failure() {
    let harness = Harness::new();
    let outcome = harness
        .run(1, |_| Script::FalselyReportDone, |_| Ok(()))
        .expect("a run");
    assert_eq!((outcome.records.len(), outcome.failed.len()), (0, 4));
    assert_eq!(outcome.failed[0].kind, FailureKind::Internal);
}

#[test]
fn workers_that_exit_before_their_hello_fail_the_run() {
    let harness = Harness::new();
    let failure = harness
        .run(1, |_| Script::ExitBeforeHello, |_| Ok(()))
        .expect_err("no workers");
    assert_eq!(failure.exit, Exit::Environment);
    assert!(failure.message.contains("workers do not start"));
}

#[test]
fn a_place_where_no_worker_starts_ends_no_run_whose_other_workers_work() {
    let harness = Harness::new();
    let started = harness.started.clone();
    let script = |n| match n {
        1 => Script::Serve,
        _ => Script::ExitBeforeHello,
    };
    // The second place has failed several times before the first task is done.
    let behaviour = move |_: &mut Task| {
        let deadline = Instant::now() + Duration::from_mins(1);
        while started.load(Ordering::SeqCst) < 5 {
            if Instant::now() > deadline {
                return Err(StageError::data("the other place was not tried again"));
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        Ok(())
    };
    let outcome = harness.run(2, script, behaviour).expect("a run");
    assert_eq!((outcome.records.len(), outcome.failed.len()), (4, 0));
}

#[test]
fn a_wrong_environment_stops_pending_tasks() {
    let harness = Harness::new();
    let behaviour = |task: &mut Task| match in_bucket(task, 0) {
        true => Err(StageError::environment("no weights")),
        false => Ok(()),
    };
    let outcome = harness.run(1, |_| Script::Serve, behaviour).expect("a run");
    assert_eq!(outcome.failed.len(), 1);
    assert_eq!(outcome.failed[0].kind, FailureKind::Environment);
    assert!(
        outcome.records.len() < 3,
        "what was not handed out never ran"
    );
}

#[test]
fn a_panic_fails_one_task_only() {
    let harness = Harness::new();
    let behaviour = |task: &mut Task| {
        assert!(!in_bucket(task, 2), "bucket 2 is too much");
        Ok(())
    };
    let outcome = harness.run(2, |_| Script::Serve, behaviour).expect("a run");
    assert_eq!((outcome.records.len(), outcome.failed.len()), (3, 1));
    let text = &outcome.failed[0].text;
    assert!(text.contains("panicked: bucket 2 is too much"), "{text}");
}

#[test]
fn a_balance_that_does_not_add_up_fails_the_task() {
    let harness = Harness::new();
    let behaviour = |task: &mut Task| {
        task.balance(Unit::Caption, 3, 2);
        Ok(())
    };
    let outcome = harness.run(1, |_| Script::Serve, behaviour).expect("a run");
    assert_eq!((outcome.failed.len(), harness.in_ledger()), (4, 0));
    assert_eq!(outcome.failed[0].kind, FailureKind::Internal);
}

#[test]
fn a_manifest_changed_after_planning_is_noticed() {
    let harness = Harness::new();
    let text = MANIFEST.replace("seed = 1", "seed = 2");
    harness.record_manifest(&text);
    let outcome = harness
        .run(1, |_| Script::Serve, |_| Ok(()))
        .expect("a run");
    assert!(outcome.failed[0].text.contains("was changed"));
    assert_eq!(outcome.failed[0].kind, FailureKind::Environment);
}

/// Interrupts as soon as the first task runs.
fn interrupt_when(path: &Path, events: Sender<Event>) {
    let path = path.to_owned();
    std::thread::spawn(move || {
        while !path.exists() {
            std::thread::sleep(Duration::from_millis(1));
        }
        // If the run is over already, nothing receives this and the test fails by its assertions.
        let _ = events.send(Event::Interrupt);
    });
}

#[test]
fn an_interrupt_cancels_running_tasks() {
    let harness = Harness::new();
    let running = harness.folder.path().join("running");
    let mark = running.clone();
    let behaviour: Behaviour = Arc::new(move |task: &mut Task| {
        std::fs::write(&mark, "").map_err(StageError::environment)?;
        loop {
            task.progress(1, 2, Unit::Image)?;
            std::thread::sleep(Duration::from_millis(1));
        }
    });
    let mut executor = harness.executor((1, 1), |_| Script::Serve, behaviour);
    interrupt_when(&running, executor.events());
    let outcome = executor
        .run(
            "one-row",
            &harness.tasks,
            harness.tasks.len(),
            None,
            &mut QuietReporter,
        )
        .expect("a run");
    assert!(outcome.interrupted && outcome.failed.is_empty() && outcome.records.is_empty());
    assert!(executor.interrupted());
    assert_eq!(harness.in_ledger(), 0);
}

/// Waits until `count` tasks have come here; an error if they do not come together.
fn meet(arrived: &Arc<AtomicUsize>, count: usize) -> Result<(), StageError> {
    arrived.fetch_add(1, Ordering::SeqCst);
    let deadline = Instant::now() + Duration::from_mins(1);
    while arrived.load(Ordering::SeqCst) < count {
        if Instant::now() > deadline {
            return Err(StageError::data("alone"));
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    Ok(())
}

#[test]
fn a_worker_runs_as_many_tasks_at_once_as_their_step_says() {
    let (harness, arrived) = (Harness::new(), Arc::new(AtomicUsize::new(0)));
    let behaviour = move |task: &mut Task| {
        meet(&arrived, 4)?;
        assert!(!in_bucket(task, 1), "bucket 1 is too much");
        Ok(())
    };
    let outcome = harness
        .run_at_once((1, 4), |_| Script::Serve, behaviour)
        .expect("a run");
    assert_eq!((outcome.records.len(), outcome.failed.len()), (3, 1));
    let text = &outcome.failed[0].text;
    assert!(text.contains("panicked: bucket 1 is too much"), "{text}");
}

#[test]
fn never_more_tasks_at_once_than_their_step_says() {
    let (harness, most) = (Harness::new(), Arc::new(AtomicUsize::new(0)));
    let (running, seen) = (AtomicUsize::new(0), most.clone());
    let behaviour = move |_: &mut Task| {
        seen.fetch_max(running.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
        std::thread::sleep(Duration::from_millis(20));
        running.fetch_sub(1, Ordering::SeqCst);
        Ok(())
    };
    let outcome = harness
        .run_at_once((1, 2), |_| Script::Serve, behaviour)
        .expect("a run");
    assert_eq!(outcome.records.len(), 4);
    assert!(most.load(Ordering::SeqCst) <= 2);
}

#[test]
fn a_worker_that_dies_with_several_tasks_loses_none_of_them() {
    let harness = Harness::new();
    let script = |n| match n {
        1 | 2 => Script::CrashAtFirstTask,
        _ => Script::Serve,
    };
    let outcome = harness
        .run_at_once((1, 4), script, |_| Ok(()))
        .expect("a run");
    assert_eq!((outcome.records.len(), outcome.failed.len()), (4, 0));
}

#[test]
fn an_interrupt_cancels_all_tasks_that_run_at_once() {
    let (harness, arrived) = (Harness::new(), Arc::new(AtomicUsize::new(0)));
    let running = harness.folder.path().join("running");
    let mark = running.clone();
    let behaviour: Behaviour = Arc::new(move |task: &mut Task| {
        meet(&arrived, 4)?;
        std::fs::write(&mark, "").map_err(StageError::environment)?;
        loop {
            task.progress(1, 2, Unit::Image)?;
            std::thread::sleep(Duration::from_millis(1));
        }
    });
    let mut executor = harness.executor((1, 4), |_| Script::Serve, behaviour);
    interrupt_when(&running, executor.events());
    let (tasks, all) = (&harness.tasks, harness.tasks.len());
    let outcome = executor.run("one-row", tasks, all, None, &mut QuietReporter);
    let outcome = outcome.expect("a run");
    assert!(outcome.interrupted && outcome.failed.is_empty() && outcome.records.is_empty());
    assert_eq!(harness.in_ledger(), 0);
}
