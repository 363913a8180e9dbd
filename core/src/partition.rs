//! Partitions: what one task works on.

use std::cmp::Ordering;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::digest::KeyHasher;

/// What one task works on. Its text is a folder name of `[a-z0-9._-]` only, and the order of partitions is that of their
/// texts.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub enum Partition {
    /// `all`: the single partition of a step that runs once.
    Whole,
    /// `bucket-0007`: a bucket of names.
    Bucket(u32),
    /// `chunk-0007`: a chunk of a step that cuts its work by the manifest, or a group of source shards.
    Chunk(u32),
    /// `shard-NAME`: a file of the source.
    Shard(ShardName),
}

/// The name of a source shard in `[a-z0-9._-]`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ShardName(String);

impl ShardName {
    /// The name of a source file: its stem in lower case, other characters replaced by `_`.
    pub fn of_stem(file_stem: &str) -> Self {
        let clean = |c: char| {
            if c.is_ascii_alphanumeric() || "._-".contains(c) {
                c.to_ascii_lowercase()
            } else {
                '_'
            }
        };
        Self(file_stem.chars().map(clean).collect())
    }
}

impl Partition {
    /// The partition of a source shard, from its file's stem; characters outside `[a-z0-9._-]` become `_`.
    pub fn shard(file_stem: &str) -> Self {
        Self::Shard(ShardName::of_stem(file_stem))
    }

    /// The group (`chunk-0000` …) that a partition belongs to among `groups`: it depends on nothing but the partition's
    /// text, so that a new file of the source moves no other.
    pub fn group(&self, groups: u32) -> Self {
        let hash = KeyHasher::new("shard-group").text("partition", &self.to_string());
        let number = hash.finish().low_u64() % u64::from(groups.max(1));
        Self::Chunk(u32::try_from(number).unwrap_or(0))
    }
}

/// Numbers below this have texts of equal length, whose order is that of the numbers.
const FOUR_DIGITS: u32 = 10_000;

impl Ord for Partition {
    fn cmp(&self, other: &Self) -> Ordering {
        match (self, other) {
            (Self::Bucket(a), Self::Bucket(b)) | (Self::Chunk(a), Self::Chunk(b))
                if *a.max(b) < FOUR_DIGITS =>
            {
                a.cmp(b)
            }
            (Self::Shard(a), Self::Shard(b)) => a.0.cmp(&b.0),
            _ => self.to_string().cmp(&other.to_string()),
        }
    }
}

impl PartialOrd for Partition {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl fmt::Display for Partition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Whole => f.pad("all"),
            Self::Bucket(k) => f.pad(&format!("bucket-{k:04}")),
            Self::Chunk(k) => f.pad(&format!("chunk-{k:04}")),
            Self::Shard(name) => f.pad(&format!("shard-{}", name.0)),
        }
    }
}

/// A text that is no partition's.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no partition: expected `all`, `bucket-0000`, `chunk-0000` or `shard-NAME`")]
pub struct UnknownPartition(String);

impl FromStr for Partition {
    type Err = UnknownPartition;

    fn from_str(text: &str) -> Result<Self, UnknownPartition> {
        let parsed = match text.split_once('-') {
            None if text == "all" => Some(Self::Whole),
            Some(("bucket", number)) => number.parse().ok().map(Self::Bucket),
            Some(("chunk", number)) => number.parse().ok().map(Self::Chunk),
            Some(("shard", name)) => Some(Self::shard(name)),
            _ => None,
        };
        parsed
            .filter(|partition| partition.to_string() == text)
            .ok_or_else(|| UnknownPartition(text.to_owned()))
    }
}

impl TryFrom<String> for Partition {
    type Error = UnknownPartition;

    fn try_from(text: String) -> Result<Self, UnknownPartition> {
        text.parse()
    }
}

impl From<Partition> for String {
    fn from(partition: Partition) -> Self {
        partition.to_string()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn any_partition() -> impl Strategy<Value = Partition> {
        // Numbers on both sides of the four digits that texts are padded to.
        let number = prop_oneof![0..20_000u32, any::<u32>()];
        prop_oneof![
            Just(Partition::Whole),
            number.clone().prop_map(Partition::Bucket),
            number.prop_map(Partition::Chunk),
            ".{0,12}".prop_map(|stem| Partition::shard(&stem)),
        ]
    }

    proptest! {
        #[test]
        fn order_is_that_of_the_texts(a in any_partition(), b in any_partition()) {
            prop_assert_eq!(a.cmp(&b), a.to_string().cmp(&b.to_string()));
            prop_assert_eq!(a == b, a.to_string() == b.to_string());
        }

        #[test]
        fn text_and_json_are_read_back(partition in any_partition()) {
            prop_assert_eq!(partition.to_string().parse(), Ok(partition.clone()));
            let json = serde_json::to_string(&partition).expect("a string");
            prop_assert_eq!(&json, &format!("\"{partition}\""));
            let read: Partition = serde_json::from_str(&json).expect("a partition");
            prop_assert_eq!(read, partition);
        }

        #[test]
        fn text_is_a_plain_folder_name(partition in any_partition()) {
            let text = partition.to_string();
            let plain = |c: char| matches!(c, 'a'..='z' | '0'..='9' | '.' | '_' | '-');
            prop_assert!(text.chars().all(plain), "{}", text);
        }
    }

    /// Pinned: a shard that moves to another group makes both groups run again.
    #[test]
    fn groups_never_change() {
        let groups = ["part-00000", "part-00001", "x"].map(|stem| Partition::shard(stem).group(64));
        assert_eq!(groups, [29, 6, 59].map(Partition::Chunk));
        assert_eq!(Partition::shard("x").group(1), Partition::Chunk(0));
    }

    #[test]
    fn texts_are_those_of_paths_on_disk() {
        let texts = [
            Partition::Whole,
            Partition::Bucket(7),
            Partition::Bucket(12_345),
            Partition::Chunk(63),
            Partition::shard("Part 0001.A"),
        ];
        let texts = texts.map(|partition| partition.to_string());
        let expected = [
            "all",
            "bucket-0007",
            "bucket-12345",
            "chunk-0063",
            "shard-part_0001.a",
        ];
        assert_eq!(texts, expected);
    }

    #[test]
    fn parse_rejects_what_no_partition_is_written_as() {
        for text in [
            "",
            "whole",
            "bucket",
            "bucket-7",
            "bucket-00007",
            "chunk-+001",
            "shard-A b",
            "buckets-0001",
        ] {
            assert_eq!(
                text.parse::<Partition>(),
                Err(UnknownPartition(text.to_owned()))
            );
        }
    }
}
