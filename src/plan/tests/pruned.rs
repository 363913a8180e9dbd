//! Results from which images were pruned: they count until a step needs them, and only those that are needed are made whole.

use std::collections::{BTreeMap, BTreeSet};

use laioncele_core::ledger::{PrunedPart, Record};
use laioncele_core::spec::TaskSpec;
use laioncele_core::table::RowsDigest;
use laioncele_core::{Digest, Partitioning, Scope};
use proptest::prelude::*;
use proptest::sample::Index;

use super::super::{Cause, PlanInputs, Pruned, Records, StepPlan, plan_whole};
use super::{digest, missing, perform, pipelines, planned, run, shards, step};

/// `record` with the images of its first part pruned.
fn pruned(record: &Record) -> Record {
    let mut record = record.clone();
    if let Some(part) = record.outputs.first_mut() {
        part.path.push_str("-pruned");
        record.pruned.push(PrunedPart {
            path: part.path.clone(),
            digest: digest("smaller"),
            rows: RowsDigest::default(),
        });
    }
    record
}

/// All records of a whole run, those that `which` names pruned.
fn finished(inputs: &PlanInputs, which: impl Fn(usize) -> bool) -> Records {
    let mut records = Records::default();
    run(inputs, &mut records, |_| 0);
    let all: Vec<_> = records.all().cloned().collect();
    for (number, record) in all.iter().enumerate() {
        if which(number) {
            records.add(pruned(record));
        }
    }
    records
}

/// Runs the first step that misses anything until none does. What ran, each with its cause.
fn run_whole(inputs: &PlanInputs, records: &mut Records) -> Vec<(TaskSpec, Cause)> {
    let mut ran = Vec::new();
    loop {
        let plan = plan_whole(inputs, records).expect("steps that fit together");
        let mut steps = plan.steps.iter();
        let Some(first) = steps.find(|step| step.missing().next().is_some()) else {
            return ran;
        };
        for (spec, causes) in first.missing() {
            ran.push((spec.clone(), causes[0].clone()));
            records.add(perform(inputs, spec, 9));
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, failure_persistence: None, ..ProptestConfig::default() })]

    /// No task reads what was pruned; the results are those of a run of which nothing was; and what ran again for it was read by
    /// a task that ran.
    #[test]
    fn what_is_needed_is_made_whole_first(
        inputs in pipelines(),
        which in prop::collection::vec(any::<bool>(), 1..40),
        changed in any::<Index>(),
    ) {
        let mut inputs = inputs;
        let mut records = finished(&inputs, |number| which[number % which.len()]);
        prop_assert!(missing(&planned(&inputs, &records)).is_empty());
        let mut whole = finished(&inputs, |_| false);
        let count = inputs.steps.len();
        inputs.steps[changed.index(count)].settings.insert("new".to_owned(), "1".to_owned());
        let keys = |ran: &[(TaskSpec, Cause)]| ran.iter().map(|(spec, _)| spec.key).collect::<BTreeSet<Digest>>();
        let expected = run_whole(&inputs, &mut whole);
        let ran = run_whole(&inputs, &mut records);
        prop_assert!(keys(&ran).is_superset(&keys(&expected)));
        for (spec, cause) in &ran {
            let pruned = spec.inputs.iter().find(|part| part.path.ends_with("-pruned"));
            prop_assert!(pruned.is_none(), "{} reads {:?}", spec.step, pruned);
            let Cause::Pruned(Pruned::Pruned { needed_by }) = cause else {
                prop_assert!(spec.again.is_none());
                continue;
            };
            prop_assert_eq!(spec.again.as_ref().map(|again| again.replaces.as_str()), Some("a"));
            prop_assert!(ran.iter().any(|(reader, _)| reader.step == *needed_by));
        }
        prop_assert_eq!(missing(&planned(&inputs, &records)).len(), 0);
    }
}

/// Another model of the step that looks at images: those of its partitions are made again, each with the reason, and no others.
#[test]
fn only_what_a_missing_task_reads_is_made_again() {
    let mut inputs = PlanInputs {
        steps: vec![
            step(0, Partitioning::Buckets, &[(0, Scope::All)]),
            step(1, Partitioning::Buckets, &[(1, Scope::Own)]),
            step(2, Partitioning::Once, &[(2, Scope::All)]),
        ],
        buckets: 3,
        shards: shards(1),
    };
    let mut records = finished(&inputs, |_| false);
    let of_bucket = |records: &Records, step: &str, bucket: &str| {
        let mut all = records.all();
        let found = all.find(|r| r.step == step && r.partition.to_string() == bucket);
        found.expect("it ran").clone()
    };
    let first = of_bucket(&records, "step-0", "bucket-0001");
    records.add(pruned(&first));
    assert!(missing(&planned(&inputs, &records)).is_empty());
    inputs.steps[1].models = BTreeMap::from([("models.m1".to_owned(), digest("others"))]).into();
    let plan = planned(&inputs, &records);
    let tasks: Vec<String> = (plan.steps.iter().flat_map(StepPlan::missing))
        .map(|(spec, causes)| format!("{} {}: {}", spec.step, spec.partition, causes[0]))
        .collect();
    assert_eq!(tasks.len(), 4, "{tasks:?}");
    assert_eq!(
        tasks[0],
        "step-0 bucket-0001: step-1 needs images that were pruned"
    );
    assert!(
        tasks[1].starts_with("step-1 bucket-0000: models.m1 "),
        "{tasks:?}"
    );
    let mut found = records.clone();
    assert_eq!(run_whole(&inputs, &mut found).len(), 5);
    // Of a pruned part that is lost nothing is left to be replaced.
    let mut lost = records;
    lost.lose(
        first.key,
        super::super::Loss::PartGone {
            path: "p".to_owned(),
        },
    );
    let ran = run_whole(&inputs, &mut lost);
    assert!(ran.iter().all(|(spec, _)| spec.again.is_none()));
}
