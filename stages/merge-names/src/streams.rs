//! The shards' spellings as one sorted stream: a row group of each shard in memory, whatever their size.

use std::cmp::{Ordering, Reverse};
use std::collections::BinaryHeap;

use arrow::array::{Array, AsArray, StringArray, UInt64Array};
use arrow::datatypes::UInt64Type;
use laioncele_core::table::SpellingCount;
use laioncele_core::{CoreError, Part, PartReader, StageError, Task};

use crate::columns::{column, texts};

/// The spellings of all shards, equal ones together.
pub(crate) struct Spellings {
    shards: Vec<Shard>,
    heap: BinaryHeap<Reverse<Head>>,
}

/// What is left of a shard.
struct Shard {
    reader: PartReader,
    part: Part,
}

/// The next spelling of a shard.
struct Head {
    /// Its first bytes, which mostly decide.
    prefix: u64,
    texts: StringArray,
    mentions: UInt64Array,
    row: usize,
    shard: usize,
}

/// A spelling and where it is.
pub(crate) struct Found {
    /// The text's batch and row.
    texts: StringArray,
    row: usize,
    /// Mentions in all shards.
    pub(crate) mentions: u64,
}

impl Found {
    /// The spelling.
    pub(crate) fn text(&self) -> &str {
        self.texts.value(self.row)
    }
}

impl Spellings {
    /// The spellings in `parts`, one part for each shard.
    ///
    /// # Errors
    /// A damaged part.
    pub(crate) fn open(task: &Task, parts: &[Part]) -> Result<Self, StageError> {
        let mut all = Self {
            shards: Vec::with_capacity(parts.len()),
            heap: BinaryHeap::with_capacity(parts.len()),
        };
        for (number, part) in parts.iter().enumerate() {
            all.shards.push(Shard {
                reader: task.stream::<SpellingCount>(part)?,
                part: part.clone(),
            });
            all.refill(number)?;
        }
        Ok(all)
    }

    /// The next distinct spelling; the numbers of the shards that have it are put into `shards`, in
    /// order.
    ///
    /// # Errors
    /// A damaged part; one that is not sorted.
    pub(crate) fn next(&mut self, shards: &mut Vec<u32>) -> Result<Option<Found>, StageError> {
        shards.clear();
        let Some(Reverse(first)) = self.heap.pop() else {
            return Ok(None);
        };
        let mut found = Found {
            texts: first.texts.clone(),
            row: first.row,
            mentions: 0,
        };
        let mut head = first;
        loop {
            found.mentions = found.mentions.saturating_add(head.mentions.value(head.row));
            shards.push(head.shard as u32);
            self.advance(head)?;
            match self.heap.peek() {
                Some(Reverse(next)) if next.text() == found.text() => {}
                _ => return Ok(Some(found)),
            }
            let Some(Reverse(next)) = self.heap.pop() else {
                return Ok(Some(found));
            };
            head = next;
        }
    }

    /// Puts the spelling after `head` into the heap.
    fn advance(&mut self, head: Head) -> Result<(), StageError> {
        let shard = head.shard;
        if head.row + 1 == head.texts.len() {
            let last = head.text().to_owned();
            self.refill(shard)?;
            let sorted = self
                .heap
                .iter()
                .all(|Reverse(h)| h.shard != shard || *h.text() > *last);
            return if sorted {
                Ok(())
            } else {
                Err(self.unsorted(shard))
            };
        }
        if head.texts.value(head.row + 1) <= head.text() {
            return Err(self.unsorted(shard));
        }
        self.heap.push(Reverse(Head::at(
            head.texts,
            head.mentions,
            head.row + 1,
            shard,
        )));
        Ok(())
    }

    fn unsorted(&self, shard: usize) -> StageError {
        let path = &self.shards[shard].part.path;
        StageError::data(format!("{path}: its spellings are not sorted"))
    }

    /// Reads the next batch of a shard that has rows.
    fn refill(&mut self, shard: usize) -> Result<(), StageError> {
        let Shard { reader, part } = &mut self.shards[shard];
        for batch in reader {
            let batch = batch?;
            if batch.num_rows() > 0 {
                let texts = texts(&batch, "spelling", part)?.clone();
                let mentions = column(&batch, "mentions", part)?.as_primitive_opt::<UInt64Type>();
                let numbers = || CoreError::parquet(&part.path, "column `mentions` is no number");
                let mentions = mentions.ok_or_else(numbers)?.clone();
                self.heap.push(Reverse(Head::at(texts, mentions, 0, shard)));
                return Ok(());
            }
        }
        Ok(())
    }
}

impl Head {
    fn at(texts: StringArray, mentions: UInt64Array, row: usize, shard: usize) -> Self {
        let mut prefix = [0; 8];
        let bytes = texts.value(row).as_bytes();
        let length = bytes.len().min(8);
        prefix[..length].copy_from_slice(&bytes[..length]);
        Self {
            prefix: u64::from_be_bytes(prefix),
            texts,
            mentions,
            row,
            shard,
        }
    }

    fn text(&self) -> &str {
        self.texts.value(self.row)
    }
}

impl Ord for Head {
    fn cmp(&self, other: &Self) -> Ordering {
        (self.prefix.cmp(&other.prefix))
            .then_with(|| self.text().cmp(other.text()))
            .then_with(|| self.shard.cmp(&other.shard))
    }
}

impl PartialOrd for Head {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Head {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Head {}
