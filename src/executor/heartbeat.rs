//! Whether a worker still lives: a silent worker is pinged, and killed if it does not answer.

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
    greeted: bool,
    start_timeout: Duration,
}

impl Heartbeat {
    /// A worker that was just started, and whose hello is due within `start_timeout`.
    pub(super) fn new(now: Instant, start_timeout: Duration) -> Self {
        Self {
            heard: now,
            pinged: None,
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

    /// What to do now; [`HeartbeatAction::Ping`] comes once per silence.
    pub(super) fn check(&mut self, now: Instant) -> HeartbeatAction {
        match (self.greeted, self.pinged) {
            (false, _) if self.silence(now) > self.start_timeout => HeartbeatAction::Kill,
            (true, Some(pinged)) if now.saturating_duration_since(pinged) > ANSWER_TIMEOUT => {
                HeartbeatAction::Kill
            }
            (true, None) if self.silence(now) > PING_AFTER => {
                self.pinged = Some(now);
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
