//! The worker processes of a run: started when there is work, kept between steps, replaced when they die.

use std::collections::BTreeMap;
use std::io::{self, BufReader, Write};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::{Duration, Instant};

use laioncele_core::protocol::{FromWorker, PROTOCOL, ToWorker};

use super::heartbeat::{Act, Heartbeat};
use super::launch::{Launch, Need, Process, Started};
use super::lines;
use super::queue::WorkerId;

/// What the coordinator hears.
#[derive(Debug)]
pub enum Event {
    /// A worker said something.
    Said(WorkerId, FromWorker),
    /// A worker's output ended, or is no protocol; the reason where it is known from the stream.
    Ended(WorkerId, Option<String>),
    /// The user or the system wants the run to stop.
    Interrupt,
}

/// How long a worker may take to leave after its input was closed.
const LEAVE_WITHIN: Duration = Duration::from_millis(500);
/// How long to wait for the exit status of a worker whose output has ended.
const STATUS_WITHIN: Duration = Duration::from_secs(2);

/// The workers.
pub struct Pool {
    launcher: Box<dyn Launch>,
    workers: BTreeMap<WorkerId, Worker>,
    started: usize,
    threads: usize,
    sender: Sender<Event>,
    receiver: Receiver<Event>,
}

struct Worker {
    /// Its place among the workers, from 0; a worker that replaces it gets the same.
    place: usize,
    input: Option<Box<dyn Write + Send>>,
    process: Box<dyn Process>,
    heart: Heartbeat,
}

impl Pool {
    /// A pool without workers.
    pub fn new(launcher: Box<dyn Launch>) -> Self {
        let (sender, receiver) = channel();
        Self {
            launcher,
            workers: BTreeMap::new(),
            started: 0,
            threads: 0,
            sender,
            receiver,
        }
    }

    /// Where others may put events.
    pub fn sender(&self) -> Sender<Event> {
        self.sender.clone()
    }

    /// The number of the worker that is started next.
    pub fn next_worker(&self) -> WorkerId {
        self.started + 1
    }

    /// Starts workers until there are `count`, each with what `need` says for its number and its place among the workers.
    /// Workers with another number of threads leave first.
    ///
    /// # Errors
    /// What the launcher says.
    pub fn fill(&mut self, count: usize, need: impl Fn(WorkerId, usize) -> Need) -> io::Result<()> {
        let threads = need(0, 0).threads;
        if threads != self.threads {
            self.dismiss();
            self.threads = threads;
        }
        while self.workers.len() < count {
            let id = self.next_worker();
            let taken = |place: &usize| self.workers.values().any(|w| w.place == *place);
            let place = (0..).find(|place| !taken(place)).unwrap_or(0);
            let Started {
                input,
                output,
                process,
            } = self.launcher.start(&need(id, place))?;
            self.started = id;
            let events = self.sender.clone();
            std::thread::Builder::new()
                .name(format!("worker-{id}"))
                .spawn(move || listen(id, output, &events))?;
            let heart = Heartbeat::new(Instant::now());
            let input = Some(input);
            self.workers.insert(
                id,
                Worker {
                    place,
                    input,
                    process,
                    heart,
                },
            );
        }
        Ok(())
    }

    /// Workers that are there, greeted or not.
    pub fn len(&self) -> usize {
        self.workers.len()
    }

    /// Workers that said hello.
    pub fn ready(&self) -> Vec<WorkerId> {
        let ready = self.workers.iter().filter(|(_, w)| w.heart.is_greeted());
        ready.map(|(id, _)| *id).collect()
    }

    /// Tells a worker something. A broken pipe is no error here: its end is heard soon.
    pub fn tell(&mut self, worker: WorkerId, message: &ToWorker) {
        let Some(worker) = self.workers.get_mut(&worker) else {
            return;
        };
        if let Some(input) = &mut worker.input
            && lines::write(input, message).is_err()
        {
            worker.input = None;
        }
    }

    /// The next event, within `patience`.
    pub fn next(&mut self, patience: Duration) -> Option<Event> {
        let event = match self.receiver.recv_timeout(patience) {
            Ok(event) => event,
            // The pool holds a sender itself, so the channel cannot be closed.
            Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => return None,
        };
        let now = Instant::now();
        match &event {
            Event::Said(
                id,
                FromWorker::Hello {
                    protocol, build, ..
                },
            ) => {
                return Some(self.greet(*id, *protocol, build));
            }
            Event::Said(id, _) => {
                if let Some(worker) = self.workers.get_mut(id) {
                    worker.heart.heard(now);
                }
            }
            Event::Ended(..) | Event::Interrupt => {}
        }
        Some(event)
    }

    fn greet(&mut self, id: WorkerId, protocol: u32, build: &str) -> Event {
        let ours = env!("CARGO_PKG_VERSION");
        if protocol != PROTOCOL || build != ours {
            let reason = format!(
                "is build {build} with protocol {protocol}, not {ours} with protocol {PROTOCOL}"
            );
            return Event::Ended(id, Some(reason));
        }
        if let Some(worker) = self.workers.get_mut(&id) {
            worker.heart.greeted(Instant::now());
        }
        let n = 0;
        Event::Said(id, FromWorker::Pong { n })
    }

    /// Asks silent workers and ends those that do not answer.
    pub fn check_hearts(&mut self) {
        let now = Instant::now();
        let mut silent = Vec::new();
        for (id, worker) in &mut self.workers {
            match worker.heart.check(now) {
                Act::Wait => {}
                Act::Ask => silent.push(*id),
                // Its output ends with it, and that is heard as its end.
                Act::GiveUp => worker.process.kill(),
            }
        }
        for id in silent {
            self.tell(id, &ToWorker::Ping { n: id as u64 });
        }
    }

    /// Removes a worker whose output has ended; how it ended and whether it had said hello. `None` where it is gone
    /// already.
    pub fn bury(&mut self, id: WorkerId, reason: Option<String>) -> Option<(String, bool)> {
        let mut worker = self.workers.remove(&id)?;
        worker.input = None;
        let status = match &reason {
            Some(_) => None,
            None => worker.process.wait(STATUS_WITHIN),
        };
        worker.process.kill();
        let reason = reason
            .or(status)
            .unwrap_or_else(|| "closed its output".to_owned());
        Some((reason, worker.heart.is_greeted()))
    }

    /// Ends all workers at once.
    pub fn kill(&mut self) {
        for worker in self.workers.values_mut() {
            worker.process.kill();
        }
        self.workers.clear();
    }

    /// Asks all workers to leave, and ends those that stay.
    pub fn dismiss(&mut self) {
        for worker in self.workers.values_mut() {
            worker.input = None;
        }
        for worker in self.workers.values_mut() {
            drop(worker.process.wait(LEAVE_WITHIN));
        }
        self.kill();
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        self.dismiss();
    }
}

/// Turns a worker's output into events until it ends.
fn listen(id: WorkerId, output: impl io::Read, events: &Sender<Event>) {
    let mut reader = BufReader::new(output);
    let reason = loop {
        match lines::read(&mut reader) {
            Ok(Some(message)) => {
                if events.send(Event::Said(id, message)).is_err() {
                    break None;
                }
            }
            Ok(None) => break None,
            Err(error) => break Some(format!("broke the protocol: {error}")),
        }
    };
    // Nobody listens any more when the pool is gone.
    drop(events.send(Event::Ended(id, reason)));
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;
    use std::path::PathBuf;
    use std::rc::Rc;

    use super::*;

    /// Starts nothing and remembers which GPU it was asked for.
    struct Remember(Rc<RefCell<Vec<Option<String>>>>);

    struct Nothing;

    impl Process for Nothing {
        fn kill(&mut self) {}
        fn wait(&mut self, _: Duration) -> Option<String> {
            Some("ended".to_owned())
        }
    }

    impl Launch for Remember {
        fn start(&self, need: &Need) -> io::Result<Started> {
            self.0.borrow_mut().push(need.gpu.clone());
            Ok(Started {
                input: Box::new(io::sink()),
                output: Box::new(io::empty()),
                process: Box::new(Nothing),
            })
        }
    }

    #[test]
    fn a_worker_takes_the_place_of_the_one_that_it_replaces() {
        let asked = Rc::new(RefCell::new(Vec::new()));
        let mut pool = Pool::new(Box::new(Remember(asked.clone())));
        let need = |_, place: usize| Need {
            threads: 1,
            gpu: Some(format!("{}", place % 2)),
            log: PathBuf::new(),
            log_filter: String::new(),
        };
        pool.fill(3, need).expect("started");
        pool.bury(2, None);
        pool.fill(3, need).expect("started");
        let asked = asked.borrow();
        let gpus: Vec<&str> = asked.iter().flatten().map(String::as_str).collect();
        assert_eq!(gpus, ["0", "1", "0", "1"]);
    }
}
