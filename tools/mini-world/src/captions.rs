//! The captions as Parquet files, with the columns of LAION's metadata.

use std::sync::Arc;

use arrow::array::{ArrayRef, Float32Array, Float64Array, Int64Array, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Field, Schema};
use laioncele_core::{CoreError, part};

/// A row of LAION's metadata: a url and the caption beside its image.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct CaptionRow {
    pub(crate) url: String,
    pub(crate) text: Option<String>,
    /// In pixels.
    pub(crate) width: Option<i64>,
    /// In pixels.
    pub(crate) height: Option<i64>,
    /// CLIP's cosine between image and caption.
    pub(crate) similarity: Option<f64>,
    /// Probability that the image is unsafe.
    pub(crate) punsafe: Option<f32>,
    /// Probability that the image has a watermark.
    pub(crate) pwatermark: Option<f32>,
    /// MD5 of the image's file, hexadecimal.
    pub(crate) md5: Option<String>,
}

/// The Parquet file with `rows`. The same rows give the same bytes.
///
/// # Errors
/// [`CoreError::Parquet`].
pub(crate) fn encode(rows: &[CaptionRow]) -> Result<Vec<u8>, CoreError> {
    let texts = |value: fn(&CaptionRow) -> Option<&str>| -> ArrayRef {
        Arc::new(rows.iter().map(value).collect::<StringArray>())
    };
    let sizes = |value: fn(&CaptionRow) -> Option<i64>| -> ArrayRef {
        Arc::new(rows.iter().map(value).collect::<Int64Array>())
    };
    let probabilities = |value: fn(&CaptionRow) -> Option<f32>| -> ArrayRef {
        Arc::new(rows.iter().map(value).collect::<Float32Array>())
    };
    let similarity: Float64Array = rows.iter().map(|row| row.similarity).collect();
    let columns = vec![
        texts(|row| Some(&row.url)),
        texts(|row| row.text.as_deref()),
        sizes(|row| row.width),
        sizes(|row| row.height),
        Arc::new(similarity),
        probabilities(|row| row.punsafe),
        probabilities(|row| row.pwatermark),
        texts(|row| row.md5.as_deref()),
    ];
    let schema = schema();
    let batch = RecordBatch::try_new(schema.clone(), columns)
        .map_err(|e| CoreError::parquet("captions", e))?;
    part::encode(&schema, &[batch])
}

fn schema() -> Arc<Schema> {
    let columns = [
        ("URL", DataType::Utf8),
        ("TEXT", DataType::Utf8),
        ("WIDTH", DataType::Int64),
        ("HEIGHT", DataType::Int64),
        ("similarity", DataType::Float64),
        ("punsafe", DataType::Float32),
        ("pwatermark", DataType::Float32),
        ("md5", DataType::Utf8),
    ];
    let fields = columns.map(|(name, kind)| Field::new(name, kind, true));
    Arc::new(Schema::new(fields.to_vec()))
}
