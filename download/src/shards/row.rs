//! A row of a list of urls.

use laioncele_core::DropReason;

/// A row of a list of urls, with what is carried along to its photo.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Row {
    /// The url as the list has it.
    pub url: Option<String>,
    /// Why the row is not asked for at all.
    pub fault: Option<(DropReason, String)>,
    /// The text beside it.
    pub caption: Option<String>,
    /// A hash of the file, as [`crate::check_hash`] takes it.
    pub hash: Option<String>,
    /// Cosine similarity of image and caption.
    pub similarity: Option<f32>,
    /// Probability that the image is not safe for work.
    pub punsafe: Option<f32>,
    /// Probability that it has a watermark.
    pub pwatermark: Option<f32>,
    /// LAION-400M's label.
    pub nsfw: Option<String>,
}

impl Row {
    /// The numbers that are carried along, by name.
    pub(crate) fn scores(&self) -> [(&'static str, Option<f32>); 3] {
        [
            ("similarity", self.similarity),
            ("punsafe", self.punsafe),
            ("pwatermark", self.pwatermark),
        ]
    }
}

/// The rows of a shard.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ShardRows {
    /// The shard's number, from 0.
    pub number: u64,
    /// Its rows, in the list's order.
    pub rows: Vec<Row>,
}

impl ShardRows {
    /// The shard's name: `00012`.
    pub(crate) fn name(&self) -> String {
        format!("{:05}", self.number)
    }

    /// The key of row `row`: the shard's name and the row's number, with as many digits as rows of a shard need.
    pub(crate) fn key(&self, row: usize, rows_per_shard: usize) -> String {
        let last = rows_per_shard.saturating_sub(1);
        let digits = last.checked_ilog10().unwrap_or(0) as usize + 1;
        format!("{}{row:0digits$}", self.name())
    }

    /// The number of row `row`'s entry in the journal. It changes with the url, so that an entry of another list counts for
    /// nothing.
    pub(crate) fn entry(&self, row: usize) -> u64 {
        let url = self.rows[row].url.as_deref().unwrap_or_default();
        row as u64 | u64::from(crc32fast::hash(url.as_bytes())) << 32
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_of_one_length_and_sorted_like_rows() {
        let shard = ShardRows {
            number: 12,
            rows: Vec::new(),
        };
        assert_eq!(shard.key(7, 10_000), "000120007");
        assert_eq!(shard.key(0, 10_001), "0001200000");
        assert_eq!(shard.key(0, 1), "000120");
    }
}
