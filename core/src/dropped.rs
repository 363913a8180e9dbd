//! The dropped rows of a task: counted, and encoded a row group at a time, so that a task's memory does not grow with
//! the rows that it drops.

use std::collections::BTreeMap;

use crate::drops::{DropReason, Unit};
use crate::error::CoreError;
use crate::ids::NameId;
use crate::part::{PartEncoder, ROW_GROUP};
use crate::table::{Dropped, EmbeddingDims, Row};

/// Rows of a part at most: 64 row groups. A file of 18 million dropped captions is 18 parts in its record.
const PART_ROWS: u64 = 64 * ROW_GROUP as u64;
/// Encoded bytes after which a part is closed, whatever its rows.
const PART_BYTES: usize = 32 << 20;

/// Rows dropped, by unit and reason.
pub(crate) type DropCounts = BTreeMap<Unit, BTreeMap<DropReason, u64>>;

/// A dropped row without what all rows of its task share: 56 bytes and its detail.
#[derive(Clone, Debug)]
pub(crate) struct DroppedRow {
    pub(crate) unit: Unit,
    pub(crate) id: u64,
    pub(crate) name_id: Option<NameId>,
    pub(crate) reason: DropReason,
    pub(crate) detail: Option<Box<str>>,
}

/// A part that is full.
pub(crate) struct DroppedPart {
    pub(crate) rows: u64,
    pub(crate) parquet: Vec<u8>,
}

/// The rows that a task has dropped so far: at most a row group of rows, and the bytes of an open part.
#[derive(Default)]
pub(crate) struct DroppedRows {
    counts: DropCounts,
    held: Vec<DroppedRow>,
    open: Option<PartEncoder>,
    /// Rows in the open part.
    open_rows: u64,
    /// Parts given out.
    parts: usize,
}

impl DroppedRows {
    /// Counts and keeps a row of `step`; the part that it fills.
    pub(crate) fn add(
        &mut self,
        row: DroppedRow,
        step: &str,
        dims: &EmbeddingDims,
    ) -> Result<Option<DroppedPart>, CoreError> {
        let reasons = self.counts.entry(row.unit).or_default();
        *reasons.entry(row.reason).or_default() += 1;
        self.held.push(row);
        if self.held.len() < ROW_GROUP {
            return Ok(None);
        }
        self.encode_held(step, dims)?;
        let bytes = self.open.as_ref().map_or(0, PartEncoder::bytes);
        if self.open_rows < PART_ROWS && bytes < PART_BYTES {
            return Ok(None);
        }
        self.close().map(Some)
    }

    /// The last part: what is open. A task without drops has one without rows, so that the table exists; a task whose
    /// last row filled a part has none.
    pub(crate) fn finish(
        &mut self,
        step: &str,
        dims: &EmbeddingDims,
    ) -> Result<Option<DroppedPart>, CoreError> {
        if self.parts > 0 && self.open_rows == 0 && self.held.is_empty() {
            return Ok(None);
        }
        self.encode_held(step, dims)?;
        self.close().map(Some)
    }

    /// How many rows were dropped, by unit and reason.
    pub(crate) fn counts(&self) -> &DropCounts {
        &self.counts
    }

    fn encode_held(&mut self, step: &str, dims: &EmbeddingDims) -> Result<(), CoreError> {
        let rows = self.held.drain(..).map(|row| Dropped {
            step: step.to_owned(),
            unit: row.unit,
            id: row.id,
            name_id: row.name_id,
            reason: row.reason,
            detail: row.detail.map(String::from),
        });
        let batch = Dropped::to_batch(rows.collect(), dims)?;
        self.open_rows += batch.num_rows() as u64;
        let open = match self.open.take() {
            Some(open) => open,
            None => PartEncoder::new(&Dropped::schema(dims))?,
        };
        self.open.insert(open).add(&batch)
    }

    fn close(&mut self) -> Result<DroppedPart, CoreError> {
        let parquet = self.open.take().map_or(Ok(Vec::new()), PartEncoder::finish);
        self.parts += 1;
        Ok(DroppedPart {
            rows: std::mem::take(&mut self.open_rows),
            parquet: parquet?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::part;
    use crate::table::dims::TEST_DIMS as DIMS;

    fn row(k: u64) -> DroppedRow {
        DroppedRow {
            unit: Unit::Caption,
            id: k.wrapping_mul(0x9e37_79b9_7f4a_7c15),
            name_id: k.is_multiple_of(3).then_some(NameId(k)),
            reason: DropReason::ALL[k as usize % 7],
            detail: k.is_multiple_of(2).then(|| format!("{k} x {k}").into()),
        }
    }

    fn parts(rows: u64) -> Vec<DroppedPart> {
        let mut dropped = DroppedRows::default();
        let added = (0..rows).map(|k| dropped.add(row(k), "a-step", &DIMS).expect("encoded"));
        let mut parts: Vec<_> = added.flatten().collect();
        parts.extend(dropped.finish("a-step", &DIMS).expect("encoded"));
        let counted: u64 = dropped.counts().values().flat_map(BTreeMap::values).sum();
        assert_eq!(counted, rows);
        assert_eq!(parts.iter().map(|part| part.rows).sum::<u64>(), rows);
        parts
    }

    /// As when a task kept its rows until the commit: parts of earlier versions have the same bytes.
    fn at_once(rows: u64) -> Vec<u8> {
        let rows = (0..rows).map(row).map(|row| Dropped {
            step: "a-step".to_owned(),
            unit: row.unit,
            id: row.id,
            name_id: row.name_id,
            reason: row.reason,
            detail: row.detail.map(String::from),
        });
        let batch = Dropped::to_batch(rows.collect(), &DIMS).expect("a batch");
        part::encode(&Dropped::schema(&DIMS), &[batch]).expect("encoded")
    }

    #[test]
    fn a_part_has_the_bytes_of_its_rows_encoded_at_once() {
        let group = ROW_GROUP as u64;
        for rows in [1, group - 1, group + 1, 3 * group + 5] {
            let parts = parts(rows);
            assert_eq!(parts.len(), 1);
            assert!(parts[0].parquet == at_once(rows), "{rows} rows");
        }
    }

    #[test]
    fn the_table_exists_without_rows() {
        let parts = parts(0);
        assert_eq!((parts.len(), parts[0].rows), (1, 0));
        let rows = part::read_batches(parts[0].parquet.clone().into(), "x").expect("Parquet");
        assert_eq!(rows.count(), 0);
    }

    #[test]
    fn parts_are_closed_by_their_rows() {
        let rows = |count| {
            parts(count)
                .iter()
                .map(|part| part.rows)
                .collect::<Vec<_>>()
        };
        assert_eq!(rows(PART_ROWS), [PART_ROWS]);
        assert_eq!(rows(PART_ROWS + 3), [PART_ROWS, 3]);
    }

    #[test]
    fn parts_are_closed_by_their_bytes() {
        let mut dropped = DroppedRows::default();
        let mut longest = 0;
        for k in 0..4 * ROW_GROUP as u64 {
            let mut row = row(k);
            // Text that compresses badly: 4 kB a row, 64 MB a row group.
            let words = (0..256).map(|w| format!("{:016x}", (k << 9 | w).wrapping_mul(row.id | 1)));
            row.detail = Some(words.collect::<String>().into());
            if let Some(part) = dropped.add(row, "a-step", &DIMS).expect("encoded") {
                longest = longest.max(part.rows);
            }
        }
        assert_eq!(longest, ROW_GROUP as u64);
    }
}
