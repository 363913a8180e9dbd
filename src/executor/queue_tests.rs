//! The queue as the pool drives it.

use super::*;

fn ids(queue: &mut Queue, worker: WorkerId, workers: usize) -> Vec<(u64, TaskIndex)> {
    std::iter::from_fn(|| queue.next_for(worker, workers))
        .map(|a| (a.id, a.task))
        .collect()
}

fn lose(queue: &mut Queue, worker: WorkerId, at: Option<u64>) -> Vec<(TaskIndex, AfterFailure)> {
    let begun = queue.begun(worker);
    let how = ("was killed", "was killed (its log: x)");
    queue.lost(worker, &begun, how, |_| at)
}

#[test]
fn one_task_is_queued_behind_the_running_one_while_there_is_plenty() {
    let mut queue = Queue::new(5, 1, Numbers::from(10));
    assert_eq!(ids(&mut queue, 1, 2), [(10, 0), (11, 1)]);
    assert_eq!(ids(&mut queue, 2, 2), [(12, 2)]);
    queue.finished(1, 10);
    assert_eq!(ids(&mut queue, 1, 2), []);
    queue.finished(1, 11);
    assert_eq!(ids(&mut queue, 1, 2), [(13, 3)]);
    queue.finished(2, 12);
    assert_eq!(ids(&mut queue, 2, 2), [(14, 4)]);
    assert!(!queue.idle());
    queue.finished(1, 13);
    queue.finished(2, 14);
    assert!(queue.idle() && queue.next_id.next() == 15);
}

#[test]
fn a_task_may_cost_three_workers_and_what_waited_behind_it_costs_nothing() {
    let mut queue = Queue::new(4, 1, Numbers::from(1));
    for worker in 1..=3 {
        let held = ids(&mut queue, worker, 1);
        assert_eq!(held[0].1, 0, "the crashed task comes first again");
        let after = if worker < 3 {
            AfterFailure::Retry
        } else {
            AfterFailure::GivenUp
        };
        assert_eq!(lose(&mut queue, worker, None), [(0, after)]);
    }
    let rest = ids(&mut queue, 4, 1);
    assert_eq!(rest.iter().map(|(_, t)| *t).collect::<Vec<_>>(), [1, 2]);
    let failed = queue.into_failed();
    assert_eq!((failed.len(), failed[0].task), (1, 0));
    assert!(failed[0].text.contains("3 attempts"), "{}", failed[0].text);
}

/// A worker that died between writing a task's record and saying so: the task is done, and the one behind it had not begun.
#[test]
fn what_waited_behind_a_task_that_proves_to_be_done_costs_nothing() {
    let mut queue = Queue::new(4, 1, Numbers::from(1));
    assert_eq!(ids(&mut queue, 1, 1), [(1, 0), (2, 1)]);
    let begun = queue.begun(1);
    assert_eq!(begun, [1]);
    queue.finished(1, 1);
    assert_eq!(
        queue.lost(1, &begun, ("was killed", "was killed"), |_| None),
        []
    );
    let again = queue.next_for(2, 1).expect("a task");
    assert_eq!((again.task, again.attempt), (1, 1));
}

#[test]
fn a_wrong_environment_stops_the_rest() {
    let mut queue = Queue::new(3, 1, Numbers::from(1));
    let first = queue.next_for(1, 1).expect("a task");
    let text = "no weights".to_owned();
    let after = queue.failed(1, first.id, FailureKind::Environment, text);
    assert_eq!(after, AfterFailure::Stop);
    assert!(queue.idle() && queue.next_for(1, 1).is_none());
}

#[test]
fn memory_gets_one_more_try_and_bad_data_none() {
    let mut queue = Queue::new(2, 1, Numbers::from(1));
    let fail = |queue: &mut Queue, kind| {
        let next = queue.next_for(1, 9).expect("a task");
        (next.task, queue.failed(1, next.id, kind, String::new()))
    };
    assert_eq!(
        fail(&mut queue, FailureKind::Memory),
        (0, AfterFailure::Retry)
    );
    assert_eq!(
        fail(&mut queue, FailureKind::Memory),
        (0, AfterFailure::GivenUp)
    );
    assert_eq!(
        fail(&mut queue, FailureKind::Data),
        (1, AfterFailure::GivenUp)
    );
    assert!(queue.idle());
}

#[test]
fn a_second_answer_to_one_assignment_changes_nothing() {
    let mut queue = Queue::new(1, 1, Numbers::from(1));
    let next = queue.next_for(1, 1).expect("a task");
    queue.finished(1, next.id);
    queue.finished(1, next.id);
    let late = queue.failed(1, next.id, FailureKind::Data, String::new());
    assert_eq!(late, AfterFailure::Cancelled);
    assert!(queue.idle() && queue.into_failed().is_empty());
}

#[test]
fn cancelled_tasks_are_no_failures_once_the_run_stops() {
    let mut queue = Queue::new(3, 1, Numbers::from(1));
    let held = ids(&mut queue, 1, 1);
    queue.stop();
    for (id, _) in held {
        let after = queue.failed(1, id, FailureKind::Cancelled, String::new());
        assert_eq!(after, AfterFailure::Cancelled);
    }
    assert!(queue.idle() && queue.into_failed().is_empty());
}

fn tasks(queue: &mut Queue, worker: WorkerId) -> Vec<TaskIndex> {
    let held = ids(queue, worker, 1).into_iter();
    held.map(|(_, task)| task).collect()
}

#[test]
fn several_tasks_run_at_once_and_none_waits_behind_them() {
    let mut queue = Queue::new(9, 3, Numbers::from(1));
    assert_eq!(tasks(&mut queue, 1), [0, 1, 2]);
    assert_eq!(tasks(&mut queue, 2), [3, 4, 5]);
    queue.finished(1, 2);
    assert_eq!(tasks(&mut queue, 1), [6]);
}

#[test]
fn a_lost_worker_costs_each_of_its_tasks_an_attempt_and_they_are_tried_again_alone() {
    let mut queue = Queue::new(5, 3, Numbers::from(1));
    assert_eq!(tasks(&mut queue, 1), [0, 1, 2]);
    let retried = [0, 1, 2].map(|task| (task, AfterFailure::Retry));
    assert_eq!(lose(&mut queue, 1, None), retried);
    // The first of them kills its workers; the others lose nothing by it.
    for (worker, after) in [(2, AfterFailure::Retry), (3, AfterFailure::GivenUp)] {
        assert_eq!(tasks(&mut queue, worker), [0]);
        assert_eq!(lose(&mut queue, worker, None), [(0, after)]);
    }
    for (task, id) in [(1, 6), (2, 7)] {
        assert_eq!(tasks(&mut queue, 4), [task]);
        queue.finished(4, id);
    }
    assert_eq!(tasks(&mut queue, 4), [3, 4]);
    assert_eq!(queue.into_failed().len(), 1);
}

#[test]
fn a_task_that_is_tried_again_waits_until_its_worker_has_nothing_else() {
    let mut queue = Queue::new(4, 2, Numbers::from(1));
    assert_eq!(tasks(&mut queue, 1), [0, 1]);
    let memory = queue.failed(1, 1, FailureKind::Memory, String::new());
    assert_eq!(memory, AfterFailure::Retry);
    assert!(tasks(&mut queue, 1).is_empty());
    queue.finished(1, 2);
    assert_eq!(tasks(&mut queue, 1), [0]);
    queue.finished(1, 3);
    assert_eq!(tasks(&mut queue, 1), [2, 3]);
}

#[test]
fn rows_are_looked_at_one_by_one_after_two_crashes_and_the_deadly_one_is_left_out() {
    let mut queue = Queue::new(1, 1, Numbers::from(1));
    let mut die = |worker, at| {
        assert_eq!(tasks(&mut queue, worker), [0]);
        let after = lose(&mut queue, worker, at)[0].1;
        (after, queue.care(0))
    };
    let (after, care) = die(1, None);
    assert!(after == AfterFailure::Retry && !care.one_by_one);
    let (after, care) = die(2, None);
    assert!(after == AfterFailure::Retry && care.one_by_one);
    let (after, care) = die(3, Some(70));
    assert!(after == AfterFailure::Retry && care.one_by_one && care.poison.is_empty());
    let (after, care) = die(4, Some(70));
    assert!(after == AfterFailure::LeaveOut(70) && !care.one_by_one);
    assert_eq!(care.poison, [(70, "was killed".to_owned())]);
    // Another row is found in the same way, and a task that dies of no row is given up.
    let (after, care) = die(5, None);
    assert!(after == AfterFailure::Retry && care.one_by_one && care.poison.len() == 1);
    let (after, _) = die(6, None);
    assert_eq!(after, AfterFailure::GivenUp);
}

#[test]
fn a_panic_is_tried_again_as_a_crash_is() {
    let mut queue = Queue::new(1, 1, Numbers::from(1));
    for after in [
        AfterFailure::Retry,
        AfterFailure::Retry,
        AfterFailure::GivenUp,
    ] {
        let next = queue.next_for(1, 1).expect("a task");
        let text = "panicked: so".to_owned();
        assert_eq!(queue.failed(1, next.id, FailureKind::Panic, text), after);
    }
}
