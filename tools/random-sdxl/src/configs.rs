//! The JSON files and tokenizers of a random SDXL.

use std::fs;
use std::path::Path;

use crate::{Form, RandomError, copy_files, repository};

/// The configurations of SDXL base 1.0: as stabilityai/stable-diffusion-xl-base-1.0 has them.
const BASE: [(&str, &str); 6] = [
    (
        "model_index.json",
        include_str!("../sdxl-base-1.0/model_index.json"),
    ),
    (
        "scheduler/scheduler_config.json",
        include_str!("../sdxl-base-1.0/scheduler/scheduler_config.json"),
    ),
    (
        "text_encoder/config.json",
        include_str!("../sdxl-base-1.0/text_encoder/config.json"),
    ),
    (
        "text_encoder_2/config.json",
        include_str!("../sdxl-base-1.0/text_encoder_2/config.json"),
    ),
    (
        "unet/config.json",
        include_str!("../sdxl-base-1.0/unet/config.json"),
    ),
    (
        "vae/config.json",
        include_str!("../sdxl-base-1.0/vae/config.json"),
    ),
];

/// Writes all files but the weights.
pub(crate) fn write(folder: &Path, form: &Form) -> Result<(), RandomError> {
    for (name, base) in BASE {
        let text = match &form.like {
            Some(like) => {
                let path = like.join(name);
                fs::read_to_string(&path).map_err(RandomError::at(&path))?
            }
            None => base.to_owned(),
        };
        let path = folder.join(name);
        if let Some(above) = path.parent() {
            fs::create_dir_all(above).map_err(RandomError::at(above))?;
        }
        fs::write(&path, text).map_err(RandomError::at(&path))?;
    }
    let mini = repository("manifests/mini/sdxl-mini");
    let tokenizers = form.tokenizers.as_ref().or(form.like.as_ref());
    let tokenizers = tokenizers.unwrap_or(&mini);
    for name in ["tokenizer", "tokenizer_2"] {
        copy_files(&tokenizers.join(name), &folder.join(name))?;
    }
    Ok(())
}
