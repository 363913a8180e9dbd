//! Whether every file of a source can be read, told from footers and heads.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use laioncele_core::Manifest;

use crate::error::SourceError;
use crate::file::SourceFile;
use crate::layout::Need;
use crate::shards::{SourceShard, shards_and_others};

/// Threads at most: the work is waiting for small reads.
const THREADS: usize = 16;

/// What a usable source consists of.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SourceSummary {
    /// Files, folders of samples among them.
    pub files: usize,
    /// Rows of the files that say how many they have (Parquet).
    pub rows: u64,
    /// Files whose rows are only counted when they are read.
    pub uncounted: usize,
    /// Files of other formats that are passed over, because Parquet files lie beside them.
    pub passed_over: usize,
    /// Files that are found twice, by different paths, and read once.
    pub found_before: usize,
    /// Bytes of all files.
    pub bytes: u64,
    /// What was told of the files (layout and columns), and of how many.
    pub layouts: BTreeMap<String, usize>,
}

/// Checks every file of the source: of a known format, with all columns that are mapped or that
/// `needs` names, each of a type that it can have. Reads footers and heads only.
///
/// # Errors
/// [`SourceError`] of the first file that cannot be used, or of a source that is missing or empty.
pub fn check_source(manifest: &Manifest, needs: &[Need]) -> Result<SourceSummary, SourceError> {
    let (shards, others) = shards_and_others(manifest)?;
    let mut summary = SourceSummary {
        passed_over: others.beside_parquet,
        found_before: others.found_before,
        ..SourceSummary::default()
    };
    for found in check_all(&shards, manifest, needs) {
        let (rows, bytes, description) = found?;
        summary.files += 1;
        summary.rows += rows.unwrap_or(0);
        summary.uncounted += usize::from(rows.is_none());
        summary.bytes += bytes;
        *summary.layouts.entry(description).or_default() += 1;
    }
    Ok(summary)
}

type Checked = Result<(Option<u64>, u64, String), SourceError>;

fn check(shard: &SourceShard, manifest: &Manifest, needs: &[Need]) -> Checked {
    let file = SourceFile::open(&shard.path, &manifest.source, needs)?;
    let bytes = match &shard.object {
        Some(object) => object.bytes,
        None => std::fs::metadata(&shard.path).map_or(0, |m| m.len()),
    };
    Ok((file.rows(), bytes, file.description()))
}

/// What became of each shard, in order.
fn check_all(shards: &[SourceShard], manifest: &Manifest, needs: &[Need]) -> Vec<Checked> {
    let next = AtomicUsize::new(0);
    let work = || {
        let mut done = Vec::new();
        loop {
            let number = next.fetch_add(1, Ordering::Relaxed);
            let Some(shard) = shards.get(number) else {
                return done;
            };
            done.push((number, check(shard, manifest, needs)));
        }
    };
    let threads = THREADS.min(shards.len() / 4 + 1);
    let mut done: Vec<(usize, Checked)> = thread::scope(|scope| {
        let others: Vec<_> = (1..threads).map(|_| scope.spawn(work)).collect();
        let mut done = work();
        for other in others {
            match other.join() {
                Ok(found) => done.extend(found),
                Err(panic) => std::panic::resume_unwind(panic),
            }
        }
        done
    });
    done.sort_by_key(|(number, _)| *number);
    done.into_iter().map(|(_, checked)| checked).collect()
}
