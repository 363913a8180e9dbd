//! What a manifest says of the two CLIP image encoders whose features the encoder reads.

use std::path::{Path, PathBuf};

use laioncele_clip::ImageEncoders;
use laioncele_nn::{DeviceChoice, LoadOptions, Precision};
use serde::Deserialize;

/// `[models.image_encoders]`
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ImageEncoderFiles {
    /// A CLIP vision folder: config.json, preprocessor_config.json, weights (768 features in SDXL's pairing).
    pub first: PathBuf,
    /// Another one (1280 features in SDXL's pairing).
    pub second: PathBuf,
    /// The type to compute in; part of what features depend on.
    #[serde(default)]
    pub precision: Precision,
    /// Where to compute.
    #[serde(default)]
    pub device: DeviceChoice,
}

impl ImageEncoderFiles {
    /// The same with its paths resolved.
    #[must_use]
    pub fn resolved(self, resolve: impl Fn(&Path) -> PathBuf) -> Self {
        Self {
            first: resolve(&self.first),
            second: resolve(&self.second),
            ..self
        }
    }

    /// The folders with their labels, for the keys of those who use them.
    pub fn model_files(&self) -> Vec<(String, PathBuf)> {
        let label = |role: &str| format!("models.image_encoders.{role}");
        vec![
            (label("first"), self.first.clone()),
            (label("second"), self.second.clone()),
        ]
    }

    /// What loaded encoders may be kept under.
    pub fn resource_key(&self) -> String {
        format!("models.image_encoders {self:?}")
    }

    /// Loads both encoders.
    ///
    /// # Errors
    /// Folders that are missing or of another kind, a GPU that is not there.
    pub fn load(&self) -> laioncele_nn::Result<ImageEncoders> {
        let options = LoadOptions {
            device: self.device.open()?,
            dtype: self.precision.dtype(),
            ..LoadOptions::default()
        };
        ImageEncoders::load(&self.first, &self.second, &options)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_embedded_worlds_encoders_load() {
        let mini = concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/../../manifests/mini/sdxl-mini"
        );
        let text = r#"{"first": "image_encoder", "second": "image_encoder_2", "device": "cpu"}"#;
        let files: ImageEncoderFiles = serde_json::from_str(text).expect("a section");
        let files = files.resolved(|path| Path::new(mini).join(path));
        let encoders = files.load().expect("encoders");
        let features = encoders.feature(&image::RgbImage::new(20, 30));
        assert_eq!(features.expect("features").len(), encoders.width());
        assert!(files.model_files().iter().all(|(_, path)| path.exists()));
    }
}
