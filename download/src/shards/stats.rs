//! `NNNNN_stats.json`: what a shard holds. It is written last, and its presence says that the shard is done.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::SystemTime;

use serde::{Deserialize, Serialize};

use super::error::ShardError;
use super::status::{SUCCESS, StatusRow};
use super::whole::replace;

/// What a shard holds, in img2dataset's words.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ShardStats {
    /// Rows.
    pub count: u64,
    /// Photos.
    pub successes: u64,
    /// Rows that are no photos.
    pub failed: u64,
    /// Bytes of the photos as they came.
    pub bytes: u64,
    /// Rows by class, [`SUCCESS`] among them.
    pub status_dict: BTreeMap<String, u64>,
    /// When the shard was begun (or gone on with), in seconds since 1970.
    pub start_time: f64,
    /// When it was done.
    pub end_time: f64,
    /// Seconds between the two.
    pub duration: f64,
}

impl ShardStats {
    pub(crate) fn of(rows: &[StatusRow], start: SystemTime) -> Self {
        let mut status_dict = BTreeMap::<String, u64>::new();
        for row in rows {
            *status_dict.entry(row.class().to_owned()).or_default() += 1;
        }
        let count = rows.len() as u64;
        let successes = status_dict.get(SUCCESS).copied().unwrap_or(0);
        let seconds = |time: SystemTime| {
            let since = time.duration_since(SystemTime::UNIX_EPOCH);
            since.unwrap_or_default().as_secs_f64()
        };
        let (start_time, end_time) = (seconds(start), seconds(SystemTime::now()));
        Self {
            count,
            successes,
            failed: count - successes,
            bytes: rows.iter().filter_map(|row| row.bytes).sum(),
            status_dict,
            start_time,
            end_time,
            duration: end_time - start_time,
        }
    }

    /// The statistics at `path`; none where there are none, or only a part of them.
    pub(crate) fn read(path: &Path) -> Result<Option<Self>, ShardError> {
        match std::fs::read(path) {
            Ok(text) => Ok(serde_json::from_slice(&text).ok()),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(ShardError::io(path)(error)),
        }
    }

    pub(crate) fn write(&self, path: &Path) -> Result<(), ShardError> {
        let text = serde_json::to_vec_pretty(self).map_err(|e| ShardError::io(path)(e.into()))?;
        replace(path, &text)
    }
}
