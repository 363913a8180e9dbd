//! Reading a ledger some of whose records may be damaged: those are named, the others are read.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;

use super::snapshot::{self, Repeated, Snapshot};
use super::{Ledger, Record, parse, record_path, seal};
use crate::digest::Digest;
use crate::error::{CoreError, chain};
use crate::parallel::in_parallel;
use crate::partition::Partition;

/// Where damaged records are kept, below the run's folder.
pub const DAMAGED: &str = "damaged";

/// All that is in a ledger.
#[derive(Debug, Default)]
pub struct Scan {
    /// The records that can be used, newest first. Each is moved about a few times, and there may be a hundred thousand.
    pub records: Vec<Arc<Record>>,
    /// The others, by path.
    pub unusable: Vec<UnusableRecord>,
    /// The versions of all objects, by their paths.
    pub(super) versions: HashMap<String, String>,
    /// Records that a snapshot did not have, or had otherwise.
    pub(super) unremembered: usize,
}

impl Scan {
    /// What was read of a ledger elsewhere: nothing of it is remembered.
    pub fn of(records: Vec<Record>, unusable: Vec<UnusableRecord>) -> Self {
        Self {
            records: records.into_iter().map(Arc::new).collect(),
            unusable,
            ..Self::default()
        }
    }
}

/// A file in the ledger's place that is no record that could be used: cut off, altered, moved.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnusableRecord {
    /// Its path in the store.
    pub path: String,
    /// The key that its name says, if it is one.
    pub key: Option<Digest>,
    /// What is wrong with it.
    pub reason: String,
}

impl Ledger {
    /// All records of the run, those that cannot be used apart. What is remembered of an earlier scan and has not changed
    /// since is not read again.
    ///
    /// # Errors
    /// Store errors; [`CoreError::Newer`]: a record of a newer program is not damaged.
    pub fn scan(&self) -> Result<Scan, CoreError> {
        self.scan_beside(Snapshot::read(&self.store))
    }

    /// As [`Ledger::scan`], with every record read from its own object.
    ///
    /// # Errors
    /// As [`Ledger::scan`].
    pub fn scan_anew(&self) -> Result<Scan, CoreError> {
        self.scan_beside(Snapshot::default())
    }

    fn scan_beside(&self, mut snapshot: Snapshot) -> Result<Scan, CoreError> {
        let mut scan = Scan {
            versions: self.store.versions("ledger")?,
            ..Scan::default()
        };
        let mut unknown = Vec::new();
        for (path, version) in &scan.versions {
            match snapshot.take(path, version) {
                Some(record) => scan.records.push(record),
                None => unknown.push(path.clone()),
            }
        }
        scan.unremembered = unknown.len() + snapshot.left();
        unknown.sort();
        for read in self.read_all(&unknown) {
            match read? {
                Read::Record(record) => scan.records.push(record),
                Read::Unusable(record) => scan.unusable.push(record),
                Read::Gone => {}
            }
        }
        let mut repeated = Repeated::default();
        for record in &mut scan.records {
            repeated.share(&mut Arc::make_mut(record).key_parts);
        }
        let newest_first =
            |a: &Arc<Record>, b: &Arc<Record>| (b.started, &b.key).cmp(&(a.started, &a.key));
        scan.records.sort_unstable_by(newest_first);
        Ok(scan)
    }

    /// What is at `paths`, read by several threads, or in a bucket by several requests at once.
    fn read_all(&self, paths: &[String]) -> Vec<Result<Read, CoreError>> {
        match self.store.bucket() {
            Some(bucket) => {
                let got = bucket.get_all(paths).into_iter().zip(paths);
                got.map(|(got, path)| Read::of(path, got)).collect()
            }
            None => in_parallel(paths, |path| Read::of(path, self.store.get(path))),
        }
    }

    /// Remembers what `scan` found, so that the next one is quick. Only for who holds the run's lock.
    ///
    /// # Errors
    /// A full or read-only disk.
    pub fn remember(&self, scan: &Scan) -> Result<(), CoreError> {
        let Scan {
            records, versions, ..
        } = scan;
        snapshot::remember(&self.store, records, versions, scan.unremembered)
    }

    /// Takes the record of a task out of the ledger, so that the task runs again. Only for who holds the run's lock. Its
    /// parts stay until they are collected.
    ///
    /// # Errors
    /// Store errors.
    pub fn remove(&self, step: &str, partition: &Partition, key: Digest) -> Result<(), CoreError> {
        self.store
            .delete_for_good(&record_path(step, partition, key))
    }

    /// Moves what is in the ledger's place and no record to the folder [`DAMAGED`], where a person may look at it. Only for
    /// who holds the run's lock.
    ///
    /// # Errors
    /// Store errors.
    pub fn set_aside(&self, record: &UnusableRecord) -> Result<(), CoreError> {
        match self.store.get(&record.path) {
            Ok(bytes) => self
                .store
                .put(&format!("{DAMAGED}/{}", record.path), bytes)?,
            Err(CoreError::Missing { .. }) => {}
            Err(error) => return Err(error),
        }
        self.store.delete_for_good(&record.path)
    }
}

/// What is in a record's place.
enum Read {
    Record(Arc<Record>),
    Unusable(UnusableRecord),
    /// Taken away since it was listed.
    Gone,
}

impl Read {
    fn of(path: &str, got: Result<Bytes, CoreError>) -> Result<Self, CoreError> {
        let bytes = match got {
            Ok(bytes) => bytes,
            Err(CoreError::Missing { .. }) => return Ok(Self::Gone),
            Err(error) => return Err(error),
        };
        let reason = match parse(path, &bytes) {
            Ok(record) => match record.flaw(path).or_else(|| seal::flaw(&bytes)) {
                None => return Ok(Self::Record(Arc::new(record))),
                Some(flaw) => flaw,
            },
            Err(CoreError::Record { source, .. }) => chain(&*source),
            Err(error) => return Err(error),
        };
        let stem = Path::new(path).file_stem();
        let key = stem.and_then(|stem| stem.to_str()?.parse().ok());
        let path = path.to_owned();
        Ok(Self::Unusable(UnusableRecord { path, key, reason }))
    }
}

impl Record {
    /// Its path in the store.
    pub fn path(&self) -> String {
        record_path(&self.step, &self.partition, self.key)
    }

    /// What shows that the record is not as it was committed: its key is not that of what it says, it lies elsewhere, its
    /// rows do not add up, or its parts are not named after it.
    pub fn flaw(&self, path: &str) -> Option<String> {
        if self.path() != path {
            return Some(format!("it is the record that belongs at {}", self.path()));
        }
        if self.key_parts.key(&self.step, &self.partition) != self.key {
            return Some("its key is not that of its settings, models and inputs".to_owned());
        }
        let unbalanced = self.balances.iter().find(|balance| {
            let mut dropped = balance.dropped.values().copied();
            let left = dropped.try_fold(balance.rows_out, |sum: u64, rows| sum.checked_add(rows));
            left != Some(balance.rows_in)
        });
        if let Some(balance) = unbalanced {
            return Some(format!("its {} rows do not add up", balance.unit));
        }
        let place = |table, partition| format!("tables/{table}/{partition}/{}-", self.key.short());
        let strange = self
            .outputs
            .iter()
            .find(|part| !part.path.starts_with(&place(part.table, &part.partition)));
        strange.map(|part| format!("{} is no name of a part of it", part.path))
    }
}
