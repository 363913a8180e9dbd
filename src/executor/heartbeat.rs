//! Whether a worker still lives: silence is asked by a ping, a ping without an answer ends the worker.

use std::time::{Duration, Instant};

/// Silence after which a worker is asked.
const ASK_AFTER: Duration = Duration::from_secs(30);
/// Time to answer, and to say the first word. Generous: a machine that swaps is slow, not dead.
const ANSWER_WITHIN: Duration = Duration::from_secs(120);

/// What to do about a worker's silence.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Act {
    /// Nothing.
    Wait,
    /// Send a ping.
    Ask,
    /// End it.
    GiveUp,
}

/// A worker's last words.
#[derive(Clone, Copy, Debug)]
pub struct Heartbeat {
    heard: Instant,
    asked: Option<Instant>,
    greeted: bool,
}

impl Heartbeat {
    /// A worker that was just started.
    pub fn new(now: Instant) -> Self {
        Self {
            heard: now,
            asked: None,
            greeted: false,
        }
    }

    /// It said something.
    pub fn heard(&mut self, now: Instant) {
        self.heard = now;
        self.asked = None;
    }

    /// It said hello.
    pub fn greeted(&mut self, now: Instant) {
        self.greeted = true;
        self.heard(now);
    }

    /// Whether it said hello.
    pub fn is_greeted(&self) -> bool {
        self.greeted
    }

    /// What is to be done now; [`Act::Ask`] comes once per silence.
    pub fn check(&mut self, now: Instant) -> Act {
        let since = |then: Instant| now.saturating_duration_since(then);
        match (self.greeted, self.asked) {
            (false, _) if since(self.heard) > ANSWER_WITHIN => Act::GiveUp,
            (true, Some(asked)) if since(asked) > ANSWER_WITHIN => Act::GiveUp,
            (true, None) if since(self.heard) > ASK_AFTER => {
                self.asked = Some(now);
                Act::Ask
            }
            _ => Act::Wait,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn silence_is_asked_once_and_then_ends_the_worker() {
        let start = Instant::now();
        let at = |s: u64| start + Duration::from_secs(s);
        let mut heart = Heartbeat::new(start);
        assert_eq!(heart.check(at(100)), Act::Wait);
        heart.greeted(at(100));
        assert_eq!(heart.check(at(131)), Act::Ask);
        assert_eq!(heart.check(at(132)), Act::Wait);
        heart.heard(at(133));
        assert_eq!(heart.check(at(164)), Act::Ask);
        assert_eq!(heart.check(at(285)), Act::GiveUp);
        assert_eq!(Heartbeat::new(start).check(at(121)), Act::GiveUp);
    }
}
