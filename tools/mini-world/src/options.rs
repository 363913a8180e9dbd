//! How large a world is.

use std::path::PathBuf;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// What to build.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BuildOptions {
    /// Everything in the world is a function of this and the size.
    pub seed: u64,
    /// How much of everything.
    pub size: Size,
    /// The folder of the mini models: `sdxl-mini`, `ner`, `face`, and `people`, whom they know.
    pub weights: PathBuf,
}

/// A world's size.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Size {
    /// Seconds to run: for tests.
    Tiny,
    /// Minutes to run: for figures.
    Full,
}

impl FromStr for Size {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "tiny" => Ok(Self::Tiny),
            "full" => Ok(Self::Full),
            _ => Err(format!("unknown size `{text}`: one of tiny, full")),
        }
    }
}

/// How much of everything a world of some size has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Counts {
    /// Known names with plenty of photos. One of them is excluded by the manifest.
    pub(crate) stocked: usize,
    /// Known names with fewer than five photos that can be used.
    pub(crate) scarce: usize,
    /// Unknown names.
    pub(crate) unknown: usize,
    /// Of those, names that another unknown one differs from by a letter.
    pub(crate) namesakes: usize,
    /// Distinct eligible photos of a stocked name.
    pub(crate) photos: std::ops::RangeInclusive<usize>,
    /// How often each trap is laid.
    pub(crate) traps: usize,
    /// Landscapes filed under a name.
    pub(crate) landscapes: usize,
    /// Captions with two names.
    pub(crate) pairs: usize,
    /// Captions that name nobody.
    pub(crate) nobody: usize,
    /// Rows for each of the source's filters.
    pub(crate) filtered: usize,
    /// People with a reference photo whom no network has seen.
    pub(crate) unseen: usize,
    /// Parquet files of captions.
    pub(crate) shards: usize,
    /// Buckets of the run.
    pub(crate) buckets: u32,
    /// Steps of the encoder's training.
    pub(crate) training_steps: u32,
}

impl Size {
    pub(crate) fn counts(self) -> Counts {
        match self {
            Self::Full => Counts {
                stocked: 112,
                scarce: 8,
                unknown: 35,
                namesakes: 2,
                photos: 8..=11,
                traps: 2,
                landscapes: 12,
                pairs: 20,
                nobody: 150,
                filtered: 8,
                unseen: 24,
                shards: 4,
                buckets: 8,
                training_steps: 3000,
            },
            Self::Tiny => Counts {
                stocked: 10,
                scarce: 2,
                unknown: 5,
                namesakes: 1,
                photos: 7..=8,
                traps: 1,
                landscapes: 3,
                pairs: 3,
                nobody: 20,
                filtered: 2,
                unseen: 4,
                shards: 2,
                buckets: 2,
                training_steps: 300,
            },
        }
    }
}
