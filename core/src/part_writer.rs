//! Writes a part as its rows come, into a file and not into memory: a row group is all that is held.

use std::fs::File;
use std::io::{self, BufWriter, Write};

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use parquet::arrow::ArrowWriter;
use parquet::basic::Compression;
use parquet::errors::ParquetError;
use parquet::file::properties::{EnabledStatistics, WriterProperties};
use parquet::schema::types::ColumnPath;

use crate::digest::Digest;
use crate::error::CoreError;
use crate::footer::{BUCKET, Footer};
use crate::part::Part;
use crate::part_reader::PartReader;
use crate::partition::Partition;
use crate::scratch::{SCRATCH, ScratchFile};
use crate::store::Store;
use crate::table::{EmbeddingDims, Row};

/// A part while it is written. It becomes one through [`crate::Task::write_part`].
pub struct PartWriter {
    writer: ArrowWriter<Counting>,
    file: ScratchFile,
    rows: u64,
}

/// A written file that is no part yet.
pub struct WrittenPart {
    /// The file.
    pub file: ScratchFile,
    /// Its rows.
    pub rows: u64,
    /// Its size.
    pub bytes: u64,
    /// BLAKE3 of it.
    pub digest: Digest,
}

impl WrittenPart {
    /// Its rows, where it stays a scratch file.
    ///
    /// # Errors
    /// A broken disk.
    pub fn reader<R: Row>(
        &self,
        store: &Store,
        dims: &EmbeddingDims,
    ) -> Result<PartReader, CoreError> {
        let name = self.file.path().file_name().unwrap_or_default();
        let part = Part {
            table: R::TABLE,
            partition: Partition::Whole,
            path: format!("{SCRATCH}/{}", name.to_string_lossy()),
            rows: self.rows,
            bytes: self.bytes,
            digest: self.digest,
        };
        let footer = Footer::read::<R>(store, &part, dims)?;
        Ok(PartReader::new(store.clone(), &part, footer.into()))
    }
}

impl PartWriter {
    /// A part without rows, with at most `group_rows` rows in a row group.
    ///
    /// Of its columns only `bucket` gets statistics, if it has one: they are what a slice is found by, and in a file of
    /// thousands of row groups the footer must stay small.
    ///
    /// # Errors
    /// A full or read-only disk.
    pub fn create(store: &Store, schema: SchemaRef, group_rows: usize) -> Result<Self, CoreError> {
        let (file, open) = ScratchFile::create(store)?;
        let properties = WriterProperties::builder()
            .set_compression(Compression::SNAPPY)
            .set_created_by("laioncele".to_owned())
            .set_max_row_group_row_count(Some(group_rows.max(1)))
            .set_statistics_enabled(EnabledStatistics::None)
            .set_column_statistics_enabled(ColumnPath::from(BUCKET), EnabledStatistics::Chunk)
            .set_offset_index_disabled(true)
            .build();
        let counting = Counting {
            file: BufWriter::with_capacity(1 << 18, open),
            hasher: blake3::Hasher::new(),
            bytes: 0,
        };
        let writer = ArrowWriter::try_new(counting, schema, Some(properties));
        Ok(Self {
            writer: writer.map_err(|e| failed(&file, e))?,
            file,
            rows: 0,
        })
    }

    /// Adds rows.
    ///
    /// # Errors
    /// A full disk; rows of other columns.
    pub fn add(&mut self, batch: &RecordBatch) -> Result<(), CoreError> {
        self.rows += batch.num_rows() as u64;
        self.writer.write(batch).map_err(|e| failed(&self.file, e))
    }

    /// Ends the row group: the next row begins another.
    ///
    /// # Errors
    /// A full disk.
    pub fn end_group(&mut self) -> Result<(), CoreError> {
        self.writer.flush().map_err(|e| failed(&self.file, e))
    }

    /// Rows added so far.
    pub fn rows(&self) -> u64 {
        self.rows
    }

    /// The whole file.
    ///
    /// # Errors
    /// A full disk.
    pub fn finish(self) -> Result<WrittenPart, CoreError> {
        let counting = self
            .writer
            .into_inner()
            .map_err(|e| failed(&self.file, e))?;
        let io = |e: io::Error| CoreError::from_io(self.file.path(), e);
        let Counting {
            file,
            hasher,
            bytes,
        } = counting;
        file.into_inner().map_err(|e| io(e.into_error()))?;
        Ok(WrittenPart {
            file: self.file,
            rows: self.rows,
            bytes,
            digest: Digest(*hasher.finalize().as_bytes()),
        })
    }
}

fn failed(file: &ScratchFile, error: ParquetError) -> CoreError {
    match error {
        ParquetError::External(cause) => match cause.downcast::<io::Error>() {
            Ok(error) => CoreError::from_io(file.path(), *error),
            Err(cause) => CoreError::parquet(file.path().to_string_lossy(), cause),
        },
        error => CoreError::parquet(file.path().to_string_lossy(), error),
    }
}

/// A file that counts and hashes what is written to it.
struct Counting {
    file: BufWriter<File>,
    hasher: blake3::Hasher,
    bytes: u64,
}

impl Write for Counting {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        let written = self.file.write(buffer)?;
        self.hasher.update(&buffer[..written]);
        self.bytes += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}
