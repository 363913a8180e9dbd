//! From steps to tasks: splits each step's work, keys each task by its inputs, looks the key up in
//! the records.
//!
//! Time and memory grow linearly with tasks and parts: tasks that read all of a table name one list
//! of its parts.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use laioncele_core::key::KeyParts;
use laioncele_core::ledger::Record;
use laioncele_core::part_list::content_of_parts;
use laioncele_core::spec::{Again, TaskSpec};
use laioncele_core::{
    Digest, ListRef, Part, PartList, Partition, Partitioning, Reads, Scope, TableId,
};

use super::{Cause, Plan, PlanInputs, Pruned, Records, State, StepInfo, StepPlan, TaskPlan};

/// The steps do not fit together: a defect of the program, not of the data.
#[derive(Debug, PartialEq, thiserror::Error)]
pub enum PlanError {
    /// No earlier step writes a table that is read.
    #[error("step `{step}` reads table `{table}`, which no earlier step writes")]
    NoWriter {
        /// The step that reads the table.
        step: String,
        /// The table without a writer.
        table: TableId,
    },
    /// Two steps have the same name.
    #[error("two steps are called `{step}`")]
    TwoSteps {
        /// The repeated name.
        step: String,
    },
    /// A step reads a table by groups or slices, which its partitions do not have.
    #[error("step `{step}` reads table `{table}` by groups or slices, but has no such partitions")]
    NoSuchShare {
        /// The step.
        step: String,
        /// The table.
        table: TableId,
    },
}

/// Plans all steps of `inputs`. Of tasks that must run only since something of their results is
/// lost, the steps below are planned as if they came out as before, which they do unless the web, a
/// model's threads or the like say otherwise. So are those of results that lack images by choice and run again,
/// since a step needs them.
///
/// # Errors
/// [`PlanError`].
pub fn plan(inputs: &PlanInputs, records: &Records) -> Result<Plan, PlanError> {
    match records.any_pruned() {
        true => plan_whole(inputs, &mut records.clone()),
        false => plan_all(inputs, records),
    }
}

/// As [`plan`]; `records` says afterwards which pruned results are wanted whole.
///
/// # Errors
/// [`PlanError`].
pub fn plan_whole(inputs: &PlanInputs, records: &mut Records) -> Result<Plan, PlanError> {
    loop {
        let plan = plan_all(inputs, records)?;
        let mut whole = true;
        for step in &plan.steps {
            for key in records.needed(step) {
                records.want(key, &step.name);
                whole = false;
            }
        }
        if whole {
            return Ok(plan);
        }
    }
}

fn plan_all(inputs: &PlanInputs, records: &Records) -> Result<Plan, PlanError> {
    let mut planner = Planner::new(inputs)?;
    let mut steps = Vec::with_capacity(inputs.steps.len());
    for step in &inputs.steps {
        let planned = planner.plan_step(step, records);
        planner.add_expected(step, &planned, records);
        steps.push(planned);
    }
    Ok(Plan { steps })
}

/// Plans one step after another, in data order. What a step writes is added once the step is as
/// done as it will be; a run can execute the step's tasks in between.
pub struct Planner {
    buckets: u32,
    shards: Vec<Partition>,
    /// The place of each step among the steps, from 1 on.
    order: HashMap<String, u32>,
    tables: BTreeMap<TableId, TableState>,
}

impl Planner {
    /// A planner that knows the source only.
    ///
    /// # Errors
    /// [`PlanError`].
    pub fn new(inputs: &PlanInputs) -> Result<Self, PlanError> {
        check(&inputs.steps)?;
        let reads = inputs.steps.iter().flat_map(|step| &step.reads);
        // Tables that no step reads are not tracked.
        let mut tables: BTreeMap<TableId, TableState> = reads
            .map(|read| (read.table, TableState::default()))
            .collect();
        if let Some(captions) = tables.get_mut(&TableId::Captions) {
            captions.add(0, inputs.shards.iter());
        }
        let names = inputs.steps.iter().map(|step| step.name.clone());
        Ok(Self {
            buckets: inputs.buckets,
            shards: inputs.shards.iter().map(|p| p.partition.clone()).collect(),
            order: names.zip(1..).collect(),
            tables,
        })
    }

    /// The tasks of `step`, given what was added of the steps before it.
    pub fn plan_step(&self, step: &StepInfo, records: &Records) -> StepPlan {
        let partitions = self.partitions(step.partitioning).into_iter();
        let (mut tasks, mut lists) = (Vec::new(), Vec::new());
        if let Some(blocker) = self.blocker(step) {
            let on = blocker.to_owned();
            tasks.extend(partitions.map(|partition| TaskPlan {
                partition,
                state: State::Waiting { on: on.clone() },
            }));
        } else {
            let shared = self.shared_inputs(step);
            tasks.extend(partitions.map(|partition| TaskPlan {
                state: self.state(step, &partition, &shared, records),
                partition,
            }));
            // A step without tasks has nobody who would name them in a record.
            if !tasks.is_empty() {
                lists = shared.lists;
            }
        }
        StepPlan {
            name: step.name.clone(),
            stage: step.stage,
            tasks,
            lists,
        }
    }

    /// Adds what the done tasks of `step` have written, for the steps after it.
    pub fn add(&mut self, step: &StepInfo, planned: &StepPlan) {
        let records: Vec<&Record> = planned.records().map(|record| &**record).collect();
        self.add_outputs(step, &records, planned.complete());
    }

    /// Adds what the done tasks of `step` have written, whose others are about to run: steps that read partition by
    /// partition may follow it task by task ([`Planner::plan_own`]).
    pub fn begin(&mut self, step: &StepInfo, planned: &StepPlan) {
        self.add(step, planned);
        if !keeps_to_itself(step.partitioning) {
            return;
        }
        let done = planned.records().map(|record| record.partition.clone());
        let done: HashSet<Partition> = done.collect();
        for table in &step.writes {
            if let Some(state) = self.tables.get_mut(table) {
                state.writing(&step.name, |writer| writer.done.clone_from(&done));
            }
        }
    }

    /// Adds what a task of `step` has written since the step began.
    pub fn task_done(&mut self, step: &StepInfo, record: &Record) {
        let order = self.order_of(step);
        for table in &step.writes {
            if let Some(state) = self.tables.get_mut(table) {
                state.add(order, record.outputs_of(*table));
                let done = |writer: &mut Writer| {
                    writer.done.insert(record.partition.clone());
                };
                state.writing(&step.name, done);
            }
        }
    }

    /// Says that all tasks of `step` are done, since it began.
    pub fn end(&mut self, step: &StepInfo) {
        for table in step.writes.iter().chain([&TableId::Dropped]) {
            if let Some(state) = self.tables.get_mut(table) {
                state.incomplete.retain(|writer| writer.step != step.name);
            }
        }
    }

    /// The state of one task of `step`, which reads no table but its own partition of it; none while one of these may still
    /// be written to.
    pub fn plan_own(
        &self,
        step: &StepInfo,
        partition: &Partition,
        records: &Records,
    ) -> Option<State> {
        let whole = |read: &Reads| {
            let state = self.tables.get(&read.table);
            let written = |state: &TableState| {
                let mut writers = state.incomplete.iter();
                writers.all(|writer| writer.done.contains(partition))
            };
            read.scope == Scope::Own && state.is_none_or(written)
        };
        let shared = Shared::default();
        let known = step.reads.iter().all(whole);
        known.then(|| self.state(step, partition, &shared, records))
    }

    /// As [`Planner::add`], and what lost results had written.
    fn add_expected(&mut self, step: &StepInfo, planned: &StepPlan, records: &Records) {
        let result = |task: &TaskPlan| match &task.state {
            State::Done(record) => Some(record.clone()),
            State::Missing { spec, .. } => {
                let lost = records.named(&step.name, &task.partition, spec.key);
                lost.cloned()
            }
            State::Waiting { .. } => None,
        };
        let results: Vec<Arc<Record>> = planned.tasks.iter().filter_map(result).collect();
        let complete = results.len() == planned.tasks.len();
        let results: Vec<&Record> = results.iter().map(|record| &**record).collect();
        self.add_outputs(step, &results, complete);
    }

    fn add_outputs(&mut self, step: &StepInfo, records: &[&Record], complete: bool) {
        let order = self.order_of(step);
        for table in step.writes.iter().copied().chain([TableId::Dropped]) {
            let Some(state) = self.tables.get_mut(&table) else {
                continue;
            };
            state.add(order, records.iter().flat_map(|r| r.outputs_of(table)));
            if !complete {
                state.incomplete.push(Writer {
                    step: step.name.clone(),
                    done: HashSet::new(),
                });
            }
        }
    }

    /// The place of `step` among the steps; of one that is not among them the last.
    fn order_of(&self, step: &StepInfo) -> u32 {
        self.order.get(&step.name).copied().unwrap_or(u32::MAX)
    }

    fn partitions(&self, partitioning: Partitioning) -> Vec<Partition> {
        match partitioning {
            Partitioning::Shards => self.shards.clone(),
            Partitioning::Buckets => (0..self.buckets).map(Partition::Bucket).collect(),
            Partitioning::Once => vec![Partition::Whole],
            Partitioning::Chunks(count) => (0..count).map(Partition::Chunk).collect(),
            Partitioning::ShardGroups(groups) => {
                let group = |shard: &Partition| shard.group(groups);
                let with_shards: BTreeSet<Partition> = self.shards.iter().map(group).collect();
                with_shards.into_iter().collect()
            }
        }
    }

    /// The first incomplete step that writes a table which `step` reads.
    fn blocker(&self, step: &StepInfo) -> Option<&str> {
        let mut tables = step.reads.iter().filter_map(|r| self.tables.get(&r.table));
        tables.find_map(|t| Some(t.incomplete.first()?.step.as_str()))
    }

    /// What the tasks of `step` share: lists of the tables that each reads whole or a slice of, and
    /// the partitions of each group.
    fn shared_inputs(&self, step: &StepInfo) -> Shared<'_> {
        let mut shared = Shared::default();
        for read in &step.reads {
            let Some(table) = self.tables.get(&read.table) else {
                continue;
            };
            match (read.scope, step.partitioning) {
                (Scope::All | Scope::Slice, _) => {
                    let parts = table.partitions.values().flatten();
                    let parts = parts.map(|(_, part)| part.clone()).collect();
                    let list = PartList::new(read.table, parts);
                    shared.inputs.insert(read.table.to_string(), list.content());
                    shared.references.push(list.reference().clone());
                    shared.lists.push(list);
                }
                (Scope::Group, Partitioning::ShardGroups(groups)) => {
                    for partition in table.partitions.keys() {
                        let members = (read.table, partition.group(groups));
                        shared.groups.entry(members).or_default().push(partition);
                    }
                }
                (Scope::Own | Scope::Group, _) => {}
            }
        }
        shared
    }

    /// The partitions whose parts the task on `partition` reads by itself, table by table.
    fn own_partitions<'a>(
        &self,
        step: &StepInfo,
        partition: &'a Partition,
        shared: &Shared<'a>,
    ) -> Vec<(TableId, &'a Partition)> {
        let mut own = Vec::new();
        for read in &step.reads {
            let group = || shared.groups.get(&(read.table, partition.clone()));
            match read.scope {
                Scope::Own => own.push((read.table, partition)),
                Scope::Group => {
                    let members = group().into_iter().flatten();
                    own.extend(members.map(|member| (read.table, *member)));
                }
                Scope::All | Scope::Slice => {}
            }
        }
        own
    }

    /// The state of a task all of whose inputs are known.
    fn state<'a>(
        &'a self,
        step: &StepInfo,
        partition: &'a Partition,
        shared: &Shared<'a>,
        records: &Records,
    ) -> State {
        let mut inputs = shared.inputs.clone();
        let own = self.own_partitions(step, partition, shared);
        for (table, partition) in &own {
            if let Some(parts) = self.parts(*table, partition) {
                let name = format!("{table}/{partition}");
                inputs.insert(name, content_of_parts(parts));
            }
        }
        let key_parts = KeyParts {
            version: step.version,
            settings: step.settings.clone(),
            models: step.models.clone(),
            inputs,
        };
        let key = key_parts.key(&step.name, partition);
        if let Some(record) = records.find(&step.name, partition, key) {
            return State::Done(record.clone());
        }
        let causes = causes(step, partition, &key_parts, key, records);
        // The pruned record stays until the whole one takes its place: what it has is not made again.
        let wanted = records.wanted(key).filter(|_| records.loss(key).is_none());
        let pruned = wanted.and(records.named(&step.name, partition, key));
        let spec = TaskSpec {
            stage: step.stage,
            step: step.name.clone(),
            partition: partition.clone(),
            key,
            key_parts,
            inputs: own
                .iter()
                .filter_map(|(table, partition)| self.parts(*table, partition))
                .flatten()
                .cloned()
                .collect(),
            lists: shared.references.clone(),
            again: pruned.map(|record| Again::whole(&record.attempt)),
        };
        State::Missing {
            spec: Box::new(spec),
            causes,
        }
    }

    fn parts(&self, table: TableId, partition: &Partition) -> Option<impl Iterator<Item = &Part>> {
        let parts = self.tables.get(&table)?.partitions.get(partition)?;
        Some(parts.iter().map(|(_, part)| part))
    }
}

/// Why a task without a whole record under its key must run.
fn causes(
    step: &StepInfo,
    partition: &Partition,
    now: &KeyParts,
    key: Digest,
    records: &Records,
) -> Vec<Cause> {
    if let Some(loss) = records.loss(key) {
        return vec![Cause::Loss(loss.clone())];
    }
    if let Some(needed_by) = records.wanted(key) {
        let needed_by = needed_by.to_owned();
        return vec![Cause::Pruned(Pruned::Pruned { needed_by })];
    }
    match records.newest(&step.name, partition) {
        Some(newest) => {
            let changes = now.changes_since(&newest.key_parts);
            changes.into_iter().map(Cause::Change).collect()
        }
        None => vec![Cause::NEVER_RUN],
    }
}

/// What the tasks of a step share.
#[derive(Default)]
struct Shared<'a> {
    /// What the key says of the lists.
    inputs: BTreeMap<String, Digest>,
    references: Vec<ListRef>,
    lists: Vec<PartList>,
    /// Table and group → the partitions in it.
    groups: HashMap<(TableId, Partition), Vec<&'a Partition>>,
}

/// Whether each task of a step with such partitions writes only to the partition that it is named after.
pub fn keeps_to_itself(partitioning: Partitioning) -> bool {
    matches!(partitioning, Partitioning::Buckets | Partitioning::Shards)
}

/// Step names are unique, every table is written before it is read, and shares fit partitions.
fn check(steps: &[StepInfo]) -> Result<(), PlanError> {
    let mut names = HashSet::new();
    let mut written = HashSet::from([TableId::Captions]);
    for step in steps {
        if !names.insert(&step.name) {
            let step = step.name.clone();
            return Err(PlanError::TwoSteps { step });
        }
        if let Some(read) = step.reads.iter().find(|r| !written.contains(&r.table)) {
            return Err(PlanError::NoWriter {
                step: step.name.clone(),
                table: read.table,
            });
        }
        let fits = |read: &&Reads| match read.scope {
            Scope::Own | Scope::All => true,
            Scope::Group => matches!(step.partitioning, Partitioning::ShardGroups(_)),
            Scope::Slice => step.partitioning == Partitioning::Buckets,
        };
        if let Some(read) = step.reads.iter().find(|read| !fits(read)) {
            return Err(PlanError::NoSuchShare {
                step: step.name.clone(),
                table: read.table,
            });
        }
        written.extend(step.writes.iter().copied().chain([TableId::Dropped]));
    }
    Ok(())
}

/// The current state of a table.
#[derive(Default)]
struct TableState {
    /// Its parts: those of a partition in the order of the steps that write them, whichever of two that run beside each other
    /// is done first, and each with the place of its step.
    partitions: BTreeMap<Partition, Vec<(u32, Part)>>,
    /// The steps that write it and have tasks to run.
    incomplete: Vec<Writer>,
}

/// A step that is not done yet.
struct Writer {
    step: String,
    /// The partitions to which it writes no more.
    done: HashSet<Partition>,
}

impl TableState {
    fn add<'a>(&mut self, order: u32, parts: impl Iterator<Item = &'a Part>) {
        for part in parts {
            let parts = self.partitions.entry(part.partition.clone());
            // Most partitions have one part, and a list grows to four at once.
            let parts = parts.or_insert_with(|| Vec::with_capacity(1));
            let at = parts.partition_point(|(before, _)| *before <= order);
            parts.insert(at, (order, part.clone()));
        }
    }

    /// Changes what is known of `step`, if it is not done.
    fn writing(&mut self, step: &str, change: impl FnOnce(&mut Writer)) {
        let mut writers = self.incomplete.iter_mut();
        if let Some(writer) = writers.find(|writer| writer.step == step) {
            change(writer);
        }
    }
}
