//! From a detector's tensors to boxes, landmarks and scores: a decoder for each family, and the
//! suppression that they share.

mod retinaface;
mod scrfd;
mod yunet;

use std::path::Path;

use image::{GenericImage, RgbImage};

use crate::detection::{Detection, overlap};
use crate::error::FaceError;
use crate::files::Device;
use crate::network::{Network, Output};
use crate::spec::{Decoder, DetectorSpec};

/// Strides of all three families, in pixels.
const STRIDES: [u32; 3] = [8, 16, 32];
/// Candidates that suppression looks at, best first: it compares all pairs.
const MAX_CANDIDATES: usize = 1000;

/// A detector with its spec.
pub(crate) struct Detector {
    network: Network,
    pub(crate) spec: DetectorSpec,
}

/// What a decoder is given: the outputs of one image, padded size included.
struct Tensors<'a> {
    network: &'a Network,
    outputs: &'a [Output],
    width: u32,
    height: u32,
    min_score: f32,
}

impl Detector {
    /// Loads the network and runs it once.
    pub(crate) fn load(path: &Path, spec: DetectorSpec, device: Device) -> Result<Self, FaceError> {
        let mut names = spec.names.clone();
        if names.outputs.is_empty() && spec.decoder == Decoder::YuNet {
            names.outputs = yunet::OUTPUTS.map(str::to_owned).to_vec();
        }
        let network = Network::load(path, &names, device)?;
        let detector = Self { network, spec };
        let [height, width] = detector.network.input_sides();
        detector.detect(&RgbImage::new(width.unwrap_or(64), height.unwrap_or(32)))?;
        Ok(detector)
    }

    /// Whether the network takes images of every size, by what its file declares.
    pub(crate) fn takes_every_size(&self) -> bool {
        self.network.input_sides().iter().all(Option::is_none)
    }

    /// The faces of `image` at its own size, best score first.
    pub(crate) fn detect(&self, image: &RgbImage) -> Result<Vec<Detection>, FaceError> {
        let padded = self.padded(image);
        let image = padded.as_ref().unwrap_or(image);
        let (width, height) = image.dimensions();
        let size = [height as usize, width as usize];
        let run = |planes: &[f32]| self.network.run(1, size, planes);
        let outputs = self.spec.pixels.with_planes(&[image], run)?;
        let tensors = Tensors {
            network: &self.network,
            outputs: &outputs,
            width,
            height,
            min_score: self.spec.options.min_score,
        };
        let mut found = match self.spec.decoder {
            Decoder::RetinaFace => retinaface::candidates(&tensors)?,
            Decoder::YuNet => yunet::candidates(&tensors)?,
            Decoder::Scrfd => scrfd::candidates(&tensors)?,
        };
        found.sort_by(|a, b| b.score.total_cmp(&a.score));
        found.truncate(MAX_CANDIDATES);
        Ok(suppress(found, self.spec.options.max_overlap))
    }

    /// The image with black added on the right and below, as OpenCV and InsightFace do it; `None`
    /// where its sides are multiples already.
    fn padded(&self, image: &RgbImage) -> Option<RgbImage> {
        let (width, height) = image.dimensions();
        let up = |side: u32| side.next_multiple_of(self.spec.multiple);
        if (up(width), up(height)) == (width, height) {
            return None;
        }
        let mut canvas = RgbImage::new(up(width), up(height));
        // It fits: the canvas is no smaller.
        canvas.copy_from(image, 0, 0).ok()?;
        Some(canvas)
    }
}

impl Tensors<'_> {
    /// Cells of a stride's grid, across and down.
    fn grid(&self, stride: u32) -> [u32; 2] {
        [self.width.div_ceil(stride), self.height.div_ceil(stride)]
    }

    /// The output of `rows` rows of `width` numbers, with or without a first extent of 1; `skip` of
    /// them are left out.
    fn rows(
        &self,
        rows: usize,
        width: usize,
        skip: usize,
        kind: &'static str,
    ) -> Result<&[f32], FaceError> {
        let fits = |o: &&Output| {
            let shape = match o.shape.as_slice() {
                [1, rest @ ..] if rest.len() > 1 => rest,
                shape => shape,
            };
            shape == [rows, width] && o.values.len() == rows * width
        };
        let found = self.outputs.iter().filter(fits).nth(skip);
        let found = found.ok_or_else(|| {
            let shapes: Vec<_> = self.outputs.iter().map(|o| &o.shape).collect();
            let (w, h) = (self.width, self.height);
            self.network.wrong(
                kind,
                format!(
                    "for {w} × {h} pixels, where [{rows}, {width}] is wanted, it gives {shapes:?}"
                ),
            )
        })?;
        Ok(&found.values)
    }
}

/// The detection, unless a number is not finite or the box is empty.
fn sound(detection: Detection) -> Option<Detection> {
    let [width, height] = detection.size();
    let mut numbers = detection
        .bbox
        .iter()
        .chain(detection.landmarks.as_flattened());
    let finite = detection.score.is_finite() && numbers.all(|v| v.is_finite());
    (finite && width > 0.0 && height > 0.0).then_some(detection)
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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn at(x: f32, y: f32, side: f32, score: f32) -> Detection {
        Detection::new([x, y, x + side, y + side], [[0.0; 2]; 5], score)
    }

    #[test]
    fn sound_refuses_empty_boxes_and_numbers_that_are_not_finite() {
        assert!(sound(at(1.0, 1.0, 5.0, 0.9)).is_some());
        for wrong in [
            at(1.0, 1.0, 0.0, 0.9),
            at(f32::NAN, 1.0, 5.0, 0.9),
            at(1.0, 1.0, 5.0, f32::NAN),
        ] {
            assert_eq!(sound(wrong), None);
        }
    }

    proptest! {
        /// What stays does not overlap by more than the limit, and what goes overlaps something
        /// better that stays.
        #[test]
        fn suppress_keeps_the_best_of_each_pile(boxes in prop::collection::vec((0.0f32..50.0, 0.0f32..50.0, 5.0f32..30.0, 0.6f32..1.0), 0..40), limit in 0.1f32..0.9) {
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
