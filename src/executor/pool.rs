//! The worker processes of a run: started when there is work, kept between steps, replaced when
//! they die.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, BufReader, Write};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::{Duration, Instant};

use laioncele_core::protocol::{FromWorker, PROTOCOL, ToWorker, lines};

use super::heartbeat::{Heartbeat, HeartbeatAction};
use super::lane::Lane;
use super::launch::{Launch, Process, StartedWorker, WorkerOptions};
use super::queue::WorkerId;
use super::slots::{AfterFailedStart, Meanwhile, Slots};
use crate::words::duration;

/// What the coordinator receives.
#[derive(Debug)]
pub(crate) enum Event {
    /// A message of a worker.
    Message(WorkerId, FromWorker),
    /// A worker's output ended or broke the protocol; the reason if the stream tells it.
    Ended(WorkerId, Option<String>),
    /// Ctrl-C or a termination signal.
    Interrupt,
}

/// How long a worker may take to exit after its input is closed.
const EXIT_TIMEOUT: Duration = Duration::from_millis(500);
/// How long to wait for the exit status of a worker whose output has ended.
const STATUS_TIMEOUT: Duration = Duration::from_secs(2);

/// Threads of a worker, and its GPU: what tells workers apart.
pub(super) type Kind = (usize, Option<String>);

/// The running workers and the channel of their events.
pub(super) struct Pool {
    launcher: Box<dyn Launch>,
    workers: BTreeMap<WorkerId, Worker>,
    started: usize,
    /// Threads of the workers of each lane, and the first one's GPU: what steps may want otherwise.
    kinds: BTreeMap<Lane, Kind>,
    /// Machines whose environment is wrong, and what is wrong there.
    bad_hosts: BTreeMap<String, String>,
    slots: Slots,
    sender: Sender<Event>,
    receiver: Receiver<Event>,
}

struct Worker {
    lane: Lane,
    /// Its slot, from 0. A replacement worker takes over the slot, and with it the GPU.
    slot: usize,
    /// The machine that it said it is on; empty before its hello.
    host: String,
    input: Option<Box<dyn Write + Send>>,
    process: Box<dyn Process>,
    heartbeat: Heartbeat,
    /// Why the coordinator ended it.
    ended: Option<String>,
    /// It was killed: it may take a while, and gets nothing more to do.
    killed: bool,
}

impl Worker {
    fn kill(&mut self) {
        self.killed = true;
        self.process.kill();
    }
}

impl Pool {
    /// A pool without workers.
    pub(super) fn new(launcher: Box<dyn Launch>) -> Self {
        let (sender, receiver) = channel();
        Self {
            launcher,
            workers: BTreeMap::new(),
            started: 0,
            kinds: BTreeMap::new(),
            bad_hosts: BTreeMap::new(),
            slots: Slots::default(),
            sender,
            receiver,
        }
    }

    /// A sender for events from outside the pool.
    pub(super) fn sender(&self) -> Sender<Event> {
        self.sender.clone()
    }

    /// The number of the next worker to start.
    pub(super) fn next_worker(&self) -> WorkerId {
        self.started + 1
    }

    /// Whether the workers of `lane` are of this kind, or none has been started.
    pub(super) fn has_kind(&self, lane: Lane, kind: &Kind) -> bool {
        self.kinds.get(&lane).is_none_or(|found| found == kind)
    }

    /// Starts workers until there are `count` in `lane`, in its first `slots` slots, each with the options of its number and
    /// slot; none in a slot that waits. Those of the lane with another number of threads, or with GPUs where there were
    /// none, are shut down first.
    ///
    /// # Errors
    /// What the launcher says; all slots lead to machines whose environment is wrong.
    pub(super) fn fill(
        &mut self,
        lane: Lane,
        count: usize,
        slots: usize,
        options: impl Fn(WorkerId, usize) -> WorkerOptions,
    ) -> io::Result<()> {
        let first = options(0, 0);
        let kind = (first.threads, first.gpu);
        if !self.has_kind(lane, &kind) {
            self.release(lane);
        }
        self.kinds.insert(lane, kind);
        let slots = slots.max(count);
        let good = slots - self.slots.retired(lane, slots);
        if good == 0 && count > 0 {
            return Err(self.no_machine_left());
        }
        let now = Instant::now();
        let of_lane = self.workers.values().filter(|w| w.lane == lane);
        let taken: BTreeSet<usize> = of_lane.map(|w| w.slot).collect();
        let missing = count.min(good).saturating_sub(taken.len());
        let is_free = |slot: &usize| !taken.contains(slot) && self.slots.is_open(lane, *slot, now);
        let free: Vec<usize> = (0..slots).filter(is_free).take(missing).collect();
        for slot in free {
            self.start(lane, slot, now, &options)?;
        }
        Ok(())
    }

    fn start(
        &mut self,
        lane: Lane,
        slot: usize,
        now: Instant,
        options: impl Fn(WorkerId, usize) -> WorkerOptions,
    ) -> io::Result<()> {
        let id = self.next_worker();
        self.slots.started(lane, !self.ready(lane).is_empty(), now);
        let StartedWorker {
            input,
            output,
            process,
        } = self.launcher.start(&options(id, slot))?;
        self.started = id;
        let events = self.sender.clone();
        std::thread::Builder::new()
            .name(format!("worker-{id}"))
            .spawn(move || listen(id, output, &events))?;
        let worker = Worker {
            lane,
            slot,
            host: String::new(),
            input: Some(input),
            process,
            heartbeat: Heartbeat::new(Instant::now(), self.launcher.start_timeout()),
            ended: None,
            killed: false,
        };
        self.workers.insert(id, worker);
        Ok(())
    }

    /// Started workers of `lane`, ready or not.
    pub(super) fn len(&self, lane: Lane) -> usize {
        self.workers.values().filter(|w| w.lane == lane).count()
    }

    /// Workers of `lane` that have sent their hello and can be given tasks.
    pub(super) fn ready(&self, lane: Lane) -> Vec<WorkerId> {
        let ready = |worker: &Worker| {
            worker.lane == lane && worker.heartbeat.is_greeted() && !worker.killed
        };
        let ready = self.workers.iter().filter(|(_, worker)| ready(worker));
        ready.map(|(id, _)| *id).collect()
    }

    /// Whether none of `lane`'s workers has said hello, and the first was started longer than `patience` ago.
    pub(super) fn is_kept_waiting(&self, lane: Lane, patience: Duration) -> bool {
        let now = Instant::now();
        let mut late = false;
        for worker in self.workers.values().filter(|w| w.lane == lane) {
            if worker.heartbeat.is_greeted() {
                return false;
            }
            late |= worker.heartbeat.is_late(now, patience);
        }
        late
    }

    /// Sends a message. A broken pipe is no error here: the worker's end follows as an event.
    pub(super) fn send(&mut self, worker: WorkerId, message: &ToWorker) {
        let Some(worker) = self.workers.get_mut(&worker) else {
            return;
        };
        worker.heartbeat.addressed(Instant::now());
        if let Some(input) = &mut worker.input
            && lines::write(input, message).is_err()
        {
            worker.input = None;
        }
    }

    /// The next event, waiting at most `timeout`.
    pub(super) fn next_event(&mut self, timeout: Duration) -> Option<Event> {
        let event = match self.receiver.recv_timeout(timeout) {
            Ok(event) => event,
            // The pool holds a sender itself, so the channel cannot be closed.
            Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => return None,
        };
        let now = Instant::now();
        match &event {
            Event::Message(
                id,
                FromWorker::Hello {
                    protocol,
                    build,
                    program,
                    host,
                    ..
                },
            ) => {
                let refused = self.refuses(*protocol, build, program.as_deref());
                return Some(self.greet(*id, host, refused));
            }
            Event::Message(id, _) => {
                if let Some(worker) = self.workers.get_mut(id) {
                    worker.heartbeat.heard(now);
                }
            }
            Event::Ended(..) | Event::Interrupt => {}
        }
        Some(event)
    }

    /// Why a worker that says this of itself cannot be used.
    fn refuses(&self, protocol: u32, build: &str, program: Option<&str>) -> Option<String> {
        let ours = env!("CARGO_PKG_VERSION");
        if protocol != PROTOCOL || build != ours {
            return Some(format!(
                "is build {build} with protocol {protocol}, not {ours} with protocol {PROTOCOL}"
            ));
        }
        let wanted = self.launcher.program()?;
        (program != Some(wanted)).then(|| {
            let found = program.unwrap_or("one that does not say its digest");
            format!("is another build of laioncele: {found}, not {wanted}")
        })
    }

    fn greet(&mut self, id: WorkerId, host: &str, refused: Option<String>) -> Event {
        if let Some(reason) = refused {
            return Event::Ended(id, Some(reason));
        }
        if let Some(worker) = self.workers.get_mut(&id) {
            host.clone_into(&mut worker.host);
            worker.heartbeat.greeted(Instant::now());
            if let Some(why) = self.bad_hosts.get(host) {
                self.slots.retire(worker.lane, worker.slot);
                return Event::Ended(id, Some(format!("is on {host}: {why}")));
            }
            self.slots.answered(worker.lane, worker.slot);
        }
        let n = 0;
        Event::Message(id, FromWorker::Pong { n })
    }

    fn no_machine_left(&self) -> io::Error {
        let why = self.bad_hosts.iter();
        let why: Vec<String> = why.map(|(host, text)| format!("{host}: {text}")).collect();
        io::Error::other(format!("no machine is left that works: {}", why.join("; ")))
    }

    /// Takes the machine of `worker` out of the run, because its environment is wrong as `why` says: what is on it is
    /// killed, its slots stay empty. Not if the run has no other machine; returns whether it did.
    pub(super) fn retire_host(&mut self, worker: WorkerId, why: &str) -> bool {
        let Some(host) = self.workers.get(&worker).map(|w| w.host.clone()) else {
            return false;
        };
        // One that has not said where it is may be on another.
        let other = |w: &Worker| w.host != host;
        if self.launcher.program().is_none() || !self.workers.values().any(other) {
            return false;
        }
        for worker in self.workers.values_mut().filter(|w| w.host == host) {
            self.slots.retire(worker.lane, worker.slot);
            worker.kill();
        }
        if !self.bad_hosts.contains_key(&host) {
            self.launcher.avoid(&host);
            self.bad_hosts.insert(host, why.to_owned());
        }
        true
    }

    /// What may keep workers from starting.
    pub(super) fn obstacles(&self) -> Option<String> {
        self.launcher.obstacles()
    }

    /// The workers of the other lanes.
    pub(super) fn beside(&self, lane: Lane) -> impl Iterator<Item = WorkerId> {
        let beside = self.workers.iter().filter(move |(_, w)| w.lane != lane);
        beside.map(|(id, _)| *id)
    }

    /// The machine that a worker said it is on.
    pub(super) fn host(&self, worker: WorkerId) -> String {
        self.workers
            .get(&worker)
            .map_or_else(String::new, |worker| worker.host.clone())
    }

    /// Kills one worker, because of what `why` says. Its end follows as an event.
    pub(super) fn end(&mut self, worker: WorkerId, why: String) {
        if let Some(worker) = self.workers.get_mut(&worker) {
            worker.ended.get_or_insert(why);
            worker.kill();
        }
    }

    /// Lets one worker go.
    pub(super) fn dismiss(&mut self, worker: WorkerId) {
        if let Some(mut worker) = self.workers.remove(&worker) {
            worker.input = None;
            drop(worker.process.wait(EXIT_TIMEOUT));
            worker.process.kill();
        }
    }

    /// Pings silent workers and kills those that do not answer, or were asked to end and do not.
    pub(super) fn check_heartbeats(&mut self) {
        let now = Instant::now();
        let mut silent = Vec::new();
        for (id, worker) in &mut self.workers {
            if worker.killed {
                worker.process.kill();
                continue;
            }
            match worker.heartbeat.check(now) {
                HeartbeatAction::Wait => {}
                HeartbeatAction::Ping => silent.push(*id),
                // Its output ends with it, which arrives as `Event::Ended`.
                HeartbeatAction::Kill => {
                    let silence = duration(worker.heartbeat.silence(now));
                    let why = || format!("said nothing for {silence}");
                    worker.ended.get_or_insert_with(why);
                    worker.kill();
                }
            }
        }
        for id in silent {
            self.send(id, &ToWorker::Ping { n: id as u64 });
        }
    }

    /// Removes a worker whose output has ended. Returns how it ended and, where its hello had not come, what follows for
    /// its lane, for which it matters whether any worker is `at_work`; `None` if it was removed before.
    pub(super) fn remove(
        &mut self,
        id: WorkerId,
        reason: Option<String>,
        at_work: bool,
    ) -> Option<(String, Option<AfterFailedStart>)> {
        let mut worker = self.workers.remove(&id)?;
        worker.input = None;
        let status = match &reason {
            Some(_) => None,
            None => worker.process.wait(STATUS_TIMEOUT),
        };
        worker.process.kill();
        let reason = worker
            .ended
            .or(reason)
            .or(status)
            .unwrap_or_else(|| "closed its output".to_owned());
        let meanwhile = Meanwhile {
            others_come: self.len(worker.lane) > 0,
            at_work,
            patience: self.launcher.start_timeout(),
        };
        let after = (!worker.heartbeat.is_greeted()).then(|| {
            self.slots
                .failed(worker.lane, worker.slot, meanwhile, Instant::now())
        });
        Some((reason, after))
    }

    /// Kills all workers.
    pub(super) fn kill(&mut self) {
        for worker in self.workers.values_mut() {
            worker.process.kill();
        }
        self.workers.clear();
    }

    /// Lets the workers of `lane` go.
    pub(super) fn release(&mut self, lane: Lane) {
        self.slots.released(lane);
        self.shut_down(|worker| worker.lane == lane);
    }

    /// Closes the inputs of the `chosen` workers, waits a moment, kills those that remain.
    fn shut_down(&mut self, chosen: impl Fn(&Worker) -> bool) {
        let mut leaving: Vec<Worker> = (self.workers)
            .extract_if(.., |_, worker| chosen(worker))
            .map(|(_, worker)| worker)
            .collect();
        for worker in &mut leaving {
            worker.input = None;
        }
        for worker in &mut leaving {
            drop(worker.process.wait(EXIT_TIMEOUT));
            worker.process.kill();
        }
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        self.shut_down(|_| true);
    }
}

/// Turns a worker's output into events until it ends.
fn listen(id: WorkerId, output: impl io::Read, events: &Sender<Event>) {
    let mut reader = BufReader::new(output);
    let reason = loop {
        match lines::read(&mut reader) {
            Ok(Some(message)) => {
                if events.send(Event::Message(id, message)).is_err() {
                    break None;
                }
            }
            Ok(None) => break None,
            Err(error) => break Some(format!("broke the protocol: {error}")),
        }
    };
    // The receiver is gone once the pool is dropped.
    drop(events.send(Event::Ended(id, reason)));
}

#[cfg(test)]
#[path = "pool_tests.rs"]
mod tests;
