//! The names of the tables.

use serde::{Deserialize, Serialize};
use strum::{Display, EnumString, IntoStaticStr, VariantArray};

/// The tables and files that steps hand to each other.
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
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
pub enum TableId {
    /// The source's captions (not ours: read as the manifest maps its columns).
    Captions,
    /// PERSON spans in captions.
    Mentions,
    /// Distinct spellings of a shard's mentions, with their counts.
    Spellings,
    /// How the words of names stand in a shard's captions.
    Words,
    /// What a language model was asked about names, and its answers.
    Opinions,
    /// The name of each spelling of a shard, or why it is none.
    Verdicts,
    /// Names by bucket, before their images are counted.
    MergedNames,
    /// Mentions by bucket, with the name that each is filed under.
    FiledMentions,
    /// Canonical names with their aliases.
    Names,
    /// (name, image) pairs.
    Candidates,
    /// Names with their embedding.
    NameEmbeddings,
    /// Generated portraits.
    Portraits,
    /// How far the first two portraits of a name agree.
    PortraitPairs,
    /// The face of each portrait.
    PortraitFaces,
    /// Names that SDXL really knows.
    KnownNames,
    /// Downloaded photos.
    Photos,
    /// How many urls of each host were photos, or were dropped for what.
    Reachability,
    /// When each url was asked for, and what came. Beside the tables: no record names its parts.
    Attempts,
    /// What copies of a photo are recognized by.
    PhotoPrints,
    /// Pictures that stand for many images.
    Placeholders,
    /// Photos without their copies.
    UniquePhotos,
    /// The best face of each photo against its name's portraits.
    PhotoFaces,
    /// Photos that show their name's person.
    Matches,
    /// How many people each name's photos show often.
    NamePeople,
    /// Names with enough matching photos: one row per kept photo.
    Identities,
    /// The dataset itself.
    #[serde(rename = "laioncele")]
    #[strum(serialize = "laioncele")]
    LaionCele,
    /// Sums of the identities' name embeddings, by bucket: what the mean name is made of.
    NameSums,
    /// CLIP image features of photos.
    PhotoFeatures,
    /// The trained encoder (files).
    Encoder,
    /// Images that the base model draws of people by their names.
    NamedImages,
    /// How like the reference photos the face of each such image is.
    NamedFaces,
    /// Who may be a reference, and why others may not.
    ReferenceVerdicts,
    /// Those who may.
    ChosenPeople,
    /// Generated images of unseen people.
    Samples,
    /// Scores of generated images.
    Evaluation,
    /// Dropped rows of any step.
    Dropped,
}

impl TableId {
    /// Every value, in declared order.
    pub const ALL: &'static [Self] = Self::VARIANTS;

    /// The word, as in tables, records and reports.
    pub fn as_str(self) -> &'static str {
        self.into()
    }
}
