//! What is under way: requests begin as hosts, memory and threads allow.

mod gate;
mod request;

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use futures::future::AbortHandle;
use laioncele_web::{Client, Failure, Room};
use tokio::sync::{Notify, oneshot};

use self::gate::Permit;
use crate::breaker::BreakerLimits;
use crate::cpu::Jobs;
use crate::delivery::{Deliver, Ended};
use crate::hosts::Limits;
use crate::item::Item;
use crate::load::Load;
use crate::queue::{CallId, Entry, Picked, Queue};
use crate::settings::EngineSettings;
use crate::slots::Slots;

/// What all calls share.
pub(crate) struct Traffic {
    settings: EngineSettings,
    client: Client,
    room: Room,
    runtime: tokio::runtime::Handle,
    jobs: Jobs,
    state: Mutex<State>,
    /// Told when the next alarm is earlier than the clock knows.
    earlier: Notify,
    /// Whether a request could not begin for want of room since this was last looked at.
    held_back: AtomicBool,
}

/// What is behind the lock.
struct State {
    queue: Queue,
    load: Load,
    calls: HashMap<CallId, OpenCall>,
    /// Requests under way, without those in `hops`.
    under_way: usize,
    /// Redirects that wait until their next host may be asked.
    hops: HashMap<u64, oneshot::Sender<Result<Permit, Failure>>>,
    /// Counts calls, tries and hops.
    numbers: u64,
    /// When the clock rings next.
    rings_at: Option<Instant>,
}

#[derive(Clone)]
struct Receiver {
    deliver: Arc<dyn Deliver>,
    untaken: Arc<AtomicUsize>,
}

struct OpenCall {
    receiver: Receiver,
    /// Tries under way, to be broken off when the call ends.
    tries: HashMap<u64, AbortHandle>,
}

/// Requests begun under one lock at most.
const BEGUN_AT_ONCE: usize = 64;

impl Traffic {
    /// # Errors
    /// The shared folder cannot be made.
    pub(crate) fn new(
        settings: EngineSettings,
        client: Client,
        runtime: tokio::runtime::Handle,
        jobs: Jobs,
    ) -> std::io::Result<Arc<Self>> {
        let per_host = settings.per_host.max(1);
        let rate = settings.per_host_rate.filter(|rate| *rate > 0.0);
        let shared = settings.shared.clone();
        let limits = Limits {
            per_host,
            interval: rate.map(|rate| Duration::from_secs_f64((1.0 / rate).min(86_400.0))),
            breaker: BreakerLimits {
                failures: settings.breaker_after,
                open_for: settings.deadline * 2,
            },
            longest_rest: settings.deadline,
            slots: shared
                .map(|folder| Slots::new(folder, per_host))
                .transpose()?,
        };
        let load = Load::new(settings.concurrency, settings.memory, settings.threads);
        Ok(Arc::new(Self {
            room: Room::new(settings.memory),
            settings,
            client,
            runtime,
            jobs,
            state: Mutex::new(State {
                queue: Queue::new(limits),
                load,
                calls: HashMap::new(),
                under_way: 0,
                hops: HashMap::new(),
                numbers: 0,
                rings_at: None,
            }),
            earlier: Notify::new(),
            held_back: AtomicBool::new(false),
        }))
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Begins a call, which ends when what is returned is dropped.
    pub(crate) fn open(self: &Arc<Self>, deliver: Arc<dyn Deliver>) -> Call {
        let untaken = Arc::<AtomicUsize>::default();
        let mut state = self.lock();
        let id = state.number();
        state.queue.open(id, untaken.clone());
        let opened = OpenCall {
            receiver: Receiver { deliver, untaken },
            tries: HashMap::new(),
        };
        state.calls.insert(id, opened);
        drop(state);
        Call {
            traffic: self.clone(),
            id,
        }
    }

    /// Outcomes were taken or decoded: requests that were held back may begin.
    pub(crate) fn room_was_made(self: &Arc<Self>) {
        if self.held_back.swap(false, Ordering::Relaxed) {
            self.begin_requests();
        }
    }

    /// Begins as many requests as there may be.
    fn begin_requests(self: &Arc<Self>) {
        loop {
            let mut picked = Vec::new();
            let mut state = self.lock();
            while picked.len() < BEGUN_AT_ONCE
                && let Some(next) = self.pick(&mut state)
            {
                picked.push(next);
            }
            self.set_clock(&mut state);
            drop(state);
            let more = picked.len() == BEGUN_AT_ONCE;
            for next in picked {
                if let Some((call, entry)) = self.accept(next) {
                    self.runtime.spawn(self.clone().serve(call, entry));
                }
            }
            if !more {
                return;
            }
        }
    }

    /// The next entry, if there is room for one more request; then it counts as under way.
    fn pick(&self, state: &mut State) -> Option<Picked> {
        if !state.load.has_room(state.under_way) {
            self.held_back.store(true, Ordering::Relaxed);
            return None;
        }
        let picked = state.queue.pick(Instant::now());
        match &picked {
            Some(Picked::Ask(..)) => state.under_way += 1,
            Some(Picked::Refuse(..)) => {}
            // It may be that a caller has not taken its outcomes.
            None => self.held_back.store(true, Ordering::Relaxed),
        }
        picked
    }

    /// What is to be asked; a refusal is delivered.
    fn accept(&self, picked: Picked) -> Option<(CallId, Entry)> {
        match picked {
            Picked::Ask(call, entry) => Some((call, entry)),
            Picked::Refuse(call, entry, refusal) => {
                let failure = match entry.last.clone() {
                    Some(last) => request::not_again(*last, &refusal),
                    None => *refusal,
                };
                self.fail(call, entry, None, failure);
                None
            }
        }
    }

    /// Asks for `entry`, then for others as long as there are any.
    async fn serve(self: Arc<Self>, call: CallId, entry: Entry) {
        let mut next = Some((call, entry));
        while let Some((call, entry)) = next {
            self.ask(call, entry).await;
            next = self.next_after_one();
        }
    }

    fn next_after_one(&self) -> Option<(CallId, Entry)> {
        self.lock().under_way -= 1;
        loop {
            let mut state = self.lock();
            let picked = self.pick(&mut state);
            self.set_clock(&mut state);
            drop(state);
            if let Some(asked) = self.accept(picked?) {
                return Some(asked);
            }
        }
    }

    fn fail(&self, call: CallId, entry: Entry, redirected_to: Option<String>, failure: Failure) {
        // A call that has ended wants nothing any more.
        if let Some(receiver) = self.receiver(call) {
            let ended = Ended {
                item: entry.item,
                attempts: entry.attempts,
                redirected_to,
            };
            receiver.deliver.failure(ended, failure);
        }
    }

    fn receiver(&self, call: CallId) -> Option<Receiver> {
        self.lock().calls.get(&call).map(|c| c.receiver.clone())
    }

    fn set_clock(&self, state: &mut State) {
        let next = state.queue.next_alarm();
        if let Some(next) = next
            && state.rings_at.is_none_or(|at| next < at)
        {
            state.rings_at = Some(next);
            self.earlier.notify_one();
        }
    }

    /// Wakes what is due: back-offs that are over, hosts that have rested. Never ends.
    pub(crate) async fn clock(self: Arc<Self>) {
        const FAR: Duration = Duration::from_hours(1);
        loop {
            let now = Instant::now();
            let at = {
                let mut state = self.lock();
                state.rings_at = state.queue.next_alarm();
                state.rings_at.unwrap_or(now + FAR)
            };
            tokio::select! {
                () = tokio::time::sleep_until(at.into()) => self.ring(),
                () = self.earlier.notified() => {}
            }
        }
    }

    fn ring(self: &Arc<Self>) {
        let now = Instant::now();
        let woken = self.lock().queue.ring(now);
        for host in woken {
            self.freed(&host);
        }
        self.begin_requests();
    }

    /// Something changed at `host`: redirects that wait for it are told, entries may be picked again.
    fn freed(self: &Arc<Self>, host: &Arc<str>) {
        let mut state = self.lock();
        let told = state.queue.freed(host, Instant::now());
        let mut answers = Vec::new();
        for (hop, leave) in told {
            if let Some(sender) = state.hops.remove(&hop) {
                state.under_way += 1;
                answers.push((sender, leave));
            } else if leave.is_ok() {
                // Nobody waits: the turn goes back.
                state.queue.tell(host, |host, _| {
                    host.end(Instant::now());
                    host.said_nothing();
                });
            }
        }
        self.set_clock(&mut state);
        drop(state);
        for (sender, leave) in answers {
            let leave = leave.map(|()| Permit::new(self.clone(), host.clone()));
            // A permit that nobody takes gives itself back.
            let _ = sender.send(leave.map_err(|failure| *failure));
        }
    }
}

impl State {
    fn number(&mut self) -> u64 {
        self.numbers += 1;
        self.numbers
    }
}

/// A call under way. Dropped, it breaks off what is.
pub(crate) struct Call {
    traffic: Arc<Traffic>,
    id: CallId,
}

impl Call {
    /// Puts items into the queue.
    pub(crate) fn ask(&self, items: Vec<Item>) {
        if items.is_empty() {
            return;
        }
        let mut state = self.traffic.lock();
        for item in items {
            let entry = Entry {
                host: host_of(&item.url),
                item,
                attempts: Vec::new(),
                spent: Duration::ZERO,
                last: None,
            };
            state.queue.push(self.id, entry);
        }
        drop(state);
        self.traffic.begin_requests();
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        let mut state = self.traffic.lock();
        state.queue.close(self.id);
        let closed = state.calls.remove(&self.id);
        drop(state);
        for (_, handle) in closed.into_iter().flat_map(|c| c.tries) {
            handle.abort();
        }
        self.traffic.begin_requests();
    }
}

/// The host of a url as far as one can see it without parsing: only a guess of whose turn it will be, since the client asks
/// for the turn of the host that it really means.
fn host_of(url: &str) -> Arc<str> {
    let rest = url.split_once("://").map_or("", |(_, rest)| rest);
    let authority = rest.split(['/', '?', '#', '\\']).next().unwrap_or_default();
    let host = authority.rsplit('@').next().unwrap_or_default();
    let host = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|b| b.is_ascii_digit()) => name,
        _ => host,
    };
    host.trim().to_ascii_lowercase().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn host_of_finds_the_host() {
        for (url, host) in [
            ("http://A.example/x.jpg", "a.example"),
            ("https://user:pw@a.example:8080?x", "a.example"),
            ("http://[::1]:80/", "[::1]"),
            ("http://[::1]/", "[::1]"),
            ("  HTTP://a.example", "a.example"),
            ("no url", ""),
            ("", ""),
        ] {
            assert_eq!(&*host_of(url), host, "{url}");
        }
    }
}
