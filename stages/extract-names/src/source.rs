//! A file of the source: opened, its mapped columns checked, read batch by batch.
//!
//! Text is read as bytes whatever the file declares, so that one value that is not UTF-8 costs its
//! row and not the file.

use std::collections::BTreeMap;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow::array::{Array, AsArray, BinaryArray, Float32Array, Float64Array, RecordBatch};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Float32Type, Float64Type, Schema};
use arrow::error::ArrowError;
use laioncele_core::Manifest;
use laioncele_core::manifest::suggestion;
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{
    ArrowReaderMetadata, ArrowReaderOptions, ParquetRecordBatchReader,
    ParquetRecordBatchReaderBuilder,
};
use parquet::basic::{ConvertedType, Type as PhysicalType};
use parquet::errors::ParquetError;
use parquet::file::metadata::{FileMetaData, ParquetMetaData};
use parquet::schema::types::{SchemaDescriptor, Type};

use crate::error::SourceError;

/// Rows of a batch at most.
const BATCH_ROWS: usize = 8192;
/// Bytes of a batch by the file's own count, so that long captions make short batches.
const BATCH_BYTES: usize = 16 << 20;

/// What a usable source consists of.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SourceSummary {
    /// Parquet files.
    pub files: usize,
    /// Rows of all files.
    pub rows: u64,
    /// Bytes of all files.
    pub bytes: u64,
}

/// Checks every file of the source: Parquet, with all mapped columns, each of a type that it can
/// have. Reads the files' footers only.
///
/// # Errors
/// [`SourceError`] of the first file that cannot be used, or of a source that is missing or empty.
pub fn check_source(manifest: &Manifest) -> Result<SourceSummary, SourceError> {
    let mut summary = SourceSummary::default();
    for shard in manifest.shards()? {
        let file = SourceFile::open(&shard.path, &manifest.source.columns)?;
        summary.files += 1;
        summary.rows += file.rows();
        summary.bytes += file.file.metadata().map_or(0, |m| m.len());
    }
    Ok(summary)
}

/// An open file whose columns are as they must be.
pub(crate) struct SourceFile {
    path: PathBuf,
    file: File,
    metadata: ArrowReaderMetadata,
    /// Our name → number of the file's column.
    columns: BTreeMap<String, usize>,
}

impl SourceFile {
    /// Opens `path`; `columns` is our name → the file's.
    pub(crate) fn open(
        path: &Path,
        columns: &BTreeMap<String, String>,
    ) -> Result<Self, SourceError> {
        let file = File::open(path).map_err(|source| SourceError::Open {
            path: path.to_owned(),
            source,
        })?;
        let metadata = metadata(&file).map_err(|source| SourceError::NotParquet {
            path: path.to_owned(),
            source,
        })?;
        check_present(metadata.schema(), path, columns)?;
        let find = |(role, column): (&String, &String)| {
            let number = find_column(metadata.schema(), path, role, column);
            number.map(|number| (role.clone(), number))
        };
        Ok(Self {
            columns: columns.iter().map(find).collect::<Result<_, _>>()?,
            path: path.to_owned(),
            file,
            metadata,
        })
    }

    /// Rows in the file.
    pub(crate) fn rows(&self) -> u64 {
        let rows = self.metadata.metadata().file_metadata().num_rows();
        u64::try_from(rows).unwrap_or(0)
    }

    /// Its rows, in order.
    pub(crate) fn batches(self) -> Result<Batches, SourceError> {
        let fail = |error: ParquetError| SourceError::Damaged {
            path: self.path.clone(),
            row: 0,
            source: error.into(),
        };
        let (metadata, schema) = (self.metadata.metadata(), self.metadata.schema());
        let names = |(role, number): (&String, &usize)| {
            (role.clone(), schema.field(*number).name().clone())
        };
        let columns = self.columns.iter().map(names).collect();
        let numbers = self.columns.values().copied();
        let mask = ProjectionMask::roots(metadata.file_metadata().schema_descr(), numbers);
        let batch_rows = batch_rows(metadata, &mask);
        let reader = ParquetRecordBatchReaderBuilder::new_with_metadata(self.file, self.metadata)
            .with_projection(mask)
            .with_batch_size(batch_rows)
            .build()
            .map_err(fail)?;
        Ok(Batches {
            reader,
            columns,
            path: self.path,
            row: 0,
        })
    }
}

/// The file's metadata, with all text declared as bytes: the Parquet reader would fail a whole
/// batch for one value that is not UTF-8.
fn metadata(file: &File) -> Result<ArrowReaderMetadata, ParquetError> {
    let options = || ArrowReaderOptions::new().with_skip_arrow_metadata(true);
    let found = ArrowReaderMetadata::load(file, options())?;
    let meta = found.metadata().file_metadata();
    let root = meta.schema();
    let fields = root.get_fields().iter();
    let fields = fields.map(as_bytes).collect::<Result<_, _>>()?;
    let root = Type::group_type_builder(root.name())
        .with_fields(fields)
        .build()?;
    let meta = FileMetaData::new(
        meta.version(),
        meta.num_rows(),
        meta.created_by().map(str::to_owned),
        None,
        Arc::new(SchemaDescriptor::new(Arc::new(root))),
        None,
    );
    let row_groups = found.metadata().row_groups().to_vec();
    ArrowReaderMetadata::try_new(Arc::new(ParquetMetaData::new(meta, row_groups)), options())
}

fn as_bytes(field: &Arc<Type>) -> Result<Arc<Type>, ParquetError> {
    let info = field.get_basic_info();
    if !field.is_primitive() || info.converted_type() != ConvertedType::UTF8 {
        return Ok(field.clone());
    }
    Type::primitive_type_builder(field.name(), PhysicalType::BYTE_ARRAY)
        .with_repetition(info.repetition())
        .build()
        .map(Arc::new)
}

/// Whether the file has all mapped columns; if not, the error names each that is missing.
fn check_present(
    schema: &Schema,
    path: &Path,
    columns: &BTreeMap<String, String>,
) -> Result<(), SourceError> {
    let mut absent = (columns.iter()).filter(|(_, column)| schema.index_of(column).is_err());
    let Some((role, column)) = absent.next() else {
        return Ok(());
    };
    let names: Vec<String> = schema.fields().iter().map(|f| f.name().clone()).collect();
    let others: String = absent
        .map(|(role, column)| format!("; no column `{column}` for `{role}`"))
        .collect();
    Err(SourceError::MissingColumn {
        path: path.to_owned(),
        column: column.clone(),
        role: role.clone(),
        hint: suggestion(column, &names) + &others,
    })
}

/// The number of `column`, which is in the file and must be of a type that `role` can have.
fn find_column(
    schema: &Schema,
    path: &Path,
    role: &str,
    column: &str,
) -> Result<usize, SourceError> {
    let number = schema.index_of(column).unwrap_or_default();
    let found = schema.field(number).data_type();
    let is_text = ["url", "caption", "hash"].contains(&role);
    let (fits, expected) = if is_text {
        (found == &DataType::Binary, "text or bytes")
    } else {
        (
            found.is_integer() || found.is_floating(),
            "an integer or floating-point number",
        )
    };
    if fits {
        return Ok(number);
    }
    Err(SourceError::ColumnType {
        path: path.to_owned(),
        column: column.to_owned(),
        role: role.to_owned(),
        expected,
        found: match found {
            DataType::Binary => "text or bytes".to_owned(),
            found => found.to_string(),
        },
    })
}

/// Rows of a batch such that a batch of the row group with the longest rows is about
/// [`BATCH_BYTES`].
fn batch_rows(metadata: &ParquetMetaData, mask: &ProjectionMask) -> usize {
    let row_bytes = |group: &parquet::file::metadata::RowGroupMetaData| {
        let columns = group.columns().iter().enumerate();
        let read = columns.filter(|(leaf, _)| mask.leaf_included(*leaf));
        let bytes: i64 = read.map(|(_, column)| column.uncompressed_size()).sum();
        usize::try_from(bytes / group.num_rows().max(1)).unwrap_or(usize::MAX)
    };
    let longest = metadata.row_groups().iter().map(row_bytes).max();
    (BATCH_BYTES / longest.unwrap_or(0).max(1)).clamp(1, BATCH_ROWS)
}

/// The rows of a file, batch by batch.
pub(crate) struct Batches {
    reader: ParquetRecordBatchReader,
    /// Our name → the file's.
    columns: BTreeMap<String, String>,
    path: PathBuf,
    row: u64,
}

impl Iterator for Batches {
    type Item = Result<SourceBatch, SourceError>;

    fn next(&mut self) -> Option<Self::Item> {
        let batch = self.reader.next()?;
        let row = self.row;
        let typed = batch.and_then(|batch| {
            self.row += batch.num_rows() as u64;
            SourceBatch::new(&batch, &self.columns)
        });
        Some(typed.map_err(|source| SourceError::Damaged {
            path: self.path.clone(),
            row,
            source,
        }))
    }
}

/// Some rows of a file; columns that are not mapped are absent.
pub(crate) struct SourceBatch {
    rows: usize,
    url: Option<BinaryArray>,
    caption: Option<BinaryArray>,
    hash: Option<BinaryArray>,
    width: Option<Float64Array>,
    height: Option<Float64Array>,
    punsafe: Option<Float32Array>,
    pwatermark: Option<Float32Array>,
    similarity: Option<Float32Array>,
}

/// A row as the file has it. Numbers that are null or not finite are absent.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct SourceRow<'a> {
    pub(crate) url: Option<&'a [u8]>,
    pub(crate) caption: Option<&'a [u8]>,
    pub(crate) hash: Option<&'a [u8]>,
    pub(crate) width: Option<f64>,
    pub(crate) height: Option<f64>,
    pub(crate) punsafe: Option<f32>,
    pub(crate) pwatermark: Option<f32>,
    pub(crate) similarity: Option<f32>,
}

impl SourceBatch {
    fn new(batch: &RecordBatch, columns: &BTreeMap<String, String>) -> Result<Self, ArrowError> {
        let column = |role: &str| {
            let name = columns.get(role)?;
            batch.column_by_name(name)
        };
        let text = |role| column(role).and_then(|c| c.as_binary_opt::<i32>()).cloned();
        let size = |role| match column(role) {
            Some(values) => cast(values, &DataType::Float64)
                .map(|v| Some(v.as_primitive::<Float64Type>().clone())),
            None => Ok(None),
        };
        let score = |role| match column(role) {
            Some(values) => cast(values, &DataType::Float32)
                .map(|v| Some(v.as_primitive::<Float32Type>().clone())),
            None => Ok(None),
        };
        Ok(Self {
            rows: batch.num_rows(),
            url: text("url"),
            caption: text("caption"),
            hash: text("hash"),
            width: size("width")?,
            height: size("height")?,
            punsafe: score("punsafe")?,
            pwatermark: score("pwatermark")?,
            similarity: score("similarity")?,
        })
    }

    /// Its rows, in order.
    pub(crate) fn rows(&self) -> Vec<SourceRow<'_>> {
        (0..self.rows).map(|i| self.row(i)).collect()
    }

    fn row(&self, i: usize) -> SourceRow<'_> {
        let size = |values: &Option<Float64Array>| {
            let values = values.as_ref().filter(|v| v.is_valid(i))?;
            Some(values.value(i)).filter(|v| v.is_finite())
        };
        let score = |values: &Option<Float32Array>| {
            let values = values.as_ref().filter(|v| v.is_valid(i))?;
            Some(values.value(i)).filter(|v| v.is_finite())
        };
        SourceRow {
            url: bytes(self.url.as_ref(), i),
            caption: bytes(self.caption.as_ref(), i),
            hash: bytes(self.hash.as_ref(), i),
            width: size(&self.width),
            height: size(&self.height),
            punsafe: score(&self.punsafe),
            pwatermark: score(&self.pwatermark),
            similarity: score(&self.similarity),
        }
    }
}

fn bytes(values: Option<&BinaryArray>, i: usize) -> Option<&[u8]> {
    let values = values.filter(|v| v.is_valid(i))?;
    Some(values.value(i))
}
