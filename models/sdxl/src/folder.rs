//! `model_index.json`: is this an SDXL folder, and does it have all of its parts?

use std::path::{Path, PathBuf};

use laioncele_nn::config::JsonFile;
use laioncele_nn::{LoadOptions, Weights};

use crate::error::{Error, Result};

/// A part's configuration.
pub(crate) const CONFIG: &str = "config.json";

/// The weight files of the U-Net and of the VAE, without their extension.
pub(crate) const WEIGHTS: &str = "diffusion_pytorch_model";

/// The scheduler's configuration in an SDXL folder's `scheduler`.
pub(crate) const SCHEDULER_CONFIG: &str = "scheduler_config.json";

/// The files that loading the U-Net or the VAE of `folder` reads.
///
/// # Errors
/// A folder without weights, an index that cannot be read.
pub(crate) fn files_read(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut files = Weights::files_read(folder, WEIGHTS, LoadOptions::default().variant)?;
    files.push(folder.join(CONFIG));
    Ok(files)
}

/// Pipelines whose parts are those of SDXL.
const PIPELINES: [&str; 3] = [
    "StableDiffusionXLPipeline",
    "StableDiffusionXLImg2ImgPipeline",
    "StableDiffusionXLInpaintPipeline",
];

/// Each part of an SDXL folder and the class it must have.
const PARTS: [(&str, &[&str]); 6] = [
    ("tokenizer", &["CLIPTokenizer", "CLIPTokenizerFast"]),
    ("tokenizer_2", &["CLIPTokenizer", "CLIPTokenizerFast"]),
    ("text_encoder", &["CLIPTextModel"]),
    ("text_encoder_2", &["CLIPTextModelWithProjection"]),
    ("unet", &["UNet2DConditionModel"]),
    ("vae", &["AutoencoderKL"]),
];

/// What is read of `model_index.json`.
#[derive(Debug)]
pub(crate) struct ModelIndex {
    pub force_zeros_for_empty_prompt: bool,
}

impl ModelIndex {
    pub(crate) fn read(folder: &Path) -> Result<Self> {
        if let Some(reason) = no_diffusers_folder(folder) {
            return Err(Error::NotSdxl {
                path: folder.into(),
                reason,
            });
        }
        let json = JsonFile::read(&folder.join("model_index.json"))?;
        let foreign = |reason: String| Error::NotSdxl {
            path: json.path().into(),
            reason,
        };
        let class = json
            .get("_class_name")
            .and_then(|value| value.as_str())
            .unwrap_or_default();
        if !PIPELINES.contains(&class) {
            return Err(foreign(format!(
                "_class_name = {class:?} is none of {}",
                PIPELINES.join(", ")
            )));
        }
        for (part, classes) in PARTS {
            let found = json
                .get(part)
                .and_then(|value| value.get(1))
                .and_then(|value| value.as_str());
            if !found.is_some_and(|found| classes.contains(&found)) {
                let found = found.unwrap_or("absent");
                return Err(foreign(format!(
                    "{part} is {found} instead of {}",
                    classes.join(" or ")
                )));
            }
        }
        json.require("force_zeros_for_empty_prompt", &["true", "false"])?;
        let zeros = json
            .get("force_zeros_for_empty_prompt")
            .and_then(serde_json::Value::as_bool);
        Ok(Self {
            force_zeros_for_empty_prompt: zeros.unwrap_or(true),
        })
    }
}

/// Why `path` cannot be an SDXL folder, where it is one file or has one in place of
/// `model_index.json`.
fn no_diffusers_folder(path: &Path) -> Option<String> {
    if path.is_file() {
        return Some("it is one file, a single-file checkpoint it seems: give it as the file of the model, with a folder in Diffusers layout as its base where it needs one".to_owned());
    }
    if path.join("model_index.json").exists() {
        return None;
    }
    let checkpoint = checkpoint_in(path)?;
    Some(format!(
        "it has no model_index.json, but {}, a single-file checkpoint it seems: give that file as the model",
        checkpoint.file_name().unwrap_or_default().to_string_lossy()
    ))
}

/// The first file of weights that lies in `folder` itself, where a Diffusers folder has none.
fn checkpoint_in(folder: &Path) -> Option<PathBuf> {
    let entries = std::fs::read_dir(folder).ok()?.flatten();
    let files = entries.map(|entry| entry.path()).filter(|path| {
        let extension = path.extension();
        extension.is_some_and(|e| e == "safetensors" || e == "ckpt") && path.is_file()
    });
    files.min()
}
