//! Whose turn it is: calls take turns, and within a call hosts do. A host that is full, resting or silent blocks no other.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap, HashMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use laioncele_web::Failure;

use crate::hosts::{Host, Limits, Turn};
use crate::item::{Attempt, Item};

/// A call of `download`.
pub(crate) type CallId = u64;

/// A url that is waiting for its turn, for the first time or again.
#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) item: Item,
    /// Lower case, without a port; empty where the url has none, and then without limits.
    pub(crate) host: Arc<str>,
    /// Tries so far.
    pub(crate) attempts: Vec<Attempt>,
    /// What tries and back-offs took so far.
    pub(crate) spent: Duration,
    /// How the last try ended.
    pub(crate) last: Option<Box<Failure>>,
}

/// What is to be done with an entry.
#[derive(Debug)]
pub(crate) enum Picked {
    /// Ask for it; its host has been told.
    Ask(CallId, Entry),
    /// Its host is not asked.
    Refuse(CallId, Entry, Box<Failure>),
}

/// Hosts, and the entries that wait for them. It knows no clock: times are handed in.
pub(crate) struct Queue {
    limits: Limits,
    hosts: HashMap<Arc<str>, Slot>,
    calls: BTreeMap<CallId, Call>,
    turns: VecDeque<CallId>,
    alarms: BinaryHeap<Reverse<Alarm>>,
    alarms_set: u64,
    tidy_at: usize,
}

#[derive(Default)]
struct Slot {
    host: Host,
    /// Calls whose entries wait until something changes here.
    parked: Vec<CallId>,
    /// When an alarm will wake it.
    wakes_at: Option<Instant>,
    /// Redirects that lead here and wait; the number says to whom the turn goes.
    hops: VecDeque<u64>,
}

#[derive(Default)]
struct Call {
    /// Outcomes that the caller has not taken.
    untaken: Arc<AtomicUsize>,
    queues: HashMap<Arc<str>, VecDeque<Entry>>,
    /// Hosts with entries, in turn.
    ready: VecDeque<Arc<str>>,
    /// Hosts that were full and are not any more: every second turn is theirs, so that a host with many urls is kept busy.
    returned: VecDeque<Arc<str>>,
    returned_next: bool,
}

struct Alarm {
    at: Instant,
    number: u64,
    what: What,
}

enum What {
    Wake(Arc<str>),
    Again(CallId, Box<Entry>),
}

/// Photos of a call that may wait for their caller before it loses its turns, so that a slow one does not fill the memory.
const UNTAKEN: usize = 512;
/// Hosts that are kept in mind at least before idle ones are forgotten.
const HOSTS_KEPT: usize = 16_384;

impl Queue {
    pub(crate) fn new(limits: Limits) -> Self {
        Self {
            limits,
            hosts: HashMap::new(),
            calls: BTreeMap::new(),
            turns: VecDeque::new(),
            alarms: BinaryHeap::new(),
            alarms_set: 0,
            tidy_at: HOSTS_KEPT,
        }
    }

    /// A call begins; `untaken` counts its outcomes that it has not taken yet.
    pub(crate) fn open(&mut self, call: CallId, untaken: Arc<AtomicUsize>) {
        let opened = Call {
            untaken,
            ..Call::default()
        };
        self.calls.insert(call, opened);
        self.turns.push_back(call);
    }

    /// Forgets the call and all its entries.
    pub(crate) fn close(&mut self, call: CallId) {
        self.turns.retain(|id| *id != call);
        let Some(closed) = self.calls.remove(&call) else {
            return;
        };
        for (name, entries) in closed.queues {
            if let Some(slot) = self.hosts.get_mut(&name) {
                slot.host.waiting = slot.host.waiting.saturating_sub(entries.len());
                slot.parked.retain(|id| *id != call);
            }
        }
    }

    /// Puts an entry behind those of its host.
    pub(crate) fn push(&mut self, id: CallId, mut entry: Entry) {
        let Some(call) = self.calls.get_mut(&id) else {
            return;
        };
        if let Some((name, _)) = self.hosts.get_key_value(&entry.host) {
            // One copy of a host's name, however many entries.
            entry.host = name.clone();
        }
        let name = entry.host.clone();
        if !name.is_empty() {
            let slot = self.hosts.entry(name.clone()).or_default();
            slot.host.waiting += 1;
        }
        // Most hosts of a list have one url in it.
        let one = || VecDeque::with_capacity(1);
        let queue = call.queues.entry(name.clone()).or_insert_with(one);
        queue.push_back(entry);
        if queue.len() == 1 {
            call.ready.push_back(name);
        }
    }

    /// Puts an entry behind those of its host at `at`.
    pub(crate) fn push_later(&mut self, call: CallId, entry: Entry, at: Instant) {
        self.set_alarm(at, What::Again(call, Box::new(entry)));
    }

    /// The next entry whose host may be asked at `now`, calls in turn.
    pub(crate) fn pick(&mut self, now: Instant) -> Option<Picked> {
        for _ in 0..self.turns.len() {
            let call = self.turns.pop_front()?;
            self.turns.push_back(call);
            if let Some(picked) = self.pick_of(call, now) {
                return Some(picked);
            }
        }
        None
    }

    fn pick_of(&mut self, id: CallId, now: Instant) -> Option<Picked> {
        loop {
            let call = self.calls.get_mut(&id)?;
            if call.untaken.load(Ordering::Relaxed) >= UNTAKEN {
                return None;
            }
            let name = call.next_host()?;
            let turn = self.turn(&name, now);
            let wait = match turn {
                Turn::Now => {
                    let entry = self.pop(id, &name, Back::OfTheRow)?;
                    self.begin(&name, now);
                    return Some(Picked::Ask(id, entry));
                }
                Turn::Refused(failure) => {
                    let entry = self.pop(id, &name, Back::First)?;
                    return Some(Picked::Refuse(id, entry, failure));
                }
                Turn::Full => None,
                Turn::At(at) => Some(at),
            };
            let slot = self.hosts.entry(name.clone()).or_default();
            slot.parked.push(id);
            if let Some(at) = wait {
                self.wake_at(&name, at);
            }
        }
    }

    fn turn(&mut self, name: &Arc<str>, now: Instant) -> Turn {
        if name.is_empty() {
            return Turn::Now;
        }
        let slot = self.hosts.entry(name.clone()).or_default();
        slot.host.turn(name, &self.limits, now)
    }

    fn begin(&mut self, name: &Arc<str>, now: Instant) {
        if let Some(slot) = self.hosts.get_mut(name) {
            slot.host.begin(&self.limits, now);
        }
    }

    fn pop(&mut self, id: CallId, name: &Arc<str>, back: Back) -> Option<Entry> {
        let call = self.calls.get_mut(&id)?;
        let queue = call.queues.get_mut(name)?;
        let entry = queue.pop_front();
        if queue.is_empty() {
            call.queues.remove(name);
        } else {
            match back {
                Back::OfTheRow => call.ready.push_back(name.clone()),
                Back::First => call.ready.push_front(name.clone()),
            }
        }
        if entry.is_some()
            && let Some(slot) = self.hosts.get_mut(name)
        {
            slot.host.waiting = slot.host.waiting.saturating_sub(1);
        }
        entry
    }

    /// Whether a redirect may go on to `name` at once; its host is then told. If not, `hop` is named by a later
    /// [`Queue::freed`], or the host is not asked.
    pub(crate) fn hop(
        &mut self,
        name: &Arc<str>,
        hop: u64,
        now: Instant,
    ) -> Result<bool, Box<Failure>> {
        let turn = self.turn(name, now);
        match turn {
            Turn::Now => {
                self.begin(name, now);
                return Ok(true);
            }
            Turn::Refused(failure) => return Err(failure),
            Turn::Full | Turn::At(_) => {}
        }
        let slot = self.hosts.entry(name.clone()).or_default();
        slot.hops.push_back(hop);
        if let Turn::At(at) = turn {
            self.wake_at(name, at);
        }
        Ok(false)
    }

    /// A redirect waits no longer.
    pub(crate) fn hop_gone(&mut self, name: &Arc<str>, hop: u64) {
        if let Some(slot) = self.hosts.get_mut(name) {
            slot.hops.retain(|waiting| *waiting != hop);
        }
    }

    /// What `name` is to be told of a request; does nothing for a host that is not known.
    pub(crate) fn tell<R>(
        &mut self,
        name: &str,
        tell: impl FnOnce(&mut Host, &Limits) -> R,
    ) -> Option<R> {
        let limits = &self.limits;
        self.hosts
            .get_mut(name)
            .map(|slot| tell(&mut slot.host, limits))
    }

    /// Something changed at `name`: whoever waits for it may look again. Returns redirects that waited and what they are
    /// told now: to go on (the host has been told), or why not.
    pub(crate) fn freed(
        &mut self,
        name: &Arc<str>,
        now: Instant,
    ) -> Vec<(u64, Result<(), Box<Failure>>)> {
        let mut told = Vec::new();
        let Some(slot) = self.hosts.get_mut(name) else {
            return told;
        };
        let mut wait = None;
        while let Some(hop) = slot.hops.front().copied() {
            match slot.host.turn(name, &self.limits, now) {
                Turn::Now => {
                    slot.host.begin(&self.limits, now);
                    told.push((hop, Ok(())));
                }
                Turn::Refused(failure) => told.push((hop, Err(failure))),
                Turn::Full => break,
                Turn::At(at) => {
                    wait = Some(at);
                    break;
                }
            }
            slot.hops.pop_front();
        }
        for id in std::mem::take(&mut slot.parked) {
            if let Some(call) = self.calls.get_mut(&id) {
                call.returned.push_back(name.clone());
            }
        }
        if let Some(at) = wait {
            self.wake_at(name, at);
        }
        self.tidy(now);
        told
    }

    fn wake_at(&mut self, name: &Arc<str>, at: Instant) {
        let slot = self.hosts.entry(name.clone()).or_default();
        if slot.wakes_at.is_none_or(|earlier| at < earlier) {
            slot.wakes_at = Some(at);
            self.set_alarm(at, What::Wake(name.clone()));
        }
    }

    fn set_alarm(&mut self, at: Instant, what: What) {
        self.alarms_set += 1;
        let number = self.alarms_set;
        self.alarms.push(Reverse(Alarm { at, number, what }));
    }

    /// When [`Queue::ring`] has something to do.
    pub(crate) fn next_alarm(&self) -> Option<Instant> {
        self.alarms.peek().map(|Reverse(alarm)| alarm.at)
    }

    /// Does what is due at `now`. Returns hosts that are to be [`Queue::freed`].
    pub(crate) fn ring(&mut self, now: Instant) -> Vec<Arc<str>> {
        let mut woken = Vec::new();
        while self.next_alarm().is_some_and(|at| at <= now) {
            let Some(Reverse(alarm)) = self.alarms.pop() else {
                break;
            };
            match alarm.what {
                What::Again(call, entry) => self.push(call, *entry),
                What::Wake(name) => {
                    if let Some(slot) = self.hosts.get_mut(&name) {
                        slot.wakes_at = None;
                        woken.push(name);
                    }
                }
            }
        }
        woken
    }

    /// Forgets idle hosts once there are many: first those that have nothing to remember, then all.
    fn tidy(&mut self, now: Instant) {
        if self.hosts.len() < self.tidy_at {
            return;
        }
        let idle = |slot: &Slot| slot.host.is_idle(now) && slot.hops.is_empty();
        self.hosts
            .retain(|_, slot| !idle(slot) || !slot.host.is_clean());
        if self.hosts.len() > HOSTS_KEPT {
            self.hosts.retain(|_, slot| !idle(slot));
        }
        // A quarter more than are needed, so that looking through them is rare.
        self.tidy_at = HOSTS_KEPT.max(self.hosts.len() + self.hosts.len() / 4);
        self.hosts.shrink_to(self.tidy_at);
    }
}

/// Where a host with more entries goes on.
enum Back {
    OfTheRow,
    First,
}

impl Call {
    fn next_host(&mut self) -> Option<Arc<str>> {
        self.returned_next = !self.returned_next;
        let (first, second) = if self.returned_next {
            (&mut self.returned, &mut self.ready)
        } else {
            (&mut self.ready, &mut self.returned)
        };
        first.pop_front().or_else(|| second.pop_front())
    }
}

impl PartialEq for Alarm {
    fn eq(&self, other: &Self) -> bool {
        (self.at, self.number) == (other.at, other.number)
    }
}

impl Eq for Alarm {}

impl PartialOrd for Alarm {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Alarm {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.at, self.number).cmp(&(other.at, other.number))
    }
}
