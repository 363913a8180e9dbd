//! What a task reads: its input parts, whole, by row group, by column.

use arrow::array::RecordBatch;
use bytes::Bytes;

use super::Task;
use crate::decisions::{DECISIONS, Decisions, LABEL, MERGES, Rulings};
use crate::digest::Digest;
use crate::error::{CoreError, StageError};
use crate::footer::Footer;
use crate::forgotten::Forgotten;
use crate::ledger::{Ledger, Record};
use crate::part::{self, Part};
use crate::part_reader::PartReader;
use crate::part_rows;
use crate::partition::Partition;
use crate::table::{Cell, Row, TableId};

impl Task {
    /// The input parts of `table`, in partition order.
    pub fn inputs(&self, table: TableId) -> impl Iterator<Item = &Part> {
        let lists = self.lists.iter().flat_map(|list| list.parts());
        let parts = self.spec.inputs.iter().chain(lists);
        parts.filter(move |p| p.table == table)
    }

    /// Who was taken down, if anybody was: rows of them are dropped as `forgotten` where they enter the run.
    ///
    /// # Errors
    /// As [`Forgotten::load`].
    pub fn forgotten(&self) -> Result<Option<Forgotten>, CoreError> {
        Forgotten::load(&self.context.store)
    }

    /// What people decided in a review, as this task was planned with; nothing where they struck out nothing.
    ///
    /// # Errors
    /// Decisions that changed since: the next run plans with them.
    pub fn rulings(&self) -> Result<Rulings, StageError> {
        self.decided(LABEL, Rulings::digest)
    }

    /// The names that people merged in a review, as this task was planned with.
    ///
    /// # Errors
    /// As [`Task::rulings`].
    pub fn merges(&self) -> Result<Rulings, StageError> {
        self.decided(MERGES, Rulings::merges_digest)
    }

    fn decided(
        &self,
        label: &str,
        digest: fn(&Rulings) -> Option<Digest>,
    ) -> Result<Rulings, StageError> {
        let planned = self.spec.key_parts.models.get(label).copied();
        let rulings = Decisions::load(&self.context.store)?.rulings();
        match digest(&rulings) == planned {
            true => Ok(rulings),
            false => Err(StageError::environment(format!(
                "{DECISIONS} changed after the task was planned: run `laioncele run` again"
            ))),
        }
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

    /// The rows of one part, `rows` of them decoded at a time ([`part::read_blocks`]).
    ///
    /// # Errors
    /// A damaged or foreign part.
    pub fn read_blocks<R: Row>(
        &self,
        part: &Part,
        rows: usize,
    ) -> Result<impl Iterator<Item = Result<Vec<R>, CoreError>> + use<R>, StageError> {
        let (store, dims) = (&self.context.store, self.embedding_dims());
        Ok(part::read_blocks::<R>(store, part, dims, rows)?)
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
        let mut records = ledger.history(&self.spec.step, &self.spec.partition)?;
        records.retain(|record| record.key != self.spec.key);
        Ok(records)
    }

    /// The record that this task replaces; none where it does not try again what failed.
    ///
    /// # Errors
    /// Ledger errors.
    pub fn replaced(&self) -> Result<Option<Record>, StageError> {
        if self.spec.again.is_none() {
            return Ok(None);
        }
        let ledger = Ledger::new(self.context.store.clone());
        Ok(ledger.find(&self.spec.step, &self.spec.partition, self.spec.key)?)
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
}
