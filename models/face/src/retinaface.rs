//! RetinaFace's anchors and outputs: from its three tensors to boxes, landmarks and scores.
//!
//! Strides 8, 16 and 32 with two anchor sizes each; variances 0.1 and 0.2; greedy non-maximum suppression.

use image::RgbImage;

use crate::network::{Network, Output};
use crate::{Detection, FaceError, FaceOptions};

/// Stride in pixels and the two anchor sizes of each level.
const LEVELS: [(u32, [f32; 2]); 3] = [(8, [16.0, 32.0]), (16, [64.0, 128.0]), (32, [256.0, 512.0])];
const CENTRE_VARIANCE: f32 = 0.1;
const SIZE_VARIANCE: f32 = 0.2;
/// What is taken off blue, green and red.
pub(crate) const MEAN_BGR: [f32; 3] = [104.0, 117.0, 123.0];
/// Candidates that suppression looks at, best first: it compares all pairs.
const MAX_CANDIDATES: usize = 1000;

const KIND: &str =
    "RetinaFace detector (outputs [1, anchors, 4], [1, anchors, 2] and [1, anchors, 10])";

/// The faces of `picture` at its own size, best score first.
pub(crate) fn detect(
    network: &Network,
    picture: &RgbImage,
    options: &FaceOptions,
) -> Result<Vec<Detection>, FaceError> {
    let (width, height) = picture.dimensions();
    let outputs = network.run([height as usize, width as usize], &tensor(picture))?;
    let anchors = anchors(width, height);
    let mut found = candidates(network, &outputs, &anchors, options.min_score)?;
    found.sort_by(|a, b| b.score.total_cmp(&a.score));
    found.truncate(MAX_CANDIDATES);
    Ok(suppress(found, options.max_overlap))
}

/// Blue, green and red planes less their means.
fn tensor(picture: &RgbImage) -> Vec<f32> {
    let plane = |channel: usize| {
        let mean = MEAN_BGR[channel];
        picture
            .pixels()
            .map(move |p| f32::from(p[2 - channel]) - mean)
    };
    (0..3).flat_map(plane).collect()
}

/// An anchor: centre and side in pixels.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Anchor {
    x: f32,
    y: f32,
    side: f32,
}

/// All anchors of a picture, in the order of the network's rows.
fn anchors(width: u32, height: u32) -> Vec<Anchor> {
    let mut anchors = Vec::new();
    for (stride, sides) in LEVELS {
        for row in 0..height.div_ceil(stride) {
            for column in 0..width.div_ceil(stride) {
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

fn candidates(
    network: &Network,
    outputs: &[Output],
    anchors: &[Anchor],
    min_score: f32,
) -> Result<Vec<Detection>, FaceError> {
    let rows = |width: usize| {
        let fits = |o: &&Output| {
            o.shape == [1, anchors.len(), width] && o.values.len() == anchors.len() * width
        };
        outputs.iter().find(fits).ok_or_else(|| {
            let shapes: Vec<_> = outputs.iter().map(|o| &o.shape).collect();
            network.wrong(
                KIND,
                format!("for {} anchors it gives {shapes:?}", anchors.len()),
            )
        })
    };
    let (boxes, scores, marks) = (rows(4)?, rows(2)?, rows(10)?);
    let mut found = Vec::new();
    for (i, anchor) in anchors.iter().enumerate() {
        let score = scores.values[i * 2 + 1];
        if score >= min_score {
            found.extend(decode(
                *anchor,
                &boxes.values[i * 4..][..4],
                &marks.values[i * 10..][..10],
                score,
            ));
        }
    }
    Ok(found)
}

/// The face that an anchor's outputs stand for; `None` where they are not finite or the box is empty.
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
    let detection = Detection {
        bbox: [x0 - w, y0 - h, x0 + w, y0 + h],
        landmarks: std::array::from_fn(mark),
        score,
    };
    let numbers = || {
        detection
            .bbox
            .iter()
            .chain(detection.landmarks.as_flattened())
    };
    (score.is_finite() && w > 0.0 && h > 0.0 && numbers().all(|v| v.is_finite()))
        .then_some(detection)
}

/// Of boxes that overlap by more than `max_overlap`, the first stays.
fn suppress(ordered: Vec<Detection>, max_overlap: f32) -> Vec<Detection> {
    let mut kept: Vec<Detection> = Vec::new();
    for candidate in ordered {
        if kept
            .iter()
            .all(|k| overlap(&k.bbox, &candidate.bbox) <= max_overlap)
        {
            kept.push(candidate);
        }
    }
    kept
}

/// Intersection over union, in [0, 1].
fn overlap(a: &[f32; 4], b: &[f32; 4]) -> f32 {
    let side = |axis: usize| (a[axis + 2].min(b[axis + 2]) - a[axis].max(b[axis])).max(0.0);
    let area = |r: &[f32; 4]| (r[2] - r[0]) * (r[3] - r[1]);
    let shared = side(0) * side(1);
    shared / (area(a) + area(b) - shared)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn at(x: f32, y: f32, side: f32, score: f32) -> Detection {
        Detection {
            bbox: [x, y, x + side, y + side],
            landmarks: [[0.0; 2]; 5],
            score,
        }
    }

    #[test]
    fn anchors_are_counted_as_the_network_counts_them() {
        assert_eq!(anchors(320, 320).len(), 4200);
        assert_eq!(anchors(640, 480).len(), 12600);
        assert_eq!(anchors(1, 1).len(), 6);
        assert_eq!(
            anchors(16, 8)[2],
            Anchor {
                x: 12.0,
                y: 4.0,
                side: 16.0
            }
        );
    }

    #[test]
    fn outputs_that_are_not_finite_are_no_face() {
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

    proptest! {
        /// What stays does not overlap by more than the limit, and what goes overlaps something better that stays.
        #[test]
        fn suppression_keeps_the_best_of_each_pile(boxes in prop::collection::vec((0.0f32..50.0, 0.0f32..50.0, 5.0f32..30.0, 0.6f32..1.0), 0..40), limit in 0.1f32..0.9) {
            let mut all: Vec<_> = boxes.into_iter().map(|(x, y, side, score)| at(x, y, side, score)).collect();
            all.sort_by(|a, b| b.score.total_cmp(&a.score));
            let kept = suppress(all.clone(), limit);
            for (i, a) in kept.iter().enumerate() {
                prop_assert!(kept[..i].iter().all(|b| overlap(&a.bbox, &b.bbox) <= limit));
            }
            for gone in all.iter().filter(|d| !kept.contains(d)) {
                prop_assert!(kept.iter().any(|k| k.score >= gone.score && overlap(&k.bbox, &gone.bbox) > limit));
            }
        }
    }
}
