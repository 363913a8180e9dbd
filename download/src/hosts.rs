//! One host: how many requests are under way to it, when it may be asked next, whether it is asked at all.

use std::time::{Duration, Instant};

use laioncele_web::Failure;

use crate::breaker::{Breaker, BreakerLimits, Leave};
use crate::slots::{HostSlots, Slots};

/// What every host is asked at most.
pub(crate) struct Limits {
    /// Requests under way at once.
    pub(crate) per_host: usize,
    /// Time between the beginnings of two requests.
    pub(crate) interval: Option<Duration>,
    /// When it is not asked any more for a while.
    pub(crate) breaker: BreakerLimits,
    /// A host that asks for more rest gets so much, and its wish counts as a failure.
    pub(crate) longest_rest: Duration,
    /// The same limits over all workers.
    pub(crate) slots: Option<Slots>,
}

/// The state of one host.
#[derive(Default)]
pub(crate) struct Host {
    busy: usize,
    /// Entries of all queues that wait for it.
    pub(crate) waiting: usize,
    next_at: Option<Instant>,
    rest_until: Option<Instant>,
    breaker: Breaker,
    slots: HostSlots,
}

/// Whether a host may be asked now.
#[derive(Debug, PartialEq)]
pub(crate) enum Turn {
    /// Yes; `begin` must follow.
    Now,
    /// When a request to it has ended.
    Full,
    /// Not before this.
    At(Instant),
    /// It is not asked.
    Refused(Box<Failure>),
}

impl Host {
    /// Whether `name` may be asked at `now`.
    pub(crate) fn turn(&mut self, name: &str, limits: &Limits, now: Instant) -> Turn {
        match self.breaker.leave(now) {
            Leave::Refused => return Turn::Refused(Box::new(self.breaker.refusal(name))),
            Leave::NotYet => return Turn::Full,
            Leave::Granted => {}
        }
        if self.busy >= limits.per_host {
            return Turn::Full;
        }
        let until = self.rest_until.max(self.next_at);
        if let Some(until) = until.filter(|until| *until > now) {
            return Turn::At(until);
        }
        match &limits.slots {
            None => Turn::Now,
            Some(slots) => {
                let (busy, interval) = (self.busy, limits.interval);
                match self.slots.take(slots, name, busy, interval, now) {
                    Ok(()) => Turn::Now,
                    Err(again) => Turn::At(again),
                }
            }
        }
    }

    /// A request begins.
    pub(crate) fn begin(&mut self, limits: &Limits, now: Instant) {
        self.busy += 1;
        self.breaker.begin();
        self.slots.begin();
        if limits.slots.is_none() {
            self.next_at = limits.interval.map(|interval| now + interval);
        }
    }

    /// A request has ended, however.
    pub(crate) fn end(&mut self, now: Instant) {
        self.busy = self.busy.saturating_sub(1);
        self.slots.give_back(self.busy, self.waiting == 0, now);
    }

    /// The request that has ended says nothing of the host.
    pub(crate) fn said_nothing(&mut self) {
        self.breaker.nothing();
    }

    /// It answered.
    pub(crate) fn answered(&mut self) {
        self.breaker.success();
    }

    /// It wants to be left alone for `wish`. Returns whether that is longer than we wait: the caller then reports a failure.
    pub(crate) fn rest(
        &mut self,
        name: &str,
        wish: Duration,
        limits: &Limits,
        now: Instant,
    ) -> bool {
        let until = now + wish.min(limits.longest_rest);
        self.rest_until = self.rest_until.max(Some(until));
        if let Some(slots) = &limits.slots {
            slots.rest(name, until.saturating_duration_since(now));
        }
        if wish <= limits.longest_rest {
            self.breaker.nothing();
        }
        wish > limits.longest_rest
    }

    /// It failed.
    pub(crate) fn failed(&mut self, failure: &Failure, limits: &Limits, now: Instant) {
        self.breaker.failure(failure, &limits.breaker, now);
    }

    /// Whether nothing is lost when it is forgotten.
    pub(crate) fn is_idle(&self, now: Instant) -> bool {
        let later = |at: Option<Instant>| at.is_some_and(|at| at > now);
        self.busy == 0 && self.waiting == 0 && !later(self.next_at) && !later(self.rest_until)
    }

    /// Whether it has no open breaker and no failures in a row to remember.
    pub(crate) fn is_clean(&self) -> bool {
        self.breaker.is_clean()
    }
}

#[cfg(test)]
mod tests {
    use laioncele_core::DropReason;

    use super::*;

    fn limits() -> Limits {
        Limits {
            per_host: 2,
            interval: None,
            breaker: BreakerLimits {
                failures: 3,
                open_for: Duration::from_mins(1),
            },
            longest_rest: Duration::from_secs(30),
            slots: None,
        }
    }

    fn begin(host: &mut Host, limits: &Limits, now: Instant) {
        assert_eq!(host.turn("a.example", limits, now), Turn::Now);
        host.begin(limits, now);
    }

    #[test]
    fn a_host_takes_so_many_at_once() {
        let (mut host, limits, now) = (Host::default(), limits(), Instant::now());
        begin(&mut host, &limits, now);
        begin(&mut host, &limits, now);
        assert_eq!(host.turn("a.example", &limits, now), Turn::Full);
        host.end(now);
        begin(&mut host, &limits, now);
    }

    #[test]
    fn a_rate_keeps_requests_apart() {
        let interval = Duration::from_millis(250);
        let limits = Limits {
            interval: Some(interval),
            ..limits()
        };
        let (mut host, now) = (Host::default(), Instant::now());
        begin(&mut host, &limits, now);
        host.end(now);
        assert_eq!(
            host.turn("a.example", &limits, now),
            Turn::At(now + interval)
        );
        begin(&mut host, &limits, now + interval);
    }

    #[test]
    fn retry_after_holds_for_the_whole_host() {
        let (mut host, limits, now) = (Host::default(), limits(), Instant::now());
        begin(&mut host, &limits, now);
        assert!(!host.rest("a.example", Duration::from_secs(7), &limits, now));
        host.end(now);
        let until = now + Duration::from_secs(7);
        assert_eq!(host.turn("a.example", &limits, now), Turn::At(until));
        assert!(!host.is_idle(now));
        assert_eq!(host.turn("a.example", &limits, until), Turn::Now);
    }

    #[test]
    fn a_rest_that_is_too_long_is_cut_and_counts_as_a_failure() {
        let (mut host, limits, now) = (Host::default(), limits(), Instant::now());
        begin(&mut host, &limits, now);
        assert!(host.rest("a.example", Duration::from_hours(1), &limits, now));
        host.end(now);
        let until = now + limits.longest_rest;
        assert_eq!(host.turn("a.example", &limits, now), Turn::At(until));
        let failure = Failure::last(DropReason::Http4xx, "429".to_owned());
        for _ in 0..3 {
            host.failed(&failure, &limits, now);
        }
        let Turn::Refused(refusal) = host.turn("a.example", &limits, now) else {
            panic!("the breaker is open");
        };
        assert_eq!(refusal.reason, DropReason::Http4xx);
    }
}
