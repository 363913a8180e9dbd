//! The planner against the oracle, after every event of generated histories: partial runs, changed
//! settings, models and inputs, lost records.

use std::collections::BTreeMap;

use laioncele_core::ledger::Record;
use laioncele_core::spec::TaskSpec;
use laioncele_core::{Digest, Part, Partition, Partitioning, Reads, Scope, StageName, TableId};
use proptest::prelude::*;
use proptest::sample::Index;

use super::super::{PlanInputs, Planner, Records, StepInfo, StepPlan, plan};
use super::{TABLES, digest, missing, oracle, part, record, shards};

/// Something that happens to a run.
#[derive(Clone, Debug)]
enum Event {
    /// Up to so many tasks run, each chosen among those that are ready.
    RunTasks(Vec<Index>),
    /// The program runs, up to so many tasks of each step.
    RunSteps(usize),
    /// A step gets another setting; few values, so that old ones come back.
    Setting(Index, u8),
    /// A step gets other weights.
    Model(Index, u8),
    /// A step gets another version.
    Version(Index, u32),
    /// A source file gets other captions.
    Shard(Index, u8),
    /// The source has another number of files.
    Shards(usize),
    /// The manifest names another number of buckets.
    Buckets(u32),
    /// A record is lost.
    LoseRecord(Index),
    /// All records of a step are lost.
    LoseStep(Index),
}

fn events() -> impl Strategy<Value = Event> {
    let step = any::<Index>;
    prop_oneof![
        4 => prop::collection::vec(any::<Index>(), 1..12).prop_map(Event::RunTasks),
        4 => prop_oneof![Just(usize::MAX), 0_usize..4].prop_map(Event::RunSteps),
        2 => (step(), 0_u8..3).prop_map(|(s, v)| Event::Setting(s, v)),
        1 => (step(), 0_u8..3).prop_map(|(s, v)| Event::Model(s, v)),
        1 => (step(), 1_u32..3).prop_map(|(s, v)| Event::Version(s, v)),
        1 => (any::<Index>(), 0_u8..3).prop_map(|(s, v)| Event::Shard(s, v)),
        1 => (1_usize..4).prop_map(Event::Shards),
        1 => (1_u32..4).prop_map(Event::Buckets),
        2 => any::<Index>().prop_map(Event::LoseRecord),
        1 => step().prop_map(Event::LoseStep),
    ]
}

/// A table by number: the source, what all steps drop, or one of [`TABLES`].
fn table(number: usize) -> TableId {
    match number {
        0 => TableId::Captions,
        1 => TableId::Dropped,
        n => TABLES[(n - 2) % TABLES.len()],
    }
}

fn partitioning(number: u8) -> Partitioning {
    match number {
        0 => Partitioning::Shards,
        1 => Partitioning::Once,
        2 => Partitioning::Chunks(2),
        3 => Partitioning::ShardGroups(2),
        _ => Partitioning::Buckets,
    }
}

prop_compose! {
    /// Steps that read any tables written before them and write any tables, also those of other
    /// steps.
    fn pipelines()(
        buckets in 1_u32..4,
        shard_count in 1_usize..4,
        steps in prop::collection::vec(
            (
                0_u8..6,
                prop::collection::vec((any::<Index>(), any::<bool>()), 0..4),
                prop::collection::vec(2_usize..6, 1..3),
            ),
            1..7,
        ),
    ) -> PlanInputs {
        let mut readable = vec![TableId::Captions];
        let mut infos = Vec::new();
        for (number, (word, reads, writes)) in steps.into_iter().enumerate() {
            let choose = |(which, all): &(Index, bool)| {
                let scope = match (all, partitioning(word)) {
                    (true, Partitioning::Buckets) => Scope::Slice,
                    (true, _) => Scope::All,
                    (false, Partitioning::ShardGroups(_)) => Scope::Group,
                    (false, _) => Scope::Own,
                };
                (*which.get(&readable), scope)
            };
            let reads: BTreeMap<TableId, Scope> = reads.iter().map(choose).collect();
            let mut writes: Vec<TableId> = writes.into_iter().map(table).collect();
            writes.dedup();
            infos.push(StepInfo {
                name: format!("step-{number}"),
                stage: StageName::ALL[number],
                version: 1,
                partitioning: partitioning(word),
                reads: reads.into_iter().map(|(table, scope)| Reads { table, scope }).collect(),
                writes: writes.clone(),
                settings: BTreeMap::new().into(),
                models: BTreeMap::new().into(),
            });
            readable.extend(writes);
            readable.push(TableId::Dropped);
            readable.sort();
            readable.dedup();
        }
        PlanInputs { steps: infos, buckets, shards: shards(shard_count) }
    }
}

/// A run as time goes by.
struct History {
    inputs: PlanInputs,
    /// Newest first.
    records: Vec<Record>,
    clock: u64,
}

impl History {
    fn index(&self) -> Records {
        Records::new(self.records.clone())
    }

    fn perform(&mut self, spec: &TaskSpec) -> Record {
        self.clock += 1;
        let outputs = self.outputs(spec);
        let record = record(spec, outputs, self.clock);
        self.records.insert(0, record.clone());
        record
    }

    /// Zero to two parts per table, in the task's own partition or in any bucket; some say the same
    /// whatever the key.
    fn outputs(&self, spec: &TaskSpec) -> Vec<Part> {
        let step = self.inputs.steps.iter().find(|s| s.name == spec.step);
        let writes = step.map_or(&[][..], |s| &s.writes).iter().copied();
        let mut dice = Dice(spec.key);
        let mut outputs = Vec::new();
        for table in writes.chain([TableId::Dropped]) {
            for _ in 0..dice.roll(3) {
                let partition = match dice.roll(2) {
                    0 => spec.partition.clone(),
                    _ => Partition::Bucket(dice.roll(4)),
                };
                let content = match dice.roll(3) {
                    0 => "always the same".to_owned(),
                    _ => spec.key.to_string(),
                };
                outputs.push(part(table, partition, &content));
            }
        }
        outputs
    }

    fn happen(&mut self, event: &Event) {
        let steps = self.inputs.steps.len();
        match event {
            Event::RunTasks(choices) => self.run_tasks(choices),
            Event::RunSteps(tasks) => self.run_steps(*tasks),
            Event::Setting(step, value) => {
                let settings = &mut self.inputs.steps[step.index(steps)].settings;
                settings.insert("threshold".to_owned(), value.to_string());
            }
            Event::Model(step, value) => {
                let models = &mut self.inputs.steps[step.index(steps)].models;
                models.insert("models.m".to_owned(), digest(&value.to_string()));
            }
            Event::Version(step, version) => {
                self.inputs.steps[step.index(steps)].version = *version;
            }
            Event::Shard(shard, value) => {
                let count = self.inputs.shards.len();
                let shard = &mut self.inputs.shards[shard.index(count)];
                shard.digest = digest(&format!("captions {value}"));
            }
            Event::Shards(count) => self.inputs.shards = shards(*count),
            Event::Buckets(count) => self.inputs.buckets = *count,
            Event::LoseRecord(which) if !self.records.is_empty() => {
                self.records.remove(which.index(self.records.len()));
            }
            Event::LoseRecord(_) => {}
            Event::LoseStep(step) => {
                let name = self.inputs.steps[step.index(steps)].name.clone();
                self.records.retain(|r| r.step != name);
            }
        }
    }

    fn run_tasks(&mut self, choices: &[Index]) {
        for choice in choices {
            let ready = missing(&plan(&self.inputs, &self.index()).expect("a plan"));
            if !ready.is_empty() {
                self.perform(choice.get(&ready));
            }
        }
    }

    /// As `laioncele run` does it: each step is planned once, and marked with what was done of it.
    fn run_steps(&mut self, tasks: usize) {
        let inputs = self.inputs.clone();
        let before = self.index();
        let mut planner = Planner::new(&inputs).expect("steps that fit together");
        let mut steps: Vec<StepPlan> = Vec::new();
        for step in &inputs.steps {
            let mut planned = planner.plan_step(step, &before);
            let specs: Vec<_> = planned.missing().map(|(s, _)| s.clone()).collect();
            let done: Vec<_> = specs.iter().take(tasks).map(|s| self.perform(s)).collect();
            planned.mark_done(done);
            planner.add(step, &planned);
            steps.push(planned);
        }
        let again = plan(&inputs, &self.index()).expect("a plan");
        assert_eq!(steps, again.steps, "marked as done, and planned again");
    }
}

/// Numbers that follow from a key.
struct Dice(Digest);

impl Dice {
    fn roll(&mut self, sides: u32) -> u32 {
        self.0 = digest(&self.0.to_string());
        let bytes = self.0.to_string();
        u32::from_str_radix(&bytes[..6], 16).expect("hexadecimal digits") % sides
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn planner_and_oracle_agree_after_every_event(
        inputs in pipelines(),
        events in prop::collection::vec(events(), 1..14),
    ) {
        let mut history = History { inputs, records: Vec::new(), clock: 0 };
        for event in &events {
            history.happen(event);
            let planned = plan(&history.inputs, &history.index()).expect("a plan");
            let expected = oracle::plan(&history.inputs, &history.records);
            prop_assert_eq!(planned, expected, "after {:?}", event);
        }
    }
}
