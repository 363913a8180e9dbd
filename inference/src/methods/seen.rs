//! What a method sees of a person's photos: the faces, or all of them.

use std::sync::Arc;

use image::RgbImage;
use laioncele_encoder::Crop;
use laioncele_face::FaceNets;

use crate::generation::{GenerationError, Result};

/// How photos are cropped before a method sees them: as the trained encoder sees them too.
pub(super) struct Seen {
    crop: Crop,
    faces: Option<Arc<FaceNets>>,
}

impl Seen {
    pub(super) fn new(crop: Crop, faces: Option<Arc<FaceNets>>) -> Self {
        Self { crop, faces }
    }

    /// The photos as they are, or the square around the most prominent face of each; photos without a face are passed
    /// over.
    ///
    /// # Errors
    /// [`GenerationError::NoPhoto`], [`GenerationError::NoFace`] if no photo shows one, a network's error.
    pub(super) fn of(&self, photos: &[RgbImage]) -> Result<Vec<RgbImage>> {
        if photos.is_empty() {
            return Err(GenerationError::NoPhoto);
        }
        let faces = match (self.crop, &self.faces) {
            (Crop::Whole, _) => return Ok(photos.to_vec()),
            (Crop::Face, None) => return Err(GenerationError::NoFaceNetworks),
            (Crop::Face, Some(faces)) => faces,
        };
        let mut seen = Vec::with_capacity(photos.len());
        for photo in photos {
            if let Some(face) = faces.detect(photo)?.first() {
                seen.push(self.crop.apply(photo, face.bbox));
            }
        }
        match seen.is_empty() {
            true => Err(GenerationError::NoFace),
            false => Ok(seen),
        }
    }
}
