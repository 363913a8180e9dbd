//! Reads a part a row group at a time, by ranges of its file: memory holds one row group, and of a part whose row groups
//! are those of buckets a task reads its own only.

use std::collections::VecDeque;
use std::io::Cursor;
use std::sync::Arc;

use arrow::array::{Array, AsArray, RecordBatch};
use arrow::datatypes::{DataType, FieldRef, SchemaRef, UInt32Type, UInt64Type};
use bytes::Bytes;
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{
    ArrowReaderMetadata, ArrowReaderOptions, ParquetRecordBatchReader,
    ParquetRecordBatchReaderBuilder,
};
use parquet::errors::ParquetError;
use parquet::file::metadata::ParquetMetaData;
use parquet::file::reader::{ChunkReader, Length};

use crate::error::CoreError;
use crate::footer::Footer;
use crate::part::Part;
use crate::store::Store;

/// Rows of a batch.
const BATCH: usize = 1024;

/// The bytes of one row group, at their places in the file.
struct Window {
    start: u64,
    bytes: Bytes,
}

impl Window {
    fn slice(&self, start: u64, length: Option<usize>) -> Result<Bytes, ParquetError> {
        let outside = || ParquetError::EOF(format!("byte {start} is in no column"));
        let from = start.checked_sub(self.start).ok_or_else(outside)?;
        let from = usize::try_from(from).map_err(|_| outside())?;
        let end = match length {
            Some(length) => from.checked_add(length).ok_or_else(outside)?,
            None => self.bytes.len(),
        };
        if from > end || end > self.bytes.len() {
            return Err(outside());
        }
        Ok(self.bytes.slice(from..end))
    }
}

impl Length for Window {
    fn len(&self) -> u64 {
        self.start + self.bytes.len() as u64
    }
}

impl ChunkReader for Window {
    type T = Cursor<Bytes>;

    fn get_read(&self, start: u64) -> Result<Self::T, ParquetError> {
        Ok(Cursor::new(self.slice(start, None)?))
    }

    fn get_bytes(&self, start: u64, length: usize) -> Result<Bytes, ParquetError> {
        self.slice(start, Some(length))
    }
}

/// Batches of at most 1,024 rows of some row groups of a part, in the order of the file.
pub struct PartReader {
    store: Store,
    path: String,
    footer: Arc<Footer>,
    groups: VecDeque<usize>,
    columns: Option<Vec<String>>,
    open: Option<ParquetRecordBatchReader>,
}

impl PartReader {
    /// A reader of all row groups.
    pub fn new(store: Store, part: &Part, footer: Arc<Footer>) -> Self {
        let groups = (0..footer.groups()).collect();
        Self {
            store,
            path: part.path.clone(),
            footer,
            groups,
            columns: None,
            open: None,
        }
    }

    /// Reads these row groups only, in this order.
    pub fn groups(mut self, groups: Vec<usize>) -> Self {
        self.groups = groups.into();
        self
    }

    /// Reads these columns only, in the order of the schema.
    pub fn columns(mut self, columns: &[&str]) -> Self {
        self.columns = Some(columns.iter().map(|&c| c.to_owned()).collect());
        self
    }

    /// The part.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// The columns of its batches.
    ///
    /// # Errors
    /// A damaged footer.
    pub fn schema(&self) -> Result<SchemaRef, CoreError> {
        let empty = ParquetMetaData::new(self.footer.file.clone(), Vec::new());
        let options = ArrowReaderOptions::new();
        let metadata = ArrowReaderMetadata::try_new(Arc::new(empty), options);
        let schema = metadata.map_err(|e| self.fail(e))?.schema().clone();
        let Some(columns) = &self.columns else {
            return Ok(schema);
        };
        let wanted = |at: &usize| columns.contains(schema.field(*at).name());
        let at: Vec<usize> = (0..schema.fields().len()).filter(wanted).collect();
        let projected = schema.project(&at);
        projected
            .map(Arc::new)
            .map_err(|e| CoreError::parquet(&self.path, e))
    }

    /// The values of a column of ids or counts that is never null, batch by batch.
    ///
    /// # Errors
    /// A column of another type; a damaged part.
    pub fn numbers(
        self,
        column: &str,
    ) -> Result<impl Iterator<Item = Result<Vec<u64>, CoreError>>, CoreError> {
        let path = self.path.clone();
        let batches = self.columns(&[column]);
        let schema = batches.schema()?;
        let known =
            |field: &FieldRef| matches!(field.data_type(), DataType::UInt64 | DataType::UInt32);
        if !schema.fields().iter().any(known) {
            return Err(CoreError::parquet(
                &path,
                format!("no column `{column}` of numbers"),
            ));
        }
        Ok(batches.map(move |batch| {
            let batch = batch?;
            let column = batch.column(0);
            if column.null_count() > 0 {
                return Err(CoreError::parquet(&path, "numbers are missing".to_owned()));
            }
            Ok(match column.as_primitive_opt::<UInt32Type>() {
                Some(numbers) => numbers.values().iter().copied().map(u64::from).collect(),
                None => column.as_primitive::<UInt64Type>().values().to_vec(),
            })
        }))
    }

    fn fail(&self, error: ParquetError) -> CoreError {
        CoreError::parquet(&self.path, error)
    }

    fn open(&self, group: usize) -> Result<ParquetRecordBatchReader, CoreError> {
        let mask = match &self.columns {
            None => ProjectionMask::all(),
            Some(columns) => {
                let schema = self.footer.file.schema_descr();
                ProjectionMask::columns(schema, columns.iter().map(String::as_str))
            }
        };
        let range = self.footer.range(group, &mask);
        let window = Window {
            start: range.start,
            bytes: self.store.get_range(&self.path, range)?,
        };
        let metadata = self.footer.metadata(group).map_err(|e| self.fail(e))?;
        let metadata = ArrowReaderMetadata::try_new(Arc::new(metadata), ArrowReaderOptions::new());
        let metadata = metadata.map_err(|e| self.fail(e))?;
        ParquetRecordBatchReaderBuilder::new_with_metadata(window, metadata)
            .with_projection(mask)
            .with_batch_size(BATCH)
            .build()
            .map_err(|e| self.fail(e))
    }

    fn next_batch(&mut self) -> Result<Option<RecordBatch>, CoreError> {
        loop {
            if let Some(open) = &mut self.open {
                match open.next() {
                    Some(batch) => {
                        return batch
                            .map(Some)
                            .map_err(|e| CoreError::parquet(&self.path, e));
                    }
                    None => self.open = None,
                }
            }
            let Some(group) = self.groups.pop_front() else {
                return Ok(None);
            };
            self.open = Some(self.open(group)?);
        }
    }
}

impl Iterator for PartReader {
    type Item = Result<RecordBatch, CoreError>;

    fn next(&mut self) -> Option<Self::Item> {
        self.next_batch().transpose()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::digest::Digest;
    use crate::ids::NameId;
    use crate::part;
    use crate::part_writer::PartWriter;
    use crate::partition::Partition;
    use crate::table::dims::TEST_DIMS as DIMS;
    use crate::table::{Alias, MergedName, Row, TableId, UniquePhoto};

    fn name(bucket: u32, k: u64) -> MergedName {
        let alias = |n: u64| Alias {
            spelling: format!("Name {k} spelled {n}"),
            mentions: n,
            merged_by: "folded".to_owned(),
        };
        MergedName {
            bucket,
            name_id: NameId(k),
            name: format!("Name {k}"),
            aliases: (0..k % 4).map(alias).collect(),
            mentions: k,
        }
    }

    /// A part with a row group for each element, or more where it is above `rows`.
    fn write(store: &Store, groups: &[Vec<MergedName>], rows: usize) -> Result<Part, CoreError> {
        let schema = MergedName::schema(&DIMS);
        let mut writer = PartWriter::create(store, schema, rows)?;
        for group in groups {
            writer.add(&MergedName::to_batch(group.clone(), &DIMS)?)?;
            writer.end_group()?;
        }
        let written = writer.finish()?;
        let part = Part {
            table: TableId::MergedNames,
            partition: Partition::Whole,
            path: "tables/x.parquet".to_owned(),
            rows: written.rows,
            bytes: written.bytes,
            digest: written.digest,
        };
        store.adopt(written.file.path(), &part.path)?;
        assert_eq!(Digest::of(&store.get(&part.path)?), part.digest);
        Ok(part)
    }

    fn read(reader: PartReader) -> Result<Vec<MergedName>, CoreError> {
        let mut rows = Vec::new();
        for batch in reader {
            MergedName::append(&batch?, &DIMS, &mut rows)
                .map_err(|e| CoreError::parquet("x", e))?;
        }
        Ok(rows)
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

        /// A slice is the rows of its bucket and no others; all slices together are the part.
        #[test]
        fn slices_are_the_rows_of_their_buckets(sizes in proptest::collection::vec(0usize..70, 1..9), most in 1usize..40) {
            let folder = tempfile::tempdir().expect("a folder");
            let store = Store::local(folder.path()).expect("a store");
            let group = |(bucket, size): (usize, &usize)| -> Vec<MergedName> {
                (0..*size).map(|k| name(bucket as u32, k as u64)).collect()
            };
            let groups: Vec<_> = sizes.iter().enumerate().map(group).collect();
            let part = write(&store, &groups, most).expect("written");
            let footer = Arc::new(Footer::read::<MergedName>(&store, &part, &DIMS).expect("a footer"));
            let reader = || PartReader::new(store.clone(), &part, footer.clone());
            for (bucket, rows) in groups.iter().enumerate() {
                let own = footer.of_bucket(bucket as u32);
                prop_assert_eq!(own.len(), rows.len().div_ceil(most));
                prop_assert_eq!(&read(reader().groups(own)).expect("rows"), rows);
            }
            prop_assert!(footer.of_bucket(99).is_empty());
            let whole = part::read_rows::<MergedName>(&store, &part, &DIMS).expect("rows");
            prop_assert_eq!(&whole, &groups.concat());
            prop_assert_eq!(&read(reader()).expect("rows"), &whole);
        }
    }

    #[test]
    fn columns_are_chosen_by_name() -> Result<(), CoreError> {
        let folder = tempfile::tempdir()
            .map_err(|e| CoreError::from_io(std::path::Path::new("tempdir"), e))?;
        let store = Store::local(folder.path())?;
        let part = write(&store, &[vec![name(0, 1), name(0, 2)]], 10)?;
        let footer = Arc::new(Footer::read::<MergedName>(&store, &part, &DIMS)?);
        let mut reader = PartReader::new(store, &part, footer).columns(&["mentions", "name_id"]);
        let schema = reader.schema()?;
        let names: Vec<_> = schema.fields().iter().map(|f| f.name().as_str()).collect();
        assert_eq!(names, ["name_id", "mentions"]);
        let batch = reader.next().expect("a batch")?;
        assert_eq!((batch.num_columns(), batch.num_rows()), (2, 2));
        let footer = Arc::new(Footer::of_any(&reader.store, &part)?);
        let reader = || PartReader::new(reader.store.clone(), &part, footer.clone());
        for (column, expected) in [("mentions", [1, 2]), ("bucket", [0, 0])] {
            let numbers: Result<Vec<_>, _> = reader().numbers(column)?.collect();
            assert_eq!(numbers?.concat(), expected);
        }
        assert!(reader().numbers("name").is_err() && reader().numbers("nothing").is_err());
        Ok(())
    }

    #[test]
    fn what_is_no_part_of_the_table_is_refused() -> Result<(), CoreError> {
        let folder = tempfile::tempdir()
            .map_err(|e| CoreError::from_io(std::path::Path::new("tempdir"), e))?;
        let store = Store::local(folder.path())?;
        let part = write(&store, &[vec![name(0, 1)]], 10)?;
        let other = Footer::read::<UniquePhoto>(&store, &part, &DIMS);
        assert!(matches!(other, Err(CoreError::Schema { .. })));
        let bytes = store.get(&part.path)?;
        for cut in [0, 7, 8, bytes.len() / 2, bytes.len() - 1] {
            store.put("tables/cut.parquet", bytes.slice(..cut))?;
            let cut = Part {
                path: "tables/cut.parquet".to_owned(),
                bytes: cut as u64,
                ..part.clone()
            };
            assert!(Footer::read::<MergedName>(&store, &cut, &DIMS).is_err());
        }
        // Shorter than its record says.
        store.put("tables/cut.parquet", bytes.slice(..40))?;
        let short = Part {
            path: "tables/cut.parquet".to_owned(),
            ..part
        };
        assert!(Footer::read::<MergedName>(&store, &short, &DIMS).is_err());
        Ok(())
    }
}
