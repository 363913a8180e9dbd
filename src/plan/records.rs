//! The ledger's records as the planner looks them up: by key, and the newest of a step and partition.

use std::collections::HashMap;
use std::sync::Arc;

use laioncele_core::ledger::Record;
use laioncele_core::{Digest, Partition};

/// Records of a run.
#[derive(Clone, Debug, Default)]
pub struct Records {
    by_task: HashMap<(String, Partition), Vec<Arc<Record>>>,
}

impl Records {
    /// Indexes `records`, given newest first.
    pub fn new(records: Vec<Record>) -> Self {
        let mut by_task = HashMap::<_, Vec<_>>::new();
        for record in records {
            let task = (record.step.clone(), record.partition.clone());
            by_task.entry(task).or_default().push(Arc::new(record));
        }
        Self { by_task }
    }

    /// Adds the record of a task that was just committed.
    pub fn add(&mut self, record: Record) {
        let task = (record.step.clone(), record.partition.clone());
        let history = self.by_task.entry(task).or_default();
        history.insert(0, Arc::new(record));
    }

    /// The record of `step` on `partition` under `key`.
    pub fn find(&self, step: &str, partition: &Partition, key: Digest) -> Option<&Arc<Record>> {
        self.history(step, partition).iter().find(|r| r.key == key)
    }

    /// The newest record of `step` on `partition`, whatever its key.
    pub fn newest(&self, step: &str, partition: &Partition) -> Option<&Arc<Record>> {
        self.history(step, partition).first()
    }

    fn history(&self, step: &str, partition: &Partition) -> &[Arc<Record>] {
        self.by_task
            .get(&(step.to_owned(), partition.clone()))
            .map_or(&[], Vec::as_slice)
    }
}
