//! RetinaFace: two anchor sizes at each stride, variances 0.1 and 0.2, a score for each of two
//! classes.

use super::{STRIDES, Tensors, sound};
use crate::detection::Detection;
use crate::error::FaceError;

/// Sides of the two anchors of each stride.
const SIDES: [[f32; 2]; 3] = [[16.0, 32.0], [64.0, 128.0], [256.0, 512.0]];
const CENTRE_VARIANCE: f32 = 0.1;
const SIZE_VARIANCE: f32 = 0.2;

const KIND: &str =
    "RetinaFace detector (outputs [1, anchors, 4], [1, anchors, 2] and [1, anchors, 10])";

/// An anchor: centre and side in pixels.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Anchor {
    x: f32,
    y: f32,
    side: f32,
}

pub(super) fn candidates(tensors: &Tensors) -> Result<Vec<Detection>, FaceError> {
    let anchors = anchors(tensors);
    let rows = |width| tensors.rows(anchors.len(), width, 0, KIND);
    let (boxes, scores, marks) = (rows(4)?, rows(2)?, rows(10)?);
    let mut found = Vec::new();
    for (i, anchor) in anchors.iter().enumerate() {
        let score = scores[i * 2 + 1];
        if score >= tensors.min_score {
            let (offsets, marks) = (&boxes[i * 4..][..4], &marks[i * 10..][..10]);
            found.extend(decode(*anchor, offsets, marks, score));
        }
    }
    Ok(found)
}

/// All anchors of an image, in the order of the network's rows.
fn anchors(tensors: &Tensors) -> Vec<Anchor> {
    let mut anchors = Vec::new();
    for (stride, sides) in STRIDES.into_iter().zip(SIDES) {
        let [columns, rows] = tensors.grid(stride);
        for row in 0..rows {
            for column in 0..columns {
                let centre = |k: u32| (k as f32 + 0.5) * stride as f32;
                anchors.extend(sides.map(|side| Anchor {
                    x: centre(column),
                    y: centre(row),
                    side,
                }));
            }
        }
    }
    anchors
}

/// The face at an anchor, from its outputs; `None` where they are not finite or the box is
/// empty.
fn decode(anchor: Anchor, offsets: &[f32], marks: &[f32], score: f32) -> Option<Detection> {
    let Anchor { x, y, side } = anchor;
    let (x0, y0) = (
        x + offsets[0] * CENTRE_VARIANCE * side,
        y + offsets[1] * CENTRE_VARIANCE * side,
    );
    let half = |offset: f32| side * (offset * SIZE_VARIANCE).exp() / 2.0;
    let (w, h) = (half(offsets[2]), half(offsets[3]));
    let mark = |k: usize| {
        [
            x + marks[2 * k] * CENTRE_VARIANCE * side,
            y + marks[2 * k + 1] * CENTRE_VARIANCE * side,
        ]
    };
    let bbox = [x0 - w, y0 - h, x0 + w, y0 + h];
    sound(Detection::new(bbox, std::array::from_fn(mark), score))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decode_refuses_outputs_that_are_not_finite() {
        let anchor = Anchor {
            x: 4.0,
            y: 4.0,
            side: 16.0,
        };
        let fine = decode(anchor, &[0.0; 4], &[0.0; 10], 0.9).expect("a face");
        assert_eq!(fine.bbox, [-4.0, -4.0, 12.0, 12.0]);
        assert_eq!(decode(anchor, &[0.0, 0.0, 1e9, 0.0], &[0.0; 10], 0.9), None);
        assert_eq!(decode(anchor, &[0.0; 4], &[f32::NAN; 10], 0.9), None);
    }
}
