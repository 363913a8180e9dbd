//! Parquet files as the tests read and write them: by the `parquet` crate alone, neither our own readers nor the ledger.

use std::fs::File;
use std::path::Path;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BinaryArray, RecordBatch, StringArray};
use arrow::compute::concat_batches;
use arrow::datatypes::{UInt32Type, UInt64Type};
use parquet::arrow::ArrowWriter;
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

/// Some columns of a Parquet file.
pub(crate) struct Table(RecordBatch);

impl Table {
    /// The columns of these names, all where none is named.
    pub(crate) fn read(file: &Path, columns: &[&str]) -> Self {
        let fail = |e: &dyn std::fmt::Display| -> ! { panic!("{}: {e}", file.display()) };
        let open = File::open(file).unwrap_or_else(|e| fail(&e));
        let mut builder =
            ParquetRecordBatchReaderBuilder::try_new(open).unwrap_or_else(|e| fail(&e));
        if !columns.is_empty() {
            let mask = ProjectionMask::columns(builder.parquet_schema(), columns.iter().copied());
            builder = builder.with_projection(mask);
        }
        let reader = builder.build().unwrap_or_else(|e| fail(&e));
        let schema = arrow::array::RecordBatchReader::schema(&reader);
        let batches: Result<Vec<_>, _> = reader.collect();
        let batches = batches.unwrap_or_else(|e| fail(&e));
        Self(concat_batches(&schema, &batches).unwrap_or_else(|e| fail(&e)))
    }

    /// How many rows there are.
    pub(crate) fn rows(&self) -> usize {
        self.0.num_rows()
    }

    /// A column of texts; a null is empty.
    pub(crate) fn texts(&self, column: &str) -> Vec<String> {
        let texts = self.column(column).as_string::<i32>();
        let text = |text: Option<&str>| text.unwrap_or_default().to_owned();
        texts.iter().map(text).collect()
    }

    /// A column of bytes; a null is empty.
    pub(crate) fn bytes(&self, column: &str) -> Vec<&[u8]> {
        let values = self.column(column).as_binary::<i32>();
        values.iter().map(Option::unwrap_or_default).collect()
    }

    /// The bytes of a column of images, which are bytes and a path each.
    pub(crate) fn images(&self, column: &str) -> Vec<Vec<u8>> {
        let images = self.column(column).as_struct();
        let bytes = images.column_by_name("bytes").expect("bytes");
        let bytes = bytes.as_binary::<i32>().iter();
        bytes.map(|b| b.unwrap_or_default().to_vec()).collect()
    }

    /// A column of unsigned numbers without nulls.
    pub(crate) fn numbers(&self, column: &str) -> Vec<u64> {
        let numbers = self.column(column);
        assert_eq!(numbers.null_count(), 0, "{column}");
        match numbers.as_primitive_opt::<UInt32Type>() {
            Some(small) => small.values().iter().copied().map(u64::from).collect(),
            None => numbers.as_primitive::<UInt64Type>().values().to_vec(),
        }
    }

    fn column(&self, column: &str) -> &ArrayRef {
        let found = self.0.column_by_name(column);
        found.unwrap_or_else(|| panic!("no column `{column}`"))
    }
}

/// Writes a Parquet file of these columns.
pub(crate) fn write(file: &Path, columns: Vec<(&str, ArrayRef)>) {
    let batch = RecordBatch::try_from_iter(columns).expect("a table");
    let file = File::create(file).expect("a file");
    let mut writer = ArrowWriter::try_new(file, batch.schema(), None).expect("a writer");
    writer.write(&batch).expect("written");
    writer.close().expect("written");
}

/// A column of texts.
pub(crate) fn texts<T: AsRef<str>>(texts: &[T]) -> ArrayRef {
    Arc::new(StringArray::from_iter_values(texts))
}

/// A column of bytes, which may be no text.
pub(crate) fn bytes(bytes: &[&[u8]]) -> ArrayRef {
    Arc::new(BinaryArray::from_iter_values(bytes))
}
