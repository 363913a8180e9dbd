//! How far a download has come, counted by the threads that work and read by the one that shows it.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use super::stats::ShardStats;
use super::status::SUCCESS;
use crate::outcome::{End, Outcome};

/// How far a download has come.
#[derive(Debug, Default)]
pub struct Tally {
    ended: AtomicU64,
    photos: AtomicU64,
    bytes: AtomicU64,
    before: AtomicU64,
    classes: Mutex<BTreeMap<&'static str, u64>>,
    totals: Mutex<Totals>,
}

/// Sums over finished shards, of this run and of earlier ones.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// Shards.
    pub shards: u64,
    /// Shards that were finished or changed now.
    pub new_shards: u64,
    /// Rows.
    pub rows: u64,
    /// Rows by class, [`SUCCESS`] among them.
    pub classes: BTreeMap<String, u64>,
    /// Bytes of the photos as they came.
    pub bytes: u64,
}

impl Tally {
    /// Rows that ended now.
    pub fn ended(&self) -> u64 {
        self.ended.load(Ordering::Relaxed)
    }

    /// Rows that had ended before.
    pub fn before(&self) -> u64 {
        self.before.load(Ordering::Relaxed)
    }

    /// Photos that came now.
    pub fn photos(&self) -> u64 {
        self.photos.load(Ordering::Relaxed)
    }

    /// Bytes of these photos.
    pub fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }

    /// Rows that ended now, by class, [`SUCCESS`] left out.
    pub fn classes(&self) -> BTreeMap<&'static str, u64> {
        let classes = self.classes.lock();
        classes.unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// What the finished shards hold.
    pub fn totals(&self) -> Totals {
        let totals = self.totals.lock();
        totals.unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(crate) fn add(&self, outcome: &Outcome, bytes: usize) {
        self.ended.fetch_add(1, Ordering::Relaxed);
        match &outcome.end {
            End::Photo { .. } => {
                self.photos.fetch_add(1, Ordering::Relaxed);
                self.bytes.fetch_add(bytes as u64, Ordering::Relaxed);
            }
            End::Dropped { reason, .. } => {
                let mut classes = self.classes.lock().unwrap_or_else(PoisonError::into_inner);
                *classes.entry(reason.as_str()).or_default() += 1;
            }
        }
    }

    pub(crate) fn add_before(&self, rows: u64) {
        self.before.fetch_add(rows, Ordering::Relaxed);
    }

    pub(crate) fn add_shard(&self, stats: &ShardStats, is_new: bool) {
        let mut totals = self.totals.lock().unwrap_or_else(PoisonError::into_inner);
        totals.shards += 1;
        totals.new_shards += u64::from(is_new);
        totals.rows += stats.count;
        totals.bytes += stats.bytes;
        for (class, count) in &stats.status_dict {
            *totals.classes.entry(class.clone()).or_default() += count;
        }
    }
}

impl Totals {
    /// Photos.
    pub fn photos(&self) -> u64 {
        self.classes.get(SUCCESS).copied().unwrap_or(0)
    }
}
