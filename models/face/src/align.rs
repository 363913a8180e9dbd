//! From five landmarks to the upright 112 × 112 face that the recognizer expects: similarity
//! transform and bilinear warp.

use image::RgbImage;

use crate::resize;

/// Side of an aligned face in pixels.
pub(crate) const SIDE: u32 = 112;

/// Where the landmarks lie in an aligned face: the eye on the image's left, the other eye, the
/// nose's tip, the mouth's corner on the image's left, the other corner.
pub(crate) const TEMPLATE: [[f32; 2]; 5] = [
    [38.2946, 51.6963],
    [73.5318, 51.5014],
    [56.0252, 71.7366],
    [41.5493, 92.3655],
    [70.7299, 92.2041],
];

/// Below this scale the bilinear warp would leave out pixels; the image is averaged first.
const COARSEST: f64 = 0.25;

/// Rotation, one scale and a shift: x' = a·x − b·y + c, y' = b·x + a·y + d.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Similarity {
    pub(crate) a: f64,
    pub(crate) b: f64,
    pub(crate) c: f64,
    pub(crate) d: f64,
}

impl Similarity {
    /// The least-squares transform from `landmarks` to `template` (Umeyama's, which never mirrors);
    /// `None` where the landmarks are not finite or coincide.
    pub(crate) fn to_template(landmarks: &[[f32; 2]; 5], template: &[[f32; 2]; 5]) -> Option<Self> {
        let (from, to) = (landmarks.map(double), template.map(double));
        let (from_mean, to_mean) = (mean(&from), mean(&to));
        let (mut dot, mut cross, mut spread) = (0.0, 0.0, 0.0);
        for (p, q) in from.iter().zip(&to) {
            let (px, py) = (p[0] - from_mean[0], p[1] - from_mean[1]);
            let (qx, qy) = (q[0] - to_mean[0], q[1] - to_mean[1]);
            dot += px * qx + py * qy;
            cross += px * qy - py * qx;
            spread += px * px + py * py;
        }
        let (a, b) = (dot / spread, cross / spread);
        let transform = Self {
            a,
            b,
            c: to_mean[0] - a * from_mean[0] + b * from_mean[1],
            d: to_mean[1] - b * from_mean[0] - a * from_mean[1],
        };
        transform.usable().then_some(transform)
    }

    /// The transform that makes the square with corner (`x`, `y`) and `side` (pixels, edges of
    /// pixels) an aligned face's square; `None` for a side that is not positive.
    pub(crate) fn of_square(x: f64, y: f64, side: f64) -> Option<Self> {
        let a = f64::from(SIDE) / side;
        // Centres of pixels are at whole numbers: an edge at x is at x − 0.5.
        let shift = |edge: f64| (0.5 - edge) * a - 0.5;
        let transform = Self {
            a,
            b: 0.0,
            c: shift(x),
            d: shift(y),
        };
        (side > 0.0 && transform.usable()).then_some(transform)
    }

    fn usable(&self) -> bool {
        let finite = [self.a, self.b, self.c, self.d]
            .iter()
            .all(|v| v.is_finite());
        finite && self.scale() > 1e-9 && self.scale() < 1e9
    }

    /// Pixels of the result per pixel of the source.
    pub(crate) fn scale(&self) -> f64 {
        self.a.hypot(self.b)
    }

    /// The same transform for an image that was scaled by `factor` before.
    fn after_scaling(self, factor: f64) -> Self {
        Self {
            a: self.a / factor,
            b: self.b / factor,
            ..self
        }
    }

    /// The source place of each place (x, y) of the result, as three numbers for x and three for y.
    fn inverse(&self) -> [[f32; 3]; 2] {
        let square = self.a * self.a + self.b * self.b;
        let (a, b) = (self.a / square, self.b / square);
        let x = [a, b, -a * self.c - b * self.d];
        let y = [-b, a, b * self.c - a * self.d];
        [x.map(|v| v as f32), y.map(|v| v as f32)]
    }
}

fn double(point: [f32; 2]) -> [f64; 2] {
    point.map(f64::from)
}

fn mean(points: &[[f64; 2]; 5]) -> [f64; 2] {
    std::array::from_fn(|axis| points.iter().map(|p| p[axis]).sum::<f64>() / 5.0)
}

/// The face with these landmarks (pixels of `image`), upright in 112 × 112 pixels, as ArcFace and
/// what is trained like it expect one, whatever recognizer is in use; `None` where the landmarks are
/// not finite or coincide.
pub fn aligned(image: &RgbImage, landmarks: &[[f32; 2]; 5]) -> Option<RgbImage> {
    let transform = Similarity::to_template(landmarks, &TEMPLATE)?;
    Some(warp(image, transform, SIDE))
}

/// The `side` × `side` image that `transform` maps `image` to, bilinear, black outside (OpenCV's
/// `warpAffine`). An image much larger than the result is averaged down by a whole factor first, so
/// that no pixel is left out.
pub(crate) fn warp(image: &RgbImage, transform: Similarity, side: u32) -> RgbImage {
    let times = (0.5 / transform.scale()) as u32;
    if transform.scale() >= COARSEST || image.width() < times || image.height() < times {
        return warp_bilinear(image, &transform, side);
    }
    let small = resize::shrink(image, image.width() / times, image.height() / times);
    let transform = transform.after_scaling(1.0 / f64::from(times));
    warp_bilinear(&small, &transform, side)
}

fn warp_bilinear(image: &RgbImage, transform: &Similarity, side: u32) -> RgbImage {
    let [to_x, to_y] = transform.inverse();
    RgbImage::from_fn(side, side, |x, y| {
        let at = |m: [f32; 3]| x as f32 * m[0] + y as f32 * m[1] + m[2];
        sample(image, at(to_x), at(to_y))
    })
}

/// The image at a place between pixels; pixels outside are black.
fn sample(image: &RgbImage, x: f32, y: f32) -> image::Rgb<u8> {
    let (left, top) = (x.floor(), y.floor());
    let (right_share, lower_share) = (x - left, y - top);
    // `as` saturates, and adding stays in 64 bits, so that places far outside are just black.
    let (left, top) = (left as i64, top as i64);
    let pixel = |x: i64, y: i64| -> [f32; 3] {
        let inside =
            x >= 0 && y >= 0 && x < i64::from(image.width()) && y < i64::from(image.height());
        if inside {
            image.get_pixel(x as u32, y as u32).0.map(f32::from)
        } else {
            [0.0; 3]
        }
    };
    let (next_x, next_y) = (left.saturating_add(1), top.saturating_add(1));
    let corners = [
        pixel(left, top),
        pixel(next_x, top),
        pixel(left, next_y),
        pixel(next_x, next_y),
    ];
    image::Rgb(std::array::from_fn(|channel| {
        let [a, b, c, d] = corners.map(|p| p[channel]);
        let (upper, lower) = (a + right_share * (b - a), c + right_share * (d - c));
        (upper + lower_share * (lower - upper)).round_ties_even() as u8
    }))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn to_template(landmarks: &[[f32; 2]; 5]) -> Option<Similarity> {
        Similarity::to_template(landmarks, &TEMPLATE)
    }

    /// The check of the model card.
    #[test]
    fn the_model_cards_transform() {
        let marks = [
            [100.0, 120.0],
            [180.0, 118.0],
            [141.0, 165.0],
            [108.0, 205.0],
            [175.0, 203.0],
        ];
        let found = to_template(&marks).expect("spread out");
        let expected = Similarity {
            a: 0.460_795,
            b: 0.007_328,
            c: -7.665_191,
            d: -3.872_023,
        };
        for (x, y) in [
            (found.a, expected.a),
            (found.b, expected.b),
            (found.c, expected.c),
            (found.d, expected.d),
        ] {
            assert!((x - y).abs() < 1e-5, "{found:?}");
        }
    }

    /// The aligned face that `tools/record-face` made with OpenCV's `warpAffine`, from the recorded
    /// landmarks.
    #[test]
    fn the_aligned_face_is_opencvs() -> Result<(), Box<dyn std::error::Error>> {
        let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures");
        let open = |name: &str| image::open(folder.join(name)).map(|p| p.to_rgb8());
        let recorded: serde_json::Value =
            serde_json::from_slice(&std::fs::read(folder.join("faces.json"))?)?;
        let marks: [[f32; 2]; 5] =
            serde_json::from_value(recorded["first-a.png"][0]["landmarks"].clone())?;
        let large = resize::enlarge(&open("first-a.png")?, 320, 320);
        let transform = to_template(&marks.map(|p| p.map(|v| v * 2.5))).ok_or("degenerate")?;
        let (found, expected) = (warp(&large, transform, SIDE), open("aligned.png")?);
        let steps: Vec<_> = found
            .as_raw()
            .iter()
            .zip(expected.as_raw())
            .map(|(a, b)| a.abs_diff(*b))
            .collect();
        assert!(steps.iter().all(|s| *s <= 2), "{:?}", steps.iter().max());
        assert!(
            steps.iter().filter(|s| **s > 0).count() * 20 <= steps.len(),
            "{}",
            steps.iter().filter(|s| **s > 0).count()
        );
        Ok(())
    }

    #[test]
    fn degenerate_landmarks_have_no_transform() {
        assert_eq!(to_template(&[[5.0, 5.0]; 5]), None);
        assert_eq!(to_template(&[[f32::NAN, 1.0]; 5]), None);
        assert_eq!(
            to_template(&[
                [f32::MAX, 1.0],
                [0.0, 0.0],
                [1.0, 1.0],
                [2.0, 2.0],
                [f32::INFINITY, 0.0]
            ]),
            None
        );
        assert_eq!(Similarity::of_square(0.0, 0.0, 0.0), None);
    }

    proptest! {
        /// Landmarks that are the template turned, scaled and shifted are brought back to it.
        #[test]
        fn a_moved_template_is_brought_back(turn in -3.0f64..3.0, scale in 0.05f64..20.0, x in -500.0f64..500.0, y in -500.0f64..500.0) {
            let (cos, sin) = (turn.cos() * scale, turn.sin() * scale);
            let moved = TEMPLATE.map(double).map(|[u, v]| [(cos * u - sin * v + x) as f32, (sin * u + cos * v + y) as f32]);
            let back = to_template(&moved).expect("spread out");
            for (p, q) in moved.iter().zip(TEMPLATE) {
                let [px, py] = double(*p);
                prop_assert!((back.a * px - back.b * py + back.c - f64::from(q[0])).abs() < 0.02);
                prop_assert!((back.b * px + back.a * py + back.d - f64::from(q[1])).abs() < 0.02);
            }
        }

        /// No transform and no image makes it panic.
        #[test]
        fn any_square_of_any_image(x in -1e9f64..1e9, y in -1e9f64..1e9, side in 1e-3f64..1e9, w in 0u32..9, h in 0u32..9) {
            if let Some(transform) = Similarity::of_square(x, y, side) {
                prop_assert_eq!(warp(&RgbImage::new(w, h), transform, SIDE).dimensions(), (SIDE, SIDE));
            }
        }
    }
}
