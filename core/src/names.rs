//! The names of the stages.

use serde::{Deserialize, Serialize};
use strum::{Display, EnumString, IntoStaticStr, VariantArray};

/// The thirteen stages, in data order; their words on the command line and as crate names.
#[derive(
    Clone,
    Copy,
    Debug,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Serialize,
    Deserialize,
    Display,
    EnumString,
    IntoStaticStr,
    VariantArray,
)]
#[serde(rename_all = "kebab-case")]
#[strum(serialize_all = "kebab-case")]
pub enum StageName {
    /// 1: captions → mentions.
    ExtractNames,
    /// 2: mentions → names, candidates.
    MergeNames,
    /// 3: names → name_embeddings.
    EncodeNames,
    /// 4: name_embeddings → portraits.
    GeneratePortraits,
    /// 5: portraits → known_names.
    VerifyPortraits,
    /// 6: candidates of known_names → photos.
    DownloadImages,
    /// 7: photos → unique_photos.
    DedupeImages,
    /// 8: unique_photos, known_names → matches.
    VerifyImages,
    /// 9: matches → identities.
    FilterCounts,
    /// 10: identities, photos, name_embeddings → laioncele.
    PackShards,
    /// 11: laioncele → encoder.
    TrainEncoder,
    /// 12: encoder, reference photos, prompts → samples.
    GenerateSamples,
    /// 13: samples → evaluation.
    Evaluate,
}

impl StageName {
    /// Every value, in declared order.
    pub const ALL: &'static [Self] = Self::VARIANTS;

    /// The word, as in tables, records and reports.
    pub fn as_str(self) -> &'static str {
        self.into()
    }

    /// Its place in data order, from 1 to 13.
    pub fn number(self) -> usize {
        self as usize + 1
    }
}
