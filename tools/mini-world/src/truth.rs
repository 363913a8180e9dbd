//! What is true in a world: which names the model knows, what each photo shows, how names are
//! written. Only [`crate::score()`] and tests read it; no stage does.

use std::path::Path;

use laioncele_core::{CaptionId, CoreError, DropReason, ImageId};
use serde::de::Error;
use serde::{Deserialize, Serialize};

use crate::error::WorldError;
use crate::options::Size;
use crate::spelling::Spelling;

/// Version of the file's format.
pub const TRUTH_FORMAT: u32 = 1;

/// The truth of one world. `truth.json` keeps the words of its first version (the `rename`s), so
/// that its bytes stay the same.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Truth {
    /// [`TRUTH_FORMAT`].
    pub format: u32,
    /// The world's seed.
    pub seed: u64,
    /// The world's size.
    pub size: Size,
    /// All canonical names of its captions.
    pub names: Vec<TrueName>,
    /// All photos that a caption puts under a name.
    #[serde(rename = "filings")]
    pub photos: Vec<TruePhoto>,
    /// All names as they are written in captions that pass the source's filters.
    pub mentions: Vec<TrueMention>,
    /// Captions that the source's filters must drop.
    pub filtered: Vec<FilteredCaption>,
    /// How many people have a reference photo but are in no model's training data.
    pub unseen: usize,
}

/// A canonical name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TrueName {
    /// The name's text.
    pub name: String,
    /// Whether the model knows it.
    pub known: bool,
    /// Whether the manifest excludes it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub excluded: bool,
}

/// Whom a photo shows, seen from the name that it is under.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PhotoContent {
    /// The person with the name, perhaps beside somebody else.
    #[serde(rename = "right")]
    RightPerson,
    /// Somebody else.
    #[serde(rename = "wrong")]
    WrongPerson,
    /// Nobody.
    Nobody,
}

/// A photo under a name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TruePhoto {
    /// The name's position in [`Truth::names`].
    pub name: usize,
    /// The photo's url.
    pub url: String,
    /// Whom it shows.
    #[serde(rename = "shows")]
    pub content: PhotoContent,
    /// Copies of one image under one name share this number. No other images do.
    #[serde(rename = "scene")]
    pub original: usize,
    /// Whether a perfect run keeps this photo for this name: it shows the right person, the
    /// download succeeds, the row passes the source's filters, and a caption has the name in a
    /// plain spelling where names are nearly always found.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub eligible: bool,
    /// The reason for which it must be dropped: by download-images if the page is a trap, by dedupe-images if it is a
    /// copy or a placeholder.
    #[serde(rename = "trap", default, skip_serializing_if = "Option::is_none")]
    pub expected_drop: Option<DropReason>,
}

impl TruePhoto {
    /// The photo's id.
    pub fn image(&self) -> ImageId {
        ImageId::of(&self.url)
    }
}

/// A name as a caption has it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TrueMention {
    /// The name's position in [`Truth::names`].
    pub name: usize,
    /// The caption.
    pub caption: CaptionId,
    /// The photo beside the caption.
    pub image: ImageId,
    /// The name as written, without a possessive 's.
    pub text: String,
    /// The kind of spelling that this is.
    pub spelling: Spelling,
}

/// A caption that extract-names must drop.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FilteredCaption {
    /// The caption.
    pub caption: CaptionId,
    /// The reason for which it must be dropped.
    pub reason: DropReason,
}

impl Truth {
    /// Reads `truth.json`.
    ///
    /// # Errors
    /// A file that is missing, not a truth, or written by a newer version.
    pub fn load(path: &Path) -> Result<Self, WorldError> {
        let text = std::fs::read(path).map_err(|e| CoreError::from_io(path, e))?;
        let invalid = |source| WorldError::Json {
            path: path.to_owned(),
            source,
        };
        let found = format_of(&text).map_err(invalid)?;
        if found > TRUTH_FORMAT {
            return Err(WorldError::Newer {
                path: path.to_owned(),
                found,
                known: TRUTH_FORMAT,
            });
        }
        let truth: Self = serde_json::from_slice(&text).map_err(invalid)?;
        truth.check_positions().map_err(invalid)?;
        Ok(truth)
    }

    /// Photos and mentions refer to names that exist.
    fn check_positions(&self) -> Result<(), serde_json::Error> {
        let of_photos = self.photos.iter().map(|photo| photo.name);
        let of_mentions = self.mentions.iter().map(|mention| mention.name);
        let mut positions = of_photos.chain(of_mentions);
        match positions.find(|at| *at >= self.names.len()) {
            Some(at) => Err(Error::custom(format!("there is no name {at}"))),
            None => Ok(()),
        }
    }

    /// The text of `truth.json`, with one record per line, so that `diff` can compare two worlds.
    pub(crate) fn to_json(&self) -> Result<String, serde_json::Error> {
        let text = serde_json::to_string(self)?;
        Ok(text.replace("},{", "},\n{") + "\n")
    }

    /// The number of different eligible images of each name, in the order of [`Truth::names`].
    pub fn eligible(&self) -> Vec<usize> {
        let mut originals: Vec<_> = (self.photos.iter())
            .filter(|photo| photo.eligible)
            .map(|photo| (photo.name, photo.original))
            .collect();
        originals.sort_unstable();
        originals.dedup();
        let mut counts = vec![0; self.names.len()];
        for (name, _) in originals {
            counts[name] += 1;
        }
        counts
    }
}

/// The format that a truth's text says it has.
fn format_of(text: &[u8]) -> Result<u32, serde_json::Error> {
    #[derive(Deserialize)]
    struct Header {
        format: u32,
    }
    serde_json::from_slice::<Header>(text).map(|header| header.format)
}
