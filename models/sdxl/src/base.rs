//! Where a model's configurations and tokenizers come from: its folder, or the program itself, which
//! knows those of SDXL base 1.0.

use std::path::{Path, PathBuf};

use laioncele_clip::Tokenizer;
use laioncele_nn::config::JsonFile;

use crate::error::Result;
use crate::folder::{CONFIG, ModelIndex, SCHEDULER_CONFIG};

/// Where configurations and tokenizers come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Base {
    /// An SDXL folder in Diffusers layout.
    Folder(PathBuf),
    /// Those of SDXL base 1.0, which are part of the program.
    BuiltIn,
}

impl Base {
    /// Of a folder; an empty path is none.
    pub(crate) fn of(folder: &Path) -> Self {
        match folder.as_os_str().is_empty() {
            true => Self::BuiltIn,
            false => Self::Folder(folder.to_owned()),
        }
    }

    /// What `model_index.json` says.
    ///
    /// # Errors
    /// A folder that is no SDXL.
    pub(crate) fn index(&self) -> Result<ModelIndex> {
        match self {
            Self::Folder(folder) => ModelIndex::read(folder),
            Self::BuiltIn => Ok(ModelIndex {
                force_zeros_for_empty_prompt: true,
            }),
        }
    }

    /// The configuration of a part.
    ///
    /// # Errors
    /// A file that is missing or damaged.
    pub(crate) fn config(&self, part: &str) -> Result<JsonFile> {
        let file = match part {
            "scheduler" => SCHEDULER_CONFIG,
            _ => CONFIG,
        };
        let folder = match self {
            Self::Folder(folder) => return Ok(JsonFile::read(&folder.join(part).join(file))?),
            Self::BuiltIn => Path::new("built-in SDXL"),
        };
        let text = match part {
            "text_encoder" => include_str!("built_in/text_encoder.json"),
            "text_encoder_2" => include_str!("built_in/text_encoder_2.json"),
            "unet" => include_str!("built_in/unet.json"),
            "vae" => include_str!("built_in/vae.json"),
            _ => include_str!("built_in/scheduler.json"),
        };
        Ok(JsonFile::built_in(&folder.join(part).join(file), text)?)
    }

    /// A tokenizer, and what errors call it.
    ///
    /// # Errors
    /// Files that are missing, damaged or not supported.
    pub(crate) fn tokenizer(&self, part: &str) -> Result<(Tokenizer, PathBuf)> {
        Ok(match self {
            Self::Folder(folder) => {
                let folder = folder.join(part);
                (Tokenizer::load(&folder)?, folder)
            }
            Self::BuiltIn => {
                let pad = if part == "tokenizer" {
                    "<|endoftext|>"
                } else {
                    "!"
                };
                (Tokenizer::built_in(pad)?, "built-in SDXL".into())
            }
        })
    }

    /// The folder of a part's weights, if there is any.
    pub(crate) fn folder(&self, part: &str) -> Option<PathBuf> {
        match self {
            Self::Folder(folder) => Some(folder.join(part)),
            Self::BuiltIn => None,
        }
    }

    /// What errors call the model.
    pub(crate) fn name(&self) -> &Path {
        match self {
            Self::Folder(folder) => folder,
            Self::BuiltIn => Path::new("built-in SDXL"),
        }
    }
}
