//! Filed mentions in the order of their bucket, name, image and caption: sorted in bounded memory, and
//! merged from several sorted streams.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use arrow::array::{Array, AsArray, RecordBatch, UInt32Array, UInt64Array};
use arrow::compute::interleave_record_batch;
use arrow::datatypes::{UInt32Type, UInt64Type};
use laioncele_core::part_writer::WrittenPart;
use laioncele_core::table::FiledMention;
use laioncele_core::{CoreError, PartReader, PartWriter, StageError, Task};

/// Rows of a row group of `filed_mentions`, where a bucket has as many: what count-images holds of each
/// part.
pub(crate) const GROUP: usize = 4096;
/// Bytes of rows that are sorted in memory.
const BUDGET: usize = 256 << 20;

fn failed(error: impl Into<laioncele_core::error::Cause>) -> StageError {
    CoreError::parquet("filed mentions", error).into()
}

/// What rows are sorted by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Key {
    pub(crate) bucket: u32,
    pub(crate) name: u64,
    pub(crate) image: u64,
    pub(crate) caption: u64,
}

/// The sorting columns of a batch; those that it lacks count as 0.
struct Keys {
    bucket: Option<UInt32Array>,
    ids: [Option<UInt64Array>; 3],
}

impl Keys {
    fn of(batch: &RecordBatch) -> Self {
        let column = |name: &str| batch.column_by_name(name);
        let ids = ["name_id", "image_id", "caption_id"].map(|name| {
            let found = column(name)?.as_primitive_opt::<UInt64Type>();
            found.cloned()
        });
        let bucket = column("bucket").and_then(|c| c.as_primitive_opt::<UInt32Type>());
        Self {
            bucket: bucket.cloned(),
            ids,
        }
    }

    fn at(&self, row: usize) -> Key {
        let [name, image, caption] =
            [0, 1, 2].map(|k: usize| self.ids[k].as_ref().map_or(0, |ids| ids.value(row)));
        Key {
            bucket: self.bucket.as_ref().map_or(0, |buckets| buckets.value(row)),
            name,
            image,
            caption,
        }
    }
}

/// Rows that wait to be sorted: in memory, and in sorted runs on disk once they are too many.
pub(crate) struct Sorter {
    batches: Vec<RecordBatch>,
    /// Key, batch and row of each.
    keys: Vec<(Key, u32, u32)>,
    bytes: usize,
    budget: usize,
    runs: Vec<WrittenPart>,
}

impl Sorter {
    /// No rows yet.
    pub(crate) fn new() -> Self {
        Self::with_budget(BUDGET)
    }

    /// As [`Sorter::new`], with another number of bytes held in memory.
    pub(crate) fn with_budget(budget: usize) -> Self {
        Self {
            batches: Vec::new(),
            keys: Vec::new(),
            bytes: 0,
            budget,
            runs: Vec::new(),
        }
    }

    /// Adds rows.
    ///
    /// # Errors
    /// A full disk.
    pub(crate) fn add(&mut self, task: &Task, batch: RecordBatch) -> Result<(), StageError> {
        let (keys, number) = (Keys::of(&batch), self.batches.len() as u32);
        let rows = 0..batch.num_rows();
        self.keys
            .extend(rows.map(|row| (keys.at(row), number, row as u32)));
        self.bytes +=
            batch.get_array_memory_size() + batch.num_rows() * size_of::<(Key, u32, u32)>();
        self.batches.push(batch);
        if self.bytes < self.budget {
            return Ok(());
        }
        let mut writer = task.part_writer::<FiledMention>(GROUP)?;
        self.write_held(&mut writer)?;
        self.runs.push(writer.finish()?);
        Ok(())
    }

    /// Writes all rows, sorted, with row groups of their own for each bucket. Of equal rows those added
    /// first come first.
    ///
    /// # Errors
    /// A full disk.
    pub(crate) fn finish(mut self, task: &Task, writer: &mut PartWriter) -> Result<(), StageError> {
        if self.runs.is_empty() {
            return self.write_held(writer);
        }
        let mut last = task.part_writer::<FiledMention>(GROUP)?;
        self.write_held(&mut last)?;
        self.runs.push(last.finish()?);
        let open =
            |run: &WrittenPart| run.reader::<FiledMention>(task.store(), task.embedding_dims());
        let readers = self.runs.iter().map(open).collect::<Result<_, _>>()?;
        let mut merger = Merger::new(readers)?;
        let (mut held, mut bucket) = (Vec::new(), None);
        while let Some(row) = merger.next()? {
            let ends = bucket.is_some_and(|bucket| bucket != row.key.bucket);
            if ends || held.len() == GROUP || merger.is_full() {
                writer.add(&merger.rows(&held)?)?;
                held.clear();
                merger.release(None);
            }
            if ends {
                writer.end_group()?;
            }
            bucket = Some(row.key.bucket);
            held.push(merger.place(&row));
        }
        if !held.is_empty() {
            writer.add(&merger.rows(&held)?)?;
        }
        Ok(())
    }

    fn write_held(&mut self, writer: &mut PartWriter) -> Result<(), StageError> {
        let mut keys = std::mem::take(&mut self.keys);
        keys.sort_unstable();
        let batches: Vec<&RecordBatch> = self.batches.iter().collect();
        for bucket in keys.chunk_by(|(a, ..), (b, ..)| a.bucket == b.bucket) {
            for chunk in bucket.chunks(GROUP) {
                let places: Vec<_> = chunk
                    .iter()
                    .map(|(_, batch, row)| (*batch as usize, *row as usize))
                    .collect();
                writer.add(&interleave_record_batch(&batches, &places).map_err(failed)?)?;
            }
            writer.end_group()?;
        }
        self.batches.clear();
        self.bytes = 0;
        Ok(())
    }
}

/// A row of a [`Merger`], until it goes on.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Row {
    pub(crate) key: Key,
    stream: usize,
    row: usize,
}

/// A row's batch and its number in it, until the batch is released.
pub(crate) type Place = (usize, usize);

/// Batches that are kept until they are released, beside one of each stream.
const MOST_BATCHES: usize = 64;

/// Sorted streams as one. Equal rows come in the order of their streams.
pub(crate) struct Merger {
    streams: Vec<Stream>,
    heap: BinaryHeap<Reverse<(Key, usize)>>,
    /// The batches that places refer to.
    batches: Vec<RecordBatch>,
    /// The row given last: its stream goes on at the next call.
    last: Option<usize>,
}

struct Stream {
    reader: PartReader,
    keys: Keys,
    batch: RecordBatch,
    row: usize,
    /// Where `batch` is among the kept ones.
    kept: Option<usize>,
}

impl Merger {
    /// The rows of `readers`, each sorted.
    ///
    /// # Errors
    /// A damaged part.
    pub(crate) fn new(readers: Vec<PartReader>) -> Result<Self, StageError> {
        let mut merger = Self {
            streams: Vec::with_capacity(readers.len()),
            heap: BinaryHeap::with_capacity(readers.len()),
            batches: Vec::new(),
            last: None,
        };
        for reader in readers {
            let batch = RecordBatch::new_empty(reader.schema()?);
            merger.streams.push(Stream {
                reader,
                keys: Keys::of(&batch),
                batch,
                row: 0,
                kept: None,
            });
            merger.refill(merger.streams.len() - 1)?;
        }
        Ok(merger)
    }

    /// The next row.
    ///
    /// # Errors
    /// A damaged part; one that is not sorted.
    pub(crate) fn next(&mut self) -> Result<Option<Row>, StageError> {
        if let Some(number) = self.last.take() {
            self.advance(number)?;
        }
        let Some(Reverse((key, stream))) = self.heap.pop() else {
            return Ok(None);
        };
        self.last = Some(stream);
        let row = self.streams[stream].row;
        Ok(Some(Row { key, stream, row }))
    }

    /// Keeps the batch of the row given last.
    pub(crate) fn place(&mut self, row: &Row) -> Place {
        let stream = &mut self.streams[row.stream];
        let kept = *stream.kept.get_or_insert_with(|| {
            self.batches.push(stream.batch.clone());
            self.batches.len() - 1
        });
        (kept, row.row)
    }

    /// Whether so many batches are kept that they should be released.
    pub(crate) fn is_full(&self) -> bool {
        self.batches.len() >= MOST_BATCHES + self.streams.len()
    }

    /// The rows at `places` as one batch.
    ///
    /// # Errors
    /// Texts of more than 2 GB.
    pub(crate) fn rows(&self, places: &[Place]) -> Result<RecordBatch, StageError> {
        let batches: Vec<&RecordBatch> = self.batches.iter().collect();
        if batches.is_empty() {
            return Err(failed("no rows at no places"));
        }
        interleave_record_batch(&batches, places).map_err(failed)
    }

    /// Compares the texts of two rows, column by column; a text goes before none.
    pub(crate) fn compare_texts(&self, a: Place, b: Place) -> std::cmp::Ordering {
        let columns = self.batches[a.0]
            .columns()
            .iter()
            .zip(self.batches[b.0].columns());
        let texts = columns.filter_map(|(x, y)| {
            let (x, y) = (x.as_string_opt::<i32>()?, y.as_string_opt::<i32>()?);
            let text = |array: &'_ arrow::array::StringArray, row: usize| {
                (array.is_null(row), array.value(row).to_owned())
            };
            Some(text(x, a.1).cmp(&text(y, b.1)))
        });
        texts.fold(std::cmp::Ordering::Equal, std::cmp::Ordering::then)
    }

    /// Lets the kept batches go, but for that of `place`, whose new place is returned.
    pub(crate) fn release(&mut self, place: Option<Place>) -> Option<Place> {
        let kept = place.map(|(batch, row)| (self.batches[batch].slice(row, 1), batch));
        self.batches.clear();
        for stream in &mut self.streams {
            stream.kept = None;
        }
        kept.map(|(row, _)| {
            self.batches.push(row);
            (0, 0)
        })
    }

    fn advance(&mut self, number: usize) -> Result<(), StageError> {
        let stream = &mut self.streams[number];
        let before = stream.keys.at(stream.row);
        stream.row += 1;
        if stream.row < stream.batch.num_rows() {
            let key = stream.keys.at(stream.row);
            self.heap.push(Reverse((key, number)));
            return in_order(before, key, &stream.reader);
        }
        match self.refill(number)? {
            Some(key) => in_order(before, key, &self.streams[number].reader),
            None => Ok(()),
        }
    }

    fn refill(&mut self, number: usize) -> Result<Option<Key>, StageError> {
        let stream = &mut self.streams[number];
        for batch in &mut stream.reader {
            let batch = batch?;
            if batch.num_rows() > 0 {
                stream.keys = Keys::of(&batch);
                (stream.batch, stream.row, stream.kept) = (batch, 0, None);
                let key = stream.keys.at(0);
                self.heap.push(Reverse((key, number)));
                return Ok(Some(key));
            }
        }
        Ok(None)
    }
}

fn in_order(before: Key, key: Key, reader: &PartReader) -> Result<(), StageError> {
    if before <= key {
        return Ok(());
    }
    Err(StageError::data(format!(
        "{}: its rows are not sorted",
        reader.path()
    )))
}
