//! Which slots may get a worker, and when too many starts have failed: a state machine without I/O.
//!
//! A slot is a worker's place in its lane; behind a command it leads to one host. A slot whose worker ended before its hello
//! waits before it is tried again, so that a machine that is down costs neither the run nor a start every moment. A slot
//! that led to a machine whose environment is wrong stays empty.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use super::lane::Lane;

/// How long a slot waits after a start that failed; twice as long after each further one.
const FIRST_PAUSE: Duration = Duration::from_millis(500);
/// The longest that a slot waits.
const LONGEST_PAUSE: Duration = Duration::from_mins(1);
/// Starts that may fail, one after another, as long as no worker of the run has answered: what is wrong then is the command
/// or the program, and waiting mends neither.
const FIRST_STARTS: u32 = 3;

/// What follows for a lane after a start that failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum AfterFailedStart {
    /// The slot is tried again after this pause.
    TryAgain(Duration),
    /// No worker comes.
    GiveUp,
}

/// How it stands with the run when a start has failed.
#[derive(Clone, Copy, Debug)]
pub(super) struct Meanwhile {
    /// Other workers of the lane may still answer.
    pub others_come: bool,
    /// Workers of other lanes are at a task: when they are done there may be room.
    pub at_work: bool,
    /// How long a lane may have no worker that answers.
    pub patience: Duration,
}

/// The slots of all lanes.
#[derive(Debug, Default)]
pub(super) struct Slots {
    retired: BTreeSet<(Lane, usize)>,
    paused: BTreeMap<(Lane, usize), Pause>,
    /// Lanes that have started workers of which none has answered.
    waiting: BTreeMap<Lane, Waiting>,
    /// Whether any worker of the run has answered.
    answered: bool,
}

#[derive(Debug)]
struct Pause {
    failed_starts: u32,
    until: Instant,
}

#[derive(Debug)]
struct Waiting {
    since: Instant,
    failed_starts: u32,
}

impl Slots {
    /// Keeps a slot empty for the rest of the run.
    pub(super) fn retire(&mut self, lane: Lane, slot: usize) {
        self.retired.insert((lane, slot));
    }

    /// How many of `lane`'s first `count` slots stay empty.
    pub(super) fn retired(&self, lane: Lane, count: usize) -> usize {
        self.retired.range((lane, 0)..(lane, count)).count()
    }

    /// Whether a worker may be started in a slot now.
    pub(super) fn is_open(&self, lane: Lane, slot: usize, now: Instant) -> bool {
        let paused = self.paused.get(&(lane, slot));
        !self.retired.contains(&(lane, slot)) && paused.is_none_or(|pause| pause.until <= now)
    }

    /// Notes that a worker is started in a lane, of which `has_worker` says whether one has answered and lives.
    pub(super) fn started(&mut self, lane: Lane, has_worker: bool, now: Instant) {
        match has_worker {
            true => drop(self.waiting.remove(&lane)),
            false => {
                self.waiting.entry(lane).or_insert(Waiting {
                    since: now,
                    failed_starts: 0,
                });
            }
        }
    }

    /// Notes the hello of a worker that can be used.
    pub(super) fn answered(&mut self, lane: Lane, slot: usize) {
        self.answered = true;
        self.waiting.remove(&lane);
        self.paused.remove(&(lane, slot));
    }

    /// Notes that a lane has no need of workers, or of others than it had.
    pub(super) fn released(&mut self, lane: Lane) {
        self.waiting.remove(&lane);
    }

    /// Notes that the worker of a slot ended before its hello.
    pub(super) fn failed(
        &mut self,
        lane: Lane,
        slot: usize,
        meanwhile: Meanwhile,
        now: Instant,
    ) -> AfterFailedStart {
        if let Some(waiting) = self.waiting.get_mut(&lane) {
            waiting.failed_starts += 1;
            let waited = now.saturating_duration_since(waiting.since);
            let late = waited >= meanwhile.patience && !meanwhile.at_work;
            let often = waiting.failed_starts >= FIRST_STARTS;
            if late || (often && !self.answered && !meanwhile.others_come) {
                return AfterFailedStart::GiveUp;
            }
        }
        let pause = self.paused.entry((lane, slot)).or_insert(Pause {
            failed_starts: 0,
            until: now,
        });
        let doubled = FIRST_PAUSE.saturating_mul(1 << pause.failed_starts.min(16));
        let length = doubled.min(LONGEST_PAUSE);
        pause.failed_starts += 1;
        pause.until = now + length;
        AfterFailedStart::TryAgain(length)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LANE: Lane = Lane::Processor;
    const PATIENCE: Duration = Duration::from_mins(10);
    /// Nobody else comes, nobody works.
    const ALONE: Meanwhile = Meanwhile {
        others_come: false,
        at_work: false,
        patience: PATIENCE,
    };
    const OTHERS_COME: Meanwhile = Meanwhile {
        others_come: true,
        ..ALONE
    };
    const AT_WORK: Meanwhile = Meanwhile {
        at_work: true,
        ..ALONE
    };

    fn seconds(pause: AfterFailedStart) -> f64 {
        match pause {
            AfterFailedStart::TryAgain(pause) => pause.as_secs_f64(),
            AfterFailedStart::GiveUp => panic!("given up"),
        }
    }

    #[test]
    fn a_host_that_is_down_is_tried_ever_less_often_and_ends_nothing() {
        let (mut slots, start) = (Slots::default(), Instant::now());
        slots.started(LANE, false, start);
        slots.answered(LANE, 0);
        let mut now = start;
        let mut pauses = Vec::new();
        for _ in 0..10 {
            slots.started(LANE, true, now);
            let pause = seconds(slots.failed(LANE, 1, ALONE, now));
            assert!(!slots.is_open(LANE, 1, now) && slots.is_open(LANE, 0, now));
            now += Duration::from_secs_f64(pause);
            assert!(slots.is_open(LANE, 1, now));
            pauses.push(pause);
        }
        assert_eq!(pauses[..3], [0.5, 1.0, 2.0]);
        assert_eq!(pauses[8..], [60.0, 60.0]);
        // It is up again, and goes down once more.
        slots.answered(LANE, 1);
        let again = slots.failed(LANE, 1, ALONE, now);
        assert_eq!(seconds(again), 0.5);
    }

    #[test]
    fn a_lane_whose_workers_all_fail_ends_the_run_at_its_deadline() {
        let (mut slots, start) = (Slots::default(), Instant::now());
        slots.started(Lane::Network, false, start);
        slots.answered(Lane::Network, 0);
        slots.started(LANE, false, start);
        let early = start + PATIENCE / 2;
        for slot in 0..9 {
            let after = slots.failed(LANE, slot, ALONE, early);
            assert_ne!(after, AfterFailedStart::GiveUp, "{slot}");
        }
        slots.started(LANE, false, early);
        let late = start + PATIENCE;
        let busy = slots.failed(LANE, 0, AT_WORK, late);
        assert_ne!(busy, AfterFailedStart::GiveUp);
        let after = slots.failed(LANE, 0, OTHERS_COME, late);
        assert_eq!(after, AfterFailedStart::GiveUp);
    }

    #[test]
    fn three_failed_starts_are_enough_where_no_worker_has_ever_answered() {
        let (mut slots, now) = (Slots::default(), Instant::now());
        slots.started(LANE, false, now);
        for meanwhile in [ALONE, ALONE, OTHERS_COME] {
            let after = slots.failed(LANE, 0, meanwhile, now);
            assert_ne!(after, AfterFailedStart::GiveUp);
        }
        let last = slots.failed(LANE, 0, ALONE, now);
        assert_eq!(last, AfterFailedStart::GiveUp);
    }

    #[test]
    fn a_lane_that_needed_no_workers_for_long_has_all_its_time_again() {
        let (mut slots, start) = (Slots::default(), Instant::now());
        slots.answered(Lane::Network, 0);
        slots.started(LANE, false, start);
        slots.released(LANE);
        let later = start + PATIENCE * 2;
        slots.started(LANE, false, later);
        let after = slots.failed(LANE, 0, ALONE, later);
        assert_ne!(after, AfterFailedStart::GiveUp);
    }

    #[test]
    fn a_slot_of_a_wrong_machine_stays_empty() {
        let (mut slots, now) = (Slots::default(), Instant::now());
        slots.retire(LANE, 1);
        assert!(!slots.is_open(LANE, 1, now) && slots.is_open(Lane::Gpu, 1, now));
        assert_eq!((slots.retired(LANE, 1), slots.retired(LANE, 2)), (0, 1));
    }
}
