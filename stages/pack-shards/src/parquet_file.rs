//! A shard as a Parquet file: small row groups, and the schema as Hugging Face `datasets` reads it.

use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, make_array};
use arrow::datatypes::{DataType, Field, Schema};
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

/// The schema metadata key that `datasets` looks for.
const HUGGING_FACE: &str = "huggingface";

/// `rows` as a Parquet file; the same rows always give the same bytes.
///
/// # Errors
/// [`CoreError::Parquet`].
pub fn encode(
    rows: Vec<LaionCele>,
    dims: &EmbeddingDims,
    row_group: usize,
) -> Result<Vec<u8>, CoreError> {
    let batch = LaionCele::to_batch(rows, dims)?;
    let declared = LaionCele::schema(dims);
    let features = json!({ "info": { "features": features(&declared) } }).to_string();
    let mut metadata = declared.metadata().clone();
    metadata.insert(HUGGING_FACE.to_owned(), features.clone());
    let fields: Vec<Field> = declared.fields().iter().map(|f| nullable(f)).collect();
    let columns = batch.columns().iter().zip(&fields);
    let columns = columns.map(|(column, field)| retyped(column, field.data_type()));
    let columns = columns.collect::<Result<Vec<_>, _>>().map_err(fail)?;
    let schema = Arc::new(Schema::new_with_metadata(fields, metadata));
    let batch = RecordBatch::try_new(schema.clone(), columns).map_err(fail)?;
    let properties = properties(row_group, features).map_err(fail)?;
    let writer = ArrowWriter::try_new(Vec::new(), schema, Some(properties));
    let mut writer = writer.map_err(fail)?;
    writer.write(&batch).map_err(fail)?;
    writer.into_inner().map_err(fail)
}

fn fail(cause: impl Into<Cause>) -> CoreError {
    CoreError::parquet("laioncele shard", cause)
}

/// The field with nothing required, at any depth: `datasets` takes its features from the schema's
/// metadata only where the columns are to the letter as it would declare them.
fn nullable(field: &Field) -> Field {
    let data_type = match field.data_type() {
        DataType::Struct(parts) => DataType::Struct(parts.iter().map(|f| nullable(f)).collect()),
        DataType::FixedSizeList(item, length) => {
            DataType::FixedSizeList(Arc::new(nullable(item)), *length)
        }
        other => other.clone(),
    };
    Field::new(field.name(), data_type, true)
}

/// `column` under a type that differs in what may be null only.
fn retyped(column: &ArrayRef, data_type: &DataType) -> Result<ArrayRef, ArrowError> {
    let data = column.to_data().into_builder().data_type(data_type.clone());
    Ok(make_array(data.build()?))
}

fn properties(row_group: usize, features: String) -> parquet::errors::Result<WriterProperties> {
    let images = ColumnPath::new(vec!["image".to_owned(), "bytes".to_owned()]);
    let key_value = KeyValue::new(HUGGING_FACE.to_owned(), features);
    Ok(WriterProperties::builder()
        .set_compression(Compression::ZSTD(ZstdLevel::try_new(3)?))
        // Images are compressed already, and no two are equal.
        .set_column_compression(images.clone(), Compression::UNCOMPRESSED)
        .set_column_dictionary_enabled(images.clone(), false)
        .set_column_statistics_enabled(images, EnabledStatistics::None)
        .set_statistics_enabled(EnabledStatistics::Chunk)
        .set_created_by("laioncele".to_owned())
        .set_max_row_group_row_count(Some(row_group))
        .set_key_value_metadata(Some(vec![key_value]))
        .build())
}

/// The columns in the words of `datasets`.
pub(crate) fn features(schema: &Schema) -> Value {
    let feature = |field: &arrow::datatypes::FieldRef| {
        let value = match field.name().as_str() {
            "image" => json!({ "_type": "Image" }),
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
        DataType::Utf8 => json!({ "dtype": "string", "_type": "Value" }),
        other => json!({ "dtype": other.to_string().to_lowercase(), "_type": "Value" }),
    }
}
