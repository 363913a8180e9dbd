//! Whether a worker still lives: a silent worker is pinged, and killed if it does not answer. One that talks is pinged too, so
//! that it knows that it is heard ([`silence`](super::silence)).

use std::time::{Duration, Instant};

/// Silence after which a worker is pinged.
const PING_AFTER: Duration = Duration::from_secs(30);
/// Time to answer a ping. Generous: a machine that swaps is slow, not dead.
const ANSWER_TIMEOUT: Duration = Duration::from_mins(2);

/// What to do about a worker's silence.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum HeartbeatAction {
    /// It lives, or an answer is still due.
    Wait,
    /// Send a ping.
    Ping,
    /// Kill it.
    Kill,
}

/// When a worker was last heard and pinged.
#[derive(Clone, Copy, Debug)]
pub(super) struct Heartbeat {
    heard: Instant,
    pinged: Option<Instant>,
    /// When it was last spoken to.
    addressed: Instant,
    greeted: bool,
    start_timeout: Duration,
}

impl Heartbeat {
    /// A worker that was just started, and whose hello is due within `start_timeout`.
    pub(super) fn new(now: Instant, start_timeout: Duration) -> Self {
        Self {
            heard: now,
            pinged: None,
            addressed: now,
            greeted: false,
            start_timeout,
        }
    }

    /// Notes a message.
    pub(super) fn heard(&mut self, now: Instant) {
        self.heard = now;
        self.pinged = None;
    }

    /// Notes the hello.
    pub(super) fn greeted(&mut self, now: Instant) {
        self.greeted = true;
        self.heard(now);
    }

    /// Notes that something was said to it.
    pub(super) fn addressed(&mut self, now: Instant) {
        self.addressed = now;
    }

    /// Whether the hello has come.
    pub(super) fn is_greeted(&self) -> bool {
        self.greeted
    }

    /// How long the worker has said nothing.
    pub(super) fn silence(&self, now: Instant) -> Duration {
        now.saturating_duration_since(self.heard)
    }

    /// Whether the hello has not come for longer than `patience`.
    pub(super) fn is_late(&self, now: Instant, patience: Duration) -> bool {
        !self.greeted && self.silence(now) > patience
    }

    /// What to do now; [`HeartbeatAction::Ping`] comes once per silence of either side.
    pub(super) fn check(&mut self, now: Instant) -> HeartbeatAction {
        let quiet_since = self.heard.min(self.addressed);
        match (self.greeted, self.pinged) {
            (false, _) if self.silence(now) > self.start_timeout => HeartbeatAction::Kill,
            (true, Some(pinged)) if now.saturating_duration_since(pinged) > ANSWER_TIMEOUT => {
                HeartbeatAction::Kill
            }
            (true, None) if now.saturating_duration_since(quiet_since) > PING_AFTER => {
                self.pinged = Some(now);
                self.addressed = now;
                HeartbeatAction::Ping
            }
            _ => HeartbeatAction::Wait,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_worker_that_talks_is_spoken_to_every_half_a_minute() {
        let start = Instant::now();
        let at = |s: u64| start + Duration::from_secs(s);
        let mut heart = Heartbeat::new(start, Duration::from_secs(150));
        heart.greeted(start);
        let mut pings = Vec::new();
        for second in 0..100 {
            heart.heard(at(second));
            if second == 40 {
                heart.addressed(at(second));
            }
            if heart.check(at(second)) == HeartbeatAction::Ping {
                pings.push(second);
            }
        }
        assert_eq!(pings, [31, 71]);
    }

    #[test]
    fn silence_is_pinged_once_and_then_kills_the_worker() {
        let start = Instant::now();
        let at = |s: u64| start + Duration::from_secs(s);
        let timeout = Duration::from_secs(150);
        let mut heart = Heartbeat::new(start, timeout);
        assert_eq!(heart.check(at(100)), HeartbeatAction::Wait);
        heart.greeted(at(100));
        assert_eq!(heart.check(at(131)), HeartbeatAction::Ping);
        assert_eq!(heart.check(at(132)), HeartbeatAction::Wait);
        heart.heard(at(133));
        assert_eq!(heart.check(at(164)), HeartbeatAction::Ping);
        assert_eq!(heart.check(at(285)), HeartbeatAction::Kill);
        let mut silent = Heartbeat::new(start, timeout);
        let patience = Duration::from_secs(10);
        assert!(silent.is_late(at(11), patience) && !silent.is_late(at(10), patience));
        assert!(!heart.is_late(at(300), patience));
        assert_eq!(silent.check(at(150)), HeartbeatAction::Wait);
        assert_eq!(silent.check(at(151)), HeartbeatAction::Kill);
    }
}
