//! The part of a photo that the image encoders see; the same for training and for inference.

use image::RgbImage;
use image::imageops::crop_imm;
use serde::{Deserialize, Serialize};

/// How much larger than the face box's longer side the square around it is.
pub const FACE_MARGIN: f32 = 1.5;

/// `[train_encoder] crop`
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Crop {
    /// The square of [`face_square`] around the face.
    #[default]
    Face,
    /// The whole photo.
    Whole,
}

impl Crop {
    /// What the image encoders see of `photo`, whose face box is (x0, y0, x1, y1) in pixels.
    /// [`Crop::Whole`] asks for no box.
    pub fn apply(self, photo: &RgbImage, face_box: [f32; 4]) -> RgbImage {
        match self {
            Self::Whole => photo.clone(),
            Self::Face => {
                let [left, top, edge] = face_square(photo.dimensions(), face_box);
                crop_imm(photo, left, top, edge, edge).to_image()
            }
        }
    }
}

/// Left, top and edge of the square around a face box (x0, y0, x1, y1), [`FACE_MARGIN`] times its
/// longer side, shifted and at last shrunk to lie within an image of (width, height) pixels: no
/// padding ever shows.
pub fn face_square((width, height): (u32, u32), face_box: [f32; 4]) -> [u32; 3] {
    let shorter = width.min(height);
    let [x0, y0, x1, y1] = face_box.map(|v| if v.is_finite() { v } else { 0.0 });
    let wanted = (x1 - x0).max(y1 - y0) * FACE_MARGIN;
    // A cast saturates, so that a hostile box gives some square inside the image.
    let edge = (wanted.round() as u32).clamp(1.min(shorter), shorter);
    let start = |low: f32, high: f32, limit: u32| {
        let start = (low + high) * 0.5 - edge as f32 * 0.5;
        (start.round() as u32).min(limit - edge)
    };
    [start(x0, x1, width), start(y0, y1, height), edge]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_square_stays_centred_or_inside() {
        assert_eq!(
            face_square((100, 80), [40.0, 30.0, 60.0, 50.0]),
            [35, 25, 30]
        );
        assert_eq!(face_square((100, 80), [0.0, 0.0, 20.0, 20.0]), [0, 0, 30]);
        assert_eq!(
            face_square((100, 80), [85.0, 60.0, 99.0, 80.0]),
            [70, 50, 30]
        );
        assert_eq!(
            face_square((100, 80), [-50.0, -50.0, 500.0, 500.0]),
            [20, 0, 80]
        );
    }

    proptest::proptest! {
        #[test]
        fn every_square_lies_inside(width in 1u32..300, height in 1u32..300, face_box: [f32; 4]) {
            let [left, top, edge] = face_square((width, height), face_box);
            proptest::prop_assert!(edge >= 1 && left + edge <= width && top + edge <= height);
            let photo = RgbImage::new(width, height);
            proptest::prop_assert_eq!(Crop::Face.apply(&photo, face_box).dimensions(), (edge, edge));
        }
    }
}
