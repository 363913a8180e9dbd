//! What the pipeline is loaded with.

use laioncele_encoder::Crop;
use laioncele_face::FaceFiles;
use laioncele_sdxl::{NegativePrompt, SamplingSettings, SdxlFiles};
use serde::{Deserialize, Serialize};

use crate::ImageEncoderSection;

/// Models and numbers of a [`crate::generation::GenerationPipeline`].
#[derive(Clone, Debug)]
pub struct GenerationConfig {
    /// The model that generates.
    pub sdxl: SdxlFiles,
    /// What guidance guides away from.
    pub negative: NegativePrompt,
    /// The image encoders whose features the trained encoder reads.
    pub image_encoders: ImageEncoderSection,
    /// The face networks; not needed for whole photos without a guess at the gender, for which they need their gender
    /// network ([`crate::methods::Studio::gender_guess`]).
    pub face: Option<FaceFiles>,
    /// What the image encoders see of a photo: inference crops as training did.
    pub crop: Crop,
    /// How images are sampled.
    pub sampling: SamplingSettings,
    /// δ of Equation 4: how far a predicted name goes away from the mean name.
    pub delta: f32,
    /// η of Equation 5: the length that it is brought to.
    pub eta: Eta,
}

/// η of Equation 5.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Eta {
    /// This length.
    Length(f32),
    /// The mean length of the dataset's names.
    Mean(MeanLength),
}

/// The word `mean`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum MeanLength {
    /// `mean`
    Mean,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn eta_is_a_number_or_the_mean() {
        let read = serde_json::from_str::<Eta>;
        assert_eq!(read("\"mean\"").expect("eta"), Eta::Mean(MeanLength::Mean));
        assert_eq!(read("27").expect("eta"), Eta::Length(27.0));
        assert!(read("\"median\"").is_err());
        let written = serde_json::to_value(Eta::Length(80.0)).expect("json");
        assert_eq!(written, 80.0);
    }
}
