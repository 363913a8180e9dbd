//! From steps to tasks: splits each step's work, keys each task by its inputs, looks the key up in
//! the records.
//!
//! Time and memory grow linearly with tasks and parts, with one exception: a step of many tasks
//! that each read all of a table names all of its parts in each of its tasks.

use std::collections::{BTreeMap, HashSet};

use laioncele_core::digest::KeyHasher;
use laioncele_core::key::KeyParts;
use laioncele_core::spec::TaskSpec;
use laioncele_core::{Digest, Part, Partition, Partitioning, Reads, Scope, TableId};

use super::{Plan, PlanInputs, Records, State, StepInfo, StepPlan, TaskPlan};

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
}

/// Plans all steps of `inputs`.
///
/// # Errors
/// [`PlanError`].
pub fn plan(inputs: &PlanInputs, records: &Records) -> Result<Plan, PlanError> {
    let mut planner = Planner::new(inputs)?;
    let mut steps = Vec::with_capacity(inputs.steps.len());
    for step in &inputs.steps {
        let planned = planner.plan_step(step, records);
        planner.add(step, &planned);
        steps.push(planned);
    }
    Ok(Plan { steps })
}

/// Plans one step after another, in data order. What a step writes is added once the step is as
/// done as it will be; a run can execute the step's tasks in between.
pub struct Planner {
    buckets: u32,
    shards: Vec<Partition>,
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
            captions.add(inputs.shards.iter());
        }
        Ok(Self {
            buckets: inputs.buckets,
            shards: inputs.shards.iter().map(|p| p.partition.clone()).collect(),
            tables,
        })
    }

    /// The tasks of `step`, given what was added of the steps before it.
    pub fn plan_step(&self, step: &StepInfo, records: &Records) -> StepPlan {
        let partitions = self.partitions(step.partitioning).into_iter();
        let tasks = if let Some(blocker) = self.blocker(step) {
            let on = blocker.to_owned();
            let waiting = |partition| TaskPlan {
                partition,
                state: State::Waiting { on: on.clone() },
            };
            partitions.map(waiting).collect()
        } else {
            let shared = self.shared_inputs(step);
            let task = |partition| TaskPlan {
                state: self.state(step, &partition, &shared, records),
                partition,
            };
            partitions.map(task).collect()
        };
        StepPlan {
            name: step.name.clone(),
            stage: step.stage,
            tasks,
        }
    }

    /// Adds what the done tasks of `step` have written, for the steps after it.
    pub fn add(&mut self, step: &StepInfo, planned: &StepPlan) {
        let complete = planned.complete();
        for table in step.writes.iter().copied().chain([TableId::Dropped]) {
            let Some(state) = self.tables.get_mut(&table) else {
                continue;
            };
            state.add(planned.records().flat_map(|r| r.outputs_of(table)));
            if !complete && state.incomplete.is_none() {
                state.incomplete = Some(step.name.clone());
            }
        }
    }

    fn partitions(&self, partitioning: Partitioning) -> Vec<Partition> {
        match partitioning {
            Partitioning::Shards => self.shards.clone(),
            Partitioning::Buckets => (0..self.buckets).map(Partition::Bucket).collect(),
            Partitioning::Once => vec![Partition::Whole],
            Partitioning::Chunks(count) => (0..count).map(Partition::Chunk).collect(),
        }
    }

    /// The first incomplete step that writes a table which `step` reads.
    fn blocker(&self, step: &StepInfo) -> Option<&str> {
        let mut tables = step.reads.iter().filter_map(|r| self.tables.get(&r.table));
        tables.find_map(|t| t.incomplete.as_deref())
    }

    /// The digests of the tables that every task of `step` reads whole.
    fn shared_inputs(&self, step: &StepInfo) -> BTreeMap<String, Digest> {
        let mut digests = BTreeMap::new();
        for read in step.reads.iter().filter(|r| r.scope == Scope::All) {
            let partitions = self.tables.get(&read.table).map(|t| &t.partitions);
            let digest = |(partition, parts): (&Partition, &Vec<Part>)| {
                (input_name(*read, partition), digest(parts))
            };
            digests.extend(partitions.into_iter().flatten().map(digest));
        }
        digests
    }

    /// The state of a task all of whose inputs are known.
    fn state(
        &self,
        step: &StepInfo,
        partition: &Partition,
        shared: &BTreeMap<String, Digest>,
        records: &Records,
    ) -> State {
        let mut inputs = shared.clone();
        for read in step.reads.iter().filter(|r| r.scope == Scope::Own) {
            if let Some(parts) = self.parts(*read, partition) {
                inputs.insert(input_name(*read, partition), digest(parts));
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
        let newest = records.newest(&step.name, partition);
        let causes = newest.map_or_else(Vec::new, |r| key_parts.changes_since(&r.key_parts));
        let spec = TaskSpec {
            stage: step.stage,
            step: step.name.clone(),
            partition: partition.clone(),
            key,
            key_parts,
            inputs: self.input_parts(step, partition),
        };
        State::Missing {
            spec: Box::new(spec),
            causes,
        }
    }

    fn parts(&self, read: Reads, partition: &Partition) -> Option<&Vec<Part>> {
        self.tables.get(&read.table)?.partitions.get(partition)
    }

    fn input_parts(&self, step: &StepInfo, partition: &Partition) -> Vec<Part> {
        let mut parts = Vec::new();
        for read in &step.reads {
            match read.scope {
                Scope::Own => parts.extend(self.parts(*read, partition).into_iter().flatten()),
                Scope::All => {
                    let table = self.tables.get(&read.table);
                    parts.extend(
                        table
                            .into_iter()
                            .flat_map(|t| t.partitions.values().flatten()),
                    );
                }
            }
        }
        parts.into_iter().cloned().collect()
    }
}

/// Step names are unique, and every table is written before it is read.
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
        written.extend(step.writes.iter().copied().chain([TableId::Dropped]));
    }
    Ok(())
}

/// What the key calls a partition of a table that is read.
fn input_name(read: Reads, partition: &Partition) -> String {
    format!("{}/{partition}", read.table)
}

/// A digest over the digests of a partition's parts, in order.
fn digest(parts: &[Part]) -> Digest {
    let hasher = KeyHasher::new("input-parts");
    let add = |hasher: KeyHasher, part: &Part| hasher.digest("part", part.digest);
    parts.iter().fold(hasher, add).finish()
}

/// The current state of a table.
#[derive(Default)]
struct TableState {
    /// Its parts, in the order of their writers' partitions.
    partitions: BTreeMap<Partition, Vec<Part>>,
    /// The first step that writes it and has tasks to run.
    incomplete: Option<String>,
}

impl TableState {
    fn add<'a>(&mut self, parts: impl Iterator<Item = &'a Part>) {
        for part in parts {
            let partition = self.partitions.entry(part.partition.clone());
            partition.or_default().push(part.clone());
        }
    }
}
