//! Which of a detector's boxes are faces of the image, and which of them is the main one. Applied to what all looks at an
//! image found together, after each look's own decoding and suppression.

use crate::detection::{Detection, area, overlap, size};

/// From this share of the image on, by its longer side over the image's shorter one, a face fills the frame: detectors lack
/// its surroundings, and place box and landmarks badly.
const FILLS: f32 = 0.8;
/// What a score counts where the face fills the frame of its look, so that a look that shows more decides.
const FILLED_WEIGHT: f32 = 0.9;
/// How much more than the area the score weighs: a box with a score of 0.84 must be twice as large as one with 1.0 to go
/// before it.
const SCORE_POWER: i32 = 4;
/// Of a box that lies mostly outside the image, so many landmarks must lie within.
const LANDMARKS_INSIDE: usize = 3;

/// A detection with what its score counts.
struct Weighed {
    detection: Detection,
    certainty: f32,
}

/// What one look at an image found, in pixels of the image.
pub(crate) struct Look {
    pub(crate) found: Vec<Detection>,
    /// Width and height of what the look showed: of the image, or of the image with a margin.
    pub(crate) frame: [f32; 2],
}

/// Whether the face takes up so much of a frame of this width and height that another look, with a margin, is better.
pub(crate) fn fills(detection: &Detection, [width, height]: [f32; 2]) -> bool {
    let [w, h] = size(&detection.unclipped);
    w.max(h) >= FILLS * width.min(height)
}

/// The faces of an image of this width and height, the main one first: the order of area × score⁴, both of what lies
/// within the image. Boxes are clipped to the image; of two that overlap by more than `max_overlap`, the one with the
/// better score stays.
pub(crate) fn main_first(looks: &[Look], image: [f32; 2], max_overlap: f32) -> Vec<Detection> {
    let mut all: Vec<Weighed> = Vec::new();
    for Look { found, frame } in looks {
        all.extend(found.iter().cloned().filter_map(|mut detection| {
            let full = fills(&detection, *frame);
            let certainty = detection.score * if full { FILLED_WEIGHT } else { 1.0 };
            detection.clip(image);
            belongs(&detection, image).then_some(Weighed {
                detection,
                certainty,
            })
        }));
    }
    all.sort_by(|a, b| b.certainty.total_cmp(&a.certainty));
    let mut kept: Vec<Weighed> = Vec::new();
    for candidate in all {
        let apart =
            |k: &Weighed| overlap(&k.detection.bbox, &candidate.detection.bbox) <= max_overlap;
        if kept.iter().all(apart) {
            kept.push(candidate);
        }
    }
    kept.sort_by(|a, b| b.prominence().total_cmp(&a.prominence()));
    kept.into_iter().map(|k| k.detection).collect()
}

impl Weighed {
    fn prominence(&self) -> f32 {
        area(&self.detection.bbox) * self.certainty.powi(SCORE_POWER)
    }
}

/// Whether a clipped detection is one of the image: the centre of its box lies within, and so does half of the box or,
/// for a face larger than the image, most of the landmarks.
fn belongs(detection: &Detection, [width, height]: [f32; 2]) -> bool {
    let inside = |[x, y]: [f32; 2]| (0.0..=width).contains(&x) && (0.0..=height).contains(&y);
    let [x0, y0, x1, y1] = detection.unclipped;
    if !inside([(x0 + x1) / 2.0, (y0 + y1) / 2.0]) {
        return false;
    }
    let within = area(&detection.bbox);
    if within <= 0.0 {
        return false;
    }
    let landmarks = detection.landmarks.iter().filter(|p| inside(**p)).count();
    within >= area(&detection.unclipped) / 2.0 || landmarks >= LANDMARKS_INSIDE
}
