//! `NNNNN_status.parquet`: what became of each row of a shard, in the list's order.

use std::fs::File;
use std::path::Path;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Int32Array, Int64Array, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Field, Int32Type, Int64Type, Schema};
use laioncele_core::DropReason;
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use parquet::basic::{Compression, ZstdLevel};
use parquet::file::properties::WriterProperties;

use super::error::ShardError;
use super::row::ShardRows;
use super::whole::{Unfinished, appear, unfinished};
use crate::outcome::{End, Outcome};

/// The class of a row that is a photo.
pub const SUCCESS: &str = "success";

/// What became of a row.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct StatusRow {
    /// Why it is no photo; none of a photo.
    pub(crate) reason: Option<DropReason>,
    pub(crate) detail: Option<String>,
    pub(crate) http_status: Option<u16>,
    /// Of the file as it came.
    pub(crate) bytes: Option<u64>,
    pub(crate) sha256: Option<String>,
    pub(crate) extension: Option<String>,
    pub(crate) width: Option<u32>,
    pub(crate) height: Option<u32>,
    pub(crate) original_width: Option<u32>,
    pub(crate) original_height: Option<u32>,
    /// All tries together, as those below of the last time that it was asked for.
    pub(crate) milliseconds: u64,
    pub(crate) attempts: u64,
}

impl StatusRow {
    /// The row's class.
    pub(crate) fn class(&self) -> &'static str {
        self.reason.map_or(SUCCESS, DropReason::as_str)
    }

    /// A row that was not asked for.
    pub(crate) fn fault(reason: DropReason, detail: &str) -> Self {
        Self {
            reason: Some(reason),
            detail: Some(detail.to_owned()),
            ..Self::default()
        }
    }

    /// A row that ended so; its photo, if it is one, has `bytes`.
    pub(crate) fn of(outcome: Outcome, bytes: u64) -> Self {
        let tries = &outcome.tries;
        let row = Self {
            http_status: tries.last().and_then(|tried| tried.status),
            milliseconds: tries.iter().map(|tried| tried.took).sum(),
            attempts: tries.len() as u64,
            ..Self::default()
        };
        match outcome.end {
            End::Dropped { reason, detail } => Self {
                reason: Some(reason),
                detail,
                ..row
            },
            End::Photo {
                sha256,
                extension,
                width,
                height,
                original,
            } => Self {
                bytes: Some(original.map_or(bytes, |original| original.bytes)),
                sha256: Some(sha256),
                extension: Some(extension),
                width: Some(width),
                height: Some(height),
                original_width: Some(original.map_or(width, |original| original.width)),
                original_height: Some(original.map_or(height, |original| original.height)),
                ..row
            },
        }
    }
}

const COLUMNS: [(&str, DataType); 15] = [
    ("key", DataType::Utf8),
    ("url", DataType::Utf8),
    ("class", DataType::Utf8),
    ("detail", DataType::Utf8),
    ("http_status", DataType::Int32),
    ("bytes", DataType::Int64),
    ("sha256", DataType::Utf8),
    ("extension", DataType::Utf8),
    ("width", DataType::Int32),
    ("height", DataType::Int32),
    ("original_width", DataType::Int32),
    ("original_height", DataType::Int32),
    ("milliseconds", DataType::Int64),
    ("attempts", DataType::Int32),
    ("caption", DataType::Utf8),
];

/// Writes the table of a shard.
pub(crate) fn write(
    path: &Path,
    shard: &ShardRows,
    rows: &[StatusRow],
    rows_per_shard: usize,
) -> Result<(), ShardError> {
    let unfinished = unfinished(path);
    let _guard = Unfinished(unfinished.clone());
    let fields = COLUMNS.map(|(name, kind)| Field::new(name, kind, true));
    let schema = Arc::new(Schema::new(fields.to_vec()));
    let properties = WriterProperties::builder()
        .set_compression(Compression::ZSTD(ZstdLevel::default()))
        .build();
    let file = File::create(&unfinished).map_err(ShardError::io(&unfinished))?;
    let columns = columns(shard, rows, rows_per_shard);
    let batch = RecordBatch::try_new(schema.clone(), columns).map_err(ShardError::table(path))?;
    let written = ArrowWriter::try_new(file, schema, Some(properties)).and_then(|mut writer| {
        writer.write(&batch)?;
        writer.into_inner()
    });
    let file = written.map_err(ShardError::table(path))?;
    file.sync_data().map_err(ShardError::io(path))?;
    appear(path)
}

fn columns(shard: &ShardRows, rows: &[StatusRow], rows_per_shard: usize) -> Vec<ArrayRef> {
    fn texts<'a>(values: impl Iterator<Item = Option<&'a str>>) -> ArrayRef {
        Arc::new(values.collect::<StringArray>())
    }
    let own = |get: fn(&StatusRow) -> Option<&str>| texts(rows.iter().map(get));
    let small = |get: fn(&StatusRow) -> Option<u32>| -> ArrayRef {
        let values = rows
            .iter()
            .map(get)
            .map(|v| v.and_then(|v| i32::try_from(v).ok()));
        Arc::new(values.collect::<Int32Array>())
    };
    let large = |get: fn(&StatusRow) -> Option<u64>| -> ArrayRef {
        let values = rows
            .iter()
            .map(get)
            .map(|v| v.and_then(|v| i64::try_from(v).ok()));
        Arc::new(values.collect::<Int64Array>())
    };
    let keys: StringArray = (0..rows.len())
        .map(|row| Some(shard.key(row, rows_per_shard)))
        .collect();
    vec![
        Arc::new(keys),
        texts(shard.rows.iter().map(|row| row.url.as_deref())),
        own(|row| Some(row.class())),
        own(|row| row.detail.as_deref()),
        small(|row| row.http_status.map(u32::from)),
        large(|row| row.bytes),
        own(|row| row.sha256.as_deref()),
        own(|row| row.extension.as_deref()),
        small(|row| row.width),
        small(|row| row.height),
        small(|row| row.original_width),
        small(|row| row.original_height),
        large(|row| Some(row.milliseconds)),
        small(|row| u32::try_from(row.attempts).ok()),
        texts(shard.rows.iter().map(|row| row.caption.as_deref())),
    ]
}

/// The table of a finished shard, whose rows must have the urls of `shard`.
pub(crate) fn read(path: &Path, shard: &ShardRows) -> Result<Vec<StatusRow>, ShardError> {
    let file = File::open(path).map_err(ShardError::io(path))?;
    let reader = ParquetRecordBatchReaderBuilder::try_new(file)
        .and_then(ParquetRecordBatchReaderBuilder::build);
    let mut rows = Vec::with_capacity(shard.rows.len());
    for batch in reader.map_err(ShardError::table(path))? {
        let batch = batch.map_err(ShardError::table(path))?;
        let found = batch_rows(&batch, shard.rows.get(rows.len()..).unwrap_or_default());
        rows.extend(found.map_err(|reason| ShardError::Damaged {
            path: path.to_owned(),
            reason,
        })?);
    }
    if rows.len() != shard.rows.len() {
        return Err(ShardError::Damaged {
            path: path.to_owned(),
            reason: format!("{} rows instead of {}", rows.len(), shard.rows.len()),
        });
    }
    Ok(rows)
}

fn batch_rows(batch: &RecordBatch, rows: &[super::row::Row]) -> Result<Vec<StatusRow>, String> {
    let column = |name: &str| {
        batch
            .column_by_name(name)
            .ok_or(format!("no column {name}"))
    };
    let text = |name: &str| {
        let column = column(name)?.as_string_opt::<i32>();
        column.ok_or(format!("{name} is no text"))
    };
    let small = |name: &str| {
        let column = column(name)?.as_primitive_opt::<Int32Type>();
        column.ok_or(format!("{name} is no number"))
    };
    let large = |name: &str| {
        let column = column(name)?.as_primitive_opt::<Int64Type>();
        column.ok_or(format!("{name} is no number"))
    };
    let (url, class, detail) = (text("url")?, text("class")?, text("detail")?);
    let (sha256, extension) = (text("sha256")?, text("extension")?);
    let (http_status, attempts) = (small("http_status")?, small("attempts")?);
    let (width, height) = (small("width")?, small("height")?);
    let (original_width, original_height) = (small("original_width")?, small("original_height")?);
    let (bytes, milliseconds) = (large("bytes")?, large("milliseconds")?);
    let words =
        |values: &StringArray, i: usize| values.is_valid(i).then(|| values.value(i).to_owned());
    let size = |values: &Int32Array, i: usize| {
        let valid = values.is_valid(i).then(|| values.value(i));
        valid.and_then(|v| u32::try_from(v).ok())
    };
    let count = |values: &Int64Array, i: usize| {
        let valid = values.is_valid(i).then(|| values.value(i));
        valid.and_then(|v| u64::try_from(v).ok())
    };
    let row = |i: usize| {
        if words(url, i).as_deref() != rows.get(i).and_then(|row| row.url.as_deref()) {
            return Err(format!("row {i} is not the list's row"));
        }
        let class = words(class, i).ok_or("a row without class")?;
        let reason = match class.as_str() {
            SUCCESS => None,
            class => Some(
                class
                    .parse()
                    .map_err(|_| format!("unknown class {class}"))?,
            ),
        };
        Ok(StatusRow {
            reason,
            detail: words(detail, i),
            http_status: size(http_status, i).and_then(|v| u16::try_from(v).ok()),
            bytes: count(bytes, i),
            sha256: words(sha256, i),
            extension: words(extension, i),
            width: size(width, i),
            height: size(height, i),
            original_width: size(original_width, i),
            original_height: size(original_height, i),
            milliseconds: count(milliseconds, i).unwrap_or(0),
            attempts: size(attempts, i).unwrap_or(0).into(),
        })
    };
    (0..batch.num_rows()).map(row).collect()
}
