//! YuNet: one prior in each cell's corner, class and objectness apart, the box's size as an
//! exponent.

use super::{STRIDES, Tensors, sound};
use crate::detection::Detection;
use crate::error::FaceError;

const KIND: &str = "YuNet detector (for strides 8, 16 and 32: class and objectness [1, cells, 1], box [1, cells, 4], landmarks [1, cells, 10])";

/// The usual names of its outputs, in the order in which they are read.
pub(super) const OUTPUTS: [&str; 12] = [
    "cls_8", "cls_16", "cls_32", "obj_8", "obj_16", "obj_32", "bbox_8", "bbox_16", "bbox_32",
    "kps_8", "kps_16", "kps_32",
];

pub(super) fn candidates(tensors: &Tensors) -> Result<Vec<Detection>, FaceError> {
    let mut found = Vec::new();
    for stride in STRIDES {
        let [columns, rows] = tensors.grid(stride);
        let cells = columns as usize * rows as usize;
        let take = |width, skip| tensors.rows(cells, width, skip, KIND);
        // Of two outputs of one shape the class comes first.
        let (class, object) = (take(1, 0)?, take(1, 1)?);
        let (boxes, marks) = (take(4, 0)?, take(10, 0)?);
        for cell in 0..cells {
            let score = (class[cell].clamp(0.0, 1.0) * object[cell].clamp(0.0, 1.0)).sqrt();
            if score >= tensors.min_score {
                let corner = [cell as u32 % columns, cell as u32 / columns].map(|k| k as f32);
                let (offsets, marks) = (&boxes[cell * 4..][..4], &marks[cell * 10..][..10]);
                found.extend(decode(corner, stride as f32, offsets, marks, score));
            }
        }
    }
    Ok(found)
}

fn decode(
    [column, row]: [f32; 2],
    stride: f32,
    offsets: &[f32],
    marks: &[f32],
    score: f32,
) -> Option<Detection> {
    let (x, y) = ((column + offsets[0]) * stride, (row + offsets[1]) * stride);
    let (w, h) = (
        offsets[2].exp() * stride / 2.0,
        offsets[3].exp() * stride / 2.0,
    );
    let mark = |k: usize| {
        [
            (marks[2 * k] + column) * stride,
            (marks[2 * k + 1] + row) * stride,
        ]
    };
    let bbox = [x - w, y - h, x + w, y + h];
    sound(Detection::new(bbox, std::array::from_fn(mark), score))
}
