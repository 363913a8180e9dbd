//! `[models.image_encoders]`

use std::path::PathBuf;

use laioncele_core::ModelFiles;
use laioncele_core::{CoreError, Manifest};
use laioncele_nn::{DeviceChoice, LoadOptions, Precision};
use serde::Deserialize;

use super::{files_read, label};

/// `[models.image_encoders]`: the two CLIP image encoders whose features the encoder reads.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ImageEncoderSection {
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

impl ImageEncoderSection {
    /// Reads the section.
    ///
    /// # Errors
    /// [`CoreError::Manifest`]: the section is absent, has an unknown key or a wrong type.
    pub fn from_manifest(manifest: &Manifest) -> Result<Self, CoreError> {
        let section: Self = manifest.model("image_encoders")?;
        Ok(Self {
            first: manifest.resolve_model(&section.first)?,
            second: manifest.resolve_model(&section.second)?,
            ..section
        })
    }

    /// Both folders, as a step's key names them.
    pub fn model_files(&self) -> Vec<ModelFiles> {
        let roles = [("first", &self.first), ("second", &self.second)];
        roles
            .map(|(role, path)| {
                let label = label("image_encoders", role);
                ModelFiles::folder(label, path.clone(), files_read::image_encoder)
            })
            .into()
    }

    /// How to load a tower.
    ///
    /// # Errors
    /// [`DeviceChoice::Cuda`] without a GPU.
    pub fn load_options(&self) -> laioncele_nn::Result<LoadOptions> {
        Ok(LoadOptions {
            device: self.device.open()?,
            dtype: self.precision.dtype(),
            ..LoadOptions::default()
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sections::testing::manifest;

    const SECTION: &str =
        "[models.image_encoders]\nfirst = \"a\"\nsecond = \"b\"\nprecision = \"f16\"\n";

    #[test]
    fn labels_and_paths_are_those_of_task_keys() -> Result<(), CoreError> {
        let section = ImageEncoderSection::from_manifest(&manifest(SECTION))?;
        let labels = section.model_files().into_iter().map(|f| (f.label, f.path));
        let expected = [
            ("models.image_encoders.first", "/run/a"),
            ("models.image_encoders.second", "/run/b"),
        ];
        let expected = expected.map(|(label, path)| (label.to_owned(), PathBuf::from(path)));
        assert_eq!(labels.collect::<Vec<_>>(), expected);
        assert_eq!(section.precision, Precision::F16);
        Ok(())
    }

    #[test]
    fn an_unknown_key_names_the_nearest() {
        let text = SECTION.replace("precision", "percision");
        let error = ImageEncoderSection::from_manifest(&manifest(&text)).expect_err("a wrong key");
        let error = error.to_string();
        assert!(error.contains("did you mean `precision`?"), "{error}");
    }
}
