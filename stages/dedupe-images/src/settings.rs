//! `[dedupe_images]` of the manifest.

use laioncele_core::{CoreError, Manifest};
use serde::{Deserialize, Serialize};

/// `[dedupe_images]`
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// Photos of one name whose hashes differ in at most this many of the 64 bits are copies of
    /// each other, 32 at most. 0: equal hashes only, since near matches of different photos of one face are
    /// common and must stay.
    pub max_distance: u32,
    /// How JPEGs are hashed: `fast` from the means of their 8 × 8 blocks, without decoding pixels, or `exact` from their
    /// pixels, bit for bit as Python's imagehash. Small ones and other formats are always hashed exactly.
    pub hashing: Hashing,
    /// Whether a photo is hashed `as_stored`, as imagehash does, so that a copy that differs in its EXIF orientation
    /// only stays, or `upright`, as it is looked at.
    pub orientation: Turned,
    /// The same bytes from at least as many urls and under at least as many names are a placeholder ("image not
    /// available") and dropped, whoever serves them. A photo of many people is one url, or few, under their names. 0:
    /// they stay.
    pub placeholder_names: u32,
    /// The same for photos of one host that look the same (equal hashes) and are not the same bytes. More, because
    /// portraits of one studio can look the same at 8 × 8 pixels. 0: they stay.
    pub placeholder_host_names: u32,
}

/// How JPEGs are hashed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Hashing {
    /// From the means of their blocks.
    Fast,
    /// From their pixels.
    Exact,
}

/// In which orientation photos are hashed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Turned {
    /// As the pixels are stored.
    AsStored,
    /// As the photo is looked at.
    Upright,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            max_distance: 0,
            hashing: Hashing::Exact,
            orientation: Turned::AsStored,
            placeholder_names: 8,
            placeholder_host_names: 30,
        }
    }
}

impl Settings {
    /// Reads the section.
    ///
    /// # Errors
    /// [`CoreError::Manifest`]: an unknown key, a wrong type, a distance beyond 32.
    pub fn from_manifest(manifest: &Manifest) -> Result<Self, CoreError> {
        let settings: Self = manifest.section("dedupe_images")?;
        match settings.max_distance {
            0..=32 => Ok(settings),
            distance => Err(manifest.error(format!(
                "dedupe_images.max_distance is {distance}: of the 64 bits of a hash 32 differ by chance, so that is the most"
            ))),
        }
    }
}
