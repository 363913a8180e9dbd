//! `[pack_shards]` of the manifest.

use laioncele_core::{CoreError, Manifest};
use serde::{Deserialize, Serialize};

/// `[pack_shards]`
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// Bytes of images after which a shard is closed. A bucket's last shard is smaller.
    pub shard_bytes: u64,
    /// Rows in a row group: what a reader holds at once.
    pub row_group: usize,
    /// Whether each identity gets a contact sheet.
    pub sheets: bool,
    /// Photos on a sheet at most, best matches first.
    pub sheet_photos: usize,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            shard_bytes: 512 << 20,
            row_group: 256,
            sheets: true,
            sheet_photos: 24,
        }
    }
}

impl Settings {
    /// Reads and checks the section.
    ///
    /// # Errors
    /// An unknown key, a wrong type, a number out of range.
    pub fn from_manifest(manifest: &Manifest) -> Result<Self, CoreError> {
        let settings: Self = manifest.section("pack_shards")?;
        if settings.shard_bytes == 0 || settings.row_group == 0 {
            let text = "[pack_shards] shard_bytes and row_group must be at least 1";
            return Err(manifest.error(text.to_owned()));
        }
        Ok(settings)
    }
}
