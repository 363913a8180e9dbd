//! The captions as Parquet files, with the columns of LAION's metadata.

use std::sync::Arc;

use arrow::array::{ArrayRef, Float32Array, Float64Array, Int64Array, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Field, Schema};
use laioncele_core::{CoreError, part};

use crate::plan::CaptionRow;

/// The file of a shard's rows. The same rows give the same bytes.
///
/// # Errors
/// [`CoreError::Parquet`].
pub(crate) fn encode(rows: &[CaptionRow]) -> Result<Vec<u8>, CoreError> {
    let schema = Arc::new(Schema::new(vec![
        Field::new("URL", DataType::Utf8, true),
        Field::new("TEXT", DataType::Utf8, true),
        Field::new("WIDTH", DataType::Int64, true),
        Field::new("HEIGHT", DataType::Int64, true),
        Field::new("similarity", DataType::Float64, true),
        Field::new("punsafe", DataType::Float32, true),
        Field::new("pwatermark", DataType::Float32, true),
        Field::new("md5", DataType::Utf8, true),
    ]));
    let texts = |value: fn(&CaptionRow) -> Option<&str>| -> ArrayRef {
        Arc::new(rows.iter().map(value).collect::<StringArray>())
    };
    let sizes = |value: fn(&CaptionRow) -> Option<i64>| -> ArrayRef {
        Arc::new(rows.iter().map(value).collect::<Int64Array>())
    };
    let odds = |value: fn(&CaptionRow) -> Option<f32>| -> ArrayRef {
        Arc::new(rows.iter().map(value).collect::<Float32Array>())
    };
    let similarity: Float64Array = rows.iter().map(|r| r.similarity).collect();
    let columns = vec![
        texts(|r| Some(&r.url)),
        texts(|r| r.text.as_deref()),
        sizes(|r| r.width),
        sizes(|r| r.height),
        Arc::new(similarity),
        odds(|r| r.punsafe),
        odds(|r| r.pwatermark),
        texts(|r| r.md5.as_deref()),
    ];
    let batch = RecordBatch::try_new(schema.clone(), columns)
        .map_err(|e| CoreError::parquet("captions", e))?;
    part::encode(&schema, &[batch])
}
