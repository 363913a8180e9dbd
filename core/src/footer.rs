//! Where the row groups of a part are, read from its footer by a range of its file.

use std::ops::Range;
use std::sync::Arc;

use bytes::Buf;
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{ArrowReaderMetadata, ArrowReaderOptions};
use parquet::basic::{Compression, EncodingMask};
use parquet::errors::ParquetError;
use parquet::file::metadata::{
    ColumnChunkMetaData, FileMetaData, ParquetMetaData, ParquetMetaDataReader, RowGroupMetaData,
};
use parquet::file::statistics::Statistics;

use crate::error::CoreError;
use crate::part::{self, Part};
use crate::store::Store;
use crate::table::{EmbeddingDims, Row};

/// The column that says which bucket a row belongs to, in tables that are read in slices.
pub const BUCKET: &str = "bucket";

/// What stands behind the footer: its length and `PAR1`.
const TAIL: u64 = 8;

/// Where the row groups of a part are: about 32 bytes for each column of each. Parquet's own form takes twenty times that.
#[derive(Debug)]
pub struct Footer {
    pub(crate) file: FileMetaData,
    /// Of each column, the same in all row groups.
    codecs: Vec<Compression>,
    groups: Vec<Group>,
    /// Those of all row groups, one after the other.
    columns: Vec<ColumnChunk>,
}

#[derive(Debug)]
struct Group {
    rows: u32,
    /// Smallest and largest bucket of its rows, where the table has a column of them.
    buckets: Option<(u32, u32)>,
}

#[derive(Debug)]
struct ColumnChunk {
    start: u64,
    /// Bytes of the dictionary page at the start; 0 without one.
    dictionary: u32,
    compressed: u32,
    uncompressed: u32,
    values: u32,
    encodings: EncodingMask,
}

impl Footer {
    /// Reads the footer of a part of `R`'s table; its schema and version are checked.
    ///
    /// # Errors
    /// [`CoreError::Schema`], [`CoreError::Newer`], [`CoreError::Parquet`] or a store error.
    pub fn read<R: Row>(
        store: &Store,
        part: &Part,
        dims: &EmbeddingDims,
    ) -> Result<Self, CoreError> {
        let fail = |e: ParquetError| CoreError::parquet(&part.path, e);
        let metadata = metadata(store, part)?;
        let options = ArrowReaderOptions::new();
        let found = ArrowReaderMetadata::try_new(Arc::new(metadata), options).map_err(fail)?;
        part::check_schema::<R>(found.schema(), &part.path, dims)?;
        Self::of(found.metadata()).map_err(|reason| CoreError::parquet(&part.path, reason))
    }

    /// Reads the footer of a part, whatever its table.
    ///
    /// # Errors
    /// [`CoreError::Parquet`] or a store error.
    pub fn of_any(store: &Store, part: &Part) -> Result<Self, CoreError> {
        let metadata = metadata(store, part)?;
        Self::of(&metadata).map_err(|reason| CoreError::parquet(&part.path, reason))
    }

    fn of(metadata: &ParquetMetaData) -> Result<Self, String> {
        let chunks = || {
            metadata
                .row_groups()
                .iter()
                .flat_map(RowGroupMetaData::columns)
        };
        let codecs = |group: &RowGroupMetaData| -> Vec<Compression> {
            let columns = group.columns().iter();
            columns.map(ColumnChunkMetaData::compression).collect()
        };
        let mut all = metadata.row_groups().iter().map(codecs);
        let first = all.next().unwrap_or_default();
        if all.any(|others| others != first) {
            return Err("row groups of different codecs: not written by this program".to_owned());
        }
        let bucket = metadata
            .file_metadata()
            .schema_descr()
            .columns()
            .iter()
            .position(|column| column.path().string() == BUCKET);
        let group = |group: &RowGroupMetaData| {
            Ok(Group {
                rows: small(group.num_rows())?,
                buckets: bucket.and_then(|at| buckets(group.column(at))),
            })
        };
        Ok(Self {
            file: metadata.file_metadata().clone(),
            codecs: first,
            groups: metadata
                .row_groups()
                .iter()
                .map(group)
                .collect::<Result<_, String>>()?,
            columns: chunks()
                .map(ColumnChunk::of)
                .collect::<Result<_, String>>()?,
        })
    }

    /// The row groups that may hold rows of `bucket`: all those whose smallest and largest bucket enclose it.
    pub fn of_bucket(&self, bucket: u32) -> Vec<usize> {
        let holds = |group: &Group| {
            let within = |(low, high)| (low..=high).contains(&bucket);
            group.buckets.is_none_or(within)
        };
        let numbered = self.groups.iter().enumerate();
        numbered
            .filter(|(_, group)| holds(group))
            .map(|(at, _)| at)
            .collect()
    }

    /// For each row group the smallest and largest bucket of its rows; none where the table has no column of them.
    pub fn buckets(&self) -> impl Iterator<Item = Option<(u32, u32)>> {
        self.groups.iter().map(|group| group.buckets)
    }

    /// How many row groups there are.
    pub(crate) fn groups(&self) -> usize {
        self.groups.len()
    }

    fn chunks(&self, group: usize) -> &[ColumnChunk] {
        let width = self.file.schema_descr().num_columns();
        &self.columns[group * width..(group + 1) * width]
    }

    /// The bytes of the columns of a row group, from the first that is read to the last.
    pub(crate) fn range(&self, group: usize, columns: &ProjectionMask) -> Range<u64> {
        let all = self.chunks(group).iter().enumerate();
        let chunks: Vec<_> = all
            .filter(|(leaf, _)| columns.leaf_included(*leaf))
            .map(|(_, chunk)| chunk)
            .collect();
        let start = chunks.iter().map(|c| c.start).min().unwrap_or(0);
        let end = chunks
            .iter()
            .map(|c| c.start + u64::from(c.compressed))
            .max();
        start..end.unwrap_or(start)
    }

    /// The metadata of a file that has this row group only.
    pub(crate) fn metadata(&self, group: usize) -> Result<ParquetMetaData, ParquetError> {
        let schema = self.file.schema_descr_ptr();
        let mut builder = RowGroupMetaData::builder(schema.clone());
        let mut bytes = 0;
        let columns = schema.columns().iter().zip(&self.codecs);
        for (chunk, (column, codec)) in self.chunks(group).iter().zip(columns) {
            bytes += i64::from(chunk.uncompressed);
            let start = chunk.start as i64;
            let dictionary = (chunk.dictionary > 0).then_some(start);
            builder = builder.add_column_metadata(
                ColumnChunkMetaData::builder(column.clone())
                    .set_encodings_mask(chunk.encodings)
                    .set_compression(*codec)
                    .set_num_values(chunk.values.into())
                    .set_total_compressed_size(chunk.compressed.into())
                    .set_total_uncompressed_size(chunk.uncompressed.into())
                    .set_dictionary_page_offset(dictionary)
                    .set_data_page_offset(start + i64::from(chunk.dictionary))
                    .build()?,
            );
        }
        let rows = i64::from(self.groups[group].rows);
        let group = builder
            .set_num_rows(rows)
            .set_total_byte_size(bytes)
            .build()?;
        let file = FileMetaData::new(
            self.file.version(),
            rows,
            self.file.created_by().map(str::to_owned),
            self.file.key_value_metadata().cloned(),
            schema,
            self.file.column_orders().cloned(),
        );
        Ok(ParquetMetaData::new(file, vec![group]))
    }
}

impl ColumnChunk {
    fn of(chunk: &ColumnChunkMetaData) -> Result<Self, String> {
        let data = chunk.data_page_offset();
        let start = chunk.dictionary_page_offset().unwrap_or(data).min(data);
        Ok(Self {
            start: u64::try_from(start).map_err(|_| "a column before the file".to_owned())?,
            dictionary: small(data - start)?,
            compressed: small(chunk.compressed_size())?,
            uncompressed: small(chunk.uncompressed_size())?,
            values: small(chunk.num_values())?,
            encodings: *chunk.encodings_mask(),
        })
    }
}

fn small(number: i64) -> Result<u32, String> {
    u32::try_from(number).map_err(|_| format!("a row group of {number} bytes or rows"))
}

fn buckets(chunk: &ColumnChunkMetaData) -> Option<(u32, u32)> {
    let Some(Statistics::Int32(found)) = chunk.statistics() else {
        return None;
    };
    Some((*found.min_opt()? as u32, *found.max_opt()? as u32))
}

/// Parquet's own form of a part's footer.
fn metadata(store: &Store, part: &Part) -> Result<ParquetMetaData, CoreError> {
    let broken = |reason: &str| CoreError::parquet(&part.path, reason.to_owned());
    let cut = || broken("no Parquet file: it is too short");
    let end = part.bytes.checked_sub(TAIL).ok_or_else(cut)?;
    let mut tail = store.get_range(&part.path, end..part.bytes)?;
    let length = u64::from(tail.get_u32_le());
    if tail.as_ref() != b"PAR1" {
        return Err(broken("no Parquet file: it does not end in PAR1"));
    }
    let start = end.checked_sub(length).ok_or_else(cut)?;
    let footer = store.get_range(&part.path, start..end)?;
    ParquetMetaDataReader::decode_metadata(&footer).map_err(|e| CoreError::parquet(&part.path, e))
}
