//! Faces straight from an image file, decoded no larger than its faces need.

use image::RgbImage;
use laioncele_image::{DecodeError, Limits, Orientation, Reduced, decode, decode_reduced};

use crate::detection::Face;
use crate::error::FaceError;
use crate::files::Search;
use crate::nets::FaceNets;

/// Why a file has no faces to return. One without a face is not an error.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// It is no image, or a broken or too large one.
    #[error(transparent)]
    Image(#[from] DecodeError),
    /// The networks failed.
    #[error(transparent)]
    Networks(#[from] FaceError),
}

impl FaceNets {
    /// The faces of an image file, upright, as [`FaceNets::faces_by`] finds them by
    /// [`Search::EverySize`].
    ///
    /// A JPEG more than twice as large as detection works on is decoded at reduced size. What is
    /// found there stands where each face has at least the pixels that the recognizer is given;
    /// else the whole image is decoded and looked at. In what stands of the tested photos, boxes
    /// and landmarks are within a pixel of the working size of those of the whole image, embeddings
    /// within a cosine of 0.98.
    ///
    /// # Errors
    /// [`FileError`].
    pub fn faces_in_file(&self, bytes: &[u8], limits: &Limits) -> Result<Vec<Face>, FileError> {
        let upright = Orientation::Upright;
        if let Some(reduced) = decode_reduced(bytes, limits, upright, self.largest_working_side())?
            && let Some(faces) = self.faces_in_reduced(&reduced)?
        {
            return Ok(faces);
        }
        let image = decode(bytes, limits, upright)?;
        Ok(self.faces_by(&image, Search::EverySize)?)
    }

    /// The faces, in pixels of the whole image; `None` where only that can tell.
    fn faces_in_reduced(&self, reduced: &Reduced) -> Result<Option<Vec<Face>>, FaceError> {
        let Reduced { image, whole } = reduced;
        let Some(mut faces) = self.faces_with_detail(image)? else {
            return Ok(None);
        };
        let back = scale_between(image, *whole);
        for face in &mut faces {
            face.detection.map(|[x, y]| [x * back[0], y * back[1]]);
            face.detection.clip(whole.map(|side| side as f32));
        }
        Ok(Some(faces))
    }
}

fn scale_between(reduced: &RgbImage, [width, height]: [u32; 2]) -> [f32; 2] {
    [
        width as f32 / reduced.width() as f32,
        height as f32 / reduced.height() as f32,
    ]
}
