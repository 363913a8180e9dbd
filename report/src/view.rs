//! A run's tables as they can be read now.

use std::cell::RefCell;
use std::collections::BTreeSet;

use arrow::array::{AsArray, RecordBatch};
use arrow::datatypes::{UInt32Type, UInt64Type};
use laioncele_core::error::chain;
use laioncele_core::ledger::Record;
use laioncele_core::part::read_rows;
use laioncele_core::part_rows::{read_columns, read_selected};
use laioncele_core::store::Store;
use laioncele_core::{CoreError, EmbeddingDims, Manifest, NameId, Part, Partition, Row, TableId};

/// Remarks that are kept at most: a folder whose parts are all gone says so a few times.
const MOST_REMARKS: usize = 20;

/// A run as it can be read: its store, its manifest and the records of its tables.
pub struct RunView {
    /// The store.
    pub store: Store,
    /// The manifest that the records belong to.
    pub manifest: Manifest,
    /// The records that count, one for each task that is done.
    pub records: Vec<Record>,
    remarks: RefCell<BTreeSet<String>>,
}

/// The bucket of a name of the run.
pub fn bucket_of(manifest: &Manifest, name: NameId) -> Partition {
    Partition::Bucket(name.bucket(manifest.run.buckets))
}

impl RunView {
    /// The run in `store` whose tables `records` wrote.
    pub fn new(store: Store, manifest: Manifest, records: Vec<Record>) -> Self {
        let remarks = RefCell::default();
        Self {
            store,
            manifest,
            records,
            remarks,
        }
    }

    /// Adds what must be known to read what is shown, a sentence.
    pub fn remark(&self, text: impl Into<String>) {
        let mut remarks = self.remarks.borrow_mut();
        if remarks.len() < MOST_REMARKS {
            remarks.insert(text.into());
        }
    }

    /// What was not to be read so far, and what else was remarked.
    pub fn remarks(&self) -> Vec<String> {
        self.remarks.borrow().iter().cloned().collect()
    }

    /// The lengths of embeddings.
    pub fn dims(&self) -> &EmbeddingDims {
        &self.manifest.embedding_dims
    }

    /// The parts of a table, in the order of the records.
    pub fn parts(&self, table: TableId) -> impl Iterator<Item = &Part> {
        self.records.iter().flat_map(move |r| r.outputs_of(table))
    }

    /// The parts of a table in one partition.
    pub fn parts_in<'a>(
        &'a self,
        table: TableId,
        partition: &'a Partition,
    ) -> impl Iterator<Item = &'a Part> {
        self.parts(table).filter(move |p| p.partition == *partition)
    }

    /// Whether any task has written the table.
    pub fn has(&self, table: TableId) -> bool {
        self.parts(table).next().is_some()
    }

    /// The rows of `parts`; a part that cannot be read is remarked and left out.
    pub fn rows<'a, R: Row>(&self, parts: impl Iterator<Item = &'a Part>) -> Vec<R> {
        let mut rows = Vec::new();
        for part in parts {
            match read_rows::<R>(&self.store, part, self.dims()) {
                Ok(more) => rows.extend(more),
                Err(error) => self.unreadable(&error),
            }
        }
        rows
    }

    /// All rows of `R`'s table.
    pub fn table<R: Row>(&self) -> Vec<R> {
        self.rows(self.parts(R::TABLE))
    }

    /// The rows of `part` for whose values of the column `name_id` and, where `second` names one, of another column of numbers
    /// `wanted` holds. Only these columns are read of the others: a part may hold gigabytes of images.
    pub fn select<R: Row>(
        &self,
        part: &Part,
        second: Option<&str>,
        wanted: impl FnMut(u64, u64) -> bool,
    ) -> Vec<R> {
        self.try_select(part, second, wanted)
            .unwrap_or_else(|error| {
                self.unreadable(&error);
                Vec::new()
            })
    }

    fn try_select<R: Row>(
        &self,
        part: &Part,
        second: Option<&str>,
        mut wanted: impl FnMut(u64, u64) -> bool,
    ) -> Result<Vec<R>, CoreError> {
        let mut columns = vec!["name_id"];
        columns.extend(second);
        let (mut numbers, mut at) = (Vec::new(), 0);
        for batch in read_columns::<R>(&self.store, part, self.dims(), &columns)? {
            let batch = batch?;
            let names = column(&batch, "name_id", part)?;
            let others = match second {
                Some(other) => column(&batch, other, part)?,
                None => vec![0; names.len()],
            };
            for (name, other) in names.into_iter().zip(others) {
                if wanted(name, other) {
                    numbers.push(at);
                }
                at += 1;
            }
        }
        match numbers.is_empty() {
            true => Ok(Vec::new()),
            false => read_selected::<R>(&self.store, part, self.dims(), &numbers),
        }
    }

    /// An object that a part names, such as a loss curve.
    pub fn bytes(&self, part: &Part) -> Option<Vec<u8>> {
        match self.store.get(&part.path) {
            Ok(bytes) => Some(bytes.to_vec()),
            Err(error) => {
                self.unreadable(&error);
                None
            }
        }
    }

    /// Remarks that something could not be read.
    pub fn unreadable(&self, error: &CoreError) {
        self.remark(format!("Left out: {}", chain(error)));
    }
}

/// A column of ids or counts.
fn column(batch: &RecordBatch, name: &str, part: &Part) -> Result<Vec<u64>, CoreError> {
    let missing = || CoreError::parquet(&part.path, format!("no column `{name}` of numbers"));
    let column = batch.column_by_name(name).ok_or_else(missing)?;
    if let Some(wide) = column.as_primitive_opt::<UInt64Type>() {
        return Ok(wide.values().to_vec());
    }
    let narrow = column
        .as_primitive_opt::<UInt32Type>()
        .ok_or_else(missing)?;
    Ok(narrow.values().iter().copied().map(u64::from).collect())
}
