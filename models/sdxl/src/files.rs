//! What a manifest says of an SDXL model: where its files are, and in which type and where to compute.

use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use laioncele_nn::{DeviceChoice, LoadOptions, Precision};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::error::Result;
use crate::pipeline::SdxlOptions;
use crate::scheduler::SchedulerKind;

/// `[models.sdxl]`
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SdxlFiles {
    /// An SDXL folder in Diffusers layout.
    pub folder: PathBuf,
    /// A U-Net to use instead of the model's own: a folder, or one safetensors file of weights for the model's own
    /// `unet/config.json`.
    #[serde(default)]
    pub unet: Option<PathBuf>,
    /// The type that the text encoders and the U-Net compute in; the VAE always computes in float32.
    #[serde(default)]
    pub precision: Precision,
    /// Where to compute.
    #[serde(default)]
    pub device: DeviceChoice,
    /// Pictures that a GPU draws at once ([`SdxlOptions::batch`]); half of it where its memory does not hold them. Without
    /// a GPU it is not asked: there pictures do not depend on their neighbours.
    #[serde(default)]
    pub batch: Option<NonZeroUsize>,
}

/// A scheduler as settings name it: `model` for the one that the folder names, else a [`SchedulerKind`]'s name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SchedulerChoice(pub Option<SchedulerKind>);

impl SchedulerChoice {
    /// The setting's form.
    pub fn name(self) -> &'static str {
        self.0.map_or("model", SchedulerKind::name)
    }
}

impl Serialize for SchedulerChoice {
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name())
    }
}

impl<'de> Deserialize<'de> for SchedulerChoice {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        let name = String::deserialize(deserializer)?;
        if name == "model" {
            return Ok(Self(None));
        }
        let kind = SchedulerKind::from_str(&name).map_err(serde::de::Error::custom)?;
        Ok(Self(Some(kind)))
    }
}

impl SdxlFiles {
    /// The same with its paths resolved.
    #[must_use]
    pub fn resolved(self, resolve: impl Fn(&Path) -> PathBuf) -> Self {
        Self {
            folder: resolve(&self.folder),
            unet: self.unet.map(|unet| resolve(&unet)),
            ..self
        }
    }

    /// What a text's embedding depends on: (label, file or folder).
    pub fn text_files(&self) -> Vec<(String, PathBuf)> {
        let parts = [
            "model_index.json",
            "tokenizer",
            "tokenizer_2",
            "text_encoder",
            "text_encoder_2",
        ];
        self.labelled(&parts)
    }

    /// What a picture depends on besides its texts: (label, file or folder).
    pub fn picture_files(&self) -> Vec<(String, PathBuf)> {
        let mut files = self.labelled(&["scheduler", "vae"]);
        let own = self.folder.join("unet");
        let unet = self.unet.clone().unwrap_or_else(|| own.clone());
        if unet.is_file() {
            let config = own.join("config.json");
            files.push(("models.sdxl.unet_config".to_owned(), config));
        }
        files.push(("models.sdxl.unet".to_owned(), unet));
        files
    }

    fn labelled(&self, parts: &[&str]) -> Vec<(String, PathBuf)> {
        let label = |part: &str| format!("models.sdxl.{}", part.trim_end_matches(".json"));
        parts
            .iter()
            .map(|part| (label(part), self.folder.join(part)))
            .collect()
    }

    /// What loaded text encoders may be kept under.
    pub fn text_key(&self) -> String {
        format!("models.sdxl texts {self:?}")
    }

    /// What a loaded U-Net and VAE may be kept under.
    pub fn picture_key(&self) -> String {
        format!("models.sdxl pictures {self:?}")
    }

    /// How to load the text encoders.
    ///
    /// # Errors
    /// [`DeviceChoice::Cuda`] without a GPU.
    pub fn text_options(&self) -> Result<LoadOptions> {
        Ok(LoadOptions {
            device: self.device.open()?,
            dtype: self.precision.dtype(),
            ..LoadOptions::default()
        })
    }

    /// How to load the U-Net and the VAE.
    ///
    /// # Errors
    /// [`DeviceChoice::Cuda`] without a GPU.
    pub fn picture_options(&self) -> Result<SdxlOptions> {
        let device = self.device.open()?;
        let batch = self.batch.filter(|_| !device.is_cpu());
        Ok(SdxlOptions {
            // Opened twice, so that decoding and denoising have a stream each.
            vae_device: Some(self.device.open()?),
            device,
            dtype: self.precision.dtype(),
            unet: self.unet.clone(),
            batch: batch.map(NonZeroUsize::get),
            ..SdxlOptions::default()
        })
    }
}

#[cfg(test)]
mod tests {
    use candle_core::DType;

    use super::*;

    #[test]
    fn a_section_is_read_and_resolved() {
        let json = r#"{"folder": "sdxl", "unet": "other", "precision": "bf16", "device": "cpu"}"#;
        let files: SdxlFiles = serde_json::from_str(json).expect("a section");
        let files = files.resolved(|path| Path::new("base").join(path));
        assert_eq!(files.text_files().len(), 5);
        let pictures = files.picture_files();
        assert!(pictures.contains(&("models.sdxl.unet".into(), PathBuf::from("base/other"))));
        assert!(pictures.contains(&("models.sdxl.vae".into(), PathBuf::from("base/sdxl/vae"))));
        assert_eq!(files.text_options().expect("options").dtype, DType::BF16);
        assert!(serde_json::from_str::<SdxlFiles>(r#"{"folder": "a", "dtype": "f32"}"#).is_err());
    }

    #[test]
    fn schedulers_have_names() {
        for name in ["model", "ddim", "euler", "dpmpp_2m", "lcm"] {
            let choice: SchedulerChoice = serde_json::from_value(name.into()).expect("a scheduler");
            assert_eq!(serde_json::to_value(choice).expect("a name"), name);
        }
        let wrong = serde_json::from_value::<SchedulerChoice>("ddpm".into());
        assert!(wrong.expect_err("unknown").to_string().contains("euler"));
    }
}
