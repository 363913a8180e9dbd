//! The ledger's records, indexed for the planner: by key, and the newest of a step and partition;
//! and which of them do not count, since something of them is lost or images that were pruned are needed.

use std::collections::HashMap;
use std::sync::Arc;

use laioncele_core::ledger::{Record, Scan, UnusableRecord};
use laioncele_core::{Digest, Part, PartList, Partition};

use super::StepPlan;
use super::cause::Loss;

/// The records of a run.
#[derive(Clone, Debug, Default)]
pub struct Records {
    /// Step → partition → records, newest first. Those with a loss are among them.
    steps: HashMap<String, HashMap<Partition, Vec<Arc<Record>>>>,
    /// What is lost, by the key of the record.
    losses: HashMap<Digest, Loss>,
    /// The records of pruned parts, by the parts' paths.
    pruned: HashMap<String, Digest>,
    /// Pruned results that are needed whole, by the key of the record: the step that needs them.
    wanted: HashMap<Digest, String>,
    unusable: Vec<UnusableRecord>,
}

impl Records {
    /// Indexes `records`, given newest first.
    pub fn new(records: impl IntoIterator<Item = impl Into<Arc<Record>>>) -> Self {
        let mut index = Self::default();
        for record in records {
            let record: Arc<Record> = record.into();
            index.note_pruned(&record);
            index.history_mut(&record).push(record);
        }
        index
    }

    fn note_pruned(&mut self, record: &Record) {
        let paths = record.pruned.iter().map(|part| part.path.clone());
        self.pruned.extend(paths.map(|path| (path, record.key)));
    }

    /// Indexes what a ledger holds. `sizes` says of paths how large the parts there are, in their order: a record whose parts
    /// are not all there, in their sizes, does not count.
    ///
    /// # Errors
    /// What `sizes` returns.
    pub fn beside<E>(
        scan: Scan,
        sizes: impl FnOnce(&[&str]) -> Result<Vec<Option<u64>>, E>,
    ) -> Result<Self, E> {
        let parts = || scan.records.iter().flat_map(|record| &record.outputs);
        let paths: Vec<&str> = parts().map(|part| part.path.as_str()).collect();
        let mut sizes = sizes(&paths)?.into_iter();
        let mut losses = HashMap::new();
        for record in &scan.records {
            for part in &record.outputs {
                let found = sizes.next().flatten();
                if found != Some(part.bytes) {
                    losses
                        .entry(record.key)
                        .or_insert_with(|| loss(part, found));
                }
            }
        }
        losses.extend(scan.unusable.iter().filter_map(|found| {
            let (path, reason) = (found.path.clone(), found.reason.clone());
            Some((found.key?, Loss::Record { path, reason }))
        }));
        Ok(Self {
            losses,
            unusable: scan.unusable,
            ..Self::new(scan.records)
        })
    }

    /// Adds a record that is newer than all others.
    pub fn add(&mut self, record: Record) {
        self.losses.remove(&record.key);
        self.wanted.remove(&record.key);
        self.pruned.retain(|_, key| *key != record.key);
        self.note_pruned(&record);
        let history = self.history_mut(&record);
        history.retain(|r| r.key != record.key);
        history.insert(0, Arc::new(record));
    }

    /// Says that something of the record under `key` is lost.
    pub fn lose(&mut self, key: Digest, loss: Loss) {
        self.losses.entry(key).or_insert(loss);
    }

    /// What is lost of the record under `key`.
    pub fn loss(&self, key: Digest) -> Option<&Loss> {
        self.losses.get(&key)
    }

    /// Whether images were pruned from any result.
    pub fn any_pruned(&self) -> bool {
        !self.pruned.is_empty()
    }

    /// Says that the pruned result under `key` is needed whole, by the step `needed_by`.
    pub fn want(&mut self, key: Digest, needed_by: &str) {
        self.wanted
            .entry(key)
            .or_insert_with(|| needed_by.to_owned());
    }

    /// The step that needs the pruned result under `key` whole.
    pub fn wanted(&self, key: Digest) -> Option<&str> {
        self.wanted.get(&key).map(String::as_str)
    }

    /// The pruned results that tasks of `step` are about to read, and that are not wanted yet.
    pub fn needed(&self, step: &StepPlan) -> Vec<Digest> {
        if !self.any_pruned() || step.missing().next().is_none() {
            return Vec::new();
        }
        let own = step.missing().flat_map(|(spec, _)| &spec.inputs);
        let listed = step.lists.iter().flat_map(PartList::parts);
        self.pruned_among(own.chain(listed))
    }

    /// The results that are not wanted yet of which pruned parts are among `parts`.
    pub fn pruned_among<'a>(&self, parts: impl IntoIterator<Item = &'a Part>) -> Vec<Digest> {
        let pruned = parts
            .into_iter()
            .filter_map(|part| self.pruned.get(&part.path));
        pruned
            .filter(|key| !self.wanted.contains_key(key))
            .copied()
            .collect()
    }

    /// The files in the ledger's place that are no records.
    pub fn unusable(&self) -> &[UnusableRecord] {
        &self.unusable
    }

    /// The record of `step` on `partition` under `key`, if nothing of it is lost, or pruned and needed.
    pub fn find(&self, step: &str, partition: &Partition, key: Digest) -> Option<&Arc<Record>> {
        let record = self.named(step, partition, key);
        record.filter(|_| !self.losses.contains_key(&key) && !self.wanted.contains_key(&key))
    }

    /// The record of `step` on `partition` under `key`, whether or not its parts are there.
    pub fn named(&self, step: &str, partition: &Partition, key: Digest) -> Option<&Arc<Record>> {
        self.history(step, partition).iter().find(|r| r.key == key)
    }

    /// The newest record of `step` on `partition`, whatever its key and its losses.
    pub fn newest(&self, step: &str, partition: &Partition) -> Option<&Arc<Record>> {
        self.history(step, partition).first()
    }

    /// All records of `step` of which nothing is lost.
    pub fn of_step(&self, step: &str) -> impl Iterator<Item = &Record> {
        let partitions = self.steps.get(step).into_iter();
        let records = partitions.flat_map(HashMap::values).flatten();
        let whole = records.filter(|record| !self.losses.contains_key(&record.key));
        whole.map(|record| &**record)
    }

    /// All records, also those of which something is lost.
    pub fn all(&self) -> impl Iterator<Item = &Arc<Record>> {
        let partitions = self.steps.values().flat_map(HashMap::values);
        partitions.flatten()
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

/// What is lost of a part that is not there, or has another size.
fn loss(part: &Part, found: Option<u64>) -> Loss {
    let path = part.path.clone();
    match found {
        None => Loss::PartGone { path },
        Some(found) => Loss::PartSize {
            path,
            expected: part.bytes,
            found,
        },
    }
}
