//! Detector, recognizer and gender network together: from an image to faces.

use std::borrow::Cow;

use image::RgbImage;

use crate::align::{self, SIDE, Similarity};
use crate::decode::Detector;
use crate::detection::{Detection, Face};
use crate::error::FaceError;
use crate::files::{FaceFiles, FaceOptions, Search};
use crate::gender::{GenderAge, guess};
use crate::network::Network;
use crate::rank::{self, Look};
use crate::recognizer::Recognizer;
use crate::spec::{DetectorSpec, Names, RecognizerSpec};
use crate::{boxes, resize, search};

/// The loaded networks. Every call is a pure function of its image, from any number of threads;
/// each runs on the calling thread alone.
pub struct FaceNets {
    detector: Detector,
    recognizer: Recognizer,
    gender: Option<Network>,
}

/// An image at the size that detection works on.
struct Working<'a> {
    image: Cow<'a, RgbImage>,
    /// Its pixels per pixel of the original, across and down.
    factor: [f32; 2],
}

impl FaceNets {
    /// Loads the networks and runs each once, so that a wrong file shows here. About 0.1 s.
    /// `options` are for detectors whose spec does not say otherwise.
    ///
    /// # Errors
    /// [`FaceError::Read`], [`FaceError::TooLarge`], [`FaceError::Runtime`], [`FaceError::Network`]
    /// (not an ONNX file), [`FaceError::WrongShape`] (an ONNX file of another kind of network),
    /// [`FaceError::WrongName`] (a tensor that the spec names is missing) or [`FaceError::Invalid`].
    pub fn load(files: &FaceFiles, options: &FaceOptions) -> Result<Self, FaceError> {
        let spec = DetectorSpec::load(files.detector_spec.as_deref(), options)?;
        let device = files.device;
        let detector = Detector::load(&files.detector, spec, device)?;
        let spec = RecognizerSpec::load(files.recognizer_spec.as_deref(), files.crop)?;
        let gender = |path| Network::load(path, &Names::default(), device);
        let nets = Self {
            detector,
            recognizer: Recognizer::load(&files.recognizer, spec, device)?,
            gender: files.gender.as_deref().map(gender).transpose()?,
        };
        if let Some(gender) = &nets.gender {
            guess(gender, &RgbImage::new(SIDE, SIDE))?;
        }
        Ok(nets)
    }

    /// Numbers in an embedding (512 with the shipped recognizer).
    pub fn width(&self) -> usize {
        self.recognizer.width()
    }

    /// The faces of an image with their embeddings, the main one first, as
    /// [`Search::WithMargin`] finds them. Empty where none is found, also for an empty image.
    ///
    /// # Errors
    /// [`FaceError::Network`], [`FaceError::NotFinite`].
    pub fn faces(&self, image: &RgbImage) -> Result<Vec<Face>, FaceError> {
        self.faces_by(image, Search::WithMargin)
    }

    /// As [`FaceNets::faces`], by another search.
    ///
    /// # Errors
    /// [`FaceError::Network`], [`FaceError::NotFinite`].
    pub fn faces_by(&self, image: &RgbImage, search: Search) -> Result<Vec<Face>, FaceError> {
        let working = self.working(image);
        let found = self.detect_in(image, &working, search)?;
        self.embed_found(image, &working, found)
    }

    /// As [`FaceNets::faces`], but `None` where there is none, or one so small that aligning would
    /// enlarge it.
    pub(crate) fn faces_with_detail(
        &self,
        image: &RgbImage,
    ) -> Result<Option<Vec<Face>>, FaceError> {
        let working = self.working(image);
        let found = self.detect_in(image, &working, Search::WithMargin)?;
        let detailed = |d: &Detection| self.recognizer.has_detail(&d.landmarks);
        if found.is_empty() || !found.iter().all(detailed) {
            return Ok(None);
        }
        self.embed_found(image, &working, found).map(Some)
    }

    /// The longest side, in pixels, that the first look works on.
    pub(crate) fn largest_working_side(&self) -> u32 {
        self.detector.spec.options.max_side
    }

    /// The faces of an image, the main one first, as [`Search::WithMargin`] finds them.
    ///
    /// # Errors
    /// [`FaceError::Network`].
    pub fn detect(&self, image: &RgbImage) -> Result<Vec<Detection>, FaceError> {
        self.detect_by(image, Search::WithMargin)
    }

    /// As [`FaceNets::detect`], by another search.
    ///
    /// # Errors
    /// [`FaceError::Network`].
    pub fn detect_by(&self, image: &RgbImage, search: Search) -> Result<Vec<Detection>, FaceError> {
        self.detect_in(image, &self.working(image), search)
    }

    /// What the detector's own decoding makes of `image` at the working size, best score first:
    /// equal to its reference implementation, boxes not clipped. [`FaceNets::detect_by`] decides
    /// which of these are faces.
    ///
    /// # Errors
    /// [`FaceError::Network`].
    pub fn detector_output(&self, image: &RgbImage) -> Result<Vec<Detection>, FaceError> {
        if image.width() == 0 || image.height() == 0 {
            return Ok(Vec::new());
        }
        Ok(self.look(&self.working(image), 1)?.found)
    }

    /// The embedding of the face with these landmarks (pixels of `image`; the eye on the image's
    /// left, the other eye, nose tip, the mouth corner on the image's left, the other):
    /// [`FaceNets::width`] numbers of unit length.
    ///
    /// # Errors
    /// [`FaceError::BadLandmarks`], [`FaceError::Network`], [`FaceError::NotFinite`].
    pub fn embed(
        &self,
        image: &RgbImage,
        landmarks: &[[f32; 2]; 5],
    ) -> Result<Vec<f32>, FaceError> {
        let aligned = self.align_in(image, &self.working(image), landmarks)?;
        Ok(self.recognizer.embed_all(&[aligned])?.concat())
    }

    /// The embedding of a detected face, cut out as the recognizer's spec says: aligned on its landmarks, or by its box.
    /// [`FaceNets::width`] numbers of unit length.
    ///
    /// # Errors
    /// As [`FaceNets::embed`].
    pub fn embed_detection(
        &self,
        image: &RgbImage,
        detection: &Detection,
    ) -> Result<Vec<f32>, FaceError> {
        let cut = self.cut_out(image, &self.working(image), detection)?;
        Ok(self.recognizer.embed_all(&[cut])?.concat())
    }

    /// Whether there is a network for [`FaceNets::gender_age`].
    pub fn guesses_gender(&self) -> bool {
        self.gender.is_some()
    }

    /// A guess at age and gender from a square crop around the detection's unclipped box.
    ///
    /// # Errors
    /// [`FaceError::NoGenderNetwork`], [`FaceError::BadLandmarks`] for an empty box,
    /// [`FaceError::Network`], [`FaceError::NotFinite`].
    pub fn gender_age(
        &self,
        image: &RgbImage,
        detection: &Detection,
    ) -> Result<GenderAge, FaceError> {
        let network = self.gender.as_ref().ok_or(FaceError::NoGenderNetwork)?;
        let [x0, y0, x1, y1] = detection.unclipped.map(f64::from);
        let side = (x1 - x0).max(y1 - y0);
        let corner = |low: f64, high: f64| (low + high - side) / 2.0;
        let square = Similarity::of_square(corner(x0, x1), corner(y0, y1), side)
            .ok_or(FaceError::BadLandmarks)?;
        guess(network, &align::warp(image, square, SIDE))
    }

    /// Brings the longest side into the options' range: bicubic up, area averages down.
    fn working<'a>(&self, image: &'a RgbImage) -> Working<'a> {
        let (width, height) = image.dimensions();
        let longest = width.max(height);
        let options = &self.detector.spec.options;
        let target = longest.clamp(options.min_side, options.max_side.max(options.min_side));
        if width == 0 || height == 0 || target == longest {
            return Working {
                image: Cow::Borrowed(image),
                factor: [1.0; 2],
            };
        }
        let scaled = |side: u32| {
            let exact = f64::from(side) * f64::from(target) / f64::from(longest);
            (exact.round() as u32).max(1)
        };
        let (to_width, to_height) = (scaled(width), scaled(height));
        let resize = if target > longest {
            resize::enlarge
        } else {
            resize::shrink
        };
        Working {
            image: Cow::Owned(resize(image, to_width, to_height)),
            factor: [
                to_width as f32 / width as f32,
                to_height as f32 / height as f32,
            ],
        }
    }

    /// The faces of `image`, the main one first, in its pixels: those of the first looks that show
    /// any. A face that fills the frame is looked at once more within a margin.
    fn detect_in(
        &self,
        image: &RgbImage,
        working: &Working,
        search: Search,
    ) -> Result<Vec<Detection>, FaceError> {
        let size = [image.width() as f32, image.height() as f32];
        if image.width() == 0 || image.height() == 0 {
            return Ok(Vec::new());
        }
        let first = self.look(working, 1)?;
        let again = first.found.iter().any(|d| rank::fills(d, size));
        let mut looks = vec![first];
        let mut found = self.settle(&looks, size);
        if search != Search::Once && (found.is_empty() || again) {
            looks.push(self.look(working, 2)?);
            found = self.settle(&looks, size);
        }
        if found.is_empty() && search == Search::EverySize {
            looks.push(self.look(working, 4)?);
            found = self.settle(&looks, size);
        }
        if found.is_empty() && search == Search::EverySize {
            let mut found = search::at_larger_sizes(&self.detector, image)?;
            found.retain(|d| self.recognizer.can_align(&d.landmarks));
            looks.push(Look { found, frame: size });
            return Ok(self.settle(&looks, size));
        }
        Ok(found)
    }

    /// What the detector sees of the image at its working size, `times` smaller within a margin.
    fn look(&self, working: &Working, times: u32) -> Result<Look, FaceError> {
        let mut found = match times {
            1 => self.detector.detect(&working.image)?,
            times => search::within_margin(&self.detector, &working.image, times)?,
        };
        let [fx, fy] = working.factor;
        for detection in &mut found {
            detection.map(|[x, y]| [x / fx, y / fy]);
        }
        // Landmarks in one point cannot be aligned; no face has them.
        found.retain(|d| self.recognizer.can_align(&d.landmarks));
        let frame = [
            working.image.width() as f32 / fx,
            working.image.height() as f32 / fy,
        ];
        let frame = frame.map(|side| side * times as f32);
        Ok(Look { found, frame })
    }

    fn settle(&self, looks: &[Look], image: [f32; 2]) -> Vec<Detection> {
        rank::main_first(looks, image, self.detector.spec.options.max_overlap)
    }

    /// Aligns in the enlarged image where there is one, else in the original, which has more detail
    /// than a shrunk one.
    fn align_in(
        &self,
        image: &RgbImage,
        working: &Working,
        landmarks: &[[f32; 2]; 5],
    ) -> Result<RgbImage, FaceError> {
        let [fx, fy] = working.factor;
        let enlarged = fx > 1.0 || fy > 1.0;
        let (source, marks) = if enlarged {
            (
                working.image.as_ref(),
                landmarks.map(|[x, y]| [x * fx, y * fy]),
            )
        } else {
            (image, *landmarks)
        };
        self.recognizer.align(source, &marks)
    }

    /// The face as the recognizer is given it.
    fn cut_out(
        &self,
        image: &RgbImage,
        working: &Working,
        detection: &Detection,
    ) -> Result<RgbImage, FaceError> {
        match self.recognizer.side_of_box() {
            Some(side) => Ok(boxes::cut_out(image, &detection.bbox, side)),
            None => self.align_in(image, working, &detection.landmarks),
        }
    }

    /// The faces of these detections.
    fn embed_found(
        &self,
        image: &RgbImage,
        working: &Working,
        found: Vec<Detection>,
    ) -> Result<Vec<Face>, FaceError> {
        let aligned = (found.iter()).map(|d| self.cut_out(image, working, d));
        let vectors = self
            .recognizer
            .embed_all(&aligned.collect::<Result<Vec<_>, _>>()?)?;
        let faces = found.into_iter().zip(vectors);
        Ok(faces
            .map(|(detection, vector)| Face { detection, vector })
            .collect())
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    /// The face of the close-up reaches beyond the frame: only the second look, within a margin,
    /// finds it.
    #[test]
    fn detect_finds_a_face_beyond_the_frame_within_a_margin()
    -> Result<(), Box<dyn std::error::Error>> {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let network = |name: &str| root.join("../../manifests/mini/face").join(name);
        let files = FaceFiles {
            detector: network("retinaface_mobilenet025_dynamic.onnx"),
            recognizer: network("faceplugin_fr_feature_512.onnx"),
            ..FaceFiles::default()
        };
        let nets = FaceNets::load(&files, &FaceOptions::default())?;
        let close_up = image::open(root.join("tests/fixtures/close-up.png"))?.to_rgb8();
        let working = nets.working(&close_up);
        assert_eq!(working.image.dimensions(), (269, 320));
        assert!(nets.detect_by(&close_up, Search::Once)?.is_empty());
        let found = nets.detect(&close_up)?;
        assert_eq!(found.len(), 1);
        let [width, height] = [close_up.width() as f32, close_up.height() as f32];
        let [x0, y0, x1, y1] = found[0].unclipped;
        assert!(x1 - x0 > width && y1 - y0 > height, "{found:?}");
        assert_eq!(
            found[0].bbox,
            [x0.max(0.0), y0.max(0.0), x1.min(width), y1.min(height)]
        );
        Ok(())
    }
}
