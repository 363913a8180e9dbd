//! What a step costs in time of workers: what they held its tasks for, what of that came to nothing, and who is far behind the
//! others. As it is seen from here: a worker's clock is never asked.

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use super::queue::WorkerId;

/// Attempts whose times are remembered, to say what is usual.
const REMEMBERED: usize = 101;
/// An attempt that takes so many times what is usual is a straggler.
const FAR_BEHIND: f64 = 3.0;
/// And takes at least this long.
const WORTH_TELLING: Duration = Duration::from_secs(30);

/// Time of workers that a step has cost.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Cost {
    /// Seconds for which workers held tasks of the step, summed over workers.
    pub worker_seconds: f64,
    /// Seconds of these for attempts that came to nothing. Of tasks that a worker runs at once each has an even share.
    pub lost_seconds: f64,
    /// Attempts that failed, were cancelled, or whose worker died.
    pub lost_attempts: u64,
    /// Attempts at tasks that another attempt had committed before.
    pub duplicates: u64,
}

impl Cost {
    /// Adds another cost.
    pub(crate) fn add(&mut self, other: &Self) {
        self.worker_seconds += other.worker_seconds;
        self.lost_seconds += other.lost_seconds;
        self.lost_attempts += other.lost_attempts;
        self.duplicates += other.duplicates;
    }
}

/// How an attempt ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ended {
    /// Its record counts.
    Done,
    /// Another attempt's record counts.
    Duplicate,
    /// There is no record.
    Lost,
}

/// An attempt that takes much longer than others did.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Late {
    pub worker: WorkerId,
    pub assignment: u64,
    pub seconds: f64,
}

/// The attempts of a step that are under way, and what those before them cost.
#[derive(Debug)]
pub(super) struct Costs {
    at_once: usize,
    workers: BTreeMap<WorkerId, Held>,
    cost: Cost,
    /// Seconds of the last attempts that were done.
    usual: VecDeque<f64>,
}

/// What a worker holds: the first `at_once` run, the others wait behind them.
#[derive(Debug)]
struct Held {
    since: Instant,
    attempts: VecDeque<(u64, Option<Instant>)>,
}

impl Costs {
    /// Of workers that each run `at_once` tasks.
    pub(super) fn new(at_once: usize) -> Self {
        Self {
            at_once: at_once.max(1),
            workers: BTreeMap::new(),
            cost: Cost::default(),
            usual: VecDeque::new(),
        }
    }

    /// A worker got assignment `id`.
    pub(super) fn assigned(&mut self, worker: WorkerId, id: u64, now: Instant) {
        let held = self.workers.entry(worker).or_insert_with(|| Held {
            since: now,
            attempts: VecDeque::new(),
        });
        let begins = held.attempts.len() < self.at_once;
        held.attempts.push_back((id, begins.then_some(now)));
    }

    /// Assignment `id` of a worker has ended.
    pub(super) fn ended(&mut self, worker: WorkerId, id: u64, how: Ended, now: Instant) {
        let Some(held) = self.workers.get_mut(&worker) else {
            return;
        };
        let place = held.attempts.iter().position(|(held, _)| *held == id);
        let Some((_, begun)) = place.and_then(|place| held.attempts.remove(place)) else {
            return;
        };
        for (_, begun) in held.attempts.iter_mut().take(self.at_once) {
            begun.get_or_insert(now);
        }
        if held.attempts.is_empty() {
            self.cost.worker_seconds += seconds(held.since, now);
            self.workers.remove(&worker);
        }
        // What had not begun cost nothing.
        let Some(begun) = begun else {
            return;
        };
        let took = seconds(begun, now);
        match how {
            Ended::Done => {
                self.usual.push_back(took);
                if self.usual.len() > REMEMBERED {
                    self.usual.pop_front();
                }
                return;
            }
            Ended::Duplicate => self.cost.duplicates += 1,
            Ended::Lost => self.cost.lost_attempts += 1,
        }
        self.cost.lost_seconds += took / self.at_once as f64;
    }

    /// All workers were killed.
    pub(super) fn abandoned(&mut self, now: Instant) {
        let held = self.workers.iter();
        let ids =
            held.flat_map(|(worker, held)| held.attempts.iter().map(|(id, _)| (*worker, *id)));
        // From the last, so that what waits does not begin.
        let ids: Vec<_> = ids.collect();
        for (worker, id) in ids.into_iter().rev() {
            self.ended(worker, id, Ended::Lost, now);
        }
    }

    /// What it has cost until now.
    pub(super) fn until(&self, now: Instant) -> Cost {
        let held: f64 = self
            .workers
            .values()
            .map(|held| seconds(held.since, now))
            .sum();
        Cost {
            worker_seconds: self.cost.worker_seconds + held,
            ..self.cost
        }
    }

    /// Workers that hold tasks.
    pub(super) fn workers(&self) -> usize {
        self.workers.len()
    }

    /// The attempts that are far behind the others, the longest first.
    pub(super) fn late(&self, now: Instant) -> Vec<Late> {
        let mut usual: Vec<f64> = self.usual.iter().copied().collect();
        usual.sort_by(f64::total_cmp);
        let Some(median) = usual.get(usual.len() / 2) else {
            return Vec::new();
        };
        let limit = (median * FAR_BEHIND).max(WORTH_TELLING.as_secs_f64());
        let under_way = self.workers.iter().flat_map(|(worker, held)| {
            let begun = held
                .attempts
                .iter()
                .filter_map(|(id, begun)| Some((*id, (*begun)?)));
            begun.map(|(assignment, begun)| Late {
                worker: *worker,
                assignment,
                seconds: seconds(begun, now),
            })
        });
        let mut late: Vec<Late> = under_way.filter(|late| late.seconds > limit).collect();
        late.sort_by(|a, b| b.seconds.total_cmp(&a.seconds));
        late
    }
}

fn seconds(from: Instant, to: Instant) -> f64 {
    to.saturating_duration_since(from).as_secs_f64()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_worker_costs_from_its_first_task_to_its_last_and_what_waits_costs_nothing() {
        let begin = Instant::now();
        let at = |seconds| begin + Duration::from_secs(seconds);
        let mut costs = Costs::new(1);
        costs.assigned(1, 10, at(0));
        costs.assigned(1, 11, at(0));
        costs.assigned(2, 12, at(0));
        costs.ended(1, 10, Ended::Done, at(5));
        assert_eq!(
            (costs.until(at(7)).worker_seconds, costs.workers()),
            (14.0, 2)
        );
        // Its second task began when the first had ended; the worker dies.
        costs.ended(1, 11, Ended::Lost, at(8));
        costs.ended(2, 12, Ended::Duplicate, at(10));
        // One that died with a task behind another.
        costs.assigned(3, 13, at(10));
        costs.assigned(3, 14, at(10));
        costs.ended(3, 14, Ended::Lost, at(14));
        costs.ended(3, 13, Ended::Lost, at(14));
        let cost = costs.until(at(100));
        let expected = Cost {
            worker_seconds: 8.0 + 10.0 + 4.0,
            lost_seconds: 3.0 + 10.0 + 4.0,
            lost_attempts: 2,
            duplicates: 1,
        };
        assert_eq!(cost, expected);
    }

    #[test]
    fn tasks_that_run_at_once_share_their_worker() {
        let begin = Instant::now();
        let at = |seconds| begin + Duration::from_secs(seconds);
        let mut costs = Costs::new(4);
        (0..4).for_each(|id| costs.assigned(1, id, at(0)));
        costs.ended(1, 0, Ended::Done, at(6));
        costs.abandoned(at(8));
        let cost = costs.until(at(8));
        assert_eq!((cost.worker_seconds, cost.lost_seconds), (8.0, 6.0));
        assert_eq!(cost.lost_attempts, 3);
    }

    #[test]
    fn stragglers_take_much_longer_than_is_usual() {
        let begin = Instant::now();
        let at = |seconds| begin + Duration::from_secs(seconds);
        let mut costs = Costs::new(1);
        costs.assigned(1, 0, at(0));
        assert!(costs.late(at(1000)).is_empty(), "nothing is usual yet");
        for id in 1..4 {
            costs.assigned(2, id, at(20 * id));
            costs.ended(2, id, Ended::Done, at(20 * id + 20));
        }
        costs.assigned(3, 9, at(70));
        assert!(costs.late(at(59)).is_empty());
        let late = costs.late(at(100));
        assert_eq!(late.len(), 1);
        assert_eq!((late[0].worker, late[0].assignment), (1, 0));
    }
}
