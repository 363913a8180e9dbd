//! Parts: the immutable files of a table, written and read as Parquet, checked against their declared schema.

use arrow::array::RecordBatch;
use arrow::datatypes::Schema;
use bytes::Bytes;
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use parquet::basic::Compression;
use parquet::file::properties::{EnabledStatistics, WriterProperties};
use serde::{Deserialize, Serialize};

use crate::digest::Digest;
use crate::error::CoreError;
use crate::partition::Partition;
use crate::store::Store;
use crate::table::{EmbeddingDims, Row, TableId, describe, same_columns};

/// An immutable file of a table, as a ledger record names it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Part {
    /// The table.
    pub table: TableId,
    /// The shard or bucket whose rows it holds.
    pub partition: Partition,
    /// Object path in the store; for the source's shards the local file.
    pub path: String,
    /// Rows; 0 for files that are no tables.
    pub rows: u64,
    /// Size of the file.
    pub bytes: u64,
    /// BLAKE3 of the file.
    pub digest: Digest,
}

impl Part {
    /// Whether this part is a Parquet file with rows (else a file such as weights or a sheet).
    pub fn is_parquet(&self) -> bool {
        self.path.ends_with(".parquet")
    }
}

/// Rows of a batch where all of them are wanted.
const BATCH: usize = 1024;

/// Rows at most in a row group, so that a reader's memory is bounded whatever the part's size.
pub(crate) const ROW_GROUP: usize = 16_384;

/// `batches` as the bytes of a Parquet file: the same batches always give the same bytes.
///
/// # Errors
/// [`CoreError::Parquet`].
pub fn encode(
    schema: &std::sync::Arc<Schema>,
    batches: &[RecordBatch],
) -> Result<Vec<u8>, CoreError> {
    let mut encoder = PartEncoder::new(schema)?;
    for batch in batches {
        encoder.add(batch)?;
    }
    encoder.finish()
}

/// A part as it is written: rows go in, and what is held is their encoded bytes. The bytes are those of [`encode`],
/// whatever batches the rows come in, as long as each has [`ROW_GROUP`] rows but the last.
pub(crate) struct PartEncoder {
    writer: ArrowWriter<Vec<u8>>,
}

impl PartEncoder {
    /// A part without rows.
    pub(crate) fn new(schema: &std::sync::Arc<Schema>) -> Result<Self, CoreError> {
        let properties = WriterProperties::builder()
            .set_compression(Compression::SNAPPY)
            .set_created_by("laioncele".to_owned())
            .set_max_row_group_row_count(Some(ROW_GROUP))
            .set_statistics_enabled(EnabledStatistics::Chunk)
            .build();
        let writer = ArrowWriter::try_new(Vec::new(), schema.clone(), Some(properties));
        Ok(Self {
            writer: writer.map_err(fail)?,
        })
    }

    /// Adds the rows of a batch.
    pub(crate) fn add(&mut self, batch: &RecordBatch) -> Result<(), CoreError> {
        self.writer.write(batch).map_err(fail)
    }

    /// Bytes of the row groups that are full.
    pub(crate) fn bytes(&self) -> usize {
        self.writer.bytes_written()
    }

    /// The whole file.
    pub(crate) fn finish(self) -> Result<Vec<u8>, CoreError> {
        self.writer.into_inner().map_err(fail)
    }
}

fn fail(error: parquet::errors::ParquetError) -> CoreError {
    CoreError::parquet("parquet writer", error)
}

/// All rows of a part, its schema and version checked.
///
/// # Errors
/// [`CoreError::Schema`], [`CoreError::Newer`], [`CoreError::Parquet`] or a store error.
pub fn read_rows<R: Row>(
    store: &Store,
    part: &Part,
    dims: &EmbeddingDims,
) -> Result<Vec<R>, CoreError> {
    let mut rows = Vec::new();
    for batch in open_part::<R>(store, part, dims, BATCH)? {
        R::append(&batch?, dims, &mut rows)
            .map_err(|reason| CoreError::parquet(&part.path, reason))?;
    }
    Ok(rows)
}

/// The rows of a part, `rows` at a time and fewer at the end: what is held is the file and those.
///
/// # Errors
/// As [`read_rows`].
pub fn read_blocks<R: Row>(
    store: &Store,
    part: &Part,
    dims: &EmbeddingDims,
    rows: usize,
) -> Result<impl Iterator<Item = Result<Vec<R>, CoreError>> + use<R>, CoreError> {
    let (dims, path) = (*dims, part.path.clone());
    let batches = open_part::<R>(store, part, &dims, rows)?;
    Ok(batches.map(move |batch| R::from_batch(&batch?, &dims, &path)))
}

/// The batches of any Parquet file, unchecked, each with its own schema.
///
/// # Errors
/// [`CoreError::Parquet`].
pub fn read_batches(
    bytes: Bytes,
    path: &str,
) -> Result<impl Iterator<Item = Result<RecordBatch, CoreError>>, CoreError> {
    let builder =
        ParquetRecordBatchReaderBuilder::try_new(bytes).map_err(|e| CoreError::parquet(path, e))?;
    let reader = builder
        .with_batch_size(ROW_GROUP)
        .build()
        .map_err(|e| CoreError::parquet(path, e))?;
    let origin = path.to_owned();
    Ok(reader.map(move |batch| batch.map_err(|e| CoreError::parquet(&origin, e))))
}

/// Whether `found` is the schema of a part of `R`'s table.
///
/// # Errors
/// [`CoreError::Schema`], [`CoreError::Newer`].
pub(crate) fn check_schema<R: Row>(
    found: &Schema,
    path: &str,
    dims: &EmbeddingDims,
) -> Result<(), CoreError> {
    check(found, path, R::TABLE, R::VERSION, &R::schema(dims))
}

fn open_part<R: Row>(
    store: &Store,
    part: &Part,
    dims: &EmbeddingDims,
    rows: usize,
) -> Result<impl Iterator<Item = Result<RecordBatch, CoreError>> + use<R>, CoreError> {
    let (bytes, path) = (store.get(&part.path)?, part.path.as_str());
    let builder =
        ParquetRecordBatchReaderBuilder::try_new(bytes).map_err(|e| CoreError::parquet(path, e))?;
    check_schema::<R>(builder.schema(), path, dims)?;
    let reader = builder
        .with_batch_size(rows)
        .build()
        .map_err(|e| CoreError::parquet(path, e))?;
    let origin = path.to_owned();
    Ok(reader.map(move |batch| batch.map_err(|e| CoreError::parquet(&origin, e))))
}

fn check(
    found: &Schema,
    path: &str,
    table: TableId,
    version: u32,
    expected: &Schema,
) -> Result<(), CoreError> {
    let found_version = found
        .metadata()
        .get("laioncele.version")
        .and_then(|v| v.parse().ok())
        .unwrap_or(version);
    if found_version > version {
        return Err(CoreError::Newer {
            path: path.to_owned(),
            what: format!("table `{table}`"),
            found: found_version,
            known: version,
        });
    }
    if !same_columns(expected, found) {
        return Err(CoreError::Schema {
            path: path.to_owned(),
            table: table.to_string(),
            expected: describe(expected),
            found: describe(found),
        });
    }
    Ok(())
}
