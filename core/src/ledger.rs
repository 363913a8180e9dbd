//! The ledger: one record per committed task, created once. It never changes, but a task whose failures were tried again
//! (`laioncele retry`) puts a whole new record in its place.
//!
//! A record is at `ledger/STEP/PARTITION/KEY.json`. The key is a hash of everything the result depends on, so looking
//! for a record *is* asking whether the task is done. Of two copies of one task the first to create the record wins;
//! the other's parts are named by no record and so do not exist for a reader.

mod scan;
mod seal;
mod snapshot;

use std::collections::BTreeMap;
use std::time::SystemTime;

use serde::{Deserialize, Serialize};

use crate::digest::Digest;
use crate::drops::{DropReason, Unit};
use crate::error::CoreError;
use crate::key::KeyParts;
use crate::names::StageName;
use crate::part::Part;
use crate::part_list::{ListRef, PartList};
use crate::partition::Partition;
use crate::store::{Created, Store, is_inside};
use crate::table::{RowsDigest, TableId};

pub use scan::{DAMAGED, Scan, UnusableRecord};

/// The newest record format that this program reads, and that of records with `pruned` parts.
///
/// 1: `accounts`, `figures`, and `started` in seconds since 1970. 2: `balances`, `metrics`, and `started` as RFC 3339.
/// 3: `lists`. 4: `pruned`.
pub const RECORD_FORMAT: u32 = 4;

/// The format of what tasks commit: nothing of a newer one is in it, so that programs before that read it still.
pub const COMMITTED_FORMAT: u32 = 3;

/// One balance of a task: rows in = rows out + rows dropped.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RowBalance {
    /// What is counted.
    pub unit: Unit,
    /// Rows that came in.
    pub rows_in: u64,
    /// Rows that went on.
    pub rows_out: u64,
    /// Rows dropped, by reason.
    pub dropped: BTreeMap<DropReason, u64>,
}

impl RowBalance {
    /// Adds `balances` to `totals`, by unit; units that are new are appended.
    pub fn add_all(totals: &mut Vec<Self>, balances: &[Self]) {
        for balance in balances {
            let Some(total) = totals.iter_mut().find(|t| t.unit == balance.unit) else {
                totals.push(balance.clone());
                continue;
            };
            total.rows_in += balance.rows_in;
            total.rows_out += balance.rows_out;
            for (reason, rows) in &balance.dropped {
                *total.dropped.entry(*reason).or_default() += rows;
            }
        }
    }
}

/// A committed task.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Record {
    /// [`COMMITTED_FORMAT`], or [`RECORD_FORMAT`] with `pruned` parts.
    pub format: u32,
    /// The stage.
    pub stage: StageName,
    /// The step.
    pub step: String,
    /// The partition.
    pub partition: Partition,
    /// Hash of `key_parts`, step and partition.
    pub key: Digest,
    /// What the key was made of.
    pub key_parts: KeyParts,
    /// Which try this was: part of its parts' names.
    pub attempt: String,
    /// The parts read, without those of `lists`.
    pub inputs: Vec<Part>,
    /// The lists of parts read: [`Ledger::inputs`] has them all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub lists: Vec<ListRef>,
    /// The parts written.
    pub outputs: Vec<Part>,
    /// Those of them whose files lack images by choice.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub pruned: Vec<PrunedPart>,
    /// The balances, one per unit.
    #[serde(alias = "accounts")]
    pub balances: Vec<RowBalance>,
    /// Numbers worth reporting that are no row counts (portraits saved by lazy generation, …), by name.
    #[serde(default, alias = "figures")]
    pub metrics: BTreeMap<String, f64>,
    /// When the task started, in whole seconds.
    #[serde(with = "started")]
    pub started: SystemTime,
    /// How long it took.
    pub seconds: f64,
    /// Where it ran.
    pub host: String,
    /// The program that wrote it.
    pub program: String,
}

impl Record {
    /// The written parts of `table`.
    pub fn outputs_of(&self, table: TableId) -> impl Iterator<Item = &Part> {
        self.outputs.iter().filter(move |p| p.table == table)
    }

    /// What is known of an output at `path` whose images were pruned; none where it is whole.
    pub fn pruned_part(&self, path: &str) -> Option<&PrunedPart> {
        self.pruned.iter().find(|pruned| pruned.path == path)
    }

    /// BLAKE3 of the file of `part`, an output of this record.
    pub fn file_digest(&self, part: &Part) -> Digest {
        let pruned = self.pruned_part(&part.path);
        pruned.map_or(part.digest, |pruned| pruned.digest)
    }
}

/// A part from whose file images were taken by choice (`laioncele gc`). Among the record's outputs it stands with the path and
/// the size of its file, and still with the digest of the whole part: keys name that, so that what was made of it stays.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PrunedPart {
    /// Its path among the outputs.
    pub path: String,
    /// BLAKE3 of the file.
    pub digest: Digest,
    /// Of the whole part's rows: the table's digest stays what it was.
    pub rows: RowsDigest,
}

/// The start of a task: RFC 3339 text, and as format 1 has it a number of seconds since 1970.
mod started {
    use std::time::{Duration, SystemTime, UNIX_EPOCH};

    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    pub(super) fn serialize<S: Serializer>(
        time: &SystemTime,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&humantime::format_rfc3339_seconds(*time))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<SystemTime, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Started {
            Seconds(u64),
            Text(String),
        }
        match Started::deserialize(deserializer)? {
            Started::Seconds(seconds) => UNIX_EPOCH
                .checked_add(Duration::from_secs(seconds))
                .ok_or_else(|| D::Error::custom("the task started beyond the end of time")),
            Started::Text(text) => humantime::parse_rfc3339(&text).map_err(D::Error::custom),
        }
    }
}

/// Reads and creates records.
#[derive(Clone)]
pub struct Ledger {
    store: Store,
}

impl Ledger {
    /// The ledger in `store`.
    pub fn new(store: Store) -> Self {
        Self { store }
    }

    /// The record of a task, if it is done.
    ///
    /// # Errors
    /// [`CoreError::Record`], [`CoreError::Newer`] or a store error.
    pub fn find(
        &self,
        step: &str,
        partition: &Partition,
        key: Digest,
    ) -> Result<Option<Record>, CoreError> {
        let path = record_path(step, partition, key);
        match self.store.get(&path) {
            Ok(bytes) => parse(&path, &bytes).map(Some),
            Err(CoreError::Missing { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Creates a record; `false` where another copy of the task was first. Read back afterwards, so that a store whose
    /// put-if-absent lies is noticed.
    ///
    /// # Errors
    /// A store error, or [`CoreError::Record`] where the record read back is neither ours nor another's for this key.
    pub fn commit(&self, record: &Record) -> Result<bool, CoreError> {
        let path = record_path(&record.step, &record.partition, record.key);
        let fail = |reason: String| CoreError::record(&path, reason);
        let bytes = seal::sealed(record).map_err(|e| CoreError::record(&path, e))?;
        let created = self.store.create(&path, bytes)?;
        let found = self
            .find(&record.step, &record.partition, record.key)?
            .ok_or_else(|| fail("vanished after its commit".to_owned()))?;
        match created {
            Created::Won if found.attempt != record.attempt => Err(fail(format!(
                "attempt {} stands where {} was created: this store's put-if-absent cannot be trusted",
                found.attempt, record.attempt
            ))),
            Created::Won => Ok(true),
            // Of a bucket's answers the first may get lost: the record is ours all the same.
            Created::Lost => Ok(found.attempt == record.attempt),
        }
    }

    /// Puts `record` in the place of the record that attempt `replaced` at the same task created: readers find the old one
    /// or the new one, whole. Only for who holds the run's lock.
    ///
    /// # Errors
    /// [`CoreError::Record`] where another record stands there; a store error.
    pub fn replace(&self, record: &Record, replaced: &str) -> Result<(), CoreError> {
        let path = record_path(&record.step, &record.partition, record.key);
        let found = self.find(&record.step, &record.partition, record.key)?;
        let found = found.map_or_else(|| "no attempt".to_owned(), |found| found.attempt);
        if found != replaced {
            let text = format!("{found} stands where {replaced} is to be replaced");
            return Err(CoreError::record(&path, text));
        }
        let bytes = seal::sealed(record).map_err(|e| CoreError::record(&path, e))?;
        self.store.put(&path, bytes)
    }

    /// All records of a step on `partition`, newest first.
    ///
    /// # Errors
    /// As [`Ledger::find`].
    pub fn history(&self, step: &str, partition: &Partition) -> Result<Vec<Record>, CoreError> {
        self.below(&format!("ledger/{step}/{partition}"))
    }

    /// All records of the run, newest first.
    ///
    /// # Errors
    /// As [`Ledger::find`].
    pub fn all(&self) -> Result<Vec<Record>, CoreError> {
        self.below("ledger")
    }

    /// All parts that the task of `record` had for inputs.
    ///
    /// # Errors
    /// A list that is missing or damaged.
    pub fn inputs(&self, record: &Record) -> Result<Vec<Part>, CoreError> {
        let mut parts = record.inputs.clone();
        for list in &record.lists {
            parts.extend_from_slice(PartList::read(&self.store, list)?.parts());
        }
        Ok(parts)
    }

    fn below(&self, prefix: &str) -> Result<Vec<Record>, CoreError> {
        let paths = self.store.list(prefix)?;
        let mut records: Vec<Record> = paths
            .iter()
            .map(|p| parse(p, &self.store.get(p)?))
            .collect::<Result<_, _>>()?;
        records.sort_by(|a, b| (b.started, &b.key).cmp(&(a.started, &a.key)));
        Ok(records)
    }
}

fn record_path(step: &str, partition: &Partition, key: Digest) -> String {
    format!("ledger/{step}/{partition}/{key}.json")
}

fn parse(path: &str, bytes: &[u8]) -> Result<Record, CoreError> {
    #[derive(Deserialize)]
    struct Format {
        format: u32,
    }
    let fail = |e: serde_json::Error| CoreError::record(path, e);
    let Format { format } = serde_json::from_slice(bytes).map_err(fail)?;
    if format > RECORD_FORMAT {
        return Err(CoreError::Newer {
            path: path.to_owned(),
            what: "ledger record".to_owned(),
            found: format,
            known: RECORD_FORMAT,
        });
    }
    let mut record: Record = serde_json::from_slice(bytes).map_err(fail)?;
    if let Some(part) = record.outputs.iter().find(|part| !is_inside(&part.path)) {
        let text = format!(
            "it names {:?}, which is no path in the run's folder",
            part.path
        );
        return Err(CoreError::record(path, text));
    }
    // Lists are read with room to grow, which a hundred thousand records would keep.
    record.inputs.shrink_to_fit();
    record.outputs.shrink_to_fit();
    Ok(record)
}
