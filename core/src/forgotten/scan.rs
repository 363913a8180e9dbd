//! Whether anything of who was taken down is in a file, by its bytes.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray};
use arrow::datatypes::DataType;
use sha2::{Digest as _, Sha256};

use super::{Forgotten, keep};
use crate::error::CoreError;
use crate::part::read_batches;
use crate::store::Store;

/// Whether the object `path` has a row, a text or a photo of who was taken down. Tables are unpacked and read in all columns, the
/// images among them by their bytes; every other file is read as text, whatever it is.
///
/// # Errors
/// Store errors; a table that cannot be read.
pub fn finds(store: &Store, path: &str, stones: &Forgotten) -> Result<bool, CoreError> {
    let bytes = store.get(path)?;
    if !path.ends_with(".parquet") {
        return Ok(stones.is_named_in(path)
            || stones.is_named_in(&readable(&bytes))
            || is_photo(&bytes, stones));
    }
    for batch in read_batches(bytes, path)? {
        let batch = batch?;
        if keep(&batch, stones)
            .map_err(|e| CoreError::parquet(path, e))?
            .changed
        {
            return Ok(true);
        }
        if batch
            .columns()
            .iter()
            .any(|column| holds_photo(column, stones))
        {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Whether the bytes are those of a photo that was taken down.
fn is_photo(bytes: &[u8], stones: &Forgotten) -> bool {
    let hash = Sha256::digest(bytes);
    let text: String = hash.iter().map(|byte| format!("{byte:02x}")).collect();
    stones.has_sha256(&text)
}

fn holds_photo(column: &ArrayRef, stones: &Forgotten) -> bool {
    match column.data_type() {
        DataType::Binary => {
            let values = column.as_binary::<i32>();
            values.iter().flatten().any(|bytes| is_photo(bytes, stones))
        }
        DataType::Struct(_) => {
            let parts = column.as_struct().columns();
            parts
                .iter()
                .any(|part: &Arc<dyn Array>| holds_photo(part, stones))
        }
        _ => false,
    }
}

/// Bytes as text: what is not UTF-8 separates words.
fn readable(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).replace('\u{fffd}', " ")
}
