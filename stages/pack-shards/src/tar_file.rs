//! A published shard once more as a tar file for the `webdataset` library: of each row the picture,
//! the name embedding as NumPy writes it, and the rest as JSON. The same shard always gives the same
//! bytes.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::Path;
use std::sync::Arc;

use arrow::array::{Array, AsArray, RecordBatch};
use arrow::datatypes::{DataType, Float16Type, Float32Type, Int64Type, UInt32Type, UInt64Type};
use laioncele_core::footer::Footer;
use laioncele_core::numbers::shortest;
use laioncele_core::scratch::ScratchFile;
use laioncele_core::store::Store;
use laioncele_core::{CoreError, EmbeddingDims, KeyHasher, Part, PartReader, Partition, TableId};
use serde_json::{Map, Value, json};

use crate::index::{Shard, Tar};

/// Raise it when the same shard gives another tar file.
const VERSION: u64 = 1;
/// Where NumPy's data begins is a multiple of this.
const NPY_ALIGNMENT: usize = 64;

/// What a tar file of `shard` is made from.
pub(crate) fn key(shard: &Shard) -> String {
    let hasher = KeyHasher::new("published-tar").number("version", VERSION);
    hasher.digest("shard", shard.digest).finish().to_string()
}

/// Writes the tar file of a published shard beside it. A row group is held.
///
/// # Errors
/// A damaged shard, a full disk.
pub(crate) fn write(store: &Store, dims: &EmbeddingDims, shard: &Shard) -> Result<Tar, CoreError> {
    let (scratch, file) = ScratchFile::create(store)?;
    let part = Part {
        table: TableId::LaionCele,
        partition: Partition::Whole,
        path: shard.path(),
        rows: shard.rows,
        bytes: shard.bytes,
        digest: shard.digest,
    };
    let footer = Arc::new(Footer::of_any(store, &part)?);
    let mut archive = Archive {
        tar: tar::Builder::new(BufWriter::with_capacity(1 << 20, file)),
        shape: [dims.name_tokens, dims.name_channels],
        path: scratch.path(),
    };
    for batch in PartReader::new(store.clone(), &part, footer) {
        archive.add(&batch?, &part)?;
    }
    let bytes = archive.finish()?;
    let name = Path::new(&shard.file).with_extension("tar");
    let tar = Tar {
        file: name.to_string_lossy().into_owned(),
        key: key(shard),
        bytes,
    };
    store.adopt(scratch.path(), &tar.path())?;
    Ok(tar)
}

struct Archive<'a> {
    tar: tar::Builder<BufWriter<File>>,
    shape: [usize; 2],
    path: &'a Path,
}

impl Archive<'_> {
    fn add(&mut self, batch: &RecordBatch, part: &Part) -> Result<(), CoreError> {
        let fail = |what: &str| CoreError::parquet(&part.path, format!("no column `{what}`"));
        let pictures = batch
            .column_by_name("image")
            .and_then(|c| c.as_struct_opt());
        let pictures = pictures.ok_or_else(|| fail("image"))?;
        let bytes = pictures.column_by_name("bytes");
        let bytes = bytes.and_then(|c| c.as_binary_opt::<i32>());
        let paths = pictures.column_by_name("path");
        let paths = paths.and_then(|c| c.as_string_opt::<i32>());
        let (Some(bytes), Some(paths)) = (bytes, paths) else {
            return Err(fail("image"));
        };
        let names = batch.column_by_name("name_embedding");
        let names = names.and_then(|c| c.as_fixed_size_list_opt());
        let names = names.ok_or_else(|| fail("name_embedding"))?;
        for row in 0..batch.num_rows() {
            let rest = rest(batch, row);
            let id = |name: &str| hexadecimal(batch.column_by_name(name)?, row);
            let (Some(name), Some(image)) = (id("name_id"), id("image_id")) else {
                return Err(fail("name_id"));
            };
            let key = format!("{name}-{image}");
            let name = names.value(row);
            let numbers = name.as_primitive_opt::<Float16Type>();
            let numbers = numbers.ok_or_else(|| fail("name_embedding"))?;
            let numbers = numbers.values().iter().flat_map(|v| v.to_le_bytes());
            let npy = npy(self.shape, numbers);
            let extension = Path::new(paths.value(row)).extension().unwrap_or_default();
            let extension = extension.to_string_lossy();
            self.file(&format!("{key}.{extension}"), bytes.value(row))?;
            self.file(&format!("{key}.json"), rest.to_string().as_bytes())?;
            self.file(&format!("{key}.npy"), &npy)?;
        }
        Ok(())
    }

    fn file(&mut self, name: &str, bytes: &[u8]) -> Result<(), CoreError> {
        let mut header = tar::Header::new_ustar();
        header.set_size(bytes.len() as u64);
        header.set_mode(0o644);
        header.set_mtime(0);
        header.set_uid(0);
        header.set_gid(0);
        let added = self.tar.append_data(&mut header, name, bytes);
        added.map_err(|e| CoreError::from_io(self.path, e))
    }

    /// Ends the file; its size.
    fn finish(self) -> Result<u64, CoreError> {
        let end = || -> io::Result<u64> {
            let mut buffered = self.tar.into_inner()?;
            buffered.flush()?;
            Ok(buffered.get_ref().metadata()?.len())
        };
        end().map_err(|e| CoreError::from_io(self.path, e))
    }
}

/// An id as 16 hexadecimal digits, whatever form it is published in.
fn hexadecimal(column: &dyn Array, row: usize) -> Option<String> {
    Some(match column.data_type() {
        DataType::UInt64 => format!("{:016x}", column.as_primitive::<UInt64Type>().value(row)),
        DataType::Int64 => format!("{:016x}", column.as_primitive::<Int64Type>().value(row)),
        DataType::Utf8 => column.as_string::<i32>().value(row).to_owned(),
        _ => return None,
    })
}

/// A row without its picture and its embedding.
fn rest(batch: &RecordBatch, row: usize) -> Value {
    let schema = batch.schema();
    let fields = schema.fields().iter().zip(batch.columns());
    let values = fields.filter_map(|(field, column)| {
        let value = cell(column, row)?;
        (field.name() != "name_embedding").then(|| (field.name().clone(), value))
    });
    Value::Object(values.collect::<Map<_, _>>())
}

/// A value as JSON: numbers of 64 bits as text, since readers of JSON make floats of them; no
/// pictures.
fn cell(column: &dyn Array, row: usize) -> Option<Value> {
    if column.is_null(row) {
        return None;
    }
    Some(match column.data_type() {
        DataType::Utf8 => json!(column.as_string::<i32>().value(row)),
        DataType::UInt64 => json!(column.as_primitive::<UInt64Type>().value(row).to_string()),
        DataType::Int64 => json!(column.as_primitive::<Int64Type>().value(row).to_string()),
        DataType::UInt32 => json!(column.as_primitive::<UInt32Type>().value(row)),
        DataType::Float32 => json!(shortest(column.as_primitive::<Float32Type>().value(row))),
        DataType::FixedSizeList(..) => list(&column.as_fixed_size_list().value(row)),
        DataType::List(_) => list(&column.as_list::<i32>().value(row)),
        _ => return None,
    })
}

fn list(items: &dyn Array) -> Value {
    (0..items.len()).filter_map(|k| cell(items, k)).collect()
}

/// Little-endian float16 numbers as a file of `numpy.load`, version 1.0.
fn npy(shape: [usize; 2], numbers: impl Iterator<Item = u8>) -> Vec<u8> {
    let [rows, columns] = shape;
    let mut head =
        format!("{{'descr': '<f2', 'fortran_order': False, 'shape': ({rows}, {columns}), }}");
    // Before it: six letters, two numbers of the version, two of the length; after it a line feed.
    let padding = NPY_ALIGNMENT - (10 + head.len() + 1) % NPY_ALIGNMENT;
    head.extend(std::iter::repeat_n(' ', padding % NPY_ALIGNMENT));
    head.push('\n');
    let mut bytes = b"\x93NUMPY\x01\x00".to_vec();
    bytes.extend((head.len() as u16).to_le_bytes());
    bytes.extend(head.bytes());
    bytes.extend(numbers);
    bytes
}

#[cfg(test)]
mod tests {
    use arrow::array::{Int64Array, StringArray, UInt64Array};

    use super::*;

    #[test]
    fn numpy_data_is_aligned() {
        for shape in [[8, 4], [8, 2048], [1, 1], [123_456, 7]] {
            let file = npy(shape, [1u8, 2].into_iter());
            let length = usize::from(u16::from_le_bytes([file[8], file[9]]));
            assert_eq!((10 + length) % 64, 0, "{shape:?}");
            assert_eq!(file[10 + length - 1], b'\n');
            assert_eq!(file[10 + length..], [1, 2]);
        }
    }

    #[test]
    fn ids_are_hexadecimal_in_every_form() {
        let id = u64::MAX - 1;
        let forms: [&dyn Array; 3] = [
            &UInt64Array::from(vec![id]),
            &Int64Array::from(vec![id.cast_signed()]),
            &StringArray::from(vec![format!("{id:016x}")]),
        ];
        for form in forms {
            assert_eq!(hexadecimal(form, 0).as_deref(), Some("fffffffffffffffe"));
        }
    }
}
