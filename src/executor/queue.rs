//! Which worker gets which task: attempts and retries of a step's tasks, as a state machine without
//! I/O.
//!
//! The executor reports events to it and carries out its decisions. A worker that does one task at a
//! time holds at most two assignments: one running and, while there is plenty to do, one queued behind
//! it, so that it never idles for a round trip. A worker that does several at once has them all running.

use std::cell::Cell;
use std::collections::{BTreeMap, VecDeque};
use std::rc::Rc;

use laioncele_core::protocol::FailureKind;
use laioncele_core::spec::RowCare;

use super::TaskIndex;
use super::suspects::{Suspects, Verdict};

/// Crashes (or cut links) after which a task is given up.
pub(super) const MAX_ATTEMPTS: u32 = 3;
/// Crashes after which a task's rows are looked at one by one.
const ATTEMPTS_AT_ALL_ROWS: u32 = 2;
/// Times that a task may run out of memory before it is given up.
const MAX_OUT_OF_MEMORY: u32 = 2;

/// A worker, by number.
pub(super) type WorkerId = usize;
/// A task handed to a worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Assignment {
    /// Unique number in the run.
    pub id: u64,
    /// The assigned task.
    pub task: TaskIndex,
    /// Which try of the task this is, from 1.
    pub attempt: u32,
}

/// How a task failed for good.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct FailedTask {
    /// The failed task.
    pub task: TaskIndex,
    /// The class of failure.
    pub kind: FailureKind,
    /// The error message.
    pub text: String,
}

/// What follows for a task after a failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum AfterFailure {
    /// The task goes back into the queue.
    Retry,
    /// The task goes back into the queue without this row, of which its workers died.
    LeaveOut(u64),
    /// The task is given up, the others go on.
    GivenUp,
    /// No more tasks are assigned: the environment is wrong.
    Stop,
    /// The run is stopping.
    Cancelled,
}

/// The pending and running tasks of one step.
#[derive(Debug, Default)]
pub(super) struct Queue {
    pending: VecDeque<TaskIndex>,
    held: BTreeMap<WorkerId, VecDeque<Assignment>>,
    attempts: BTreeMap<TaskIndex, u32>,
    out_of_memory: BTreeMap<TaskIndex, u32>,
    suspects: Suspects,
    failed: Vec<FailedTask>,
    /// Tasks that a worker runs at once.
    at_once: usize,
    /// Tasks that there were so far.
    tasks: usize,
    next_id: Numbers,
    stopped: bool,
}

/// Numbers of assignments: queues that share them give none twice.
#[derive(Clone, Debug, Default)]
pub(super) struct Numbers(Rc<Cell<u64>>);

impl Numbers {
    /// Numbers from `first` on.
    pub(super) fn from(first: u64) -> Self {
        Self(Rc::new(Cell::new(first)))
    }

    fn next(&self) -> u64 {
        let number = self.0.get();
        self.0.set(number + 1);
        number
    }
}

impl Queue {
    /// A queue of tasks `0..count`, of which a worker runs `at_once`; assignments get `numbers`.
    pub(super) fn new(count: usize, at_once: usize, numbers: Numbers) -> Self {
        Self {
            pending: (0..count).collect(),
            at_once: at_once.max(1),
            tasks: count,
            next_id: numbers,
            ..Self::default()
        }
    }

    /// Adds a task, which gets the next index.
    pub(super) fn push(&mut self) {
        if !self.stopped {
            self.pending.push_back(self.tasks);
        }
        self.tasks += 1;
    }

    /// Whether no more tasks are assigned.
    pub(super) fn is_stopped(&self) -> bool {
        self.stopped
    }

    /// Whether any worker holds an assignment.
    pub(super) fn is_held(&self) -> bool {
        self.held.values().any(|held| !held.is_empty())
    }

    /// Whether `worker` holds an assignment.
    pub(super) fn holds(&self, worker: WorkerId) -> bool {
        self.held.get(&worker).is_some_and(|held| !held.is_empty())
    }

    /// The next assignment for `worker`, if it should have one now. Call until `None`.
    pub(super) fn next_for(&mut self, worker: WorkerId, workers: usize) -> Option<Assignment> {
        if self.stopped || !self.has_room(worker, workers) {
            return None;
        }
        let task = self.pending.pop_front()?;
        let attempt = self.attempts.get(&task).copied().unwrap_or(0) + 1;
        let id = self.next_id.next();
        let assignment = Assignment { id, task, attempt };
        self.held.entry(worker).or_default().push_back(assignment);
        Some(assignment)
    }

    /// Whether `worker` can take the next task. Of tasks that run at once, one that was lost before, or ran out of
    /// memory, runs alone: if it is what kills workers, it costs the others no second attempt.
    fn has_room(&self, worker: WorkerId, workers: usize) -> bool {
        let held = self.held.get(&worker);
        let holds = held.map_or(0, VecDeque::len);
        if self.at_once > 1 {
            let next = self.pending.front().copied();
            let runs_alone = held.into_iter().flatten().any(|a| self.suspect(a.task));
            let must_wait = holds > 0 && next.is_some_and(|task| self.suspect(task));
            return holds < self.at_once && !runs_alone && !must_wait;
        }
        // Near the end nothing is queued behind a running task: another worker may be free first.
        holds < if self.pending.len() > workers { 2 } else { 1 }
    }

    fn suspect(&self, task: TaskIndex) -> bool {
        self.attempts.contains_key(&task) || self.out_of_memory.contains_key(&task)
    }

    /// The task of an assignment that `worker` still holds.
    pub(super) fn task_of(&self, worker: WorkerId, id: u64) -> Option<TaskIndex> {
        let held = self.held.get(&worker)?;
        held.iter().find(|a| a.id == id).map(|a| a.task)
    }

    /// All assignments that workers hold.
    pub(super) fn held(&self) -> impl Iterator<Item = (WorkerId, Assignment)> {
        let of_worker = |(w, held): (&WorkerId, &VecDeque<Assignment>)| {
            let worker = *w;
            held.iter()
                .map(move |a| (worker, *a))
                .collect::<Vec<_>>()
                .into_iter()
        };
        self.held.iter().flat_map(of_worker)
    }

    /// Notes that `worker` finished assignment `id`.
    pub(super) fn finished(&mut self, worker: WorkerId, id: u64) {
        self.take(worker, id);
    }

    /// Notes that assignment `id` of `worker` failed.
    pub(super) fn failed(
        &mut self,
        worker: WorkerId,
        id: u64,
        kind: FailureKind,
        text: String,
    ) -> AfterFailure {
        let Some(assignment) = self.take(worker, id) else {
            return AfterFailure::Cancelled;
        };
        let task = assignment.task;
        match kind {
            FailureKind::Cancelled if self.stopped => AfterFailure::Cancelled,
            FailureKind::Cancelled | FailureKind::Panic => self.crashed(task, &text),
            FailureKind::Memory => {
                let count = self.out_of_memory.entry(task).or_default();
                *count += 1;
                if *count >= MAX_OUT_OF_MEMORY {
                    self.give_up(task, kind, text)
                } else {
                    self.pending.push_front(task);
                    AfterFailure::Retry
                }
            }
            FailureKind::Environment => {
                self.give_up(task, kind, text);
                self.stop();
                AfterFailure::Stop
            }
            FailureKind::Data | FailureKind::Internal => self.give_up(task, kind, text),
        }
    }

    /// The assignments that `worker` has begun, as far as it said: the first ones of those that it holds.
    pub(super) fn begun(&self, worker: WorkerId) -> Vec<u64> {
        let held = self.held.get(&worker).into_iter().flatten();
        held.take(self.at_once).map(|a| a.id).collect()
    }

    /// `worker` is gone. Each task that it had `begun` and still holds costs one attempt; what was queued behind them has
    /// not begun and costs none. `at_row` is the row that an assignment was at, where it said so; `how` the worker ended,
    /// `text` the same for the user. Returns the running tasks, and what follows for each.
    pub(super) fn lost(
        &mut self,
        worker: WorkerId,
        begun: &[u64],
        (how, text): (&str, &str),
        at_row: impl Fn(u64) -> Option<u64>,
    ) -> Vec<(TaskIndex, AfterFailure)> {
        let held = self.held.remove(&worker).unwrap_or_default();
        let (held, queued): (Vec<_>, Vec<_>) =
            held.into_iter().partition(|a| begun.contains(&a.id));
        for queued in queued.into_iter().rev() {
            self.pending.push_front(queued.task);
        }
        let text = format!("its worker {text}");
        let mut lost = Vec::with_capacity(held.len());
        for running in held.into_iter().rev() {
            let after = match at_row(running.id) {
                Some(row) => self.died_at(running.task, row, how, &text),
                None => self.crashed(running.task, &text),
            };
            lost.push((running.task, after));
        }
        lost.reverse();
        lost
    }

    /// How the next attempt at `task` treats its rows.
    pub(super) fn care(&self, task: TaskIndex) -> RowCare {
        let attempts = self.attempts.get(&task).copied().unwrap_or(0);
        let one_by_one = attempts >= ATTEMPTS_AT_ALL_ROWS;
        self.suspects.care(task, one_by_one)
    }

    /// Assigns no more tasks.
    pub(super) fn stop(&mut self) {
        self.stopped = true;
        self.pending.clear();
    }

    /// Drops all assignments, for workers that were killed.
    pub(super) fn abandon(&mut self) {
        self.stop();
        self.held.clear();
    }

    /// Whether no task is pending or assigned.
    pub(super) fn idle(&self) -> bool {
        self.pending.is_empty() && self.held.values().all(VecDeque::is_empty)
    }

    /// Tasks that still wait for a worker.
    pub(super) fn waiting(&self) -> usize {
        self.pending.len()
    }

    /// The tasks that failed for good.
    pub(super) fn into_failed(self) -> Vec<FailedTask> {
        self.failed
    }

    fn crashed(&mut self, task: TaskIndex, text: &str) -> AfterFailure {
        let attempts = self.attempts.entry(task).or_default();
        *attempts += 1;
        if self.stopped {
            return AfterFailure::Cancelled;
        }
        if *attempts >= MAX_ATTEMPTS {
            let text = format!("{text} ({MAX_ATTEMPTS} attempts)");
            return self.give_up(task, FailureKind::Internal, text);
        }
        self.pending.push_front(task);
        AfterFailure::Retry
    }

    fn died_at(&mut self, task: TaskIndex, row: u64, how: &str, text: &str) -> AfterFailure {
        if self.stopped {
            return AfterFailure::Cancelled;
        }
        let after = match self.suspects.died_at(task, row, how) {
            Verdict::NotSure => AfterFailure::Retry,
            Verdict::Poison => {
                // All rows at once again, until another worker dies.
                self.attempts.insert(task, ATTEMPTS_AT_ALL_ROWS - 1);
                AfterFailure::LeaveOut(row)
            }
            Verdict::TooMany => {
                let text = format!("{text}, at too many different rows to be a matter of rows");
                return self.give_up(task, FailureKind::Internal, text);
            }
        };
        self.pending.push_front(task);
        after
    }

    fn give_up(&mut self, task: TaskIndex, kind: FailureKind, text: String) -> AfterFailure {
        self.failed.push(FailedTask { task, kind, text });
        AfterFailure::GivenUp
    }

    fn take(&mut self, worker: WorkerId, id: u64) -> Option<Assignment> {
        let held = self.held.get_mut(&worker)?;
        let position = held.iter().position(|a| a.id == id)?;
        held.remove(position)
    }
}

#[cfg(test)]
#[path = "queue_tests.rs"]
mod tests;
