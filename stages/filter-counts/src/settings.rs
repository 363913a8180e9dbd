//! `[filter_counts]` of the manifest.

use laioncele_core::{CoreError, Manifest};
use serde::{Deserialize, Serialize};

/// `[filter_counts]`
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// Names with fewer matching photos are dropped (paper: "a minimum of five images"). At least
    /// 1.
    pub min_images: u32,
    /// Of more photos than this, an identity keeps the best matches; all where it is not given.
    pub max_images: Option<u32>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            min_images: 5,
            max_images: None,
        }
    }
}

impl Settings {
    /// Reads and checks the section.
    ///
    /// # Errors
    /// [`CoreError::Manifest`]: an unknown key, a wrong type, no photo asked for, or a cap below
    /// `min_images`.
    pub fn from_manifest(manifest: &Manifest) -> Result<Self, CoreError> {
        let settings: Self = manifest.section("filter_counts")?;
        if settings.min_images == 0 {
            let text = "[filter_counts] min_images must be at least 1";
            return Err(manifest.error(text.to_owned()));
        }
        match settings.max_images.filter(|cap| *cap < settings.min_images) {
            Some(cap) => Err(manifest.error(format!(
                "[filter_counts] max_images is {cap}, below min_images = {}: no identity could have both",
                settings.min_images
            ))),
            None => Ok(settings),
        }
    }
}
