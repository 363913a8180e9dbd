//! A Parquet file: its columns checked by its footer, its rows read in batches.
//!
//! Text is read as bytes whatever the file declares, so that one value that is not UTF-8 costs its
//! row and not the file.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BinaryArray, Float64Array, RecordBatch, StringArray};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Float64Type, Schema};
use arrow::error::ArrowError;
use laioncele_core::input::InputFile;
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{
    ArrowReaderMetadata, ArrowReaderOptions, ParquetRecordBatchReader,
    ParquetRecordBatchReaderBuilder, RowSelection,
};
use parquet::basic::{Compression, ConvertedType, LogicalType, Type as PhysicalType};
use parquet::errors::ParquetError;
use parquet::file::metadata::{FileMetaData, ParquetMetaData, RowGroupMetaData};
use parquet::schema::types::{SchemaDescriptor, Type};

use crate::batch::{BATCH_BYTES, BATCH_ROWS, SourceBatch, hash_text};
use crate::detect::{Detected, Wanted};
use crate::error::SourceError;
use crate::role::Role;

/// Images that the reader holds at once, besides those that were read.
const IMAGES_AT_ONCE: usize = 16;

/// An image of a row, or the size of one that is too large.
pub(crate) type RowImage = Option<Result<Vec<u8>, u64>>;

/// An open file whose columns are as they must be.
pub(crate) struct ParquetFile {
    file: InputFile,
    metadata: ArrowReaderMetadata,
    pub(crate) detected: Detected,
    pub(crate) names: Vec<String>,
    /// Whether each column is declared as text.
    texts: Vec<bool>,
}

impl ParquetFile {
    /// Reads the footer of the file at `path`.
    pub(crate) fn open(path: &Path, file: InputFile, wanted: &Wanted) -> Result<Self, SourceError> {
        let not_parquet = |source| SourceError::NotParquet {
            path: path.to_owned(),
            source,
        };
        let (metadata, texts) = metadata(&file).map_err(not_parquet)?;
        let schema = metadata.schema();
        let names: Vec<String> = schema.fields().iter().map(|f| f.name().clone()).collect();
        let is_usable = |role: Role, number: usize| {
            let kind = schema.field(number).data_type();
            role != Role::Image || (fits(role, kind) && !texts[number])
        };
        let mut detected = wanted.detect(path, &names, is_usable)?;
        check_types(schema, path, &names, &detected, wanted)?;
        check_codecs(metadata.metadata(), path)?;
        // Without the images, the metadata of an earlier download says nothing of the next one.
        if !detected.columns.contains_key(&Role::Image) && !wanted.maps(Role::Status) {
            detected.columns.remove(&Role::Status);
        }
        Ok(Self {
            file,
            metadata,
            detected,
            names,
            texts,
        })
    }

    /// Rows in the file.
    pub(crate) fn rows(&self) -> u64 {
        let rows = self.metadata.metadata().file_metadata().num_rows();
        u64::try_from(rows).unwrap_or(0)
    }

    /// Its rows, in order; `origin` stands before the place of an image.
    pub(crate) fn batches(self, origin: String) -> Result<ParquetBatches, ParquetError> {
        let read = |(role, _): &(&Role, &usize)| **role != Role::Image;
        let columns: BTreeMap<Role, String> = self
            .detected
            .columns
            .iter()
            .filter(read)
            .map(|(role, number)| (*role, self.names[*number].clone()))
            .collect();
        let numbers = self.detected.columns.iter().filter(read).map(|(_, n)| *n);
        let metadata = self.metadata.metadata();
        let mask = ProjectionMask::roots(metadata.file_metadata().schema_descr(), numbers);
        let batch_rows = batch_rows(metadata, &mask);
        let hash = self.detected.columns.get(&Role::Hash);
        let hash_is_text = hash.is_some_and(|number| self.texts[*number]);
        let has_images = self.detected.columns.contains_key(&Role::Image);
        let reader = ParquetRecordBatchReaderBuilder::new_with_metadata(self.file, self.metadata)
            .with_projection(mask)
            .with_batch_size(batch_rows)
            .build()?;
        Ok(ParquetBatches {
            reader,
            columns,
            hash_is_text,
            origin: has_images.then_some(origin),
            row: 0,
        })
    }

    /// The images of `rows`, which are ascending and each other than the one before; none where the
    /// value is null, the size of one that is longer than `max_bytes`.
    pub(crate) fn images(self, rows: &[u64], max_bytes: u64) -> Result<Vec<RowImage>, String> {
        let number = self.detected.columns.get(&Role::Image);
        let number = *number.ok_or("it has no column of images")?;
        if rows.last().is_some_and(|last| *last >= self.rows()) {
            return Err(format!("it has {} rows", self.rows()));
        }
        let metadata = self.metadata.metadata().clone();
        let mask = ProjectionMask::roots(metadata.file_metadata().schema_descr(), [number]);
        let (groups, selection) = select(metadata.row_groups(), rows);
        let reader = ParquetRecordBatchReaderBuilder::new_with_metadata(self.file, self.metadata)
            .with_projection(mask)
            .with_row_groups(groups)
            .with_row_selection(selection)
            .with_batch_size(IMAGES_AT_ONCE)
            .build()
            .map_err(|e| e.to_string())?;
        let image = |bytes: &[u8]| match bytes.len() as u64 {
            length if length > max_bytes => Err(length),
            _ => Ok(bytes.to_vec()),
        };
        let mut images = Vec::with_capacity(rows.len());
        for batch in reader {
            let batch = batch.map_err(|e| e.to_string())?;
            let mut column = batch.column(0).clone();
            if let Some(parts) = column.as_struct_opt() {
                column = parts.column_by_name("bytes").ok_or("no bytes")?.clone();
            }
            let values = column.as_binary_opt::<i32>().ok_or("no bytes")?;
            images.extend(values.iter().map(|value| value.map(image)));
        }
        Ok(images)
    }
}

/// The row groups that hold `rows`, and which of their rows these are.
fn select(all: &[RowGroupMetaData], rows: &[u64]) -> (Vec<usize>, RowSelection) {
    let (mut groups, mut ranges) = (Vec::new(), Vec::new());
    let (mut first, mut before) = (0_u64, 0_usize);
    for (number, group) in all.iter().enumerate() {
        let length = u64::try_from(group.num_rows()).unwrap_or(0);
        let here = rows
            .iter()
            .filter(|row| (first..first + length).contains(*row));
        let here: Vec<usize> = here.map(|row| before + (row - first) as usize).collect();
        if !here.is_empty() {
            groups.push(number);
            ranges.extend(here.into_iter().map(|row| row..row + 1));
            before += length as usize;
        }
        first += length;
    }
    let selection = RowSelection::from_consecutive_ranges(ranges.into_iter(), before);
    (groups, selection)
}

/// The file's metadata, with all text declared as bytes: the Parquet reader would fail a whole
/// batch for one value that is not UTF-8. And for each column whether it was declared as text.
fn metadata(file: &InputFile) -> Result<(ArrowReaderMetadata, Vec<bool>), ParquetError> {
    let options = || ArrowReaderOptions::new().with_skip_arrow_metadata(true);
    let found = ArrowReaderMetadata::load(file, options())?;
    let meta = found.metadata().file_metadata();
    let root = meta.schema();
    let texts = root.get_fields().iter().map(|f| is_text(f)).collect();
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
    let metadata = Arc::new(ParquetMetaData::new(meta, row_groups));
    Ok((ArrowReaderMetadata::try_new(metadata, options())?, texts))
}

fn is_text(field: &Type) -> bool {
    let info = field.get_basic_info();
    let converted = [
        ConvertedType::UTF8,
        ConvertedType::JSON,
        ConvertedType::ENUM,
    ];
    let logical = info.logical_type_ref();
    field.is_primitive()
        && field.get_physical_type() == PhysicalType::BYTE_ARRAY
        && (converted.contains(&info.converted_type())
            || matches!(
                logical,
                Some(LogicalType::String | LogicalType::Json | LogicalType::Enum)
            ))
}

fn as_bytes(field: &Arc<Type>) -> Result<Arc<Type>, ParquetError> {
    if !is_text(field) {
        return Ok(field.clone());
    }
    Type::primitive_type_builder(field.name(), PhysicalType::BYTE_ARRAY)
        .with_repetition(field.get_basic_info().repetition())
        .build()
        .map(Arc::new)
}

/// Whether a column of this type can have this role.
fn fits(role: Role, kind: &DataType) -> bool {
    let is_number = kind.is_integer() || kind.is_floating();
    match role {
        _ if kind == &DataType::Null => role != Role::Image,
        Role::Hash => is_number || matches!(kind, DataType::Binary | DataType::FixedSizeBinary(_)),
        Role::Image => match kind {
            DataType::Binary => true,
            DataType::Struct(parts) => (parts.iter())
                .any(|part| part.name() == "bytes" && part.data_type() == &DataType::Binary),
            _ => false,
        },
        role if role.is_number() => is_number,
        _ => kind == &DataType::Binary,
    }
}

fn check_types(
    schema: &Schema,
    path: &Path,
    names: &[String],
    detected: &Detected,
    wanted: &Wanted,
) -> Result<(), SourceError> {
    for (role, number) in &detected.columns {
        let found = schema.field(*number).data_type();
        if fits(*role, found) {
            continue;
        }
        let mapped_by = match detected.layout {
            Some(layout) if !wanted.maps(*role) => format!("layout {layout}"),
            None if !wanted.maps(*role) => "its name".to_owned(),
            _ => "[source.columns]".to_owned(),
        };
        return Err(SourceError::ColumnType {
            path: path.to_owned(),
            column: names[*number].clone(),
            mapping: format!("{mapped_by} maps to `{}`", role.as_str()),
            expected: match role {
                Role::Hash => "text or bytes, or an integer",
                Role::Image => "bytes, or a struct with `bytes`",
                role if role.is_number() => "an integer or floating-point number",
                _ => "text or bytes",
            },
            found: match found {
                DataType::Binary => "text or bytes".to_owned(),
                found => found.to_string(),
            },
        });
    }
    Ok(())
}

/// Every codec that the format has is read, but the one that nobody writes.
fn check_codecs(metadata: &ParquetMetaData, path: &Path) -> Result<(), SourceError> {
    let mut columns = metadata
        .row_groups()
        .iter()
        .flat_map(RowGroupMetaData::columns);
    if columns.any(|column| column.compression() == Compression::LZO) {
        return Err(SourceError::NotOfFormat {
            path: path.to_owned(),
            format: "Parquet that can be read",
            reason: "it is compressed with LZO: write it again with another codec".to_owned(),
        });
    }
    Ok(())
}

/// Rows of a batch such that a batch of the row group with the longest rows is about
/// [`BATCH_BYTES`].
fn batch_rows(metadata: &ParquetMetaData, mask: &ProjectionMask) -> usize {
    let row_bytes = |group: &RowGroupMetaData| {
        let columns = group.columns().iter().enumerate();
        let read = columns.filter(|(leaf, _)| mask.leaf_included(*leaf));
        let bytes: i64 = read.map(|(_, column)| column.uncompressed_size()).sum();
        usize::try_from(bytes / group.num_rows().max(1)).unwrap_or(usize::MAX)
    };
    let longest = metadata.row_groups().iter().map(row_bytes).max();
    (BATCH_BYTES / longest.unwrap_or(0).max(1)).clamp(1, BATCH_ROWS)
}

/// The rows of a file, batch by batch.
pub(crate) struct ParquetBatches {
    reader: ParquetRecordBatchReader,
    /// Role → the file's name of the column.
    columns: BTreeMap<Role, String>,
    hash_is_text: bool,
    /// What stands before the place of an image; none where the file holds no images.
    origin: Option<String>,
    row: u64,
}

impl Iterator for ParquetBatches {
    type Item = Result<SourceBatch, ArrowError>;

    fn next(&mut self) -> Option<Self::Item> {
        let batch = self.reader.next()?;
        Some(batch.and_then(|batch| {
            let first = self.row;
            self.row += batch.num_rows() as u64;
            let mut typed = typed(&batch, &self.columns, self.hash_is_text)?;
            if self.origin.is_some() {
                // Where images were tried, no status is no success.
                let status = typed.status.take();
                typed.status = status.map(|s| s.iter().map(|v| Some(v.unwrap_or(b""))).collect());
            }
            typed.image_at = self.origin.as_ref().map(|origin| {
                let places = (first..self.row).map(|row| Some(format!("{origin}#row{row}")));
                places.collect()
            });
            Ok(typed)
        }))
    }
}

fn typed(
    batch: &RecordBatch,
    columns: &BTreeMap<Role, String>,
    hash_is_text: bool,
) -> Result<SourceBatch, ArrowError> {
    let column = |role: Role| batch.column_by_name(columns.get(&role)?);
    let bytes = |role| -> Option<BinaryArray> {
        column(role).and_then(|c| c.as_binary_opt::<i32>()).cloned()
    };
    let number = |role| -> Result<Option<Float64Array>, ArrowError> {
        let values = column(role).map(|values| cast(values, &DataType::Float64));
        Ok(values
            .transpose()?
            .map(|v| v.as_primitive::<Float64Type>().clone()))
    };
    Ok(SourceBatch {
        rows: batch.num_rows(),
        url: bytes(Role::Url),
        caption: bytes(Role::Caption),
        nsfw: bytes(Role::Nsfw),
        status: bytes(Role::Status),
        hash: column(Role::Hash)
            .map(|values| hashes(values, hash_is_text))
            .transpose()?,
        width: number(Role::Width)?,
        height: number(Role::Height)?,
        punsafe: number(Role::Punsafe)?,
        pwatermark: number(Role::Pwatermark)?,
        similarity: number(Role::Similarity)?,
        image_at: None,
        malformed: None,
    })
}

/// Hashes as text: what `is_text` and numbers as they are, bytes as [`hash_text`] has them.
fn hashes(values: &ArrayRef, is_text: bool) -> Result<StringArray, ArrowError> {
    if let Some(bytes) = values.as_binary_opt::<i32>() {
        if is_text {
            return Ok(bytes
                .iter()
                .map(|v| v.map(String::from_utf8_lossy))
                .collect());
        }
        return Ok(bytes.iter().map(|v| v.map(hash_text)).collect());
    }
    if let Some(bytes) = values.as_fixed_size_binary_opt() {
        return Ok(bytes.iter().map(|v| v.map(hash_text)).collect());
    }
    let numbers = if values.data_type().is_floating() {
        cast(values, &DataType::Int64)?
    } else {
        values.clone()
    };
    Ok(cast(&numbers, &DataType::Utf8)?.as_string::<i32>().clone())
}
