//! Properties of plans over generated pipelines: a run always ends; a change reruns what it reaches
//! and nothing else.

mod histories;
mod losses;
mod oracle;
mod patience;
mod pruned;
mod writers;

use std::collections::{BTreeMap, BTreeSet};

use laioncele_core::ledger::{RECORD_FORMAT, Record};
use laioncele_core::spec::TaskSpec;
use laioncele_core::{Digest, Part, Partition, Partitioning, Reads, Scope, StageName, TableId};
use proptest::prelude::*;

use super::{Plan, PlanError, PlanInputs, Records, State, StepInfo, StepPlan, plan};

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
        settings: BTreeMap::from([(format!("s{number}.threshold"), "1".to_owned())]).into(),
        models: BTreeMap::from([(format!("models.m{number}"), digest("weights"))]).into(),
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
    fn pipelines()(
        buckets in 1_u32..5,
        shard_count in 1_usize..4,
        wiring in prop::collection::vec(
            (0_u8..5, prop::collection::vec((any::<prop::sample::Index>(), any::<bool>()), 1..4)),
            1..TABLES.len(),
        ),
    ) -> PlanInputs {
        let partitioning = |word: u8| match word {
            0 => Partitioning::Shards,
            1 => Partitioning::Buckets,
            2 => Partitioning::Once,
            3 => Partitioning::ShardGroups(2),
            _ => Partitioning::Chunks(3),
        };
        let scope = |own: bool, word: u8| match (own, partitioning(word)) {
            (true, Partitioning::ShardGroups(_)) => Scope::Group,
            (true, _) => Scope::Own,
            (false, Partitioning::Buckets) => Scope::Slice,
            (false, _) => Scope::All,
        };
        let steps = wiring.iter().enumerate().map(|(number, (word, reads))| {
            let reads: BTreeMap<usize, Scope> = reads
                .iter()
                .map(|(index, own)| (index.index(number + 1), scope(*own, *word)))
                .collect();
            step(number, partitioning(*word), &reads.into_iter().collect::<Vec<_>>())
        });
        PlanInputs { steps: steps.collect(), buckets, shards: shards(shard_count) }
    }
}

/// The record that a task would commit: it writes a part whose content is a function of its key.
fn perform(inputs: &PlanInputs, spec: &TaskSpec, seconds: u64) -> Record {
    let info = inputs.steps.iter().find(|s| s.name == spec.step);
    let writes = info.map_or(&[][..], |f| &f.writes);
    let output = |table: &TableId| part(*table, spec.partition.clone(), &spec.key.to_string());
    record(spec, writes.iter().map(output).collect(), seconds)
}

/// The record of a task that wrote `outputs` at `seconds`.
fn record(spec: &TaskSpec, outputs: Vec<Part>, seconds: u64) -> Record {
    Record {
        format: RECORD_FORMAT,
        stage: spec.stage,
        step: spec.step.clone(),
        partition: spec.partition.clone(),
        key: spec.key,
        key_parts: spec.key_parts.clone(),
        attempt: "a".to_owned(),
        inputs: spec.inputs.clone(),
        lists: spec.lists.clone(),
        outputs,
        pruned: Vec::new(),
        balances: Vec::new(),
        metrics: BTreeMap::new(),
        started: std::time::UNIX_EPOCH + std::time::Duration::from_secs(seconds),
        seconds: 1.0,
        host: String::new(),
        program: String::new(),
    }
}

fn planned(inputs: &PlanInputs, records: &Records) -> Plan {
    plan(inputs, records).expect("steps that fit together")
}

fn missing(plan: &Plan) -> Vec<TaskSpec> {
    let specs = plan.steps.iter().flat_map(StepPlan::missing);
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
    let records = plan.steps.iter().flat_map(StepPlan::records);
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
    fn any_task_order_ends_with_the_same_tasks_done(inputs in pipelines(), order in prop::collection::vec(any::<prop::sample::Index>(), 64)) {
        let mut first = Records::default();
        let in_order = run(&inputs, &mut first, |_| 0);
        let mut second = Records::default();
        let mut at = 0;
        let shuffled = run(&inputs, &mut second, |ready| {
            at += 1;
            order[at % order.len()].index(ready)
        });
        let complete = planned(&inputs, &first);
        prop_assert!(complete.steps.iter().all(StepPlan::complete));
        prop_assert_eq!(in_order.len(), shuffled.len());
        prop_assert_eq!(keys(&complete), keys(&planned(&inputs, &second)));
        let tasks: usize = complete.steps.iter().map(|s| s.tasks.len()).sum();
        prop_assert_eq!(in_order.len(), tasks);
    }

    /// Nothing waits without a step that must run, and a done task's key is the one it would get
    /// again.
    #[test]
    fn waiting_tasks_wait_for_incomplete_steps_and_keys_are_reproducible(inputs in pipelines(), stop in 0_usize..40) {
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

    /// A changed setting runs its step again and those that read from it, says so, and changing it
    /// back runs nothing.
    #[test]
    fn a_changed_setting_reruns_its_step_and_steps_that_read_from_it(inputs in pipelines(), which in any::<prop::sample::Index>()) {
        let mut records = Records::default();
        run(&inputs, &mut records, |_| 0);
        let at = which.index(inputs.steps.len());
        let mut other = inputs.clone();
        other.steps[at].settings.insert(format!("s{at}.threshold"), "2".to_owned());
        let replanned = planned(&other, &records);
        let causes = replanned.steps[at].first_causes();
        prop_assert_eq!(causes.len(), 1);
        prop_assert_eq!(causes[0].0.to_string(), format!("s{at}.threshold 1 → 2"));
        let ran = run(&other, &mut records, |_| 0);
        prop_assert!(changed_steps(&ran).is_subset(&below(&inputs, at)));
        prop_assert!(ran.iter().any(|s| s.step == inputs.steps[at].name));
        prop_assert!(missing(&planned(&inputs, &records)).is_empty());
    }

    /// A changed source file runs again only what reads its partition or the whole table.
    #[test]
    fn a_changed_source_file_reruns_its_own_shard_only(inputs in pipelines()) {
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

    /// Equal results behind changed models cut the change short: the steps below see the same
    /// digests.
    #[test]
    fn equal_outputs_stop_a_change_from_spreading(inputs in pipelines(), which in any::<prop::sample::Index>()) {
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
fn plan_rejects_tables_without_writer_and_repeated_step_names() {
    let mut inputs = PlanInputs {
        steps: vec![step(0, Partitioning::Once, &[(0, Scope::All)])],
        buckets: 1,
        shards: shards(1),
    };
    inputs.steps[0].reads.push(Reads::all(TableId::Evaluation));
    let error = plan(&inputs, &Records::default()).expect_err("no step writes it");
    assert!(matches!(error, PlanError::NoWriter { table, .. } if table == TableId::Evaluation));
    inputs.steps[0].reads.pop();
    inputs.steps.push(inputs.steps[0].clone());
    let error = plan(&inputs, &Records::default()).expect_err("one name twice");
    assert!(matches!(error, PlanError::TwoSteps { .. }));
}

#[test]
fn plan_rejects_groups_and_slices_of_other_partitions() {
    let by = |partitioning, scope| {
        let inputs = PlanInputs {
            steps: vec![step(0, partitioning, &[(0, scope)])],
            buckets: 1,
            shards: shards(1),
        };
        plan(&inputs, &Records::default()).map(drop)
    };
    for wrong in [
        by(Partitioning::Shards, Scope::Group),
        by(Partitioning::Buckets, Scope::Group),
        by(Partitioning::ShardGroups(2), Scope::Slice),
        by(Partitioning::Once, Scope::Slice),
    ] {
        assert!(matches!(wrong, Err(PlanError::NoSuchShare { .. })));
    }
    assert_eq!(by(Partitioning::ShardGroups(2), Scope::Group), Ok(()));
}

/// A file that is added runs its own group again, and no other: it moves no file.
#[test]
fn a_new_shard_reruns_its_group_only() {
    let pipeline = |count| PlanInputs {
        steps: vec![
            step(0, Partitioning::Shards, &[(0, Scope::Own)]),
            step(1, Partitioning::ShardGroups(4), &[(1, Scope::Group)]),
        ],
        buckets: 1,
        shards: shards(count),
    };
    let mut records = Records::default();
    let before = run(&pipeline(9), &mut records, |_| 0);
    let groups = before.iter().filter(|spec| spec.step == "step-1");
    assert!(groups.clone().count() > 1);
    let read: usize = groups.map(|spec| spec.inputs.len()).sum();
    assert_eq!(read, 9, "each shard is in one group");
    let again = run(&pipeline(10), &mut records, |_| 0);
    let ran: Vec<_> = again.iter().map(|s| s.partition.to_string()).collect();
    let group = Partition::shard("09").group(4).to_string();
    assert_eq!(ran, ["shard-09".to_owned(), group]);
}

/// Tasks that read a whole table name one list of its parts; a record says no more of it.
#[test]
fn tasks_that_read_a_whole_table_share_one_list() {
    let inputs = PlanInputs {
        steps: vec![
            step(0, Partitioning::Shards, &[(0, Scope::Own)]),
            step(1, Partitioning::Buckets, &[(1, Scope::Slice)]),
        ],
        buckets: 40,
        shards: shards(30),
    };
    let mut records = Records::default();
    let ran = run(&inputs, &mut records, |_| 0);
    let planned = planned(&inputs, &records);
    let [list] = planned.steps[1].lists.as_slice() else {
        panic!("one list: {:?}", planned.steps[1].lists);
    };
    assert_eq!(list.parts().len(), 30);
    let mut buckets = ran.iter().filter(|spec| spec.step == "step-1");
    assert!(buckets.all(|spec| {
        let named = spec.lists == [list.reference().clone()];
        named && spec.inputs.is_empty() && spec.key_parts.inputs.len() == 1
    }));
}

#[test]
fn a_new_shard_reruns_itself_and_what_reads_all_shards() {
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

/// The decisions in a case small enough to check by hand, by the planner and by the oracle.
#[test]
fn planner_and_oracle_decide_a_small_case_as_expected() {
    let inputs = PlanInputs {
        steps: vec![
            step(0, Partitioning::Shards, &[(0, Scope::Own)]),
            step(1, Partitioning::Buckets, &[(1, Scope::All)]),
        ],
        buckets: 2,
        shards: shards(2),
    };
    let mut other = inputs.clone();
    other.steps[0].settings = BTreeMap::from([("s0.threshold".to_owned(), "2".to_owned())]).into();
    let first = missing(&planned(&other, &Records::default()));
    let history = vec![perform(&inputs, &first[1], 1)];
    let states = |plan: &Plan| -> Vec<String> {
        let tasks = plan.steps.iter().flat_map(|s| &s.tasks);
        let state = |task: &super::TaskPlan| match &task.state {
            State::Done(_) => format!("{} done", task.partition),
            State::Missing { causes, .. } => {
                let causes: Vec<_> = causes.iter().map(ToString::to_string).collect();
                format!("{} {}", task.partition, causes.join(", "))
            }
            State::Waiting { on } => format!("{} waits for {on}", task.partition),
        };
        tasks.map(state).collect()
    };
    let changed_back = [
        "shard-00 never run",
        "shard-01 s0.threshold 2 → 1",
        "bucket-0000 waits for step-0",
        "bucket-0001 waits for step-0",
    ];
    assert_eq!(
        states(&planned(&inputs, &Records::new(history.clone()))),
        changed_back
    );
    assert_eq!(states(&oracle::plan(&inputs, &history)), changed_back);
    let as_before = ["shard-00 never run", "shard-01 done"];
    assert_eq!(
        states(&planned(&other, &Records::new(history.clone())))[..2],
        as_before
    );
    assert_eq!(states(&oracle::plan(&other, &history))[..2], as_before);
}
