//! The recognizer: five landmarks → aligned face → embedding, as its card says.

use std::path::Path;

use image::RgbImage;

use crate::FaceError;
use crate::align::{self, Similarity};
use crate::card::RecognizerCard;
use crate::network::Network;

const KIND: &str = "face recognizer ([1, 3, side, side] → [1, numbers])";

/// A recognizer with its card.
pub(crate) struct Recognizer {
    network: Network,
    card: RecognizerCard,
    width: usize,
}

impl Recognizer {
    /// Loads the network and runs it once.
    pub(crate) fn load(path: &Path, card: RecognizerCard) -> Result<Self, FaceError> {
        let network = Network::load(path, &card.names)?;
        let side = card.side;
        if network
            .input_sides()
            .into_iter()
            .flatten()
            .any(|s| s != side)
        {
            return Err(network.wrong(KIND, format!("its card has side = {side}")));
        }
        let mut recognizer = Self {
            network,
            card,
            width: 0,
        };
        recognizer.width = recognizer.recognize(&RgbImage::new(side, side))?.len();
        Ok(recognizer)
    }

    /// Numbers in an embedding.
    pub(crate) fn width(&self) -> usize {
        self.width
    }

    /// Whether a face can be aligned on these landmarks.
    pub(crate) fn can_align(&self, landmarks: &[[f32; 2]; 5]) -> bool {
        Similarity::to_template(landmarks, &self.card.template).is_some()
    }

    /// The unit vector of the face of `picture` with these landmarks.
    pub(crate) fn embed(
        &self,
        picture: &RgbImage,
        landmarks: &[[f32; 2]; 5],
    ) -> Result<Vec<f32>, FaceError> {
        let transform = Similarity::to_template(landmarks, &self.card.template);
        let transform = transform.ok_or(FaceError::BadLandmarks)?;
        self.recognize(&align::warp(picture, transform, self.card.side))
    }

    /// The unit vector of an aligned face.
    fn recognize(&self, face: &RgbImage) -> Result<Vec<f32>, FaceError> {
        let network = &self.network;
        let input = self.card.pixels.planes(face);
        let outputs = network.run([self.card.side as usize; 2], &input)?;
        let [output] = outputs.as_slice() else {
            return Err(network.wrong(KIND, format!("it has {} outputs", outputs.len())));
        };
        if output.shape.len() != 2 || output.shape[0] != 1 || output.values.is_empty() {
            return Err(network.wrong(KIND, format!("its output is {:?}", output.shape)));
        }
        let squares = output.values.iter().map(|v| f64::from(*v).powi(2));
        let length = squares.sum::<f64>().sqrt();
        if !length.is_finite() || length == 0.0 {
            return Err(FaceError::NotFinite {
                path: network.path().to_owned(),
            });
        }
        let unit = |v: &f32| (f64::from(*v) / length) as f32;
        Ok(output.values.iter().map(unit).collect())
    }
}
