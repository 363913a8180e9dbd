//! A second planner, written for simplicity: it keeps no index and scans all steps, tasks and
//! records for every task. Tests compare the real planner with it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use laioncele_core::key::KeyParts;
use laioncele_core::ledger::Record;
use laioncele_core::spec::TaskSpec;
use laioncele_core::{
    Digest, KeyHasher, Part, PartList, Partition, Partitioning, Reads, Scope, TableId,
};

use super::super::{Cause, Plan, PlanInputs, State, StepInfo, StepPlan, TaskPlan};

/// Plans all steps; `records` are newest first.
pub(super) fn plan(inputs: &PlanInputs, records: &[Record]) -> Plan {
    let mut plan = Plan { steps: Vec::new() };
    for step in &inputs.steps {
        let mut tasks = Vec::new();
        let waits = unfinished(inputs, &plan, step).is_some();
        let lists = if waits {
            Vec::new()
        } else {
            lists(inputs, &plan, step)
        };
        for partition in partitions(inputs, step.partitioning) {
            let state = state(inputs, &plan, step, &partition, records);
            tasks.push(TaskPlan { partition, state });
        }
        plan.steps.push(StepPlan {
            name: step.name.clone(),
            stage: step.stage,
            tasks,
            lists,
        });
    }
    plan
}

fn partitions(inputs: &PlanInputs, partitioning: Partitioning) -> Vec<Partition> {
    let numbered = |count, partition: fn(u32) -> Partition| (0..count).map(partition).collect();
    match partitioning {
        Partitioning::Shards => inputs.shards.iter().map(|s| s.partition.clone()).collect(),
        Partitioning::Buckets => numbered(inputs.buckets, Partition::Bucket),
        Partitioning::Chunks(count) => numbered(count, Partition::Chunk),
        Partitioning::Once => vec![Partition::Whole],
        Partitioning::ShardGroups(groups) => {
            let group = |s: &Part| s.partition.group(groups);
            let groups: BTreeSet<Partition> = inputs.shards.iter().map(group).collect();
            groups.into_iter().collect()
        }
    }
}

fn state(
    inputs: &PlanInputs,
    earlier: &Plan,
    step: &StepInfo,
    partition: &Partition,
    records: &[Record],
) -> State {
    if let Some(on) = unfinished(inputs, earlier, step) {
        return State::Waiting { on };
    }
    let reads = || step.reads.iter().copied();
    let parts = |read: Reads| parts(inputs, earlier, step, read, partition);
    let listed = |read: &Reads| matches!(read.scope, Scope::All | Scope::Slice);
    let key_parts = KeyParts {
        version: step.version,
        settings: step.settings.clone(),
        models: step.models.clone(),
        inputs: reads()
            .flat_map(|r| match listed(&r) {
                true => BTreeMap::from([(
                    r.table.to_string(),
                    PartList::new(r.table, parts(r)).content(),
                )]),
                false => digests(r, &parts(r)),
            })
            .collect(),
    };
    let key = key_parts.key(&step.name, partition);
    let history = || {
        let same_task = |r: &&Record| r.step == step.name && r.partition == *partition;
        records.iter().filter(same_task)
    };
    if let Some(done) = history().find(|r| r.key == key) {
        return State::Done(Arc::new(done.clone()));
    }
    State::Missing {
        causes: match history().next() {
            Some(newest) => {
                let changes = key_parts.changes_since(&newest.key_parts);
                changes.into_iter().map(Cause::Change).collect()
            }
            None => vec![Cause::NEVER_RUN],
        },
        spec: Box::new(TaskSpec {
            stage: step.stage,
            step: step.name.clone(),
            partition: partition.clone(),
            key,
            key_parts,
            inputs: reads().filter(|r| !listed(r)).flat_map(parts).collect(),
            lists: lists(inputs, earlier, step)
                .iter()
                .map(|list| list.reference().clone())
                .collect(),
            again: None,
        }),
    }
}

/// The first step with a task that is not done, among those that write what `step` reads.
fn unfinished(inputs: &PlanInputs, earlier: &Plan, step: &StepInfo) -> Option<String> {
    for read in &step.reads {
        for (writer, planned) in inputs.steps.iter().zip(&earlier.steps) {
            let writes = writer.writes.contains(&read.table) || read.table == TableId::Dropped;
            let done = |task: &TaskPlan| matches!(task.state, State::Done(_));
            if writes && !planned.tasks.iter().all(done) {
                return Some(writer.name.clone());
            }
        }
    }
    None
}

/// The lists of the tables that every task of `step` reads whole or in slices.
fn lists(inputs: &PlanInputs, earlier: &Plan, step: &StepInfo) -> Vec<PartList> {
    let mut lists = Vec::new();
    for read in &step.reads {
        if matches!(read.scope, Scope::All | Scope::Slice) {
            let parts = parts(inputs, earlier, step, *read, &Partition::Whole);
            lists.push(PartList::new(read.table, parts));
        }
    }
    lists
}

/// The parts that a task on `partition` reads, sorted by partition, then by who wrote them.
fn parts(
    inputs: &PlanInputs,
    earlier: &Plan,
    step: &StepInfo,
    read: Reads,
    partition: &Partition,
) -> Vec<Part> {
    let mut parts = Vec::new();
    if read.table == TableId::Captions {
        parts.extend(inputs.shards.iter().cloned());
    }
    for task in earlier.steps.iter().flat_map(|step| &step.tasks) {
        if let State::Done(record) = &task.state {
            parts.extend(record.outputs.iter().cloned());
        }
    }
    parts.retain(|part| part.table == read.table);
    parts.retain(|part| match (read.scope, step.partitioning) {
        (Scope::All | Scope::Slice, _) => true,
        (Scope::Group, Partitioning::ShardGroups(groups)) => {
            part.partition.group(groups) == *partition
        }
        (Scope::Own | Scope::Group, _) => part.partition == *partition,
    });
    parts.sort_by(|a, b| a.partition.cmp(&b.partition));
    parts
}

/// What the key says of the parts that are read.
fn digests(read: Reads, parts: &[Part]) -> BTreeMap<String, Digest> {
    let mut digests = BTreeMap::new();
    for same in parts.chunk_by(|a, b| a.partition == b.partition) {
        let mut hasher = KeyHasher::new("input-parts");
        for part in same {
            hasher = hasher.digest("part", part.digest);
        }
        let name = format!("{}/{}", read.table, same[0].partition);
        digests.insert(name, hasher.finish());
    }
    digests
}
