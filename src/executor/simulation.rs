//! A thousand workers that only sleep: the real coordinator, its queues and a real ledger, with workers that are invented
//! behind [`Launch`]. They take as long as tasks of a measured run did, tell of their progress twice a second, die, and
//! are cut off and go on working. `make bench-machines` prints what the coordinator costs.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap, HashMap, HashSet, VecDeque};
use std::io::{self, PipeWriter, Write};
use std::path::Path;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use laioncele_core::disk::Durability;
use laioncele_core::key::KeyParts;
use laioncele_core::ledger::Ledger;
use laioncele_core::protocol::{FromWorker, PROTOCOL, ToWorker, lines};
use laioncele_core::spec::{Progress, TaskSpec};
use laioncele_core::store::Store;
use laioncele_core::{Digest, Part, Partition, Shared, StageName, TableId, Unit, testing};

use super::launch::{Launch, Process, StartedWorker, WorkerOptions};
use super::{Executor, Options, Outcome, spec_path};
use crate::crew::Crew;
use crate::progress::QuietReporter;

/// Seconds of encode-names' tasks at every tenth of them, as measured: 64 buckets of the embedded world (`mini build --seed 1 --size
/// full`, two workers); the longest load the models. Scaled so that lengths drawn between them are 1 on average.
const DECILES: [f64; 11] = [
    0.05, 0.07, 0.29, 0.44, 0.49, 0.55, 0.60, 0.73, 0.79, 1.15, 9.75,
];
/// Time between two reports of a worker's progress.
const REPORT: Duration = Duration::from_millis(500);
const STEP: &str = "one-row";

/// What is simulated.
#[derive(Clone, Copy)]
struct Plan {
    workers: usize,
    tasks: u32,
    /// Mean time of a task.
    mean: Duration,
    /// Of so many tasks the worker of one dies, and of one is cut off and goes on.
    one_in: u64,
}

/// A task that a worker has.
struct Held {
    id: u64,
    attempt: String,
    task: usize,
}

#[derive(Default)]
struct Worker {
    /// Gone where the coordinator cannot hear it any more.
    output: Option<PipeWriter>,
    held: VecDeque<Held>,
    dead: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Happening {
    Report,
    /// The record is written, and what follows.
    Finish,
    /// The worker dies without a record.
    Die,
    /// It is not heard any more.
    CutOff,
    /// It writes the record and dies before it says so.
    DieAfterwards,
}

/// What happened in a simulation.
#[derive(Debug, Default)]
struct Tally {
    deaths: u64,
    cut_off: u64,
    /// Records that another copy had written.
    duplicates: u64,
    /// Seconds of processor of the simulating thread.
    processor: f64,
}

#[derive(Default)]
struct State {
    workers: BTreeMap<usize, Worker>,
    /// When what happens to which worker, at which task.
    ahead: BinaryHeap<Reverse<(Instant, usize, Happening, u64)>>,
    /// Lines for workers; none where the input is closed.
    inbox: Vec<(usize, Option<Vec<u8>>)>,
    over: bool,
}

/// Everything that the simulating thread shares with the coordinator's.
#[derive(Default)]
struct World {
    state: Mutex<State>,
    news: Condvar,
}

impl World {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn post(&self, worker: usize, line: Option<Vec<u8>>) {
        self.lock().inbox.push((worker, line));
        self.news.notify_one();
    }
}

struct Invented(Arc<World>);

impl Launch for Invented {
    fn start(&self, _: &WorkerOptions) -> io::Result<StartedWorker> {
        let (reader, mut output) = io::pipe()?;
        let hello = FromWorker::Hello {
            protocol: PROTOCOL,
            build: env!("CARGO_PKG_VERSION").to_owned(),
            host: "invented".to_owned(),
            pid: 0,
            cpus: 1,
            program: None,
        };
        lines::write(&mut output, &hello).map_err(io::Error::other)?;
        let mut state = self.0.lock();
        let number = state
            .workers
            .last_key_value()
            .map_or(0, |(last, _)| last + 1);
        let worker = Worker {
            output: Some(output),
            ..Worker::default()
        };
        state.workers.insert(number, worker);
        Ok(StartedWorker {
            input: Box::new(Input(self.0.clone(), number)),
            output: Box::new(reader),
            process: Box::new(Gone),
        })
    }
}

/// A worker's standard input.
struct Input(Arc<World>, usize);

impl Write for Input {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.post(self.1, Some(bytes.to_vec()));
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for Input {
    fn drop(&mut self) {
        self.0.post(self.1, None);
    }
}

/// Of a process that nobody can kill or wait for: it is on another machine.
struct Gone;

impl Process for Gone {
    fn kill(&mut self) {}

    fn wait(&mut self, _: Duration) -> Option<String> {
        Some("was ended by signal 9".to_owned())
    }
}

/// Lets time pass for all workers.
struct Simulation {
    plan: Plan,
    ledger: Ledger,
    tasks: Vec<TaskSpec>,
    /// Which task is at which path.
    paths: HashMap<String, usize>,
    /// Tasks that something befell: each does one worker harm, no more.
    harmed: HashSet<usize>,
    /// Tasks that have a record.
    recorded: HashSet<usize>,
    random: u64,
    tally: Tally,
}

impl Simulation {
    fn run(mut self, world: &World) -> Tally {
        let mut state = world.lock();
        while !state.over {
            for (worker, line) in std::mem::take(&mut state.inbox) {
                self.receive(&mut state, worker, line);
            }
            let now = Instant::now();
            while let Some(Reverse((at, ..))) = state.ahead.peek()
                && *at <= now
                && let Some(Reverse((_, worker, what, id))) = state.ahead.pop()
            {
                self.happen(&mut state, worker, what, id);
            }
            let next = state.ahead.peek().map(|Reverse((at, ..))| *at);
            let wait = next.map_or(REPORT, |at| at.saturating_duration_since(Instant::now()));
            if state.inbox.is_empty() {
                let waited = world.news.wait_timeout(state, wait);
                state = waited.unwrap_or_else(PoisonError::into_inner).0;
            }
        }
        self.tally.processor = processor_seconds("/proc/thread-self/schedstat");
        self.tally
    }

    fn receive(&mut self, state: &mut State, worker: usize, line: Option<Vec<u8>>) {
        let Some(line) = line else {
            // The coordinator let it go, or believes it dead. One that was cut off goes on with what it has begun.
            if let Some(worker) = state.workers.get_mut(&worker) {
                worker.output = None;
                worker.dead |= worker.held.is_empty();
            }
            return;
        };
        let message = lines::read(&mut line.as_slice()).expect("a message");
        let Some(Worker { held, output, .. }) = state.workers.get_mut(&worker) else {
            return;
        };
        match message {
            Some(ToWorker::Task {
                id, spec, attempt, ..
            }) => {
                let task = self.paths[&spec];
                held.push_back(Held { id, attempt, task });
                if held.len() == 1 {
                    self.begin(state, worker);
                }
            }
            Some(ToWorker::Ping { n }) => say(output, &FromWorker::Pong { n }),
            Some(ToWorker::Cancel { .. }) | None => {}
        }
    }

    /// The first task that `worker` holds begins: when does what happen to it?
    fn begin(&mut self, state: &mut State, worker: usize) {
        let Some(held) = state.workers.get(&worker).and_then(|w| w.held.front()) else {
            return;
        };
        let (id, task) = (held.id, held.task);
        let takes = self.plan.mean.mul_f64(self.length());
        let (now, part) = (Instant::now(), self.draw(1000) as f64 / 1000.0);
        let fate = self.draw(self.plan.one_in * 2);
        let harmed = fate < 3 && self.harmed.insert(task);
        let end = match fate {
            0 if harmed => (now + takes.mul_f64(part), Happening::Die),
            1 if harmed => (now + takes, Happening::DieAfterwards),
            _ => (now + takes, Happening::Finish),
        };
        if fate == 2 && harmed {
            let cut = now + takes.mul_f64(part);
            state
                .ahead
                .push(Reverse((cut, worker, Happening::CutOff, id)));
        }
        state.ahead.push(Reverse((end.0, worker, end.1, id)));
        if takes > REPORT {
            state
                .ahead
                .push(Reverse((now + REPORT, worker, Happening::Report, id)));
        }
    }

    fn happen(&mut self, state: &mut State, number: usize, what: Happening, id: u64) {
        let Some(worker) = state.workers.get_mut(&number).filter(|worker| !worker.dead) else {
            return;
        };
        let Some(held) = worker.held.front().filter(|held| held.id == id) else {
            return;
        };
        let task = held.task;
        match what {
            Happening::Report => {
                let progress = Progress {
                    done: 1,
                    total: 2,
                    unit: Unit::Image,
                    found: None,
                };
                say(&mut worker.output, &FromWorker::Progress { id, progress });
                let next = Instant::now() + REPORT;
                state.ahead.push(Reverse((next, number, what, id)));
            }
            Happening::CutOff => {
                self.tally.cut_off += 1;
                worker.output = None;
            }
            Happening::Die => {
                self.tally.deaths += 1;
                *worker = Worker {
                    dead: true,
                    ..Worker::default()
                };
            }
            // Of workers that were cut off every other one is later than the copy of its task, however busy the machine is.
            Happening::Finish
                if worker.output.is_none() && task % 2 == 1 && !self.recorded.contains(&task) =>
            {
                let later = Instant::now() + self.plan.mean;
                state.ahead.push(Reverse((later, number, what, id)));
            }
            Happening::Finish | Happening::DieAfterwards => {
                let attempt = held.attempt.clone();
                worker.held.pop_front();
                let won = self.commit(task, attempt);
                if what == Happening::DieAfterwards || worker.output.is_none() {
                    self.tally.deaths += u64::from(what == Happening::DieAfterwards);
                    *worker = Worker {
                        dead: true,
                        ..Worker::default()
                    };
                    return;
                }
                let key = self.tasks[task].key;
                say(&mut worker.output, &FromWorker::Done { id, key, won });
                self.begin(state, number);
            }
        }
    }

    fn commit(&mut self, task: usize, attempt: String) -> bool {
        let spec = &self.tasks[task];
        let (partition, parts) = (spec.partition.clone(), spec.key_parts.clone());
        let mut record = testing::record(&spec.step, spec.stage, partition, parts);
        let key = record.key.short();
        let written = |part: &Part| Part {
            path: format!(
                "tables/{}/{}/{key}-{attempt}.parquet",
                part.table, part.partition
            ),
            ..part.clone()
        };
        record.outputs = spec.inputs.iter().map(written).collect();
        record.attempt = attempt;
        let won = self.ledger.commit(&record).expect("a commit");
        self.tally.duplicates += u64::from(!won);
        self.recorded.insert(task);
        won
    }

    /// How long a task takes, by the mean.
    fn length(&mut self) -> f64 {
        let place = self.draw(1_000_000) as f64 / 1e6 * (DECILES.len() - 1) as f64;
        let (below, share) = (place as usize, place.fract());
        DECILES[below] + (DECILES[below + 1] - DECILES[below]) * share
    }

    /// A number below `limit` (splitmix64).
    fn draw(&mut self, limit: u64) -> u64 {
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.random;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % limit.max(1)
    }
}

/// Says something to the coordinator, if it still hears.
fn say(output: &mut Option<PipeWriter>, message: &FromWorker) {
    if let Some(pipe) = output
        && lines::write(pipe, message).is_err()
    {
        *output = None;
    }
}

fn tasks(count: u32) -> Vec<TaskSpec> {
    let settings = (0..8).map(|k| (format!("one_row.setting_{k}"), k.to_string()));
    let settings: Shared<BTreeMap<_, _>> = settings.collect();
    let task = |bucket| {
        let partition = Partition::Bucket(bucket);
        let digest = Digest::of(&bucket.to_le_bytes());
        let path = format!("tables/photos/{partition}/{}.parquet", digest.short());
        let key_parts = KeyParts {
            version: 1,
            settings: settings.clone(),
            models: BTreeMap::from([("models.face".to_owned(), Digest::of(b"weights"))]).into(),
            inputs: BTreeMap::from([(path.clone(), digest)]),
        };
        TaskSpec {
            stage: StageName::DedupeImages,
            step: STEP.to_owned(),
            key: key_parts.key(STEP, &partition),
            inputs: vec![Part {
                table: TableId::Photos,
                partition: partition.clone(),
                path,
                rows: 1,
                bytes: 1,
                digest,
            }],
            partition,
            key_parts,
            lists: Vec::new(),
            again: None,
        }
    };
    (0..count).map(task).collect()
}

/// Seconds of processor, of the file's first number.
fn processor_seconds(file: &str) -> f64 {
    let text = std::fs::read_to_string(file).unwrap_or_default();
    let nanoseconds = text.split_whitespace().next().unwrap_or_default();
    nanoseconds.parse::<f64>().unwrap_or(f64::NAN) / 1e9
}

fn simulate(plan: Plan, folder: &Path) -> (Outcome, Tally) {
    let store = Store::local(folder)
        .expect("a store")
        .with_durability(Durability::Kill);
    let tasks = tasks(plan.tasks);
    let paths = tasks
        .iter()
        .enumerate()
        .map(|(k, spec)| (spec_path(spec), k));
    let simulation = Simulation {
        plan,
        ledger: Ledger::new(store.clone()),
        paths: paths.collect(),
        tasks: tasks.clone(),
        harmed: HashSet::new(),
        recorded: HashSet::new(),
        random: 1,
        tally: Tally::default(),
    };
    let options = Options {
        crew: Crew {
            workers: plan.workers,
            threads: 1,
            shared: false,
            gpus: Vec::new(),
            at_once: 1,
        },
        manifest: "manifests/none.toml".to_owned(),
        output: folder.to_owned(),
        node_cache: None,
        log_filter: String::new(),
        run_name: "simulated".to_owned(),
        capacity: Some(plan.workers),
    };
    let world = Arc::new(World::default());
    let mut executor = Executor::new(options, store, Box::new(Invented(world.clone())));
    std::thread::scope(|scope| {
        let there = &world;
        let thread = scope.spawn(move || simulation.run(there));
        let outcome = executor.run(STEP, &tasks, tasks.len(), None, &mut QuietReporter);
        world.lock().over = true;
        world.news.notify_one();
        let tally = thread.join().expect("no panic");
        (outcome.expect("a run"), tally)
    })
}

/// Every task has ended once: in the ledger, and in what the run says.
fn assert_complete(plan: Plan, folder: &Path, outcome: &Outcome) {
    let failed: Vec<_> = outcome.failed.iter().map(|f| &f.text).collect();
    assert!(failed.is_empty(), "{failed:?}");
    let keys: HashSet<Digest> = outcome.records.iter().map(|r| r.key).collect();
    let count = plan.tasks as usize;
    assert_eq!((outcome.records.len(), keys.len()), (count, count));
    let store = Store::local(folder).expect("a store");
    let scan = Ledger::new(store.clone()).scan_anew().expect("a ledger");
    let recorded: HashSet<Digest> = scan.records.iter().map(|r| r.key).collect();
    assert!(scan.unusable.is_empty(), "{:?}", scan.unusable.first());
    assert_eq!(scan.records.len(), count);
    assert_eq!(recorded, keys);
    assert!(store.list("queue").expect("a list").is_empty());
}

#[test]
fn all_tasks_end_once_whoever_dies_or_is_cut_off() {
    let folder = tempfile::tempdir().expect("a folder");
    let plan = Plan {
        workers: 40,
        tasks: 1500,
        mean: Duration::from_millis(20),
        one_in: 20,
    };
    let (outcome, tally) = simulate(plan, folder.path());
    assert_complete(plan, folder.path(), &outcome);
    assert!(tally.deaths > 20 && tally.cut_off > 10, "{tally:?}");
    // Only what befell a worker has a task done twice.
    assert!(
        tally.duplicates <= tally.deaths + tally.cut_off,
        "{tally:?}"
    );
    let cost = outcome.cost;
    assert!(
        cost.lost_attempts > 0 && cost.lost_seconds < cost.worker_seconds,
        "{cost:?}"
    );
}

/// A number of the environment, or this one.
fn number(name: &str, usual: u32) -> u32 {
    let text = std::env::var(name).unwrap_or_default();
    text.parse().unwrap_or(usual)
}

#[test]
#[ignore = "takes minutes: make bench-machines"]
fn bench_a_thousand_workers() {
    let folder = tempfile::tempdir().expect("a folder");
    let plan = Plan {
        workers: number("BENCH_WORKERS", 1000) as usize,
        tasks: number("BENCH_TASKS", 100_000),
        mean: Duration::from_millis(number("BENCH_MEAN_MS", 2000).into()),
        one_in: 200,
    };
    let begun = Instant::now();
    let (outcome, tally) = simulate(plan, folder.path());
    let seconds = begun.elapsed().as_secs_f64();
    let status = std::fs::read_to_string("/proc/self/status").expect("a status");
    let stat = std::fs::read_to_string("/proc/self/stat").expect("times");
    // Of all threads, also those that have ended: user and system, in hundredths of a second.
    let ticks = stat
        .rsplit(')')
        .next()
        .unwrap_or_default()
        .split_whitespace();
    let ticks: Vec<f64> = ticks
        .skip(11)
        .take(2)
        .map(|n| n.parse().unwrap_or(f64::NAN))
        .collect();
    let planner = ticks.iter().sum::<f64>() / 100.0 - tally.processor;
    let peak = status.lines().find(|line| line.starts_with("VmHWM"));
    println!(
        "{} workers, {} tasks of {:?} on average: {seconds:.0} s",
        plan.workers, plan.tasks, plan.mean
    );
    println!(
        "coordinator: {planner:.1} s of processor, {:.2} of a core, {:.2} ms a task",
        planner / seconds,
        planner * 1000.0 / f64::from(plan.tasks)
    );
    println!(
        "memory, simulated workers included: {}",
        peak.unwrap_or_default()
    );
    println!("{tally:?}");
    println!("{:?}", outcome.cost);
    assert_complete(plan, folder.path(), &outcome);
}
