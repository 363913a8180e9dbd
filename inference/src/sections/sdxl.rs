//! `[models.sdxl]`, and the schedulers by their names in settings.

use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use laioncele_core::{CoreError, Manifest};
use laioncele_core::{FilesRead, ModelFiles};
use laioncele_nn::{DeviceChoice, Precision};
use laioncele_sdxl::{NegativePrompt, SchedulerKind, SdxlFiles};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::{Value, json};

use super::{files_read, label};

/// `[models.sdxl]`
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Keys {
    /// An SDXL folder in Diffusers layout.
    folder: PathBuf,
    /// A U-Net to use instead of the model's own: a folder, or one safetensors file of weights for the model's own
    /// `unet/config.json`.
    unet: Option<PathBuf>,
    /// A VAE to use instead of the model's own: a folder, or one safetensors file of weights for the model's own
    /// `vae/config.json`.
    vae: Option<PathBuf>,
    /// The unconditional embedding that classifier-free guidance guides away from: `zeros`, the encoded `empty` prompt,
    /// or what the `model` says (`force_zeros_for_empty_prompt` of model_index.json; zeros for SDXL base).
    #[serde(default)]
    unconditional: Unconditional,
    /// The type that the text encoders and the U-Net compute in. The VAE always computes in float32, since SDXL's own
    /// leaves float16's range and gives black images.
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
    /// What guidance guides away from.
    pub unconditional: Unconditional,
}

/// The unconditional embedding of classifier-free guidance, as settings name it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Unconditional {
    /// What the model's folder says.
    #[default]
    Model,
    /// Zeros.
    Zeros,
    /// The encoded empty prompt.
    Empty,
}

impl Unconditional {
    /// As the text encoders take it.
    pub fn negative(self) -> NegativePrompt {
        match self {
            Self::Model => NegativePrompt::Model,
            Self::Zeros => NegativePrompt::Zeros,
            Self::Empty => NegativePrompt::Empty,
        }
    }
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
                vae: keys.vae.map(|vae| manifest.resolve(&vae)),
                precision: keys.precision,
                device: keys.device,
                batch: keys.batch,
            },
            unconditional: keys.unconditional,
        })
    }

    /// What images depend on besides files: `precision`, and `unconditional` where it is not the model's own, which it
    /// always was before it could be set.
    pub fn image_settings(&self) -> Value {
        let mut settings = json!({ "precision": self.files.precision });
        if self.unconditional != Unconditional::Model {
            settings["unconditional"] = json!(self.unconditional);
        }
        settings
    }

    /// What a text's embedding depends on, as a step's key names it.
    pub fn text_model_files(&self) -> Vec<ModelFiles> {
        let folder = |part: &str, files_read: FilesRead| {
            let path = self.files.folder.join(part);
            ModelFiles::folder(label("sdxl", part), path, files_read)
        };
        let index = self.files.folder.join("model_index.json");
        vec![
            ModelFiles::file(label("sdxl", "model_index"), index),
            folder("tokenizer", files_read::tokenizer),
            folder("tokenizer_2", files_read::tokenizer),
            folder("text_encoder", files_read::text_tower),
            folder("text_encoder_2", files_read::text_tower),
        ]
    }

    /// What an image depends on besides its texts, as a step's key names it.
    pub fn image_model_files(&self) -> Vec<ModelFiles> {
        let scheduler = self.files.folder.join("scheduler");
        let scheduler =
            ModelFiles::folder(label("sdxl", "scheduler"), scheduler, files_read::scheduler);
        let mut files = vec![scheduler];
        files.extend(self.part("vae", self.files.vae.as_deref(), files_read::vae));
        files.extend(self.part("unet", self.files.unet.as_deref(), files_read::unet));
        files
    }

    /// A part of the model, or what takes its place; one file of weights also needs the model's own configuration.
    fn part(&self, part: &str, other: Option<&Path>, files_read: FilesRead) -> Vec<ModelFiles> {
        let own = self.files.folder.join(part);
        let path = other.unwrap_or(&own);
        let mut files = Vec::new();
        if path.is_file() {
            let label = label("sdxl", &format!("{part}_config"));
            files.push(ModelFiles::file(label, own.join("config.json")));
        }
        files.push(ModelFiles::folder(
            label("sdxl", part),
            path.to_owned(),
            files_read,
        ));
        files
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

    /// Another VAE changes images, never the embedding of a text.
    #[test]
    fn a_vae_takes_the_place_of_the_models_own() -> std::io::Result<()> {
        let folder = tempfile::tempdir()?;
        let weights = folder.path().join("fix.safetensors");
        std::fs::write(&weights, b"x")?;
        let read = |vae: &Path| {
            let text = format!("{SECTION}vae = \"{}\"\n", vae.display());
            SdxlSection::from_manifest(&manifest(&text)).expect("a section")
        };
        let own = SdxlSection::from_manifest(&manifest(SECTION)).expect("a section");
        let (of_file, of_folder) = (read(&weights), read(folder.path()));
        let found = labels(of_file.image_model_files());
        let config = PathBuf::from("/run/sdxl/vae/config.json");
        assert_eq!(found[1], ("models.sdxl.vae_config".to_owned(), config));
        assert_eq!(found[2], ("models.sdxl.vae".to_owned(), weights));
        let found = labels(of_folder.image_model_files());
        assert_eq!(
            found[1],
            ("models.sdxl.vae".to_owned(), folder.path().to_owned())
        );
        for other in [of_file, of_folder] {
            assert_eq!(
                labels(other.text_model_files()),
                labels(own.text_model_files())
            );
        }
        Ok(())
    }

    #[test]
    fn the_unconditional_embedding_is_in_keys_only_where_it_is_set() {
        let settings = |line: &str| {
            let section = SdxlSection::from_manifest(&manifest(&format!("{SECTION}{line}\n")));
            section.expect("a section").image_settings()
        };
        let own = json!({ "precision": "bf16" });
        assert_eq!(settings(""), own);
        assert_eq!(settings("unconditional = \"model\""), own);
        let empty = json!({ "precision": "bf16", "unconditional": "empty" });
        assert_eq!(settings("unconditional = \"empty\""), empty);
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
