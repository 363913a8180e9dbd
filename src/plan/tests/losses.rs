//! Lost parts and damaged records: what must run again, and why, and what need not.

use std::collections::{BTreeSet, HashMap};
use std::convert::Infallible;

use laioncele_core::ledger::{Record, Scan, UnusableRecord};
use laioncele_core::{Digest, Partitioning, Scope};
use proptest::prelude::*;
use proptest::sample::Index;

use super::super::{Cause, Loss, PlanInputs, Planner, Records, StepPlan};
use super::{keys, missing, perform, pipelines, planned, run, shards, step};

/// The sizes of all parts of `records`.
fn sizes(records: &[Record]) -> HashMap<String, u64> {
    let parts = records.iter().flat_map(|record| &record.outputs);
    parts.map(|part| (part.path.clone(), part.bytes)).collect()
}

fn beside(records: &[Record], sizes: &HashMap<String, u64>) -> Records {
    let scan = Scan::of(records.to_vec(), Vec::new());
    found_beside(scan, sizes)
}

fn found_beside(scan: Scan, sizes: &HashMap<String, u64>) -> Records {
    let of = |paths: &[&str]| {
        Ok::<_, Infallible>(paths.iter().map(|path| sizes.get(*path).copied()).collect())
    };
    Records::beside(scan, of).unwrap_or_default()
}

fn finished(inputs: &PlanInputs) -> Vec<Record> {
    let mut records = Records::default();
    run(inputs, &mut records, |_| 0);
    records.all().map(|record| (**record).clone()).collect()
}

/// Runs as the program does: step by step, each task that is missing when its step is reached. The
/// keys of the tasks that ran.
fn run_steps(inputs: &PlanInputs, records: &mut Records) -> BTreeSet<Digest> {
    let mut planner = Planner::new(inputs).expect("steps that fit together");
    let mut ran = BTreeSet::new();
    for info in &inputs.steps {
        let mut planned = planner.plan_step(info, records);
        let specs: Vec<_> = planned.missing().map(|(spec, _)| spec.clone()).collect();
        for spec in &specs {
            ran.insert(spec.key);
            records.add(perform(inputs, spec, 9));
        }
        planned.mark_done(specs.iter().map(|spec| perform(inputs, spec, 9)));
        planner.add(info, &planned);
    }
    ran
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    /// Exactly the tasks whose parts are gone or cut must run, each with its part for a cause; all
    /// others are done. Made again with the same bytes, nothing else runs.
    #[test]
    fn a_lost_part_reruns_its_own_task_only(inputs in pipelines(), lost in prop::collection::vec((any::<Index>(), any::<bool>()), 1..4)) {
        let records = finished(&inputs);
        let mut sizes = sizes(&records);
        let mut expected = BTreeSet::new();
        for (which, cut) in lost {
            let record = &records[which.index(records.len())];
            let path = &record.outputs[0].path;
            match cut {
                true => drop(sizes.insert(path.clone(), 0)),
                false => drop(sizes.remove(path)),
            }
            // Steps that write the same bytes on one partition share nothing: keys are in paths.
            expected.insert(record.key);
        }
        let mut found = beside(&records, &sizes);
        let plan = planned(&inputs, &found);
        prop_assert!(plan.steps.iter().all(|step| step.waits_for().is_none()));
        for (spec, causes) in plan.steps.iter().flat_map(StepPlan::missing) {
            prop_assert!(expected.contains(&spec.key));
            let [Cause::Loss(Loss::PartGone { path } | Loss::PartSize { path, .. })] = causes else {
                panic!("{causes:?}");
            };
            prop_assert!(path.contains(&spec.partition.to_string()));
        }
        prop_assert_eq!(missing(&plan).len(), expected.len());
        prop_assert_eq!(run_steps(&inputs, &mut found), expected);
        let healed = planned(&inputs, &found);
        prop_assert!(missing(&healed).is_empty());
        prop_assert_eq!(keys(&healed).len(), records.len());
    }

    /// A record that cannot be read reruns its task, and says why.
    #[test]
    fn a_damaged_record_reruns_its_task(inputs in pipelines(), which in any::<Index>()) {
        let mut records = finished(&inputs);
        let sizes = sizes(&records);
        let damaged = records.swap_remove(which.index(records.len()));
        let path = damaged.path();
        let unusable = UnusableRecord { path: path.clone(), key: Some(damaged.key), reason: "cut off".to_owned() };
        let scan = Scan::of(records, vec![unusable]);
        let mut found = found_beside(scan, &sizes);
        let plan = planned(&inputs, &found);
        let expected = Loss::Record { path, reason: "cut off".to_owned() };
        let causes: Vec<_> = plan.steps.iter().flat_map(StepPlan::missing).map(|(_, causes)| causes.to_vec()).collect();
        prop_assert_eq!(causes, vec![vec![Cause::Loss(expected)]]);
        prop_assert_eq!(run_steps(&inputs, &mut found), BTreeSet::from([damaged.key]));
    }
}

/// Bytes that differ when a lost part is made again run what reads them, and nothing else.
#[test]
fn other_bytes_rerun_what_reads_them() {
    let inputs = PlanInputs {
        steps: vec![
            step(0, Partitioning::Buckets, &[(0, Scope::All)]),
            step(1, Partitioning::Buckets, &[(1, Scope::Own)]),
            step(2, Partitioning::Once, &[(2, Scope::All)]),
        ],
        buckets: 3,
        shards: shards(1),
    };
    let records = finished(&inputs);
    let first = records
        .iter()
        .find(|r| r.step == "step-0" && r.partition.to_string() == "bucket-0001");
    let first = first.expect("it ran");
    let mut sizes = sizes(&records);
    sizes.remove(&first.outputs[0].path);
    let mut found = beside(&records, &sizes);
    let mut again = first.clone();
    again.outputs[0].digest = super::digest("other bytes");
    found.add(again);
    let ran = missing(&planned(&inputs, &found));
    let ran: Vec<_> = ran
        .iter()
        .map(|s| format!("{} {}", s.step, s.partition))
        .collect();
    assert_eq!(ran, ["step-1 bucket-0001"]);
}
