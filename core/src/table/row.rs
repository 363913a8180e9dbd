//! What a row type knows of its table.

use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch};
use arrow::datatypes::{Field, Metadata, Schema, SchemaRef};

use super::dims::EmbeddingDims;
use super::id::TableId;
use crate::error::CoreError;

/// One row of a table: a plain struct that knows its schema. Implemented by `rows!`, nowhere by hand.
pub trait Row: Sized {
    /// The table that holds these rows.
    const TABLE: TableId;
    /// The schema's version; part of its metadata. Raise it when a field's meaning changes.
    const VERSION: u32;

    /// The columns, in order.
    fn fields(dims: &EmbeddingDims) -> Vec<Field>;

    /// The columns' arrays.
    ///
    /// # Errors
    /// A vector whose length is not the declared length.
    fn columns(rows: Vec<Self>, dims: &EmbeddingDims) -> Result<Vec<ArrayRef>, String>;

    /// Appends the rows of `batch`, whose schema is this table's.
    ///
    /// # Errors
    /// A column of another type.
    fn append(
        batch: &RecordBatch,
        dims: &EmbeddingDims,
        rows: &mut Vec<Self>,
    ) -> Result<(), String>;

    /// The declared schema with its metadata.
    fn schema(dims: &EmbeddingDims) -> SchemaRef {
        let metadata = [
            ("laioncele.table", Self::TABLE.to_string()),
            ("laioncele.version", Self::VERSION.to_string()),
            ("laioncele.name_tokens", dims.name_tokens.to_string()),
            ("laioncele.name_channels", dims.name_channels.to_string()),
        ];
        Arc::new(Schema::new_with_metadata(
            Self::fields(dims),
            Metadata::from(metadata),
        ))
    }

    /// `rows` as one batch.
    ///
    /// # Errors
    /// [`CoreError::Parquet`] where a vector has not the declared length.
    fn to_batch(rows: Vec<Self>, dims: &EmbeddingDims) -> Result<RecordBatch, CoreError> {
        let table = || format!("table `{}`", Self::TABLE);
        let columns = Self::columns(rows, dims).map_err(|e| CoreError::parquet(table(), e))?;
        RecordBatch::try_new(Self::schema(dims), columns)
            .map_err(|e| CoreError::parquet(table(), e))
    }

    /// The rows of `batch`; `origin` names it in errors.
    ///
    /// # Errors
    /// [`CoreError::Schema`] where the batch is not this table's.
    fn from_batch(
        batch: &RecordBatch,
        dims: &EmbeddingDims,
        origin: &str,
    ) -> Result<Vec<Self>, CoreError> {
        let mut rows = Vec::with_capacity(batch.num_rows());
        Self::append(batch, dims, &mut rows)
            .map_err(|reason| CoreError::parquet(origin, reason))?;
        Ok(rows)
    }
}
