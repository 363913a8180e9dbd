//! Reading a ledger some of whose records may be damaged: those are named, the others are read.

use std::path::Path;

use super::{Ledger, Record, parse, record_path};
use crate::digest::Digest;
use crate::error::{CoreError, chain};
use crate::partition::Partition;

/// Where damaged records are kept, below the run's folder.
pub const DAMAGED: &str = "damaged";

/// All that is in a ledger.
#[derive(Debug, Default)]
pub struct Scan {
    /// The records that can be used, newest first.
    pub records: Vec<Record>,
    /// The others, by path.
    pub unusable: Vec<UnusableRecord>,
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
    /// All records of the run, those that cannot be used apart.
    ///
    /// # Errors
    /// Store errors; [`CoreError::Newer`]: a record of a newer program is not damaged.
    pub fn scan(&self) -> Result<Scan, CoreError> {
        let mut scan = Scan::default();
        for path in self.store.list("ledger")? {
            let bytes = match self.store.get(&path) {
                Ok(bytes) => bytes,
                // Taken away since it was listed.
                Err(CoreError::Missing { .. }) => continue,
                Err(error) => return Err(error),
            };
            let reason = match parse(&path, &bytes) {
                Ok(record) => match record.flaw(&path) {
                    None => {
                        scan.records.push(record);
                        continue;
                    }
                    Some(flaw) => flaw,
                },
                Err(CoreError::Record { source, .. }) => chain(&*source),
                Err(error) => return Err(error),
            };
            let stem = Path::new(&path).file_stem();
            let key = stem.and_then(|stem| stem.to_str()?.parse().ok());
            scan.unusable.push(UnusableRecord { path, key, reason });
        }
        let newest_first = |a: &Record, b: &Record| (b.started, &b.key).cmp(&(a.started, &a.key));
        scan.records.sort_by(newest_first);
        Ok(scan)
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
