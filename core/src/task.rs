//! A running task: reads its input parts, writes its output parts, balances its rows, commits.

mod looks;
mod reading;
mod rows;
mod writing;

pub use rows::{Poison, Rows, panic_text};

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crate::digest::Digest;
use crate::dropped::{DroppedPart, DroppedRow, DroppedRows};
use crate::drops::{DropReason, Unit};
use crate::error::{CoreError, StageError, chain};
use crate::ids::NameId;
use crate::key::KeyParts;
use crate::ledger::{COMMITTED_FORMAT, Ledger, Record, RowBalance};
use crate::manifest::Manifest;
use crate::part::Part;
use crate::part_list::{ListRef, PartList};
use crate::partition::Partition;
use crate::resources::Resources;
use crate::spec::{Again, Progress, RowCare, RuntimeEnvironment, TaskSpec};
use crate::store::Store;
use crate::table::{EmbeddingDims, TableId};

/// Receives a task's progress. Called often: an implementation decides what to pass on.
pub trait ProgressReporter: Send + Sync {
    /// The task has got this far.
    fn progress(&self, progress: Progress);

    /// The task looks at the row of this id, or at none any more. Told only where rows are looked at one by one
    /// ([`RowCare`]).
    fn at_row(&self, _row: Option<u64>) {}

    /// A look at the row of this id, or at several rows at once, has taken longer than the `limit` and still goes on. Told once.
    fn overdue(&self, _row: Option<u64>, _limit: Duration) {}
}

/// Ignores progress.
pub struct NullReporter;

impl ProgressReporter for NullReporter {
    fn progress(&self, _: Progress) {}
}

/// What a worker shares with the tasks it runs.
#[derive(Clone)]
pub struct WorkerContext {
    /// The run's manifest.
    pub manifest: Arc<Manifest>,
    /// The run's store.
    pub store: Store,
    /// Models loaded so far.
    pub resources: Arc<Resources>,
    /// What results do not depend on.
    pub runtime_environment: RuntimeEnvironment,
    /// Set when the run is asked to stop.
    pub cancelled: Arc<AtomicBool>,
    /// How the task treats its rows after it killed workers.
    pub rows: RowCare,
}

/// A running task. Handed to a step's `run`; committed by the caller.
pub struct Task {
    spec: TaskSpec,
    attempt: String,
    context: WorkerContext,
    reporter: Arc<dyn ProgressReporter>,
    rows: Rows,
    lists: Vec<Arc<PartList>>,
    outputs: Vec<Part>,
    dropped: DroppedRows,
    /// Why a part of dropped rows was not written; `progress` and the commit tell.
    failed_drop: Option<String>,
    balances: Vec<(Unit, u64, u64)>,
    metrics: BTreeMap<String, f64>,
    after_commit: Vec<Box<dyn FnOnce() + Send>>,
    started: Instant,
    started_at: SystemTime,
}

impl Task {
    /// Begins a task: reads the lists of its inputs, and nothing else.
    ///
    /// # Errors
    /// A list that is missing or damaged.
    pub fn new(
        spec: TaskSpec,
        attempt: String,
        context: WorkerContext,
        reporter: Box<dyn ProgressReporter>,
    ) -> Result<Self, CoreError> {
        let load = |list: &ListRef| {
            let key = format!("part list {}", list.digest);
            let read = || PartList::read(&context.store, list);
            context.resources.get_or_load(&key, read)
        };
        let lists = spec.lists.iter().map(load).collect::<Result<_, _>>()?;
        let (outputs, dropped, failed_drop, balances, metrics) = Default::default();
        let reporter: Arc<dyn ProgressReporter> = reporter.into();
        Ok(Self {
            rows: Rows::new(
                &spec.step,
                &context.rows,
                context.manifest.run.row_deadline(),
                reporter.clone(),
            ),
            spec,
            attempt,
            context,
            reporter,
            lists,
            outputs,
            dropped,
            failed_drop,
            balances,
            metrics,
            after_commit: Vec::new(),
            started: Instant::now(),
            started_at: whole_seconds(SystemTime::now()),
        })
    }

    /// The manifest.
    pub fn manifest(&self) -> &Manifest {
        &self.context.manifest
    }

    /// The lengths of embeddings in tables.
    pub fn embedding_dims(&self) -> &EmbeddingDims {
        &self.context.manifest.embedding_dims
    }

    /// The partition this task works on.
    pub fn partition(&self) -> &Partition {
        &self.spec.partition
    }

    /// What this task's key was made of: settings, digests of models and inputs.
    pub fn key_parts(&self) -> &KeyParts {
        &self.spec.key_parts
    }

    /// The key of its record.
    pub fn key(&self) -> Digest {
        self.spec.key
    }

    /// What it tries again of the result of [`Task::replaced`].
    pub fn again(&self) -> Option<&Again> {
        self.spec.again.as_ref()
    }

    /// For tests: makes this attempt `attempt`, which tries again what a committed one dropped.
    pub(crate) fn make_again(&mut self, attempt: &str, again: Again) {
        attempt.clone_into(&mut self.attempt);
        self.spec.again = Some(again);
    }

    /// For tests: its record says that it read `list` too.
    #[cfg(test)]
    pub(crate) fn read_also(&mut self, list: ListRef) {
        self.spec.lists.push(list);
    }

    /// What the result does not depend on: host map, threads.
    pub fn runtime_environment(&self) -> &RuntimeEnvironment {
        &self.context.runtime_environment
    }

    /// The run's store, for scratch files.
    pub fn store(&self) -> &Store {
        &self.context.store
    }

    /// Set when the run is asked to stop: for work that cannot report progress meanwhile.
    pub fn cancelled(&self) -> Arc<AtomicBool> {
        self.context.cancelled.clone()
    }

    /// Through which a stage looks at rows that may be more than it can digest.
    pub fn rows(&self) -> Rows {
        self.rows.clone()
    }

    /// Drops a row that cannot be digested, as [`Task::drop_row`].
    pub fn drop_poison(&mut self, unit: Unit, id: u64, name_id: Option<NameId>, poison: Poison) {
        self.drop_row(unit, id, name_id, DropReason::Poison, Some(poison.detail));
    }

    /// Drops a row: `id` of a caption, name or image, under `name_id` where it was filed under one; `detail` is a code,
    /// a score, a directive or a kept id. Rows go to their parts as they come. That a part could not be written is told
    /// by [`Task::progress`] and by the commit.
    pub fn drop_row(
        &mut self,
        unit: Unit,
        id: u64,
        name_id: Option<NameId>,
        reason: DropReason,
        detail: Option<String>,
    ) {
        if self.failed_drop.is_some() {
            return;
        }
        let row = DroppedRow {
            unit,
            id,
            name_id,
            reason,
            detail: detail.map(String::into_boxed_str),
        };
        let dims = self.context.manifest.embedding_dims;
        let full = self.dropped.add(row, &self.spec.step, &dims);
        if let Err(error) = full.and_then(|part| self.put_dropped(part)) {
            self.failed_drop = Some(chain(&error));
        }
    }

    fn put_dropped(&mut self, part: Option<DroppedPart>) -> Result<(), CoreError> {
        let Some(DroppedPart { rows, parquet }) = part else {
            return Ok(());
        };
        let partition = self.spec.partition.clone();
        self.put(TableId::Dropped, &partition, rows, "parquet", parquet)
    }

    /// # Errors
    /// A part of dropped rows could not be written.
    fn check_drops(&self) -> Result<(), StageError> {
        match &self.failed_drop {
            Some(error) => Err(StageError::environment(error.clone())),
            None => Ok(()),
        }
    }

    /// Balances the rows of `unit`: of `rows_in`, `rows_out` went on and the rows dropped with that unit did not.
    /// Every task balances at least one unit; the commit refuses rows that do not add up.
    pub fn balance(&mut self, unit: Unit, rows_in: u64, rows_out: u64) {
        self.balances.push((unit, rows_in, rows_out));
    }

    /// Records a number for the report that is no row count.
    pub fn metric(&mut self, name: &str, value: f64) {
        self.metrics.insert(name.to_owned(), value);
    }

    /// Does `work` once the record is there: deletes what only an interrupted task would need. A kill may come before.
    pub fn after_commit(&mut self, work: impl FnOnce() + Send + 'static) {
        self.after_commit.push(Box::new(work));
    }

    /// Reports progress; cheap to call often.
    ///
    /// # Errors
    /// [`StageError::Cancelled`] when the run was asked to stop; that dropped rows could not be written.
    pub fn progress(&self, done: u64, total: u64, unit: Unit) -> Result<(), StageError> {
        self.report_progress(Progress {
            done,
            total,
            unit,
            found: None,
        })
    }

    /// As [`Task::progress`], for a task that also counts what it found.
    ///
    /// # Errors
    /// [`StageError::Cancelled`] when the run was asked to stop; that dropped rows could not be written.
    pub fn report_progress(&self, progress: Progress) -> Result<(), StageError> {
        self.check_drops()?;
        self.reporter.progress(progress);
        if self.context.cancelled.load(Ordering::Relaxed) {
            Err(StageError::Cancelled)
        } else {
            Ok(())
        }
    }

    /// A loaded model, kept for this worker's next tasks. `key` says what it is and where it came from.
    ///
    /// # Errors
    /// What `load` returns.
    pub fn resource<T: Send + Sync + 'static>(
        &self,
        key: &str,
        load: impl FnOnce() -> Result<T, StageError>,
    ) -> Result<Arc<T>, StageError> {
        self.context.resources.get_or_load(key, load)
    }

    /// Writes the last dropped rows, checks the balances and creates the record, or replaces the one whose failures were
    /// tried again. Returns it, and whether it is the one that counts: `false` where another copy of the task committed
    /// first.
    ///
    /// # Errors
    /// [`CoreError::Unaccounted`], [`CoreError::UnbalancedDrops`], [`CoreError::NothingBalanced`], or store errors.
    pub fn commit(mut self) -> Result<(Record, bool), StageError> {
        self.check_drops()?;
        let balances = self.row_balances()?;
        let dims = self.context.manifest.embedding_dims;
        let last = self.dropped.finish(&self.spec.step, &dims)?;
        self.put_dropped(last)?;
        let seconds = self.started.elapsed().as_secs_f64();
        let record = Record {
            format: COMMITTED_FORMAT,
            stage: self.spec.stage,
            step: self.spec.step,
            partition: self.spec.partition,
            key: self.spec.key,
            key_parts: self.spec.key_parts,
            attempt: self.attempt,
            inputs: self.spec.inputs,
            lists: self.spec.lists,
            outputs: self.outputs,
            pruned: Vec::new(),
            balances,
            metrics: self.metrics,
            started: self.started_at,
            seconds,
            host: host_name(),
            program: format!("laioncele {}", env!("CARGO_PKG_VERSION")),
        };
        let ledger = Ledger::new(self.context.store);
        let won = match self.spec.again {
            Some(again) => ledger.replace(&record, &again.replaces).map(|()| true)?,
            None => ledger.commit(&record)?,
        };
        for work in self.after_commit {
            work();
        }
        Ok((record, won))
    }

    fn row_balances(&self) -> Result<Vec<RowBalance>, CoreError> {
        let mut drops = self.dropped.counts().clone();
        let mut balances = Vec::new();
        for &(unit, rows_in, rows_out) in &self.balances {
            let dropped = drops.remove(&unit).unwrap_or_default();
            self.check_balance(unit, rows_in, rows_out, dropped.values().sum())?;
            balances.push(RowBalance {
                unit,
                rows_in,
                rows_out,
                dropped,
            });
        }
        let step = || self.spec.step.clone();
        if let Some((unit, dropped)) = drops.into_iter().next() {
            return Err(CoreError::UnbalancedDrops {
                step: step(),
                unit,
                dropped: dropped.values().sum(),
            });
        }
        if balances.is_empty() {
            return Err(CoreError::NothingBalanced { step: step() });
        }
        Ok(balances)
    }

    fn check_balance(
        &self,
        unit: Unit,
        rows_in: u64,
        rows_out: u64,
        dropped: u64,
    ) -> Result<(), CoreError> {
        if rows_in == rows_out + dropped {
            return Ok(());
        }
        Err(CoreError::Unaccounted {
            step: self.spec.step.clone(),
            unit,
            rows_in,
            rows_out,
            dropped,
        })
    }
}

/// `time` without its fraction of a second, which records do not keep.
fn whole_seconds(time: SystemTime) -> SystemTime {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    UNIX_EPOCH + Duration::from_secs(since.as_secs())
}

/// `time` as RFC 3339 in whole seconds, for what people read.
pub fn time_text(time: SystemTime) -> String {
    humantime::format_rfc3339_seconds(time).to_string()
}

/// This machine's name, for records and hellos.
pub fn host_name() -> String {
    gethostname::gethostname().to_string_lossy().into_owned()
}
