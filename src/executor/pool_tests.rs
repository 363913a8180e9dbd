//! The pool with workers that are never there: which are started, in which slots, and which get tasks.

use std::cell::RefCell;
use std::path::PathBuf;
use std::rc::Rc;

use super::*;

type Recorded = Rc<RefCell<Vec<String>>>;

/// Starts nothing and records the requested GPUs, `-` for none, and the machines that are to be avoided.
#[derive(Clone, Default)]
struct Recorder {
    gpus: Recorded,
    avoided: Recorded,
}

struct Nothing;

impl Process for Nothing {
    fn kill(&mut self) {}

    fn wait(&mut self, _: Duration) -> Option<String> {
        Some("ended".to_owned())
    }
}

impl Launch for Recorder {
    fn start(&self, options: &WorkerOptions) -> io::Result<StartedWorker> {
        let gpu = options.gpu.clone();
        self.gpus
            .borrow_mut()
            .push(gpu.unwrap_or_else(|| "-".to_owned()));
        Ok(StartedWorker {
            input: Box::new(io::sink()),
            output: Box::new(io::empty()),
            process: Box::new(Nothing),
        })
    }

    fn program(&self) -> Option<&str> {
        Some("a digest")
    }

    fn avoid(&self, machine: &str) {
        self.avoided.borrow_mut().push(machine.to_owned());
    }
}

fn pool() -> (Recorder, Pool) {
    let recorder = Recorder::default();
    (recorder.clone(), Pool::new(Box::new(recorder)))
}

fn on_gpu(gpu: Option<String>) -> WorkerOptions {
    WorkerOptions {
        slot: 0,
        threads: 1,
        gpu,
        log: PathBuf::new(),
        log_filter: String::new(),
        yields: false,
    }
}

#[test]
fn a_replacement_worker_gets_the_slot_of_the_one_it_replaces() {
    let (recorder, mut pool) = pool();
    let options = |_, slot: usize| on_gpu(Some(format!("{}", slot % 2)));
    pool.fill(Lane::Gpu, 3, 3, options).expect("started");
    pool.greet(2, "a", None);
    pool.remove(2, None, false);
    pool.fill(Lane::Gpu, 3, 3, options).expect("started");
    assert_eq!(*recorder.gpus.borrow(), ["0", "1", "0", "1"]);
}

#[test]
fn a_slot_whose_worker_did_not_come_is_passed_over() {
    let (recorder, mut pool) = pool();
    let options = |_, slot: usize| on_gpu(Some(slot.to_string()));
    pool.fill(Lane::Gpu, 1, 3, options).expect("started");
    let (reason, after) = pool.remove(1, None, false).expect("was there");
    assert_eq!(reason, "ended");
    assert!(matches!(after, Some(AfterFailedStart::TryAgain(_))));
    pool.fill(Lane::Gpu, 1, 3, options).expect("started");
    assert_eq!(*recorder.gpus.borrow(), ["0", "1"]);
}

/// What is killed may take a while to end, and would fail one task after another meanwhile.
#[test]
fn a_machine_that_is_left_out_gets_neither_tasks_nor_workers() {
    let (recorder, mut pool) = pool();
    let options = |_, slot: usize| on_gpu(Some(slot.to_string()));
    pool.fill(Lane::Gpu, 3, 4, options).expect("started");
    for (worker, host) in [(1, "bare"), (2, "good"), (3, "bare")] {
        pool.greet(worker, host, None);
    }
    assert_eq!(pool.ready(Lane::Gpu), [1, 2, 3]);
    assert!(pool.retire_host(1, "no models"));
    assert!(pool.retire_host(3, "no models"));
    assert_eq!(pool.ready(Lane::Gpu), [2]);
    assert_eq!(*recorder.avoided.borrow(), ["bare"]);
    for worker in [1, 3] {
        pool.remove(worker, None, true);
    }
    pool.fill(Lane::Gpu, 4, 4, options).expect("started");
    assert_eq!(*recorder.gpus.borrow(), ["0", "1", "2", "3"]);
}

/// A worker that sees all GPUs would take the first, whoever has it.
#[test]
fn workers_without_a_gpu_of_their_own_do_not_stay_for_a_step_on_gpus() {
    let (recorder, mut pool) = pool();
    for gpu in [None, None, Some("0"), Some("0"), None] {
        let options = |_, _| on_gpu(gpu.map(str::to_owned));
        pool.fill(Lane::Processor, 1, 1, options).expect("started");
        assert_eq!(pool.len(Lane::Processor), 1);
    }
    assert_eq!(*recorder.gpus.borrow(), ["-", "0", "-"]);
}
