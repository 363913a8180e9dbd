//! Properties of plans over invented plan_inputs: a run always ends, changes run what they reach and nothing else.

use std::collections::{BTreeMap, BTreeSet};

use laioncele_core::ledger::{RECORD_FORMAT, Record};
use laioncele_core::protocol::TaskSpec;
use laioncele_core::{Digest, Part, Partition, Partitioning, Reads, Scope, StageName, TableId};
use proptest::prelude::*;

use super::{Plan, PlanError, PlanInputs, Records, State, StepInfo, plan};

/// Tables that invented steps may write, one each.
const TABLES: [TableId; 8] = [
    TableId::Mentions,
    TableId::Names,
    TableId::Candidates,
    TableId::NameEmbeddings,
    TableId::Portraits,
    TableId::Photos,
    TableId::Matches,
    TableId::Identities,
];

fn digest(text: &str) -> Digest {
    Digest::of(text.as_bytes())
}

fn part(table: TableId, partition: Partition, content: &str) -> Part {
    Part {
        table,
        path: format!("{table}/{partition}/{}", digest(content).short()),
        partition,
        rows: 1,
        bytes: 1,
        digest: digest(content),
    }
}

/// A step that reads the tables of earlier steps (by index; 0 is the source).
fn step(number: usize, partitioning: Partitioning, reads: &[(usize, Scope)]) -> StepInfo {
    let table = |k: usize| match k {
        0 => TableId::Captions,
        k => TABLES[k - 1],
    };
    let reads = reads.iter().map(|(k, scope)| Reads {
        table: table(*k),
        scope: *scope,
    });
    StepInfo {
        name: format!("step-{number}"),
        stage: StageName::ALL[number],
        version: 1,
        partitioning,
        reads: reads.collect(),
        writes: vec![TABLES[number]],
        settings: BTreeMap::from([(format!("s{number}.threshold"), "1".to_owned())]),
        models: BTreeMap::from([(format!("models.m{number}"), digest("weights"))]),
    }
}

fn shards(count: usize) -> Vec<Part> {
    let shard = |k: usize| {
        let partition = Partition::shard(&format!("{k:02}"));
        part(TableId::Captions, partition, &format!("captions {k}"))
    };
    (0..count).map(shard).collect()
}

prop_compose! {
    fn plan_inputs()(
        buckets in 1_u32..5,
        shard_count in 1_usize..4,
        wiring in prop::collection::vec(
            (0_u8..4, prop::collection::vec((any::<prop::sample::Index>(), any::<bool>()), 1..4)),
            1..TABLES.len(),
        ),
    ) -> PlanInputs {
        let partitioning = |word: u8| match word {
            0 => Partitioning::Shards,
            1 => Partitioning::Buckets,
            2 => Partitioning::Once,
            _ => Partitioning::Chunks(3),
        };
        let scope = |own: bool| if own { Scope::Own } else { Scope::All };
        let steps = wiring.iter().enumerate().map(|(number, (word, reads))| {
            let reads: BTreeMap<usize, Scope> = reads
                .iter()
                .map(|(index, own)| (index.index(number + 1), scope(*own)))
                .collect();
            step(number, partitioning(*word), &reads.into_iter().collect::<Vec<_>>())
        });
        PlanInputs { steps: steps.collect(), buckets, shards: shards(shard_count) }
    }
}

/// What a task would commit: a part whose content follows from its key. `seconds` orders records.
fn perform(inputs: &PlanInputs, spec: &TaskSpec, seconds: u64) -> Record {
    let info = inputs.steps.iter().find(|s| s.name == spec.step);
    let writes = info.map_or(&[][..], |f| &f.writes);
    let output = |table: &TableId| part(*table, spec.partition.clone(), &spec.key.to_string());
    Record {
        format: RECORD_FORMAT,
        stage: spec.stage,
        step: spec.step.clone(),
        partition: spec.partition.clone(),
        key: spec.key,
        key_parts: spec.key_parts.clone(),
        attempt: "a".to_owned(),
        inputs: spec.inputs.clone(),
        outputs: writes.iter().map(output).collect(),
        balances: Vec::new(),
        metrics: BTreeMap::new(),
        started: seconds,
        seconds: 1.0,
        host: String::new(),
        program: String::new(),
    }
}

fn planned(inputs: &PlanInputs, records: &Records) -> Plan {
    plan(inputs, records).expect("steps that fit together")
}

fn missing(plan: &Plan) -> Vec<TaskSpec> {
    let specs = plan.steps.iter().flat_map(|s| s.missing());
    specs.map(|(spec, _)| spec.clone()).collect()
}

/// Runs to the end, choosing tasks by `choose`; the tasks in the order in which they ran.
fn run(
    inputs: &PlanInputs,
    records: &mut Records,
    mut choose: impl FnMut(usize) -> usize,
) -> Vec<TaskSpec> {
    let mut ran = Vec::new();
    loop {
        let ready = missing(&planned(inputs, records));
        if ready.is_empty() {
            return ran;
        }
        let spec = ready[choose(ready.len())].clone();
        records.add(perform(inputs, &spec, ran.len() as u64));
        ran.push(spec);
    }
}

fn keys(plan: &Plan) -> BTreeSet<Digest> {
    let records = plan.steps.iter().flat_map(|s| s.records());
    records.map(|r| r.key).collect()
}

fn changed_steps(specs: &[TaskSpec]) -> BTreeSet<String> {
    specs.iter().map(|s| s.step.clone()).collect()
}

/// The steps that read, directly or not, what `first` writes; and itself.
fn below(inputs: &PlanInputs, first: usize) -> BTreeSet<String> {
    let mut tables: BTreeSet<TableId> = inputs.steps[first].writes.iter().copied().collect();
    let mut names = BTreeSet::from([inputs.steps[first].name.clone()]);
    for step in &inputs.steps[first + 1..] {
        if step.reads.iter().any(|r| tables.contains(&r.table)) {
            names.insert(step.name.clone());
            tables.extend(&step.writes);
        }
    }
    names
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    /// Whatever the order in which tasks finish, a run ends with the same tasks done, each once.
    #[test]
    fn any_order_ends_alike(inputs in plan_inputs(), order in prop::collection::vec(any::<prop::sample::Index>(), 64)) {
        let mut first = Records::default();
        let in_order = run(&inputs, &mut first, |_| 0);
        let mut second = Records::default();
        let mut at = 0;
        let shuffled = run(&inputs, &mut second, |ready| {
            at += 1;
            order[at % order.len()].index(ready)
        });
        let complete = planned(&inputs, &first);
        prop_assert!(complete.steps.iter().all(|s| s.complete()));
        prop_assert_eq!(in_order.len(), shuffled.len());
        prop_assert_eq!(keys(&complete), keys(&planned(&inputs, &second)));
        let tasks: usize = complete.steps.iter().map(|s| s.tasks.len()).sum();
        prop_assert_eq!(in_order.len(), tasks);
    }

    /// Nothing waits without a step that must run, and a done task's key is the one it would get again.
    #[test]
    fn states_are_consistent(inputs in plan_inputs(), stop in 0_usize..40) {
        let mut records = Records::default();
        for _ in 0..stop {
            let Some(spec) = missing(&planned(&inputs, &records)).pop() else { break };
            records.add(perform(&inputs, &spec, 1));
        }
        let plan = planned(&inputs, &records);
        for step in &plan.steps {
            for task in &step.tasks {
                match &task.state {
                    State::Waiting { on } => {
                        let blocker = plan.steps.iter().find(|s| s.name == *on);
                        prop_assert!(blocker.is_some_and(|b| !b.complete()));
                    }
                    State::Missing { spec, .. } => {
                        prop_assert_eq!(spec.key, spec.key_parts.key(&step.name, &task.partition));
                    }
                    State::Done(record) => {
                        prop_assert_eq!(record.key, record.key_parts.key(&step.name, &task.partition));
                    }
                }
            }
        }
        prop_assert_eq!(planned(&inputs, &records), plan);
    }

    /// A changed setting runs its step again and those that read from it, says so, and changing it back runs nothing.
    #[test]
    fn a_setting_reaches_what_reads_from_it(inputs in plan_inputs(), which in any::<prop::sample::Index>()) {
        let mut records = Records::default();
        run(&inputs, &mut records, |_| 0);
        let at = which.index(inputs.steps.len());
        let mut other = inputs.clone();
        other.steps[at].settings.insert(format!("s{at}.threshold"), "2".to_owned());
        let replanned = planned(&other, &records);
        let causes = replanned.steps[at].first_causes();
        prop_assert_eq!(causes.len(), 1);
        prop_assert_eq!(&causes[0].0, &format!("s{at}.threshold 1 → 2"));
        let ran = run(&other, &mut records, |_| 0);
        prop_assert!(changed_steps(&ran).is_subset(&below(&inputs, at)));
        prop_assert!(ran.iter().any(|s| s.step == inputs.steps[at].name));
        prop_assert!(missing(&planned(&inputs, &records)).is_empty());
    }

    /// A changed source file runs again only what reads its partition or the whole table.
    #[test]
    fn a_source_file_reaches_its_own_shard_only(inputs in plan_inputs()) {
        let mut records = Records::default();
        run(&inputs, &mut records, |_| 0);
        let mut other = inputs.clone();
        other.shards[0] = part(TableId::Captions, other.shards[0].partition.clone(), "other captions");
        let own_only = |f: &StepInfo| {
            f.partitioning == Partitioning::Shards
                && f.reads.iter().all(|r| r.table == TableId::Captions && r.scope == Scope::Own)
        };
        let again = planned(&other, &records);
        for (info, step) in inputs.steps.iter().zip(&again.steps) {
            if own_only(info) {
                let partitions: Vec<_> = step.missing().map(|(s, _)| s.partition.clone()).collect();
                prop_assert_eq!(partitions, vec![other.shards[0].partition.clone()]);
            }
        }
    }

    /// Equal results behind changed models cut the change short: the steps below see the same digests.
    #[test]
    fn equal_outputs_stop_a_change(inputs in plan_inputs(), which in any::<prop::sample::Index>()) {
        let mut records = Records::default();
        run(&inputs, &mut records, |_| 0);
        let at = which.index(inputs.steps.len());
        let mut other = inputs.clone();
        other.steps[at].models.insert(format!("models.m{at}"), digest("other weights"));
        let specs: Vec<_> = planned(&other, &records).steps[at].missing().map(|(s, _)| s.clone()).collect();
        for spec in specs {
            let before = records.newest(&spec.step, &spec.partition).map(|r| r.outputs.clone());
            let mut record = perform(&other, &spec, 99);
            record.outputs = before.unwrap_or_default();
            records.add(record);
        }
        prop_assert!(missing(&planned(&other, &records)).is_empty());
    }
}

#[test]
fn a_table_without_a_writer_is_a_defect() {
    let mut inputs = PlanInputs {
        steps: vec![step(0, Partitioning::Once, &[(0, Scope::All)])],
        buckets: 1,
        shards: shards(1),
    };
    inputs.steps[0].reads.push(Reads::all(TableId::Evaluation));
    let error = plan(&inputs, &Records::default()).expect_err("nobody writes it");
    assert!(matches!(error, PlanError::NoWriter { table, .. } if table == TableId::Evaluation));
    inputs.steps[0].reads.pop();
    inputs.steps.push(inputs.steps[0].clone());
    let error = plan(&inputs, &Records::default()).expect_err("one name twice");
    assert!(matches!(error, PlanError::TwoSteps { .. }));
}

#[test]
fn waiting_names_the_step_and_a_new_shard_is_all_that_runs() {
    let mut inputs = PlanInputs {
        steps: vec![
            step(0, Partitioning::Shards, &[(0, Scope::Own)]),
            step(1, Partitioning::Once, &[(1, Scope::All)]),
        ],
        buckets: 1,
        shards: shards(2),
    };
    let mut records = Records::default();
    assert_eq!(
        planned(&inputs, &records).steps[1].waits_for(),
        Some("step-0")
    );
    assert_eq!(run(&inputs, &mut records, |_| 0).len(), 3);
    inputs.shards = shards(3);
    let ran = run(&inputs, &mut records, |_| 0);
    let names: Vec<_> = ran.iter().map(|s| s.step.as_str()).collect();
    assert_eq!(names, ["step-0", "step-1"]);
}
