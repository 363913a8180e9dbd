//! A list of urls downloaded into a folder of shards: photos, a status of every row, statistics.
//!
//! Several shards are open at once, so that the last urls of one do not keep the next ones waiting. Of an open shard
//! there are its rows and the index of its journal in memory; the photos are on disk.

mod carried;
mod error;
mod files;
mod folder;
mod format;
mod parquet_photos;
mod photos;
mod row;
mod shard;
mod stats;
mod status;
mod tally;
mod tar_photos;
mod whole;

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

use laioncele_core::DropReason;
use laioncele_core::error::Cause;

use crate::Engine;
use crate::photo::{PhotoRules, Shrink};
pub use error::ShardError;
pub use folder::ShardFolder;
pub use format::ShardFormat;
pub use row::{Row, ShardRows};
pub use stats::ShardStats;
pub use status::SUCCESS;
pub use tally::{Tally, Totals};

/// Shards that are downloaded at the same time.
const AT_ONCE: usize = 8;

/// How a list becomes shards.
#[derive(Clone, Debug)]
pub struct ShardSettings {
    /// What a shard's photos are written as.
    pub format: ShardFormat,
    /// Rows of a shard at most, which is in the photos' keys.
    pub rows_per_shard: usize,
    /// What a photo must be.
    pub rules: PhotoRules,
    /// How large photos are made smaller; none: all bytes stay as they came.
    pub shrink: Option<Shrink>,
    /// Whether photos are dropped whose bytes are not those of the list's hash.
    pub check_hash: bool,
    /// Rows of finished shards that failed so are asked for again.
    pub retry: BTreeSet<DropReason>,
}

/// Downloads all shards that are not done. Sets `stop` where it fails; where somebody else sets it, what is under way is
/// discarded, what has ended is kept in the shards' journals, and this returns.
///
/// # Errors
/// The first [`ShardError`].
pub fn download_shards<I>(
    folder: &ShardFolder,
    engine: &Engine,
    settings: &ShardSettings,
    lists: I,
    tally: &Tally,
    stop: &AtomicBool,
) -> Result<(), ShardError>
where
    I: Iterator<Item = Result<ShardRows, Cause>> + Send,
{
    let lists = Mutex::new(lists);
    let writing = Mutex::new(());
    let work = shard::Work {
        folder,
        engine,
        settings,
        tally,
        stop,
        writing: &writing,
    };
    let worker = || -> Result<(), ShardError> {
        while !stop.load(Ordering::Relaxed) {
            let next = {
                let mut lists = lists.lock().unwrap_or_else(PoisonError::into_inner);
                lists.next()
            };
            let Some(rows) = next.transpose().map_err(ShardError::Rows)? else {
                break;
            };
            work.shard(rows)?;
        }
        Ok(())
    };
    let guarded = || {
        let ended = worker();
        if ended.is_err() {
            stop.store(true, Ordering::Relaxed);
        }
        ended
    };
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..AT_ONCE).map(|_| scope.spawn(guarded)).collect();
        let ended = threads.into_iter().map(|thread| match thread.join() {
            Ok(ended) => ended,
            Err(panic) => std::panic::resume_unwind(panic),
        });
        let ended: Vec<_> = ended.collect();
        ended.into_iter().collect()
    })
}
