//! Two steps that write one table and run beside each other.

use super::super::Planner;
use super::*;

/// Two writers of one table and who reads all of it.
fn inputs() -> PlanInputs {
    let first = step(0, Partitioning::Buckets, &[(0, Scope::All)]);
    let mut second = step(1, Partitioning::Buckets, &[(0, Scope::All)]);
    second.writes.clone_from(&first.writes);
    let reader = step(2, Partitioning::Once, &[(1, Scope::All)]);
    PlanInputs {
        buckets: 2,
        shards: shards(1),
        steps: vec![first, second, reader],
    }
}

/// The key of the reader where the writers end in this order, each after all of its tasks.
fn key_after(order: [usize; 2]) -> Digest {
    let (inputs, records) = (inputs(), Records::default());
    let mut planner = Planner::new(&inputs).expect("a pipeline");
    let plans = [0, 1].map(|writer| planner.plan_step(&inputs.steps[writer], &records));
    for (info, planned) in inputs.steps.iter().zip(&plans) {
        planner.begin(info, planned);
    }
    let reader = &inputs.steps[2];
    for writer in order {
        let waits = |task: &super::super::TaskPlan| matches!(task.state, State::Waiting { .. });
        let planned = planner.plan_step(reader, &records);
        assert!(planned.tasks.iter().all(waits), "{order:?}");
        for task in &plans[writer].tasks {
            if let State::Missing { spec, .. } = &task.state {
                planner.task_done(&inputs.steps[writer], &perform(&inputs, spec, 1));
            }
        }
        planner.end(&inputs.steps[writer]);
    }
    let planned = planner.plan_step(reader, &records);
    match &planned.tasks[0].state {
        State::Missing { spec, .. } => spec.key,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_reader_waits_for_all_writers_and_reads_them_in_the_order_of_the_steps() {
    assert_eq!(key_after([0, 1]), key_after([1, 0]));
    let (inputs, mut records) = (inputs(), Records::default());
    run(&inputs, &mut records, |_| 0);
    let plan = planned(&inputs, &records);
    assert!(keys(&plan).contains(&key_after([1, 0])));
}
