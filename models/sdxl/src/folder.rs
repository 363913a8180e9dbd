//! `model_index.json`: is this an SDXL folder, and does it have all of its parts?

use std::path::Path;

use laioncele_nn::config::JsonFile;

use crate::error::{Error, Result};

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
