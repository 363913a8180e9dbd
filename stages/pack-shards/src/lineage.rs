//! Where the dataset came from: the ledger's records from its own back to the captions.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use laioncele_core::ledger::{Ledger, Record, RowBalance};
use laioncele_core::numbers::setting_text;
use laioncele_core::store::Store;
use laioncele_core::{CoreError, Digest, KeyHasher, Manifest, Part, PartList, Partition, TableId};

/// The metric of a task's record that counts its identities.
pub(crate) const PEOPLE: &str = "people";

/// The records that the dataset was made by.
pub(crate) struct Lineage {
    records: Vec<Record>,
}

type Content = (TableId, Partition, Digest);

fn content(part: &Part) -> Content {
    (part.table, part.partition.clone(), part.digest)
}

/// Reads what records had for inputs, each list of parts once: a thousand tasks may name one.
struct Inputs<'a> {
    store: &'a Store,
    read: HashSet<Digest>,
}

impl Inputs<'_> {
    fn add(&mut self, record: &Record, open: &mut Vec<Content>) -> Result<(), CoreError> {
        open.extend(record.inputs.iter().map(content));
        for list in &record.lists {
            if self.read.insert(list.digest) {
                let list = PartList::read(self.store, list)?;
                open.extend(list.parts().iter().map(content));
            }
        }
        Ok(())
    }
}

/// Who made each part, as an index of `all`, which begins with the newest.
fn makers(all: &[Record], settings: &BTreeMap<String, String>) -> HashMap<Content, usize> {
    let says = |(name, json): (&String, &String)| {
        settings
            .get(name)
            .is_some_and(|value| *value == setting_text(json))
    };
    let agrees = |index: usize| {
        let said = &all[index].key_parts.settings;
        said.iter().filter(|setting| says(*setting)).count()
    };
    let mut makers: HashMap<Content, usize> = HashMap::new();
    for (index, record) in all.iter().enumerate() {
        for part in &record.outputs {
            let maker = makers.entry(content(part)).or_insert(index);
            if *maker != index && agrees(index) > agrees(*maker) {
                *maker = index;
            }
        }
    }
    makers
}

impl Lineage {
    /// All records upstream of `last`, and those themselves, in stage order. Of several records
    /// that wrote the same part, by other settings, the one that says most of what `manifest` says
    /// counts, then the newest.
    ///
    /// # Errors
    /// Ledger errors.
    pub(crate) fn of(
        store: &Store,
        manifest: &Manifest,
        last: &[Record],
    ) -> Result<Self, CoreError> {
        let all = Ledger::new(store.clone()).all()?;
        let makers = makers(&all, &manifest.flattened());
        let mut inputs = Inputs {
            store,
            read: HashSet::new(),
        };
        let mut found = BTreeSet::new();
        let mut open = Vec::new();
        for record in last {
            inputs.add(record, &mut open)?;
        }
        while let Some(part) = open.pop() {
            if let Some(index) = makers.get(&part)
                && found.insert(*index)
            {
                inputs.add(&all[*index], &mut open)?;
            }
        }
        let mut records: Vec<Record> = found.into_iter().map(|index| all[index].clone()).collect();
        records.extend(last.iter().cloned());
        records.sort_by(|a, b| {
            (a.stage, &a.step, &a.partition).cmp(&(b.stage, &b.step, &b.partition))
        });
        Ok(Self { records })
    }

    /// The records, by stage, step and partition.
    pub(crate) fn records(&self) -> &[Record] {
        &self.records
    }

    /// How many identities the dataset has.
    pub(crate) fn people(&self) -> f64 {
        let counts = self.records.iter().filter_map(|r| r.metrics.get(PEOPLE));
        counts.sum()
    }

    /// A digest of what the records say of their results: equal for equal runs, whenever they ran.
    pub(crate) fn digest(&self) -> Digest {
        let start = KeyHasher::new("lineage").number("records", self.records.len() as u64);
        // A record that takes the place of another has its key, and other results.
        let add = |hasher: KeyHasher, record: &Record| {
            let hasher = hasher.digest(&record.step, record.key);
            let hasher = hasher.text("balances", &format!("{:?}", record.balances));
            let parts = record.outputs.iter();
            parts.fold(hasher, |hasher, part| {
                hasher.digest(part.table.as_str(), part.digest)
            })
        };
        self.records.iter().fold(start, add).finish()
    }

    /// Steps in stage order, each with its tasks' records.
    pub(crate) fn steps(&self) -> impl Iterator<Item = &[Record]> {
        self.records.chunk_by(|a, b| a.step == b.step)
    }

    /// The written parts of `table`; of one partition if given.
    pub(crate) fn parts<'a>(
        &'a self,
        table: TableId,
        of: Option<&'a Partition>,
    ) -> impl Iterator<Item = &'a Part> {
        let parts = self
            .records
            .iter()
            .flat_map(move |record| record.outputs_of(table));
        parts.filter(move |part| of.is_none_or(|of| part.partition == *of))
    }
}

/// The row balances of one step's tasks together, sorted by unit.
pub(crate) fn balances(records: &[Record]) -> Vec<RowBalance> {
    let mut totals = Vec::new();
    for record in records {
        RowBalance::add_all(&mut totals, &record.balances);
    }
    totals.sort_by_key(|balance| balance.unit);
    totals
}
