//! The recognizer: five landmarks → aligned face → embedding, as its spec says.

use std::path::Path;

use image::RgbImage;

use crate::align::{self, Similarity};
use crate::error::FaceError;
use crate::files::{Crop, Device};
use crate::network::Network;
use crate::spec::RecognizerSpec;

/// Faces that a network which takes batches is given at once.
const BATCH: usize = 32;

const KIND: &str = "face recognizer ([1, 3, side, side] → [1, numbers])";

/// A recognizer with its spec.
pub(crate) struct Recognizer {
    network: Network,
    spec: RecognizerSpec,
    width: usize,
}

impl Recognizer {
    /// Loads the network and runs it once.
    pub(crate) fn load(
        path: &Path,
        spec: RecognizerSpec,
        device: Device,
    ) -> Result<Self, FaceError> {
        let network = Network::load(path, &spec.names, device)?;
        let side = spec.side;
        if network
            .input_sides()
            .into_iter()
            .flatten()
            .any(|s| s != side)
        {
            return Err(network.wrong(KIND, format!("its spec has side = {side}")));
        }
        let mut recognizer = Self {
            network,
            spec,
            width: 0,
        };
        let vectors = recognizer.embed_all(&[RgbImage::new(side, side)])?;
        recognizer.width = vectors[0].len();
        Ok(recognizer)
    }

    /// Numbers in an embedding.
    pub(crate) fn width(&self) -> usize {
        self.width
    }

    /// The side of the square that a face's box is resized to; `None` where faces are aligned.
    pub(crate) fn side_of_box(&self) -> Option<u32> {
        (self.spec.crop == Crop::Box).then_some(self.spec.side)
    }

    /// Whether a face can be aligned on these landmarks.
    pub(crate) fn can_align(&self, landmarks: &[[f32; 2]; 5]) -> bool {
        Similarity::to_template(landmarks, &self.spec.template).is_some()
    }

    /// Whether a face with these landmarks has at least as many pixels as the network is given.
    pub(crate) fn has_detail(&self, landmarks: &[[f32; 2]; 5]) -> bool {
        Similarity::to_template(landmarks, &self.spec.template).is_some_and(|t| t.scale() <= 1.0)
    }

    /// The face of `image` with these landmarks, aligned.
    pub(crate) fn align(
        &self,
        image: &RgbImage,
        landmarks: &[[f32; 2]; 5],
    ) -> Result<RgbImage, FaceError> {
        let transform = Similarity::to_template(landmarks, &self.spec.template);
        let transform = transform.ok_or(FaceError::BadLandmarks)?;
        Ok(align::warp(image, transform, self.spec.side))
    }

    /// The unit vectors of aligned faces, as many at once as the network takes.
    pub(crate) fn embed_all(&self, faces: &[RgbImage]) -> Result<Vec<Vec<f32>>, FaceError> {
        let at_once = if self.network.takes_batches() {
            BATCH
        } else {
            1
        };
        let batches = faces.chunks(at_once).map(|batch| self.embed_batch(batch));
        Ok(batches.collect::<Result<Vec<_>, _>>()?.concat())
    }

    fn embed_batch(&self, faces: &[RgbImage]) -> Result<Vec<Vec<f32>>, FaceError> {
        let network = &self.network;
        let size = [self.spec.side as usize; 2];
        let run = |planes: &[f32]| network.run(faces.len(), size, planes);
        let outputs = (self.spec.pixels).with_planes(&faces.iter().collect::<Vec<_>>(), run)?;
        let [output] = outputs.as_slice() else {
            return Err(network.wrong(KIND, format!("it has {} outputs", outputs.len())));
        };
        let rows = output.shape.first().copied();
        if output.shape.len() != 2 || rows != Some(faces.len()) || output.values.is_empty() {
            return Err(network.wrong(KIND, format!("its output is {:?}", output.shape)));
        }
        let rows = output.values.chunks_exact(output.shape[1]);
        rows.map(|row| self.unit(row)).collect()
    }

    fn unit(&self, row: &[f32]) -> Result<Vec<f32>, FaceError> {
        let squares = row.iter().map(|v| f64::from(*v).powi(2));
        let length = squares.sum::<f64>().sqrt();
        if !length.is_finite() || length == 0.0 {
            return Err(FaceError::NotFinite {
                path: self.network.path().to_owned(),
            });
        }
        let unit = |v: &f32| (f64::from(*v) / length) as f32;
        Ok(row.iter().map(unit).collect())
    }
}
