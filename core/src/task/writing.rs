//! What a task writes: its parts, and what it leaves for a later attempt.

use arrow::array::RecordBatch;
use bytes::Bytes;

use super::Task;
use crate::cache::Cache;
use crate::digest::Digest;
use crate::error::{CoreError, StageError, chain};
use crate::part::{self, Part};
use crate::part_writer::PartWriter;
use crate::partition::Partition;
use crate::table::{Row, TableId};

impl Task {
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

    /// Takes over a part of the record that this task replaces, as it is.
    pub fn keep(&mut self, part: Part) {
        self.outputs.push(part);
    }

    /// Writes rows of `R` as the object `path`, which is no part: no record names it, and its digest counts nowhere.
    ///
    /// # Errors
    /// A full disk and the like.
    pub fn write_beside<R: Row>(&self, path: &str, writer: PartWriter) -> Result<(), StageError> {
        let written = writer.finish()?;
        Ok(self.context.store.adopt(written.file.path(), path)?)
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

    /// Deletes what was left under `name`, once the record is there: a kill before that costs no work.
    pub fn clear_checkpoint(&mut self, name: &str) {
        let (store, path) = (self.context.store.clone(), self.checkpoint_path(name));
        self.after_commit(move || {
            if let Err(error) = store.delete(&path) {
                tracing::warn!("{path} is not needed any more and stays: {}", chain(&error));
            }
        });
    }

    fn checkpoint_path(&self, name: &str) -> String {
        format!("cache/checkpoints/{}/{name}", self.spec.key)
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

    pub(super) fn put(
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
}
