//! How large a world is.

use std::path::PathBuf;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// What to build.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BuildOptions {
    /// With the size it decides everything in the world.
    pub seed: u64,
    /// How much of everything.
    pub size: Size,
    /// The folder with the mini models (`sdxl-mini`, `ner`, `face`) and with `people`, the people
    /// whom they know.
    pub weights: PathBuf,
}

/// A world's size.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Size {
    /// A run takes seconds: for tests.
    Tiny,
    /// A run takes minutes: for measurements.
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
    /// Known names with many photos. The manifest excludes one of them.
    pub(crate) frequent: usize,
    /// Known names with fewer than five usable photos.
    pub(crate) rare: usize,
    /// Unknown names.
    pub(crate) unknown: usize,
    /// How many of them differ by one letter from another unknown name.
    pub(crate) similar_names: usize,
    /// Different eligible photos of a frequent name.
    pub(crate) photos: std::ops::RangeInclusive<usize>,
    /// Pages of each kind of trap.
    pub(crate) traps: usize,
    /// Files under two urls beside one name.
    pub(crate) exact_copies: usize,
    /// Names under which one file is, in place of many.
    pub(crate) same_file: usize,
    /// Names under which one host shows one picture, in files that differ.
    pub(crate) same_look: usize,
    /// Landscapes under a name.
    pub(crate) landscapes: usize,
    /// Captions with two names.
    pub(crate) pairs: usize,
    /// Captions that name nobody.
    pub(crate) nobody: usize,
    /// Rows for each of the source's filters.
    pub(crate) filtered: usize,
    /// People with a reference photo who are in no model's training data.
    pub(crate) unseen: usize,
    /// Parquet files of captions.
    pub(crate) shards: usize,
    /// Buckets of the run: see `[run] buckets`.
    pub(crate) buckets: u32,
    /// Steps of the encoder's training.
    pub(crate) training_steps: u32,
}

/// What `[generate_samples]` of a full world draws.
const FULL_SAMPLES: &str = r#"# Prompts that the LoRA below taught the mini SDXL, and the same prompts with the people's names and with nobody's: as many
# images of each.
methods = ["laioncele", "sdxl-name"]
prompts.background = ["a portrait of a person on a green background", "a portrait of a person on a purple background"]
prompts.clothing = ["a person, red shirt", "a person, blue shirt"]
prompts.style = ["a gray photo of a person", "a bright photo of a person"]
images_per_prompt = 1
base_images_per_prompt = @people@
steps = 10"#;

/// What ends a full world's manifest.
const FULL_WORDS: &str = r#"
# Words for colours and styles: names and portraits do without. The image encoder is one that knows these words, so that
# the features that the encoder of names reads stay those of `[models.image_encoders]`.
[[generate_samples.lora]]
file = "@weights@/words/lora.safetensors"

[evaluate]
clip = "@weights@/words/image_encoder"
"#;

/// What `[generate_samples]` of a tiny world draws.
const TINY_SAMPLES: &str = r#"prompts = ["a portrait of a person"]
images_per_prompt = 2
steps = 20"#;

impl Size {
    /// Parts of the manifest: which samples are drawn, and what else they need.
    pub(crate) fn samples(self) -> (&'static str, &'static str) {
        match self {
            Self::Full => (FULL_SAMPLES, FULL_WORDS),
            Self::Tiny => (TINY_SAMPLES, ""),
        }
    }

    pub(crate) fn counts(self) -> Counts {
        match self {
            Self::Full => Counts {
                frequent: 112,
                rare: 8,
                unknown: 35,
                similar_names: 2,
                photos: 8..=11,
                traps: 2,
                exact_copies: 12,
                same_file: 14,
                same_look: 40,
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
                frequent: 10,
                rare: 2,
                unknown: 5,
                similar_names: 1,
                photos: 7..=8,
                traps: 1,
                exact_copies: 3,
                same_file: 9,
                // Too few names for a look to be suspicious.
                same_look: 0,
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
