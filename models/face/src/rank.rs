//! Which of a detector's boxes are faces of the image, and which of them is the main one. Applied
//! to what all looks at an image found together, after each look's own decoding and suppression.

use crate::detection::{Detection, area, overlap, size};

/// From this share of the image on, by its longer side over the image's shorter one, a face fills
/// the frame: detectors lack its surroundings, and place box and landmarks badly.
const FILLS: f32 = 0.8;
/// What a score counts where the face fills the frame of its look, so that a look that shows more
/// decides.
const FILLED_WEIGHT: f32 = 0.9;
/// How much more than the area the score weighs: a box with a score of 0.84 must be twice as large
/// as one with 1.0 to go before it.
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

/// Whether the face takes up so much of a frame of this width and height that another look, with a
/// margin, is better.
pub(crate) fn fills(detection: &Detection, [width, height]: [f32; 2]) -> bool {
    let [w, h] = size(&detection.unclipped);
    w.max(h) >= FILLS * width.min(height)
}

/// The faces of an image of this width and height, the main one first: the order of area × score⁴,
/// both of what lies within the image. Boxes are clipped to the image; of two that overlap by more
/// than `max_overlap`, the one with the better score stays.
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

/// Whether a clipped detection is one of the image: the centre of its box lies within, and so does
/// half of the box or, for a face larger than the image, most of the landmarks.
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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const IMAGE: [f32; 2] = [695.0, 814.0];

    /// A detection whose landmarks lie about the middle of its box.
    fn detection([x0, y0, x1, y1]: [f32; 4], score: f32) -> Detection {
        let at = |u: f32, v: f32| [x0 + (x1 - x0) * u, y0 + (y1 - y0) * v];
        let landmarks = [
            at(0.3, 0.4),
            at(0.7, 0.4),
            at(0.5, 0.6),
            at(0.35, 0.8),
            at(0.65, 0.8),
        ];
        Detection::new([x0, y0, x1, y1], landmarks, score)
    }

    fn one_look(found: Vec<Detection>) -> Vec<Detection> {
        main_first(
            &[Look {
                found,
                frame: IMAGE,
            }],
            IMAGE,
            0.4,
        )
    }

    /// What the shipped detector gave for a close-up: the spurious box is larger, but its score is
    /// lower.
    #[test]
    fn main_first_drops_the_spurious_box_of_a_close_up() {
        let face = detection([125.0, 164.0, 634.0, 791.0], 0.994);
        let spurious = detection([-125.0, -92.0, 613.0, 621.0], 0.838);
        assert!(overlap(&face.bbox, &spurious.bbox) < 0.4);
        assert_eq!(one_look(vec![face.clone(), spurious]), [face]);
    }

    #[test]
    fn main_first_weighs_score_more_than_area() {
        let sure = detection([10.0, 10.0, 110.0, 110.0], 0.99);
        let larger = detection([300.0, 10.0, 430.0, 140.0], 0.8);
        let largest = detection([10.0, 300.0, 310.0, 600.0], 0.8);
        let found = one_look(vec![sure.clone(), larger.clone(), largest.clone()]);
        assert_eq!(found, [largest, sure, larger]);
    }

    #[test]
    fn main_first_clips_boxes_and_keeps_the_detectors() {
        let found = one_look(vec![detection([-50.0, 20.0, 150.0, 240.0], 0.9)]);
        assert_eq!(found[0].bbox, [0.0, 20.0, 150.0, 240.0]);
        assert_eq!(found[0].unclipped, [-50.0, 20.0, 150.0, 240.0]);
    }

    #[test]
    fn main_first_drops_boxes_outside_the_image() {
        let centre_outside = detection([-220.0, 100.0, 200.0, 500.0], 0.9);
        let mut mostly_outside = detection([-300.0, -300.0, 320.0, 320.0], 0.9);
        mostly_outside.landmarks = [[-9.0, -9.0]; 5];
        let beside = detection([900.0, 900.0, 990.0, 990.0], 0.9);
        assert_eq!(one_look(vec![centre_outside, mostly_outside, beside]), []);
        // A face half as large again as the image, all of whose features are in it.
        let [w, h] = IMAGE;
        let larger = detection([-0.3 * w, -0.3 * h, 1.3 * w, 1.3 * h], 0.9);
        assert_eq!(one_look(vec![larger])[0].bbox, [0.0, 0.0, w, h]);
    }

    /// The look that shows more than the face decides, also with a slightly lower score.
    #[test]
    fn main_first_prefers_the_look_that_the_face_does_not_fill() {
        let tight = detection([95.0, 168.0, 680.0, 810.0], 0.997);
        let wide = detection([232.0, 256.0, 640.0, 790.0], 0.993);
        assert!(overlap(&tight.bbox, &wide.bbox) > 0.4);
        let looks = [(tight, IMAGE), (wide.clone(), IMAGE.map(|side| side * 2.0))];
        let looks = looks.map(|(face, frame)| Look {
            found: vec![face],
            frame,
        });
        assert_eq!(main_first(&looks, IMAGE, 0.4), [wide]);
    }

    fn detections() -> impl Strategy<Value = Vec<Detection>> {
        let place = (
            -300.0f32..900.0,
            -300.0f32..900.0,
            5.0f32..900.0,
            5.0f32..900.0,
            0.5f32..1.0,
        );
        let detection =
            place.prop_map(|(x, y, w, h, score)| detection([x, y, x + w, y + h], score));
        prop::collection::vec(detection, 0..20)
    }

    proptest! {
        /// Boxes lie within the image and apart, in the order of prominence; no detection is made
        /// up.
        #[test]
        fn main_first_gives_boxes_within_the_image(first in detections(), second in detections(), limit in 0.1f32..0.9) {
            let frame = IMAGE.map(|side| side * 2.0);
            let looks = [Look { found: first.clone(), frame: IMAGE }, Look { found: second.clone(), frame }];
            let found = main_first(&looks, IMAGE, limit);
            for (k, face) in found.iter().enumerate() {
                let [x0, y0, x1, y1] = face.bbox;
                prop_assert!(0.0 <= x0 && x0 < x1 && x1 <= IMAGE[0] && 0.0 <= y0 && y0 < y1 && y1 <= IMAGE[1]);
                prop_assert!(found[..k].iter().all(|other| overlap(&other.bbox, &face.bbox) <= limit));
                let own = first.iter().chain(&second).filter(|d| d.unclipped == face.unclipped && d.score == face.score);
                prop_assert_eq!(own.count(), 1);
            }
        }

        /// Faces that lie within the image, apart, and small enough all stay as they are.
        #[test]
        fn main_first_changes_no_faces_apart(scores in prop::collection::vec(0.5f32..1.0, 12), sides in prop::collection::vec(20.0f32..150.0, 12)) {
            let place = |(k, (score, side)): (usize, (&f32, &f32))| {
                let (x, y) = ((k % 4) as f32 * 170.0, (k / 4) as f32 * 170.0);
                detection([x, y, x + side, y + side], *score)
            };
            let faces: Vec<_> = scores.iter().zip(&sides).enumerate().map(place).collect();
            let found = one_look(faces.clone());
            prop_assert_eq!(found.len(), faces.len());
            prop_assert!(faces.iter().all(|face| found.contains(face)));
        }
    }
}
