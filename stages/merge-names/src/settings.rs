//! `[merge_names]` of the manifest.

use laioncele_core::{CoreError, Manifest};
use serde::{Deserialize, Serialize};

use crate::fold::fold_key;
use crate::normalize::SeveralPeople;
use crate::second_opinion::SecondOpinionSettings;

/// Groups of source files where the manifest does not say.
pub(crate) const DEFAULT_GROUPS: u32 = 64;

/// `[merge_names]`
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// Names with fewer distinct images are dropped: they can never have this many photos in the
    /// end (paper: 5).
    pub min_images: u32,
    /// One-word names with fewer mentions are dropped: most of them are given names that many
    /// people share.
    pub mononym_min_mentions: u64,
    /// How many times as common a spelling must be for a rare one nearby to be its misspelling. Up to
    /// twice as many, the other evidence must be stronger. At least 1.
    pub common_ratio: f64,
    /// Names of people who asked not to be in the dataset; any of their spellings excludes the
    /// name.
    pub exclude: Vec<String>,
    /// Groups of source files: file-mentions has one task, and writes one part, for each that has
    /// files. A file's group follows from its name. At least 1.
    pub groups: u32,
    /// What becomes of a mention that holds several people (`Brad Pitt and Angelina Jolie`):
    /// `reject` drops it, `split` files it under each person whose full name it holds.
    pub several_people: SeveralPeople,
    /// A language model that is asked about what the rules leave open; without it nobody is asked.
    #[serde(skip_serializing)]
    pub second_opinion: Option<SecondOpinionSettings>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            min_images: 5,
            mononym_min_mentions: 1000,
            common_ratio: 5.0,
            exclude: Vec::new(),
            groups: DEFAULT_GROUPS,
            several_people: SeveralPeople::Reject,
            second_opinion: None,
        }
    }
}

impl Settings {
    /// Reads and checks the section.
    ///
    /// # Errors
    /// [`CoreError::Manifest`]: an unknown key, a wrong type or a value that cannot be meant.
    pub fn from_manifest(manifest: &Manifest) -> Result<Self, CoreError> {
        let settings: Self = manifest.section("merge_names")?;
        if !(settings.common_ratio.is_finite() && settings.common_ratio >= 1.0) {
            return Err(manifest.error(format!(
                "[merge_names] common_ratio is {}: it must be at least 1",
                settings.common_ratio
            )));
        }
        if settings.groups == 0 {
            return Err(manifest.error("[merge_names] groups must be at least 1".to_owned()));
        }
        let opinion = settings.second_opinion.as_ref();
        if let Some(fault) = opinion.and_then(SecondOpinionSettings::fault) {
            return Err(manifest.error(fault));
        }
        if let Some(empty) = settings
            .exclude
            .iter()
            .find(|name| fold_key(name).is_empty())
        {
            return Err(manifest.error(format!("[merge_names] exclude: `{empty}` holds no letter")));
        }
        Ok(settings)
    }
}
