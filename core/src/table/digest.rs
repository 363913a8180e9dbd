//! A digest over a table's rows that neither their order nor their files' layout changes.

use arrow::array::{Array, RecordBatch};
use arrow::row::{RowConverter, SortField};
use serde::{Deserialize, Serialize};

use crate::digest::Digest;
use crate::error::CoreError;

/// Sums the digests of rows: equal for equal multisets of rows.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RowsDigest {
    sum: [u64; 4],
    rows: u64,
}

impl RowsDigest {
    /// Adds every row of `batch`.
    ///
    /// # Errors
    /// [`CoreError::Parquet`] where a column's type has no row form.
    pub fn add(&mut self, batch: &RecordBatch) -> Result<(), CoreError> {
        let fail = |e: arrow::error::ArrowError| CoreError::parquet("rows digest", e);
        let fields = batch
            .columns()
            .iter()
            .map(|c| SortField::new(c.data_type().clone()))
            .collect();
        let rows = RowConverter::new(fields)
            .and_then(|c| c.convert_columns(batch.columns()))
            .map_err(fail)?;
        for row in &rows {
            let digest = Digest::of(row.as_ref()).0;
            for (sum, eight) in self.sum.iter_mut().zip(digest.chunks_exact(8)) {
                *sum = sum.wrapping_add(u64::from_le_bytes(std::array::from_fn(|i| eight[i])));
            }
        }
        self.rows += batch.num_rows() as u64;
        Ok(())
    }

    /// Adds the rows that `other` has summed.
    pub fn merge(&mut self, other: &Self) {
        for (sum, more) in self.sum.iter_mut().zip(other.sum) {
            *sum = sum.wrapping_add(more);
        }
        self.rows += other.rows;
    }

    /// Rows added so far.
    pub fn rows(&self) -> u64 {
        self.rows
    }

    /// The digest of all rows added.
    pub fn finish(&self) -> Digest {
        let bytes: Vec<u8> = self
            .sum
            .iter()
            .chain([&self.rows])
            .flat_map(|v| v.to_le_bytes())
            .collect();
        Digest::of(&bytes)
    }
}

#[cfg(test)]
mod tests {
    use crate::ids::{ImageId, NameId};
    use crate::table::dims::TEST_DIMS as DIMS;
    use crate::table::{Row, RowsDigest, UniquePhoto};

    fn photo(k: u64) -> UniquePhoto {
        UniquePhoto {
            name_id: NameId(1),
            image_id: ImageId(k),
            average_hash: k << 9,
            copies: 0,
        }
    }

    fn digest(batches: &[&[u64]]) -> crate::digest::Digest {
        let mut sum = RowsDigest::default();
        for ids in batches {
            let batch = UniquePhoto::to_batch(ids.iter().map(|&k| photo(k)).collect(), &DIMS)
                .expect("a valid batch");
            sum.add(&batch).expect("plain columns");
        }
        sum.finish()
    }

    #[test]
    fn order_and_layout_do_not_matter_but_rows_do() {
        assert_eq!(digest(&[&[1, 2, 3]]), digest(&[&[3], &[2, 1]]));
        assert_ne!(digest(&[&[1, 2, 3]]), digest(&[&[1, 2]]));
        assert_ne!(digest(&[&[1, 2, 3]]), digest(&[&[1, 2, 2]]));
    }

    #[test]
    fn sums_of_sums_are_sums_of_rows() {
        let sum = |ids: &[u64]| {
            let mut sum = RowsDigest::default();
            let rows = ids.iter().map(|&k| photo(k)).collect();
            let batch = UniquePhoto::to_batch(rows, &DIMS).expect("a valid batch");
            sum.add(&batch).expect("plain columns");
            sum
        };
        let (mut first, second) = (sum(&[1, 2]), sum(&[3]));
        first.merge(&second);
        assert_eq!(first, sum(&[3, 1, 2]));
        let json = serde_json::to_string(&first).expect("JSON");
        assert_eq!(serde_json::from_str::<RowsDigest>(&json).ok(), Some(first));
    }
}
