//! `[models.sdxl]`, and the schedulers by their names in settings.

use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::str::FromStr;

use laioncele_core::ModelFiles;
use laioncele_core::{CoreError, Manifest};
use laioncele_nn::{DeviceChoice, Precision};
use laioncele_sdxl::{SchedulerKind, SdxlFiles};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::model_files;

/// `[models.sdxl]`
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Keys {
    /// An SDXL folder in Diffusers layout.
    folder: PathBuf,
    /// A U-Net to use instead of the model's own: a folder, or one safetensors file of weights for the model's own
    /// `unet/config.json`.
    unet: Option<PathBuf>,
    /// The type that the text encoders and the U-Net compute in; the VAE always computes in float32.
    #[serde(default)]
    precision: Precision,
    /// Where to compute.
    #[serde(default)]
    device: DeviceChoice,
    /// Images that a GPU generates at once; half of it where its memory does not hold them. Without a GPU it is not
    /// read: there images do not depend on their neighbours.
    batch: Option<NonZeroUsize>,
}

/// `[models.sdxl]` with its paths resolved.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SdxlSection {
    /// The model's files, and in which type and where to compute.
    pub files: SdxlFiles,
}

impl SdxlSection {
    /// Reads the section.
    ///
    /// # Errors
    /// [`CoreError::Manifest`]: the section is absent, has an unknown key or a wrong type.
    pub fn from_manifest(manifest: &Manifest) -> Result<Self, CoreError> {
        let keys: Keys = manifest.model("sdxl")?;
        Ok(Self {
            files: SdxlFiles {
                folder: manifest.resolve(&keys.folder),
                unet: keys.unet.map(|unet| manifest.resolve(&unet)),
                precision: keys.precision,
                device: keys.device,
                batch: keys.batch,
            },
        })
    }

    /// What a text's embedding depends on, as a step's key names it.
    pub fn text_model_files(&self) -> Vec<ModelFiles> {
        self.labelled(&[
            "model_index.json",
            "tokenizer",
            "tokenizer_2",
            "text_encoder",
            "text_encoder_2",
        ])
    }

    /// What an image depends on besides its texts, as a step's key names it.
    pub fn image_model_files(&self) -> Vec<ModelFiles> {
        let mut files = self.labelled(&["scheduler", "vae"]);
        let own = self.files.folder.join("unet");
        let unet = self.files.unet.clone().unwrap_or_else(|| own.clone());
        if unet.is_file() {
            files.push(model_files("sdxl", "unet_config", own.join("config.json")));
        }
        files.push(model_files("sdxl", "unet", unet));
        files
    }

    fn labelled(&self, parts: &[&str]) -> Vec<ModelFiles> {
        let file = |part: &&str| {
            let role = part.trim_end_matches(".json");
            model_files("sdxl", role, self.files.folder.join(part))
        };
        parts.iter().map(file).collect()
    }
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
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name())
    }
}

impl<'de> Deserialize<'de> for SchedulerChoice {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let name = String::deserialize(deserializer)?;
        if name == "model" {
            return Ok(Self(None));
        }
        let kind = SchedulerKind::from_str(&name).map_err(serde::de::Error::custom)?;
        Ok(Self(Some(kind)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sections::testing::manifest;

    const SECTION: &str = "[models.sdxl]\nfolder = \"sdxl\"\nprecision = \"bf16\"\n";

    fn labels(files: Vec<ModelFiles>) -> Vec<(String, PathBuf)> {
        files.into_iter().map(|f| (f.label, f.path)).collect()
    }

    #[test]
    fn labels_and_paths_are_those_of_task_keys() -> Result<(), CoreError> {
        let section = SdxlSection::from_manifest(&manifest(SECTION))?;
        let expected = |pairs: &[(&str, &str)]| -> Vec<(String, PathBuf)> {
            let pair = |(role, part): &(&str, &str)| {
                let path = PathBuf::from(format!("/run/sdxl/{part}"));
                (format!("models.sdxl.{role}"), path)
            };
            pairs.iter().map(pair).collect()
        };
        let texts = [
            ("model_index", "model_index.json"),
            ("tokenizer", "tokenizer"),
            ("tokenizer_2", "tokenizer_2"),
            ("text_encoder", "text_encoder"),
            ("text_encoder_2", "text_encoder_2"),
        ];
        assert_eq!(labels(section.text_model_files()), expected(&texts));
        let images = [("scheduler", "scheduler"), ("vae", "vae"), ("unet", "unet")];
        assert_eq!(labels(section.image_model_files()), expected(&images));
        assert_eq!(section.files.precision, Precision::Bf16);
        Ok(())
    }

    #[test]
    fn a_file_of_unet_weights_brings_the_models_own_configuration() -> std::io::Result<()> {
        let folder = tempfile::tempdir()?;
        let weights = folder.path().join("unet.safetensors");
        std::fs::write(&weights, b"x")?;
        let text = format!("{SECTION}unet = \"{}\"\n", weights.display());
        let section = SdxlSection::from_manifest(&manifest(&text)).expect("a section");
        let found = labels(section.image_model_files());
        let config = PathBuf::from("/run/sdxl/unet/config.json");
        assert_eq!(found[2], ("models.sdxl.unet_config".to_owned(), config));
        assert_eq!(found[3], ("models.sdxl.unet".to_owned(), weights));
        Ok(())
    }

    #[test]
    fn an_unknown_key_names_the_nearest() {
        let text = SECTION.replace("precision", "precison");
        let error = SdxlSection::from_manifest(&manifest(&text)).expect_err("a wrong key");
        let error = error.to_string();
        assert!(error.contains("did you mean `precision`?"), "{error}");
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
