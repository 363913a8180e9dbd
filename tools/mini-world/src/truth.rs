//! What is true in a world: who is known, what each photo shows, how names were written. Only [`crate::score()`] and tests
//! read it; no stage does.

use std::path::Path;

use laioncele_core::{CaptionId, CoreError, DropReason, ImageId};
use serde::{Deserialize, Serialize};

use crate::error::WorldError;
use crate::options::Size;
use crate::spelling::Spelling;

/// Version of the file's format.
pub const TRUTH_FORMAT: u32 = 1;

/// The truth of one world.
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
    /// All photos filed under a name by a caption.
    pub filings: Vec<Filing>,
    /// All names as written, in captions that pass the source's filters.
    pub mentions: Vec<Written>,
    /// Captions that the source's filters must drop.
    pub filtered: Vec<Filtered>,
    /// People never seen in any training who have a reference photo.
    pub unseen: usize,
}

/// A canonical name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TrueName {
    /// Its text.
    pub name: String,
    /// Whether the model knows it.
    pub known: bool,
    /// Whether the manifest excludes it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub excluded: bool,
}

/// What a photo shows of the name that it is filed under.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Shows {
    /// The person.
    Right,
    /// Somebody else.
    Wrong,
    /// Nobody.
    Nobody,
}

/// A photo filed under a name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Filing {
    /// Position in [`Truth::names`].
    pub name: usize,
    /// The photo's url.
    pub url: String,
    /// What it shows.
    pub shows: Shows,
    /// Copies of one picture under one name share this number; no other pictures do.
    pub scene: usize,
    /// Whether this name must get this photo: it shows the right person, arrives, passes the source's filters, and a
    /// caption in which names are found nearly always has the name plainly.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub eligible: bool,
    /// What download-images must say of it, where it does not arrive.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trap: Option<DropReason>,
}

impl Filing {
    /// The photo's id.
    pub fn image(&self) -> ImageId {
        ImageId::of(&self.url)
    }
}

/// A name as a caption has it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Written {
    /// Position in [`Truth::names`].
    pub name: usize,
    /// The caption.
    pub caption: CaptionId,
    /// The photo beside it.
    pub image: ImageId,
    /// The name's text in it, without a possessive 's.
    pub text: String,
    /// Which kind of spelling that is.
    pub spelling: Spelling,
}

/// A caption that extract-names must drop.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Filtered {
    /// The caption.
    pub caption: CaptionId,
    /// Why.
    pub reason: DropReason,
}

impl Truth {
    /// Reads `truth.json`.
    ///
    /// # Errors
    /// A missing file, one of another shape, or a newer one.
    pub fn load(path: &Path) -> Result<Self, WorldError> {
        #[derive(Deserialize)]
        struct Header {
            format: u32,
        }
        let text = std::fs::read(path).map_err(|e| CoreError::from_io(path, e))?;
        let broken = |source| WorldError::Json {
            path: path.to_owned(),
            source,
        };
        let Header { format } = serde_json::from_slice(&text).map_err(broken)?;
        if format > TRUTH_FORMAT {
            return Err(WorldError::Newer {
                path: path.to_owned(),
                found: format,
                known: TRUTH_FORMAT,
            });
        }
        let truth: Self = serde_json::from_slice(&text).map_err(broken)?;
        let names = truth.names.len();
        let positions = truth.filings.iter().map(|f| f.name);
        match positions
            .chain(truth.mentions.iter().map(|m| m.name))
            .find(|at| *at >= names)
        {
            Some(at) => Err(broken(serde::de::Error::custom(format!(
                "there is no name {at}"
            )))),
            None => Ok(truth),
        }
    }

    /// Its file.
    pub(crate) fn to_json(&self) -> Result<String, serde_json::Error> {
        let text = serde_json::to_string(self)?;
        // A record to a line, so that two worlds can be compared.
        Ok(text.replace("},{", "},\n{") + "\n")
    }

    /// Distinct eligible pictures of each name, in the order of [`Truth::names`].
    pub fn eligible(&self) -> Vec<usize> {
        let mut scenes: Vec<_> = (self.filings.iter().filter(|f| f.eligible))
            .map(|f| (f.name, f.scene))
            .collect();
        scenes.sort_unstable();
        scenes.dedup();
        let mut counts = vec![0; self.names.len()];
        for (name, _) in scenes {
            counts[name] += 1;
        }
        counts
    }
}
