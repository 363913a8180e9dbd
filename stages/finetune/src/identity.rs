//! Which training a folder is of: `training.json`, and the digest that checkpoints name.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use laioncele_core::file_digests::FileDigests;
use laioncele_core::{KeyHasher, Manifest, ModelFiles};
use laioncele_finetune::save;
use laioncele_inference::{FaceSection, ImageEncoderSection, SdxlSection};
use laioncele_sdxl::Precision;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::dataset::DataSet;
use crate::error::{FinetuneError, Result};
use crate::prepare::encoder_crop;
use crate::settings::{Settings, What};

/// Raise it when the same photos and settings give other weights.
pub(crate) const VERSION: u32 = 1;

/// Which training a folder is of, `training.json`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Identity {
    version: u32,
    /// Digests of models and data set, by their labels.
    pub made_from: BTreeMap<String, String>,
    /// What the weights depend on, of the settings.
    pub settings: Value,
}

impl Identity {
    /// Everything that the trained weights depend on.
    ///
    /// # Errors
    /// Files that cannot be read.
    pub(crate) fn of(
        (what, settings): (What, &Settings),
        encoder: &Path,
        manifest: &Manifest,
        dataset: &DataSet,
        resolution: usize,
    ) -> Result<Self> {
        let digests = FileDigests::open(None);
        let section = SdxlSection::from_manifest(manifest)?;
        let faces = FaceSection::from_manifest(manifest)?.without_gender();
        let encoder_files = ["encoder.json", "encoder.safetensors"]
            .map(|file| ModelFiles::file(format!("encoder.{file}"), encoder.join(file)));
        let models = [
            section.text_model_files(),
            section.image_model_files(),
            ImageEncoderSection::from_manifest(manifest)?.model_files(),
            faces.model_files(),
            encoder_files.to_vec(),
        ];
        let mut made_from = BTreeMap::new();
        for model in models.concat() {
            let digest = digests.of_model(&model)?;
            made_from.insert(model.label, digest.to_string());
        }
        made_from.insert("data_set".into(), dataset.digest(&digests)?.to_string());
        let mut settings = settings.training_key(what)?;
        settings["resolution"] = json!(resolution);
        settings["encoder_crop"] = json!(encoder_crop(encoder, manifest)?);
        add_model_settings(&mut settings, &section)?;
        Ok(Self {
            version: VERSION,
            made_from,
            settings,
        })
    }

    /// Makes the folder `into` this training's, unless it is another's.
    ///
    /// # Errors
    /// [`FinetuneError::OtherTraining`], a file that is damaged or cannot be written.
    pub(crate) fn claim(&self, into: &Path) -> Result<()> {
        let path = into.join("training.json");
        let text = match std::fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                let text = serde_json::to_string_pretty(self)? + "\n";
                return Ok(save::write_text(&path, &text)?);
            }
            Err(error) => return Err(FinetuneError::io(&path)(error)),
        };
        let found: Self = serde_json::from_str(&text).map_err(|error| FinetuneError::Damaged {
            path: path.clone(),
            reason: error.to_string(),
        })?;
        let differing = found.differing(self);
        match differing.is_empty() {
            true => Ok(()),
            false => Err(FinetuneError::OtherTraining {
                folder: into.to_owned(),
                differing,
            }),
        }
    }

    /// The digest that checkpoints name.
    ///
    /// # Errors
    /// None that is known: all of it is plain JSON.
    pub(crate) fn key(&self) -> Result<String> {
        let text = serde_json::to_string(self)?;
        let hasher = KeyHasher::new("fine-tuning").text("identity", &text);
        Ok(hasher.finish().to_string())
    }

    /// What differs from `other`, in words: here, and there.
    fn differing(&self, other: &Self) -> Vec<String> {
        let mut differing = Vec::new();
        if self.version != other.version {
            let (here, there) = (self.version, other.version);
            differing.push(format!(
                "it is of version {here}, this program makes version {there}"
            ));
        }
        let flat = |identity: &Self| {
            let settings = identity.settings.as_object().cloned().unwrap_or_default();
            let settings = settings
                .into_iter()
                .map(|(key, value)| (key, value.to_string()));
            let made_from = identity.made_from.clone().into_iter();
            settings
                .chain(made_from)
                .collect::<BTreeMap<String, String>>()
        };
        let (here, there) = (flat(self), flat(other));
        let keys: BTreeSet<&String> = here.keys().chain(there.keys()).collect();
        for key in keys {
            let (ours, theirs) = (here.get(key), there.get(key));
            if ours == theirs {
                continue;
            }
            let word = |value: Option<&String>| {
                value.map_or("nothing".into(), |v| v.chars().take(16).collect::<String>())
            };
            differing.push(format!(
                "{key} is {} there, {} here",
                word(ours),
                word(theirs)
            ));
        }
        differing
    }
}

/// What `[models.sdxl]` says besides files, where it is not the default.
fn add_model_settings(settings: &mut Value, section: &SdxlSection) -> Result<()> {
    let files = &section.files;
    if files.plain_texts && !files.loras.is_empty() {
        settings["lora_text"] = json!(false);
    }
    if files.precision != Precision::default() {
        settings["text_precision"] = json!(files.precision);
    }
    let prediction = serde_json::to_value(files.prediction)?;
    for key in ["prediction", "zero_terminal_snr"] {
        if !prediction[key].is_null() {
            settings[key] = prediction[key].clone();
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_differs_is_told_by_its_name() {
        let identity = |batch: u32, unet: &str| Identity {
            version: VERSION,
            made_from: [("models.sdxl.unet".to_owned(), unet.to_owned())].into(),
            settings: json!({ "batch": batch, "what": "lora" }),
        };
        let (here, there) = (identity(4, "a"), identity(8, "b"));
        assert_eq!(
            here.differing(&there),
            [
                "batch is 4 there, 8 here",
                "models.sdxl.unet is a there, b here"
            ]
        );
        assert!(here.differing(&here.clone()).is_empty());
        assert_ne!(here.key().expect("a key"), there.key().expect("a key"));
    }
}
