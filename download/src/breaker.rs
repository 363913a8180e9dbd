//! Whether a host that keeps failing is asked at all.

use std::time::{Duration, Instant};

use laioncele_core::DropReason;
use laioncele_web::Failure;

/// When a breaker opens.
#[derive(Clone, Copy, Debug)]
pub(crate) struct BreakerLimits {
    /// After so many failures in a row.
    pub(crate) failures: u32,
    /// For so long the first time; each further time in a row is twice as long, up to 16 times that.
    pub(crate) open_for: Duration,
}

/// Doublings of that at most.
const DOUBLINGS: u32 = 4;

/// A circuit breaker: closed until a number of failures in a row, then open for a while, then open for one probe, whose
/// success closes it.
#[derive(Debug, Default)]
pub(crate) struct Breaker {
    in_a_row: u32,
    /// How often it has opened since it was last closed.
    opened: u32,
    state: State,
    /// The class and detail of the failure that opened it.
    cause: Option<(DropReason, String)>,
}

#[derive(Debug, Default, PartialEq)]
enum State {
    #[default]
    Closed,
    Open(Instant),
    HalfOpen {
        probing: bool,
    },
}

/// What a breaker says of the next request.
#[derive(Debug, PartialEq)]
pub(crate) enum Leave {
    Granted,
    /// A probe is under way.
    NotYet,
    Refused,
}

impl Breaker {
    /// Whether the host may be asked at `now`. A granted leave must be followed by `begin`.
    pub(crate) fn leave(&mut self, now: Instant) -> Leave {
        if let State::Open(until) = self.state
            && now >= until
        {
            self.state = State::HalfOpen { probing: false };
        }
        match self.state {
            State::Closed | State::HalfOpen { probing: false } => Leave::Granted,
            State::HalfOpen { probing: true } => Leave::NotYet,
            State::Open(_) => Leave::Refused,
        }
    }

    /// A request begins.
    pub(crate) fn begin(&mut self) {
        if let State::HalfOpen { probing } = &mut self.state {
            *probing = true;
        }
    }

    /// A request ended that says nothing of the host.
    pub(crate) fn nothing(&mut self) {
        if let State::HalfOpen { probing } = &mut self.state {
            *probing = false;
        }
    }

    /// The host answered.
    pub(crate) fn success(&mut self) {
        *self = Self::default();
    }

    /// The host failed: the breaker opens after some failures in a row, or after a failed probe.
    pub(crate) fn failure(&mut self, failure: &Failure, limits: &BreakerLimits, now: Instant) {
        self.in_a_row = self.in_a_row.saturating_add(1);
        let opens = match self.state {
            State::Closed => self.in_a_row >= limits.failures.max(1),
            State::HalfOpen { .. } => true,
            State::Open(_) => false,
        };
        if opens {
            let times = 1 << self.opened.min(DOUBLINGS);
            self.state = State::Open(now + limits.open_for.saturating_mul(times));
            self.opened += 1;
            self.cause = Some((failure.reason, failure.detail.clone().unwrap_or_default()));
        }
    }

    /// Whether it has nothing to remember.
    pub(crate) fn is_clean(&self) -> bool {
        self.state == State::Closed && self.in_a_row == 0
    }

    /// Why `host` is not asked, in the class that the breaker opened with.
    pub(crate) fn refusal(&self, host: &str) -> Failure {
        let (reason, detail) = match &self.cause {
            Some((reason, detail)) => (*reason, detail.as_str()),
            None => (DropReason::Connect, ""),
        };
        let colon = if detail.is_empty() { "" } else { ": " };
        let times = self.in_a_row;
        Failure::last(
            reason,
            format!("not asked: {host} failed {times} times in a row{colon}{detail}"),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OPEN_FOR: Duration = Duration::from_mins(1);

    fn after(failures: u32) -> BreakerLimits {
        BreakerLimits {
            failures,
            open_for: OPEN_FOR,
        }
    }

    fn silent() -> Failure {
        Failure::last(DropReason::Timeout, "no head".to_owned())
    }

    #[test]
    fn breaker_opens_after_failures_in_a_row_and_closes_by_a_probe() {
        let (mut breaker, start) = (Breaker::default(), Instant::now());
        breaker.failure(&silent(), &after(3), start);
        breaker.success();
        breaker.failure(&silent(), &after(3), start);
        breaker.failure(&silent(), &after(3), start);
        assert_eq!(breaker.leave(start), Leave::Granted);
        breaker.failure(&silent(), &after(3), start);
        assert_eq!(breaker.leave(start), Leave::Refused);
        let refusal = breaker.refusal("a.example");
        assert_eq!(refusal.reason, DropReason::Timeout);
        assert_eq!(
            refusal.detail.as_deref(),
            Some("not asked: a.example failed 3 times in a row: no head")
        );

        let later = start + OPEN_FOR;
        assert_eq!(breaker.leave(later), Leave::Granted);
        breaker.begin();
        assert_eq!(breaker.leave(later), Leave::NotYet);
        breaker.success();
        assert_eq!(breaker.leave(later), Leave::Granted);
        assert!(breaker.is_clean());
    }

    #[test]
    fn a_failed_probe_opens_again_for_longer() {
        let (mut breaker, start) = (Breaker::default(), Instant::now());
        breaker.failure(&silent(), &after(1), start);
        let later = start + OPEN_FOR;
        assert_eq!(breaker.leave(later), Leave::Granted);
        breaker.begin();
        breaker.failure(&silent(), &after(1), later);
        assert_eq!(breaker.leave(later + OPEN_FOR), Leave::Refused);
        assert_eq!(breaker.leave(later + OPEN_FOR * 2), Leave::Granted);
    }

    #[test]
    fn a_cancelled_probe_lets_another_one_try() {
        let (mut breaker, start) = (Breaker::default(), Instant::now());
        breaker.failure(&silent(), &after(1), start);
        assert_eq!(breaker.leave(start + OPEN_FOR), Leave::Granted);
        breaker.begin();
        breaker.nothing();
        assert_eq!(breaker.leave(start + OPEN_FOR), Leave::Granted);
    }
}
