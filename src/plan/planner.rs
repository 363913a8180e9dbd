//! From step to tasks: cuts each step's work, keys each task by its inputs, looks the key up.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use laioncele_core::digest::KeyHasher;
use laioncele_core::ledger::{KeyParts, Record};
use laioncele_core::protocol::TaskSpec;
use laioncele_core::{Digest, Part, Partition, Partitioning, Reads, Scope, TableId};

use super::{Plan, PlanInputs, Records, State, StepInfo, StepPlan, TaskPlan};

/// The steps do not fit together: a defect of the program, no matter of data.
#[derive(Debug, PartialEq, thiserror::Error)]
pub enum PlanError {
    /// No earlier step writes a table that is read.
    #[error("step `{step}` reads table `{table}`, which no step before it writes")]
    NoWriter {
        /// The reader.
        step: String,
        /// The table.
        table: TableId,
    },
    /// Two steps bear one name.
    #[error("two steps are called `{step}`")]
    TwoSteps {
        /// The name.
        step: String,
    },
}

/// Plans all steps of `inputs`.
///
/// # Errors
/// [`PlanError`].
pub fn plan(inputs: &PlanInputs, records: &Records) -> Result<Plan, PlanError> {
    let mut names = HashSet::new();
    let mut known = Tables::of_source(inputs);
    let mut steps = Vec::with_capacity(inputs.steps.len());
    for step in &inputs.steps {
        if !names.insert(&step.name) {
            return Err(PlanError::TwoSteps {
                step: step.name.clone(),
            });
        }
        let planned = plan_step(inputs, step, &known, records)?;
        known.add(step, &planned);
        steps.push(planned);
    }
    Ok(Plan { steps })
}

fn plan_step(
    inputs: &PlanInputs,
    step: &StepInfo,
    known: &Tables,
    records: &Records,
) -> Result<StepPlan, PlanError> {
    let blocker = known.blocker(step)?;
    let task = |partition: Partition| {
        let state = match blocker {
            Some(on) => State::Waiting { on: on.to_owned() },
            None => known_state(step, &partition, known, records),
        };
        TaskPlan { partition, state }
    };
    Ok(StepPlan {
        name: step.name.clone(),
        stage: step.stage,
        tasks: partitions(inputs, step.partitioning)
            .into_iter()
            .map(task)
            .collect(),
    })
}

fn partitions(inputs: &PlanInputs, partitioning: Partitioning) -> Vec<Partition> {
    match partitioning {
        Partitioning::Shards => inputs.shards.iter().map(|p| p.partition.clone()).collect(),
        Partitioning::Buckets => (0..inputs.buckets).map(Partition::bucket).collect(),
        Partitioning::Once => vec![Partition::whole()],
        Partitioning::Chunks(count) => (0..count).map(Partition::chunk).collect(),
    }
}

/// The state of a task all of whose inputs are known.
fn known_state(step: &StepInfo, partition: &Partition, known: &Tables, records: &Records) -> State {
    let key_parts = KeyParts {
        version: step.version,
        settings: step.settings.clone(),
        models: step.models.clone(),
        inputs: known.digests(&step.reads, partition),
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
        inputs: known.parts(&step.reads, partition),
    };
    State::Missing {
        spec: Box::new(spec),
        causes,
    }
}

/// The tables of the steps planned so far.
#[derive(Default)]
struct Tables {
    tables: BTreeMap<TableId, Known>,
}

/// A table: its current parts by partition, in the order of their writers' partitions, and who is not done with it.
#[derive(Default)]
struct Known {
    parts: BTreeMap<Partition, Vec<Part>>,
    digests: BTreeMap<Partition, Digest>,
    incomplete: Option<String>,
}

impl Known {
    fn add(&mut self, part: Part) {
        self.parts
            .entry(part.partition.clone())
            .or_default()
            .push(part);
    }

    /// Digests each partition's parts once, for all tasks that read them.
    fn seal(&mut self) {
        let digest = |parts: &Vec<Part>| {
            let hasher = KeyHasher::new("input-parts");
            let add = |h: KeyHasher, p: &Part| h.digest("part", p.digest);
            parts.iter().fold(hasher, add).finish()
        };
        self.digests = self
            .parts
            .iter()
            .map(|(partition, parts)| (partition.clone(), digest(parts)))
            .collect();
    }
}

impl Tables {
    fn of_source(inputs: &PlanInputs) -> Self {
        let mut captions = Known::default();
        inputs
            .shards
            .iter()
            .for_each(|shard| captions.add(shard.clone()));
        captions.seal();
        Self {
            tables: BTreeMap::from([(TableId::Captions, captions)]),
        }
    }

    /// Takes up what a planned step writes.
    fn add(&mut self, step: &StepInfo, planned: &StepPlan) {
        let incomplete = (!planned.complete()).then(|| step.name.clone());
        for table in step.writes.iter().copied().chain([TableId::Dropped]) {
            let known = self.tables.entry(table).or_default();
            let outputs = |r: &Arc<Record>| r.outputs_of(table).cloned().collect::<Vec<_>>();
            for part in planned.records().flat_map(outputs) {
                known.add(part);
            }
            known.incomplete = known.incomplete.take().or_else(|| incomplete.clone());
            known.seal();
        }
    }

    /// The first step that a reader of these tables waits for.
    fn blocker(&self, step: &StepInfo) -> Result<Option<&str>, PlanError> {
        let mut blocker = None;
        for reads in &step.reads {
            let table = self.tables.get(&reads.table);
            let table = table.ok_or_else(|| PlanError::NoWriter {
                step: step.name.clone(),
                table: reads.table,
            })?;
            blocker = blocker.or(table.incomplete.as_deref());
        }
        Ok(blocker)
    }

    fn digests(&self, reads: &[Reads], partition: &Partition) -> BTreeMap<String, Digest> {
        let mut digests = BTreeMap::new();
        for read in reads {
            let Some(known) = self.tables.get(&read.table) else {
                continue;
            };
            let wanted = known
                .digests
                .iter()
                .filter(|(p, _)| wants(read, partition, p));
            digests.extend(wanted.map(|(p, digest)| (format!("{}/{p}", read.table), *digest)));
        }
        digests
    }

    fn parts(&self, reads: &[Reads], partition: &Partition) -> Vec<Part> {
        let mut parts = Vec::new();
        for read in reads {
            let Some(known) = self.tables.get(&read.table) else {
                continue;
            };
            let wanted = known
                .parts
                .iter()
                .filter(|(p, _)| wants(read, partition, p));
            parts.extend(wanted.flat_map(|(_, parts)| parts.iter().cloned()));
        }
        parts
    }
}

fn wants(read: &Reads, own: &Partition, partition: &Partition) -> bool {
    match read.scope {
        Scope::Own => own == partition,
        Scope::All => true,
    }
}
