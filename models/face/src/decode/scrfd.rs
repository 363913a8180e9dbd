//! SCRFD: two anchors in each cell's corner, distances from there to the box's edges and landmarks
//! in strides.

use super::{STRIDES, Tensors, sound};
use crate::detection::Detection;
use crate::error::FaceError;

/// Anchors of a cell.
const ANCHORS: usize = 2;

const KIND: &str = "SCRFD detector with landmarks (for strides 8, 16 and 32: score [anchors, 1], distances [anchors, 4], landmarks [anchors, 10])";

pub(super) fn candidates(tensors: &Tensors) -> Result<Vec<Detection>, FaceError> {
    let mut found = Vec::new();
    for stride in STRIDES {
        let [columns, rows] = tensors.grid(stride);
        let anchors = columns as usize * rows as usize * ANCHORS;
        let take = |width| tensors.rows(anchors, width, 0, KIND);
        let (scores, boxes, marks) = (take(1)?, take(4)?, take(10)?);
        for (anchor, score) in scores.iter().enumerate() {
            if *score >= tensors.min_score {
                let cell = (anchor / ANCHORS) as u32;
                let corner = [cell % columns, cell / columns].map(|k| (k * stride) as f32);
                let (edges, marks) = (&boxes[anchor * 4..][..4], &marks[anchor * 10..][..10]);
                found.extend(decode(corner, stride as f32, edges, marks, *score));
            }
        }
    }
    Ok(found)
}

fn decode(
    [x, y]: [f32; 2],
    stride: f32,
    edges: &[f32],
    marks: &[f32],
    score: f32,
) -> Option<Detection> {
    let mark = |k: usize| [x + marks[2 * k] * stride, y + marks[2 * k + 1] * stride];
    let bbox = [
        x - edges[0] * stride,
        y - edges[1] * stride,
        x + edges[2] * stride,
        y + edges[3] * stride,
    ];
    sound(Detection::new(bbox, std::array::from_fn(mark), score))
}
