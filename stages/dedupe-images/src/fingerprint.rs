//! What deduplication needs to know of a photo.

use laioncele_core::error::Context;
use laioncele_core::table::Photo;
use laioncele_core::{ImageId, NameId, StageError};

use crate::hash::average_hash;

/// What deduplication needs to know of a photo.
#[derive(Clone, Debug)]
pub(crate) struct Fingerprint {
    pub(crate) name_id: NameId,
    pub(crate) image_id: ImageId,
    /// Its average hash.
    pub(crate) hash: u64,
    /// Width × height.
    pub(crate) pixels: u64,
    /// Size of its file.
    pub(crate) bytes: u64,
    pub(crate) sha256: String,
}

impl Fingerprint {
    /// Hashes a photo.
    ///
    /// # Errors
    /// [`StageError::Data`] where the photo no longer decodes.
    pub(crate) fn of(photo: &Photo) -> Result<Self, StageError> {
        let hash = average_hash(&photo.image.bytes).map_err(|e| {
            // download-images stores only what it has decoded, so this is a damaged table, not a
            // bad photo.
            StageError::data(Context::new(
                format!(
                    "photo {} of {} no longer decodes",
                    photo.image_id, photo.url
                ),
                e,
            ))
        })?;
        Ok(Self {
            name_id: photo.name_id,
            image_id: photo.image_id,
            hash,
            pixels: u64::from(photo.width) * u64::from(photo.height),
            bytes: photo.image.bytes.len() as u64,
            sha256: photo.sha256.clone(),
        })
    }
}
