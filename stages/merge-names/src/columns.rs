//! Columns of batches, by name. The parts' schemas were checked when they were opened.

use arrow::array::{ArrayRef, AsArray, RecordBatch, StringArray};
use laioncele_core::{CoreError, Part, StageError};

/// A column of a batch of `part`.
///
/// # Errors
/// A damaged part.
pub(crate) fn column<'a>(
    batch: &'a RecordBatch,
    name: &str,
    part: &Part,
) -> Result<&'a ArrayRef, StageError> {
    let found = batch.column_by_name(name);
    let missing = || CoreError::parquet(&part.path, format!("no column `{name}`"));
    Ok(found.ok_or_else(missing)?)
}

/// A column of texts.
///
/// # Errors
/// A damaged part.
pub(crate) fn texts<'a>(
    batch: &'a RecordBatch,
    name: &str,
    part: &Part,
) -> Result<&'a StringArray, StageError> {
    let found = column(batch, name, part)?.as_string_opt::<i32>();
    let other = || CoreError::parquet(&part.path, format!("column `{name}` is no text"));
    Ok(found.ok_or_else(other)?)
}
