//! A found face, and the geometry of its box.

/// A found face. All places are in pixels of the image given, from its upper left corner.
#[derive(Clone, Debug, PartialEq)]
pub struct Detection {
    /// x0 y0 x1 y1 within the image.
    pub bbox: [f32; 4],
    /// The box as the detector gives it: the same, unless the face reaches beyond the image.
    pub unclipped: [f32; 4],
    /// The eye on the image's left, the other eye, the tip of the nose, the corner of the mouth on
    /// the image's left, the other corner. May lie outside the image.
    pub landmarks: [[f32; 2]; 5],
    /// The detector's score in [0, 1].
    pub score: f32,
}

impl Detection {
    /// A detection that is not clipped yet.
    pub(crate) fn new(bbox: [f32; 4], landmarks: [[f32; 2]; 5], score: f32) -> Self {
        Self {
            bbox,
            unclipped: bbox,
            landmarks,
            score,
        }
    }

    /// Width and height of the box within the image, in pixels.
    pub fn size(&self) -> [f32; 2] {
        size(&self.bbox)
    }

    /// Moves the corners of both boxes and the landmarks.
    pub(crate) fn map(&mut self, place: impl Fn([f32; 2]) -> [f32; 2]) {
        let moved = |[x0, y0, x1, y1]: [f32; 4]| {
            let ([x0, y0], [x1, y1]) = (place([x0, y0]), place([x1, y1]));
            [x0, y0, x1, y1]
        };
        self.bbox = moved(self.bbox);
        self.unclipped = moved(self.unclipped);
        self.landmarks = self.landmarks.map(&place);
    }

    /// Cuts the box off at the edges of an image of `width` × `height` pixels.
    pub(crate) fn clip(&mut self, [width, height]: [f32; 2]) {
        let [x0, y0, x1, y1] = self.unclipped;
        let (x, y) = (|v: f32| v.clamp(0.0, width), |v: f32| v.clamp(0.0, height));
        self.bbox = [x(x0), y(y0), x(x1), y(y1)];
    }
}

/// Width and height of a box.
pub(crate) fn size([x0, y0, x1, y1]: &[f32; 4]) -> [f32; 2] {
    [x1 - x0, y1 - y0]
}

/// Area of a box.
pub(crate) fn area(bbox: &[f32; 4]) -> f32 {
    let [width, height] = size(bbox);
    width * height
}

/// Intersection over union of two boxes, in [0, 1].
pub(crate) fn overlap(a: &[f32; 4], b: &[f32; 4]) -> f32 {
    let side = |axis: usize| (a[axis + 2].min(b[axis + 2]) - a[axis].max(b[axis])).max(0.0);
    let shared = side(0) * side(1);
    shared / (area(a) + area(b) - shared)
}

/// A found face and its embedding.
#[derive(Clone, Debug, PartialEq)]
pub struct Face {
    /// Box, landmarks and score.
    pub detection: Detection,
    /// The embedding, of unit length; compare two with [`cosine`].
    pub vector: Vec<f32>,
}

/// The cosine of two embeddings of unit length, in [−1, 1] but for rounding; NaN for different
/// lengths.
///
/// ```
/// use laioncele_face::cosine;
///
/// assert_eq!(cosine(&[1.0, 0.0], &[0.6, 0.8]), 0.6);
/// assert!(cosine(&[1.0, 0.0], &[1.0]).is_nan());
/// ```
pub fn cosine(a: &[f32], b: &[f32]) -> f32 {
    if a.len() != b.len() {
        return f32::NAN;
    }
    let products = a.iter().zip(b).map(|(x, y)| f64::from(*x) * f64::from(*y));
    products.sum::<f64>() as f32
}
