//! A shard as a Parquet file: small row groups, and the schema as Hugging Face `datasets` reads it.
//! The same rows always give the same bytes.

use std::fs::File;
use std::io::{BufWriter, Read, Seek, SeekFrom, Write};
use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, make_array};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use arrow::error::ArrowError;
use laioncele_core::error::Cause;
use laioncele_core::table::{LaionCele, Row};
use laioncele_core::{CoreError, EmbeddingDims};
use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression, ZstdLevel};
use parquet::file::metadata::KeyValue;
use parquet::file::properties::{EnabledStatistics, WriterProperties};
use parquet::schema::types::ColumnPath;
use serde_json::{Map, Value, json};

use crate::column_order;

/// The schema metadata key that `datasets` looks for.
const HUGGING_FACE: &str = "huggingface";
/// Columns of pictures: a struct of `bytes` and `path`.
pub(crate) const PICTURES: [&str; 2] = ["image", "aligned_face"];

/// `rows` as a Parquet file, as the step writes it; the same rows always give the same bytes.
///
/// # Errors
/// [`CoreError::Parquet`].
pub fn encode(
    rows: Vec<LaionCele>,
    dims: &EmbeddingDims,
    row_group: usize,
) -> Result<Vec<u8>, CoreError> {
    let mut writer = ShardWriter::new(Vec::new(), &LaionCele::schema(dims), row_group)?;
    let mut rows = rows.into_iter().peekable();
    while rows.peek().is_some() {
        let group = rows.by_ref().take(row_group).collect();
        writer.add(&LaionCele::to_batch(group, dims)?)?;
    }
    writer.into_bytes()
}

/// A shard on its way into a file or memory, a row group of which is held.
pub(crate) struct ShardWriter<W: Write + Send> {
    writer: ArrowWriter<W>,
    schema: SchemaRef,
}

impl<W: Write + Send> ShardWriter<W> {
    /// A shard without rows, of the columns that `declared` names, under its metadata.
    ///
    /// # Errors
    /// [`CoreError::Parquet`].
    pub(crate) fn new(to: W, declared: &Schema, row_group: usize) -> Result<Self, CoreError> {
        let schema = Arc::new(published(declared));
        let features = schema.metadata().get(HUGGING_FACE).cloned();
        let properties = properties(row_group, features.unwrap_or_default()).map_err(fail)?;
        let writer = ArrowWriter::try_new(to, schema.clone(), Some(properties)).map_err(fail)?;
        Ok(Self { writer, schema })
    }

    /// Adds rows of these columns; what may be null is of no matter.
    ///
    /// # Errors
    /// [`CoreError::Parquet`].
    pub(crate) fn add(&mut self, batch: &RecordBatch) -> Result<(), CoreError> {
        let columns = batch.columns().iter().zip(self.schema.fields());
        let columns = columns.map(|(column, field)| retyped(column, field.data_type()));
        let columns = columns.collect::<Result<Vec<_>, _>>().map_err(fail)?;
        let batch = RecordBatch::try_new(self.schema.clone(), columns).map_err(fail)?;
        self.writer.write(&batch).map_err(fail)
    }

    fn finish(self) -> Result<(W, usize), CoreError> {
        let leaves = self.schema.fields().iter().map(|field| leaves(field)).sum();
        Ok((self.writer.into_inner().map_err(fail)?, leaves))
    }
}

impl ShardWriter<Vec<u8>> {
    /// The whole file.
    ///
    /// # Errors
    /// [`CoreError::Parquet`].
    pub(crate) fn into_bytes(self) -> Result<Vec<u8>, CoreError> {
        let (mut bytes, leaves) = self.finish()?;
        column_order::make_type_defined(&mut bytes, leaves).map_err(fail)?;
        Ok(bytes)
    }
}

impl ShardWriter<BufWriter<File>> {
    /// Ends the file.
    ///
    /// # Errors
    /// A full disk.
    pub(crate) fn into_file(self) -> Result<File, CoreError> {
        let (buffered, leaves) = self.finish()?;
        let mut file = buffered.into_inner().map_err(|e| fail(e.into_error()))?;
        let length = file.seek(SeekFrom::End(0)).map_err(fail)?;
        let start = length.saturating_sub(column_order::tail(leaves));
        let mut tail = Vec::new();
        file.seek(SeekFrom::Start(start)).map_err(fail)?;
        file.read_to_end(&mut tail).map_err(fail)?;
        column_order::make_type_defined(&mut tail, leaves).map_err(fail)?;
        file.seek(SeekFrom::Start(start)).map_err(fail)?;
        file.write_all(&tail).map_err(fail)?;
        Ok(file)
    }
}

fn fail(cause: impl Into<Cause>) -> CoreError {
    CoreError::parquet("laioncele shard", cause)
}

/// The schema that stands in a shard: `declared` with nothing required, and with the columns in the
/// words of `datasets`.
fn published(declared: &Schema) -> Schema {
    let features = json!({ "info": { "features": features(declared) } }).to_string();
    let mut metadata = declared.metadata().clone();
    metadata.insert(HUGGING_FACE.to_owned(), features);
    let fields: Vec<Field> = declared.fields().iter().map(|f| nullable(f)).collect();
    Schema::new_with_metadata(fields, metadata)
}

/// The field with nothing required, at any depth: `datasets` takes its features from the schema's
/// metadata only where the columns are to the letter as it would declare them.
fn nullable(field: &Field) -> Field {
    let data_type = match field.data_type() {
        DataType::Struct(parts) => DataType::Struct(parts.iter().map(|f| nullable(f)).collect()),
        DataType::FixedSizeList(item, length) => {
            DataType::FixedSizeList(Arc::new(nullable(item)), *length)
        }
        DataType::List(item) => DataType::List(Arc::new(nullable(item))),
        other => other.clone(),
    };
    Field::new(field.name(), data_type, true)
}

/// `column` under a type that differs in what may be null only.
fn retyped(column: &ArrayRef, data_type: &DataType) -> Result<ArrayRef, ArrowError> {
    let data = column.to_data().into_builder().data_type(data_type.clone());
    Ok(make_array(data.build()?))
}

/// Columns of the Parquet file that a column becomes.
fn leaves(field: &Field) -> usize {
    match field.data_type() {
        DataType::Struct(parts) => parts.iter().map(|part| leaves(part)).sum(),
        DataType::FixedSizeList(item, _) | DataType::List(item) => leaves(item),
        _ => 1,
    }
}

fn properties(row_group: usize, features: String) -> parquet::errors::Result<WriterProperties> {
    let key_value = KeyValue::new(HUGGING_FACE.to_owned(), features);
    let mut properties = WriterProperties::builder()
        .set_compression(Compression::ZSTD(ZstdLevel::try_new(3)?))
        .set_statistics_enabled(EnabledStatistics::Chunk)
        .set_created_by("laioncele".to_owned())
        .set_max_row_group_row_count(Some(row_group))
        .set_key_value_metadata(Some(vec![key_value]));
    for picture in PICTURES {
        let bytes = ColumnPath::new(vec![picture.to_owned(), "bytes".to_owned()]);
        // Images are compressed already, and no two are equal.
        properties = properties
            .set_column_compression(bytes.clone(), Compression::UNCOMPRESSED)
            .set_column_dictionary_enabled(bytes.clone(), false)
            .set_column_statistics_enabled(bytes, EnabledStatistics::None);
    }
    Ok(properties.build())
}

/// The columns in the words of `datasets`.
fn features(schema: &Schema) -> Value {
    let feature = |field: &arrow::datatypes::FieldRef| {
        let value = match field.name().as_str() {
            name if PICTURES.contains(&name) => json!({ "_type": "Image" }),
            _ => feature(field.data_type()),
        };
        (field.name().clone(), value)
    };
    Value::Object(schema.fields().iter().map(feature).collect::<Map<_, _>>())
}

fn feature(data_type: &DataType) -> Value {
    match data_type {
        DataType::FixedSizeList(item, length) => {
            json!({ "feature": feature(item.data_type()), "length": length, "_type": "Sequence" })
        }
        DataType::List(item) => {
            json!({ "feature": feature(item.data_type()), "_type": "Sequence" })
        }
        other => json!({ "dtype": dtype(other), "_type": "Value" }),
    }
}

/// A column's type as `datasets` calls it.
pub(crate) fn dtype(data_type: &DataType) -> String {
    match data_type {
        DataType::Utf8 => "string".to_owned(),
        other => other.to_string().to_lowercase(),
    }
}
