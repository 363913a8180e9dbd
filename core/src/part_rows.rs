//! Single rows and columns of a part, read page by page: what is held is a page and what was asked for, so that a few
//! images are taken out of a part of hundreds of megabytes.

use std::io::{BufReader, Read};
use std::ops::Range;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::Schema;
use bytes::Bytes;
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{ParquetRecordBatchReaderBuilder, RowSelection};
use parquet::errors::ParquetError;
use parquet::file::reader::{ChunkReader, Length};

use crate::error::CoreError;
use crate::part::{self, Part};
use crate::store::Store;
use crate::table::{EmbeddingDims, Row};

/// Rows of a batch.
const BATCH: usize = 1024;
/// Bytes that are asked for at once where no length is known.
const READ_AHEAD: usize = 16 << 10;

/// The batches of some columns of a part, in the order of the schema; the other columns are not read.
///
/// # Errors
/// [`CoreError::Schema`], [`CoreError::Newer`], [`CoreError::Parquet`] or a store error.
pub fn read_columns<R: Row>(
    store: &Store,
    part: &Part,
    dims: &EmbeddingDims,
    columns: &[&str],
) -> Result<impl Iterator<Item = Result<RecordBatch, CoreError>> + use<R>, CoreError> {
    let builder = open::<R>(store, part, dims)?;
    let mask = ProjectionMask::columns(builder.parquet_schema(), columns.iter().copied());
    let path = part.path.clone();
    let fail = move |e: ParquetError| CoreError::parquet(&path, e);
    let reader = builder.with_projection(mask).with_batch_size(BATCH);
    let reader = reader.build().map_err(&fail)?;
    let path = part.path.clone();
    Ok(reader.map(move |batch| batch.map_err(|e| CoreError::parquet(&path, e))))
}

/// The rows of a part with these numbers, which are ascending and each less than the part's rows.
///
/// # Errors
/// As [`read_columns`].
pub fn read_selected<R: Row>(
    store: &Store,
    part: &Part,
    dims: &EmbeddingDims,
    numbers: &[usize],
) -> Result<Vec<R>, CoreError> {
    let fail = |e: ParquetError| CoreError::parquet(&part.path, e);
    let builder = open::<R>(store, part, dims)?;
    let total = usize::try_from(builder.metadata().file_metadata().num_rows()).unwrap_or(0);
    let ascending = numbers.windows(2).all(|pair| pair[0] < pair[1]);
    if !ascending || numbers.last().is_some_and(|last| *last >= total) {
        let reason = format!("no such rows: the part has {total}");
        return Err(CoreError::parquet(&part.path, reason));
    }
    let ranges = numbers.iter().map(|&number| number..number + 1);
    let selection = RowSelection::from_consecutive_ranges(ranges, total);
    // One row at a time: a column of images is then never read further than what is asked for.
    let reader = builder.with_row_selection(selection).with_batch_size(1);
    let mut rows = Vec::with_capacity(numbers.len());
    for batch in reader.build().map_err(fail)? {
        let batch = batch.map_err(|e| CoreError::parquet(&part.path, e))?;
        rows.extend(R::from_batch(&batch, dims, &part.path)?);
    }
    Ok(rows)
}

fn open<R: Row>(
    store: &Store,
    part: &Part,
    dims: &EmbeddingDims,
) -> Result<ParquetRecordBatchReaderBuilder<StoredFile>, CoreError> {
    let file = StoredFile {
        store: store.clone(),
        path: part.path.as_str().into(),
        length: part.bytes,
    };
    let builder = ParquetRecordBatchReaderBuilder::try_new(file)
        .map_err(|e| CoreError::parquet(&part.path, e))?;
    let schema: &Arc<Schema> = builder.schema();
    part::check_schema::<R>(schema, &part.path, dims)?;
    Ok(builder)
}

/// A part's file, read by ranges.
#[derive(Clone)]
struct StoredFile {
    store: Store,
    path: Arc<str>,
    length: u64,
}

impl StoredFile {
    fn range(&self, range: Range<u64>) -> Result<Bytes, ParquetError> {
        let bytes = self.store.get_range(&self.path, range);
        bytes.map_err(|e| ParquetError::External(Box::new(e)))
    }
}

impl Length for StoredFile {
    fn len(&self) -> u64 {
        self.length
    }
}

impl ChunkReader for StoredFile {
    type T = BufReader<StoredReader>;

    fn get_read(&self, start: u64) -> Result<Self::T, ParquetError> {
        let reader = StoredReader {
            file: self.clone(),
            at: start,
        };
        Ok(BufReader::with_capacity(READ_AHEAD, reader))
    }

    fn get_bytes(&self, start: u64, length: usize) -> Result<Bytes, ParquetError> {
        let end = start.saturating_add(length as u64);
        if end > self.length {
            let reason = format!("bytes {start} to {end} of a file of {}", self.length);
            return Err(ParquetError::EOF(reason));
        }
        self.range(start..end)
    }
}

/// A part's file from some byte on.
struct StoredReader {
    file: StoredFile,
    at: u64,
}

impl Read for StoredReader {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let left = self.file.length.saturating_sub(self.at);
        let end = self.at + left.min(buffer.len() as u64);
        let bytes = self.file.range(self.at..end);
        let bytes = bytes.map_err(std::io::Error::other)?;
        buffer[..bytes.len()].copy_from_slice(&bytes);
        self.at = end;
        Ok(bytes.len())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::ids::NameId;
    use crate::partition::Partition;
    use crate::table::{Cell, Image, Portrait};
    use crate::testing::StepHarness;

    /// Images of 50 kB, so that a part has many pages.
    fn portrait(k: usize) -> Portrait {
        let noise = |i: usize| ((i * 2_654_435_761 + k * 40_503) >> 7) as u8;
        Portrait {
            name_id: NameId(k as u64 / 4),
            index: k as u32 % 4,
            seed: k as u64,
            image: Image {
                bytes: (0..50_000).map(noise).collect(),
                path: format!("{k}.png"),
            },
            settings: "s".to_owned(),
        }
    }

    fn part(harness: &StepHarness, rows: usize) -> Part {
        let rows = (0..rows).map(portrait).collect();
        harness.part(&Partition::Bucket(0), rows).expect("a part")
    }

    #[test]
    fn columns_are_read_without_the_others() {
        let folder = tempfile::tempdir().expect("a folder");
        let harness = StepHarness::new(folder.path(), "").expect("a harness");
        let part = part(&harness, 30);
        let dims = &harness.manifest.embedding_dims;
        let read = read_columns::<Portrait>(&harness.store, &part, dims, &["seed", "index"]);
        let mut seeds = Vec::new();
        for batch in read.expect("a reader") {
            let batch = batch.expect("a batch");
            assert_eq!(batch.num_columns(), 2);
            let column = batch.column_by_name("seed").expect("the column");
            seeds.extend(u64::read(column, dims).expect("numbers"));
        }
        assert_eq!(seeds, (0..30).collect::<Vec<u64>>());
    }

    #[test]
    fn rows_that_are_not_there_are_an_error() {
        let folder = tempfile::tempdir().expect("a folder");
        let harness = StepHarness::new(folder.path(), "").expect("a harness");
        let part = part(&harness, 3);
        let dims = &harness.manifest.embedding_dims;
        let read = |rows: &[usize]| read_selected::<Portrait>(&harness.store, &part, dims, rows);
        for wrong in [&[3][..], &[1, 1], &[2, 0]] {
            assert!(read(wrong).is_err(), "{wrong:?}");
        }
        harness.store.delete(&part.path).expect("deleted");
        assert!(read(&[0]).is_err());
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]

        #[test]
        fn selected_rows_are_those_of_the_part(wanted in prop::collection::btree_set(0usize..40, 0..12)) {
            let folder = tempfile::tempdir().expect("a folder");
            let harness = StepHarness::new(folder.path(), "").expect("a harness");
            let part = part(&harness, 40);
            let numbers: Vec<usize> = wanted.into_iter().collect();
            let dims = &harness.manifest.embedding_dims;
            let rows = read_selected::<Portrait>(&harness.store, &part, dims, &numbers);
            let expected: Vec<Portrait> = numbers.iter().map(|k| portrait(*k)).collect();
            prop_assert_eq!(rows.expect("rows"), expected);
        }
    }
}
