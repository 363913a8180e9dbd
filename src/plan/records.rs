//! The ledger's records, indexed for the planner: by key, and the newest of a step and partition.

use std::collections::HashMap;
use std::sync::Arc;

use laioncele_core::ledger::Record;
use laioncele_core::{Digest, Partition};

/// The records of a run.
#[derive(Clone, Debug, Default)]
pub struct Records {
    /// Step → partition → records, newest first.
    steps: HashMap<String, HashMap<Partition, Vec<Arc<Record>>>>,
}

impl Records {
    /// Indexes `records`, given newest first.
    pub fn new(records: Vec<Record>) -> Self {
        let mut index = Self::default();
        for record in records {
            index.history_mut(&record).push(Arc::new(record));
        }
        index
    }

    /// Adds a record that is newer than all others.
    pub fn add(&mut self, record: Record) {
        self.history_mut(&record).insert(0, Arc::new(record));
    }

    /// The record of `step` on `partition` under `key`.
    pub fn find(&self, step: &str, partition: &Partition, key: Digest) -> Option<&Arc<Record>> {
        self.history(step, partition).iter().find(|r| r.key == key)
    }

    /// The newest record of `step` on `partition`, whatever its key.
    pub fn newest(&self, step: &str, partition: &Partition) -> Option<&Arc<Record>> {
        self.history(step, partition).first()
    }

    /// All records of `step`.
    pub fn of_step(&self, step: &str) -> impl Iterator<Item = &Record> {
        let partitions = self.steps.get(step).into_iter();
        let records = partitions.flat_map(HashMap::values).flatten();
        records.map(|record| &**record)
    }

    fn history(&self, step: &str, partition: &Partition) -> &[Arc<Record>] {
        let partitions = self.steps.get(step);
        let records = partitions.and_then(|p| p.get(partition));
        records.map_or(&[], Vec::as_slice)
    }

    fn history_mut(&mut self, record: &Record) -> &mut Vec<Arc<Record>> {
        let partitions = self.steps.entry(record.step.clone()).or_default();
        partitions.entry(record.partition.clone()).or_default()
    }
}
