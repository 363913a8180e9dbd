//! A running task: reads its input parts, writes its output parts, balances its rows, commits.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use arrow::array::RecordBatch;
use bytes::Bytes;

use crate::cache::Cache;
use crate::digest::Digest;
use crate::dropped::{DroppedPart, DroppedRow, DroppedRows};
use crate::drops::{DropReason, Unit};
use crate::error::{CoreError, StageError, chain};
use crate::ids::NameId;
use crate::key::KeyParts;
use crate::ledger::{Ledger, RECORD_FORMAT, Record, RowBalance};
use crate::manifest::Manifest;
use crate::part::{self, Part};
use crate::part_list::{ListRef, PartList};
use crate::part_reader::{Footer, PartReader};
use crate::part_rows;
use crate::part_writer::PartWriter;
use crate::partition::Partition;
use crate::resources::Resources;
use crate::spec::{Progress, RuntimeEnvironment, TaskSpec};
use crate::store::Store;
use crate::table::{Cell, EmbeddingDims, Row, TableId};

/// Receives a task's progress. Called often: an implementation decides what to pass on.
pub trait ProgressReporter: Send {
    /// The task has got this far.
    fn progress(&self, progress: Progress);
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
}

/// A running task. Handed to a step's `run`; committed by the caller.
pub struct Task {
    spec: TaskSpec,
    attempt: String,
    context: WorkerContext,
    reporter: Box<dyn ProgressReporter>,
    lists: Vec<Arc<PartList>>,
    outputs: Vec<Part>,
    dropped: DroppedRows,
    /// Why a part of dropped rows was not written; `progress` and the commit tell.
    failed_drop: Option<String>,
    balances: Vec<(Unit, u64, u64)>,
    metrics: BTreeMap<String, f64>,
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
        Ok(Self {
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

    /// What the result does not depend on: host map, threads.
    pub fn runtime_environment(&self) -> &RuntimeEnvironment {
        &self.context.runtime_environment
    }

    /// The input parts of `table`, in partition order.
    pub fn inputs(&self, table: TableId) -> impl Iterator<Item = &Part> {
        let lists = self.lists.iter().flat_map(|list| list.parts());
        let parts = self.spec.inputs.iter().chain(lists);
        parts.filter(move |p| p.table == table)
    }

    /// Rows in all input parts of `table`.
    pub fn rows_in(&self, table: TableId) -> u64 {
        self.inputs(table).map(|p| p.rows).sum()
    }

    /// All rows of `R`'s table in this task's inputs, in partition order.
    ///
    /// # Errors
    /// A damaged or foreign part.
    pub fn read<R: Row>(&self) -> Result<Vec<R>, StageError> {
        let mut rows = Vec::new();
        for part in self.inputs(R::TABLE) {
            rows.extend(self.read_part::<R>(part)?);
        }
        Ok(rows)
    }

    /// The rows of one part.
    ///
    /// # Errors
    /// A damaged or foreign part.
    pub fn read_part<R: Row>(&self, part: &Part) -> Result<Vec<R>, StageError> {
        Ok(part::read_rows(
            &self.context.store,
            part,
            self.embedding_dims(),
        )?)
    }

    /// The batches of a part, a row group in memory at a time.
    ///
    /// # Errors
    /// A damaged or foreign part.
    pub fn stream<R: Row>(&self, part: &Part) -> Result<PartReader, StageError> {
        let footer = Footer::read::<R>(&self.context.store, part, self.embedding_dims())?;
        Ok(PartReader::new(
            self.context.store.clone(),
            part,
            footer.into(),
        ))
    }

    /// The batches of the row groups of the task's own bucket in each input part of `R`'s table, in part order. Footers
    /// are read once per worker. A row group may hold rows of other buckets too.
    ///
    /// # Errors
    /// A damaged or foreign part; a task that works on no bucket.
    pub fn slices<R: Row>(&self) -> Result<Vec<PartReader>, StageError> {
        let Partition::Bucket(bucket) = *self.partition() else {
            let text = format!("`{}` is no bucket: it has no slice", self.partition());
            return Err(StageError::data(text));
        };
        let store = &self.context.store;
        let slice = |part: &Part| {
            let read = || Ok(Footer::read::<R>(store, part, self.embedding_dims())?);
            let footer = self.resource(&format!("footer of {}", part.path), read)?;
            let own = footer.of_bucket(bucket);
            Ok(PartReader::new(store.clone(), part, footer).groups(own))
        };
        self.inputs(R::TABLE).map(slice).collect()
    }

    /// The run's store, for scratch files.
    pub fn store(&self) -> &Store {
        &self.context.store
    }

    /// A part's bytes (files that are no tables).
    ///
    /// # Errors
    /// Store errors.
    pub fn read_bytes(&self, part: &Part) -> Result<Bytes, StageError> {
        Ok(self.context.store.get(&part.path)?)
    }

    /// The records of this step and partition under other keys, newest first: what they wrote a task may take over after
    /// checking that it is the same. Their parts may be gone.
    ///
    /// # Errors
    /// Ledger errors.
    pub fn earlier(&self) -> Result<Vec<Record>, StageError> {
        let ledger = Ledger::new(self.context.store.clone());
        Ok(ledger.history(&self.spec.step, &self.spec.partition)?)
    }

    /// The batches of some columns of a part; the others are not read ([`part_rows::read_columns`]).
    ///
    /// # Errors
    /// A damaged or foreign part.
    pub fn read_columns<R: Row>(
        &self,
        part: &Part,
        columns: &[&str],
    ) -> Result<impl Iterator<Item = Result<RecordBatch, CoreError>> + use<R>, StageError> {
        let (store, dims) = (&self.context.store, self.embedding_dims());
        Ok(part_rows::read_columns::<R>(store, part, dims, columns)?)
    }

    /// The values of a column of such a batch.
    ///
    /// # Errors
    /// No such column, or one of another type.
    pub fn column<T: Cell>(&self, batch: &RecordBatch, name: &str) -> Result<Vec<T>, StageError> {
        let fail = |reason: String| StageError::data(format!("column `{name}`: {reason}"));
        let column = batch.column_by_name(name);
        let column = column.ok_or_else(|| fail("it is not there".to_owned()))?;
        T::read(column, self.embedding_dims()).map_err(fail)
    }

    /// The rows of a part with these numbers, which are ascending ([`part_rows::read_selected`]).
    ///
    /// # Errors
    /// A damaged or foreign part.
    pub fn read_selected<R: Row>(
        &self,
        part: &Part,
        numbers: &[usize],
    ) -> Result<Vec<R>, StageError> {
        let (store, dims) = (&self.context.store, self.embedding_dims());
        Ok(part_rows::read_selected(store, part, dims, numbers)?)
    }

    /// Writes `rows` as a part of the task's own partition. Write also when there are none: the table then exists.
    ///
    /// # Errors
    /// A full disk and the like.
    pub fn write<R: Row>(&mut self, rows: Vec<R>) -> Result<(), StageError> {
        self.write_to(&self.spec.partition.clone(), rows)
    }

    /// Writes `rows` as a part of another partition (merge-names routes to buckets).
    ///
    /// # Errors
    /// A full disk and the like.
    pub fn write_to<R: Row>(
        &mut self,
        partition: &Partition,
        rows: Vec<R>,
    ) -> Result<(), StageError> {
        let batch = R::to_batch(rows, self.embedding_dims())?;
        self.write_batches::<R>(partition, &[batch])
    }

    /// Writes batches of `R`'s schema as one part.
    ///
    /// # Errors
    /// A full disk and the like.
    pub fn write_batches<R: Row>(
        &mut self,
        partition: &Partition,
        batches: &[RecordBatch],
    ) -> Result<(), StageError> {
        let rows = batches.iter().map(|b| b.num_rows() as u64).sum();
        let bytes = part::encode(&R::schema(self.embedding_dims()), batches)?;
        Ok(self.put(R::TABLE, partition, rows, "parquet", bytes)?)
    }

    /// A part of `R`'s table to be written as its rows come, with at most `group_rows` rows in a row group.
    ///
    /// # Errors
    /// A full or read-only disk.
    pub fn part_writer<R: Row>(&self, group_rows: usize) -> Result<PartWriter, StageError> {
        let schema = R::schema(self.embedding_dims());
        Ok(PartWriter::create(&self.context.store, schema, group_rows)?)
    }

    /// Makes what `writer` has written a part of `partition`.
    ///
    /// # Errors
    /// A full disk and the like.
    pub fn write_part<R: Row>(
        &mut self,
        partition: &Partition,
        writer: PartWriter,
    ) -> Result<(), StageError> {
        let written = writer.finish()?;
        let path = self.part_path(R::TABLE, partition, "parquet");
        self.context.store.adopt(written.file.path(), &path)?;
        self.outputs.push(Part {
            table: R::TABLE,
            partition: partition.clone(),
            path,
            rows: written.rows,
            bytes: written.bytes,
            digest: written.digest,
        });
        Ok(())
    }

    /// Where the next part that is written lies.
    fn part_path(&self, table: TableId, partition: &Partition, suffix: &str) -> String {
        let (key, number) = (self.spec.key.short(), self.outputs.len());
        format!(
            "tables/{table}/{partition}/{key}-{}-{number}.{suffix}",
            self.attempt
        )
    }

    /// Writes a part that is already Parquet (with row groups or schema metadata of its own); its columns must be `R`'s.
    ///
    /// # Errors
    /// A full disk and the like.
    pub fn write_encoded<R: Row>(&mut self, rows: u64, parquet: Vec<u8>) -> Result<(), StageError> {
        let partition = self.spec.partition.clone();
        Ok(self.put(R::TABLE, &partition, rows, "parquet", parquet)?)
    }

    /// What an interrupted attempt at this very task (same key) left under `name`.
    ///
    /// # Errors
    /// Store errors.
    pub fn checkpoint(&self, name: &str) -> Result<Option<Bytes>, StageError> {
        match self.context.store.get(&self.checkpoint_path(name)) {
            Ok(bytes) => Ok(Some(bytes)),
            Err(CoreError::Missing { .. }) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// Leaves `bytes` under `name` for a later attempt at this task. No part: no record names it, and it may be deleted
    /// at any time.
    ///
    /// # Errors
    /// A full disk and the like.
    pub fn save_checkpoint(&self, name: &str, bytes: Vec<u8>) -> Result<(), StageError> {
        Ok(self.context.store.put(&self.checkpoint_path(name), bytes)?)
    }

    /// Deletes what was left under `name`.
    ///
    /// # Errors
    /// Store errors.
    pub fn clear_checkpoint(&self, name: &str) -> Result<(), StageError> {
        Ok(self.context.store.delete(&self.checkpoint_path(name))?)
    }

    fn checkpoint_path(&self, name: &str) -> String {
        format!("cache/checkpoints/{}/{name}", self.spec.key)
    }

    /// Set when the run is asked to stop: for work that cannot report progress meanwhile.
    pub fn cancelled(&self) -> Arc<AtomicBool> {
        self.context.cancelled.clone()
    }

    /// A folder of the run's cache, which outlives the task: for what is dear to get and the same whenever it is got.
    pub fn cache(&self, folder: &str) -> Cache {
        Cache::new(self.context.store.clone(), folder)
    }

    /// Writes a file that is no table (weights, a sheet) as a part; `extension` without the dot, `name` for the reader.
    ///
    /// # Errors
    /// A full disk and the like.
    pub fn write_file(
        &mut self,
        table: TableId,
        name: &str,
        extension: &str,
        bytes: Vec<u8>,
    ) -> Result<(), StageError> {
        let partition = self.spec.partition.clone();
        let suffix = format!("{name}.{extension}");
        Ok(self.put(table, &partition, 0, &suffix, bytes)?)
    }

    fn put(
        &mut self,
        table: TableId,
        partition: &Partition,
        rows: u64,
        suffix: &str,
        bytes: Vec<u8>,
    ) -> Result<(), CoreError> {
        let (digest, size) = (Digest::of(&bytes), bytes.len() as u64);
        let path = self.part_path(table, partition, suffix);
        self.context.store.put(&path, bytes)?;
        self.outputs.push(Part {
            table,
            partition: partition.clone(),
            path,
            rows,
            bytes: size,
            digest,
        });
        Ok(())
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

    /// Writes the last dropped rows, checks the balances and creates the record. Returns it, and whether it is the one that
    /// counts: `false` where another copy of the task committed first.
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
            format: RECORD_FORMAT,
            stage: self.spec.stage,
            step: self.spec.step,
            partition: self.spec.partition,
            key: self.spec.key,
            key_parts: self.spec.key_parts,
            attempt: self.attempt,
            inputs: self.spec.inputs,
            lists: self.spec.lists,
            outputs: self.outputs,
            balances,
            metrics: self.metrics,
            started: self.started_at,
            seconds,
            host: host_name(),
            program: format!("laioncele {}", env!("CARGO_PKG_VERSION")),
        };
        let won = Ledger::new(self.context.store).commit(&record)?;
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

/// This machine's name, for records and hellos.
pub fn host_name() -> String {
    gethostname::gethostname().to_string_lossy().into_owned()
}
