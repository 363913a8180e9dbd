//! `[dedupe_images]` of the manifest.

use laioncele_core::{CoreError, Manifest};
use serde::{Deserialize, Serialize};

/// `[dedupe_images]`
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// Photos of one name whose hashes differ in at most this many of the 64 bits are copies of
    /// each other. 0: equal hashes only, since near matches of different photos of one face are
    /// common and must stay.
    pub max_distance: u32,
}

impl Settings {
    /// Reads the section.
    ///
    /// # Errors
    /// [`CoreError::Manifest`]: an unknown key or a wrong type.
    pub fn from_manifest(manifest: &Manifest) -> Result<Self, CoreError> {
        manifest.section("dedupe_images")
    }
}
