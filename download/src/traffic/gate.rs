//! The leave to ask hosts, for one try: the gate that its redirects pass.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use futures::future::BoxFuture;
use laioncele_web::{Failure, Gate, Pass, Verdict};
use tokio::sync::oneshot;

use super::Traffic;

/// A request to a host that has been told of it. Dropped, it says nothing of the host.
pub(super) struct Permit {
    traffic: Arc<Traffic>,
    host: Arc<str>,
    ended: bool,
}

impl Permit {
    pub(super) fn new(traffic: Arc<Traffic>, host: Arc<str>) -> Self {
        Self {
            traffic,
            host,
            ended: false,
        }
    }

    /// Tells the host how the request ended. Returns whether it is to be told a failure too, once that is known.
    fn end(&mut self, verdict: Option<Verdict>) -> bool {
        self.ended = true;
        let (name, now) = (self.host.clone(), Instant::now());
        let failed = self.traffic.lock().queue.tell(&name, |host, limits| {
            host.end(now);
            match verdict {
                None => host.said_nothing(),
                Some(Verdict::Answered) => host.answered(),
                Some(Verdict::Busy(wish)) => return host.rest(&name, wish, limits, now),
                Some(Verdict::Silent) => return true,
            }
            false
        });
        self.traffic.freed(&name);
        failed.unwrap_or(false)
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        if !self.ended {
            self.end(None);
        }
    }
}

/// The gate of one try. The turn of the url's own host was taken when the try was picked.
pub(super) struct TryGate {
    traffic: Arc<Traffic>,
    log: Arc<Mutex<Log>>,
}

#[derive(Default)]
struct Log {
    /// The first turn, until it is used.
    first: Option<Permit>,
    /// Whether any host was asked.
    asked: bool,
    /// The host that is being asked.
    at: Option<Arc<str>>,
    /// Hosts that failed, to be told how.
    failed: Vec<Arc<str>>,
    /// Time spent waiting for turns, and since when it waits for one.
    waited: Duration,
    waits_since: Option<Instant>,
}

impl TryGate {
    pub(super) fn new(traffic: Arc<Traffic>, first: Permit) -> Self {
        let log = Log {
            first: Some(first),
            ..Log::default()
        };
        Self {
            traffic,
            log: Arc::new(Mutex::new(log)),
        }
    }

    fn log(&self) -> MutexGuard<'_, Log> {
        lock(&self.log)
    }

    /// Whether any host was asked.
    pub(super) fn has_asked(&self) -> bool {
        self.log().asked
    }

    /// Time spent waiting for turns, up to now.
    pub(super) fn waited(&self) -> Duration {
        let log = self.log();
        log.waited + log.waits_since.map_or(Duration::ZERO, |at| at.elapsed())
    }

    /// The try was given up while it asked a host, which counts as that host's failure.
    pub(super) fn given_up(&self) {
        let mut log = self.log();
        let at = log.at.take();
        log.failed.extend(at);
    }

    /// Tells the hosts that failed by what; `None`: it did no harm. Call it when no request is under way any more.
    pub(super) fn settle(&self, failure: Option<&Failure>) {
        let mut log = self.log();
        // Before it is forgotten that it is there: an unused turn goes back outside the lock.
        let (first, failed) = (log.first.take(), std::mem::take(&mut log.failed));
        drop(log);
        drop(first);
        for name in failed {
            let now = Instant::now();
            self.traffic
                .lock()
                .queue
                .tell(&name, |host, limits| match failure {
                    Some(failure) => host.failed(failure, limits, now),
                    None => host.said_nothing(),
                });
            self.traffic.freed(&name);
        }
    }

    fn first(&self, host: &str) -> Option<Permit> {
        let first = self.log().first.take()?;
        // The guess of whose turn it is may have been wrong; that turn goes back.
        (&*first.host == host).then_some(first)
    }

    async fn turn(&self, host: &str) -> Result<Permit, Failure> {
        if let Some(first) = self.first(host) {
            return Ok(first);
        }
        let name: Arc<str> = host.into();
        let (number, receiver) = {
            let mut state = self.traffic.lock();
            let number = state.number();
            match state.queue.hop(&name, number, Instant::now()) {
                Ok(true) => return Ok(Permit::new(self.traffic.clone(), name.clone())),
                Err(refusal) => return Err(*refusal),
                Ok(false) => {}
            }
            let (sender, receiver) = oneshot::channel();
            state.hops.insert(number, sender);
            state.under_way -= 1;
            self.traffic.set_clock(&mut state);
            (number, receiver)
        };
        let waiting = Waiting {
            gate: self,
            host: name,
            number,
        };
        self.log().waits_since = Some(Instant::now());
        // While this one waits, another may go.
        self.traffic.begin_requests();
        let told = receiver.await;
        drop(waiting);
        // The sender is only dropped with the traffic itself.
        told.unwrap_or_else(|_| {
            Err(Failure::last(
                laioncele_core::DropReason::Timeout,
                None::<String>,
            ))
        })
    }
}

/// A redirect that waits for a turn.
struct Waiting<'a> {
    gate: &'a TryGate,
    host: Arc<str>,
    number: u64,
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        let mut state = self.gate.traffic.lock();
        if state.hops.remove(&self.number).is_some() {
            state.queue.hop_gone(&self.host, self.number);
            state.under_way += 1;
        }
        drop(state);
        let mut log = self.gate.log();
        if let Some(since) = log.waits_since.take() {
            log.waited += since.elapsed();
        }
    }
}

impl Gate for TryGate {
    fn enter<'a>(&'a self, host: &'a str) -> BoxFuture<'a, Result<Box<dyn Pass>, Failure>> {
        Box::pin(async move {
            let permit = self.turn(host).await?;
            let mut log = self.log();
            log.asked = true;
            log.at = Some(permit.host.clone());
            drop(log);
            Ok(Box::new(TryPass {
                permit,
                log: self.log.clone(),
            }) as Box<dyn Pass>)
        })
    }
}

struct TryPass {
    permit: Permit,
    log: Arc<Mutex<Log>>,
}

impl Pass for TryPass {
    fn leave(mut self: Box<Self>, verdict: Verdict) {
        let failed = self.permit.end(Some(verdict));
        let mut log = lock(&self.log);
        log.at = None;
        if failed {
            log.failed.push(self.permit.host.clone());
        }
    }
}

fn lock(log: &Mutex<Log>) -> MutexGuard<'_, Log> {
    log.lock().unwrap_or_else(PoisonError::into_inner)
}
