//! Faces in pictures: found by a detector (RetinaFace, YuNet or SCRFD), aligned on five landmarks, embedded by a
//! recognizer, compared by cosine; and a guess at age and gender.
//!
//! The networks are ONNX files that the ONNX Runtime runs (its library is loaded at the first use, see
//! [`FaceError::Runtime`]). What stands between them — resizing, anchors, suppression, alignment — is here, equal to the
//! OpenCV and NumPy reference in `tools/record-face`. Pictures are 8-bit RGB and upright: turn them by their EXIF
//! orientation before. All boxes and landmarks are in pixels of the picture given, and may reach beyond its edges.

pub mod agreement;
mod align;
pub mod calibration;
mod decode;
mod error;
mod file;
mod files;
mod nets;
mod network;
mod pixels;
mod prelu;
mod protobuf;
mod recognizer;
mod resize;
mod runtime;
mod search;
mod spec;

pub use error::FaceError;
pub use file::FileError;
pub use files::{Device, FaceFiles, FaceOptions, Search};
pub use nets::FaceNets;

/// A found face.
#[derive(Clone, Debug, PartialEq)]
pub struct Detection {
    /// x0 y0 x1 y1 in pixels.
    pub bbox: [f32; 4],
    /// The eye on the picture's left, the other eye, nose tip, the mouth corner on the picture's left, the other; pixels.
    pub landmarks: [[f32; 2]; 5],
    /// In [0, 1].
    pub score: f32,
}

impl Detection {
    /// Width and height of the box in pixels.
    pub fn size(&self) -> [f32; 2] {
        let [x0, y0, x1, y1] = self.bbox;
        [x1 - x0, y1 - y0]
    }

    fn prominence(&self) -> f32 {
        let [width, height] = self.size();
        width * height * self.score
    }

    /// Moves the box's corners and the landmarks.
    fn map(&mut self, place: impl Fn([f32; 2]) -> [f32; 2]) {
        let [x0, y0, x1, y1] = self.bbox;
        let ([x0, y0], [x1, y1]) = (place([x0, y0]), place([x1, y1]));
        self.bbox = [x0, y0, x1, y1];
        self.landmarks = self.landmarks.map(place);
    }
}

/// A found face and its embedding.
#[derive(Clone, Debug, PartialEq)]
pub struct Face {
    /// Where it is.
    pub detection: Detection,
    /// Of unit length; compare with [`cosine`].
    pub vector: Vec<f32>,
}

/// What the third network guesses.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct GenderAge {
    /// How much the face looks male, in [0, 1]; the rest looks female.
    pub male: f32,
    /// Years; rough.
    pub age: f32,
}

impl GenderAge {
    /// How sure one side must be to be said.
    pub const SURE: f32 = 0.8;

    /// A guess in a word: `man`, `woman`, or `person` where neither side reaches [`GenderAge::SURE`].
    pub fn word(&self) -> &'static str {
        if self.male >= Self::SURE {
            "man"
        } else if 1.0 - self.male >= Self::SURE {
            "woman"
        } else {
            "person"
        }
    }
}

/// The cosine of two embeddings of unit length, in [−1, 1] but for rounding; NaN for different lengths.
pub fn cosine(a: &[f32], b: &[f32]) -> f32 {
    if a.len() != b.len() {
        return f32::NAN;
    }
    let products = a.iter().zip(b).map(|(x, y)| f64::from(*x) * f64::from(*y));
    products.sum::<f64>() as f32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unsure_guess_is_a_person() {
        let word = |male| GenderAge { male, age: 30.0 }.word();
        let words = [0.0, 0.19, 0.3, 0.5, 0.79, 0.8, 1.0].map(word);
        let expected = ["woman", "woman", "person", "person", "person", "man", "man"];
        assert_eq!(words, expected);
        assert_eq!(word(f32::NAN), "person");
    }
}
