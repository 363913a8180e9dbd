//! The parts of a model, each for itself: for who builds a network of their own of its weights, as a training does.

use std::path::PathBuf;

use laioncele_nn::{LoadOptions, Weights};

use crate::error::Result;
use crate::files::SdxlFiles;
use crate::scheduler::{SchedulerConfig, SchedulerKind};
use crate::sources::Sources;
use crate::unet::UNetConfig;
use crate::vae::Vae;

/// A model's files, opened: folders, one file of a whole model, files in place of parts, LoRAs.
#[derive(Debug)]
pub struct Parts {
    sources: Sources,
    path: PathBuf,
}

impl Parts {
    /// Opens the files of a model, and refuses those that are something else.
    ///
    /// # Errors
    /// Files that are missing, damaged, of other models or kinds.
    pub fn open(files: &SdxlFiles) -> Result<Self> {
        let path = files.path().to_owned();
        let sources = Sources::open(files).map_err(|error| error.of_loading(&path))?;
        Ok(Self { sources, path })
    }

    /// The U-Net's configuration, checked.
    ///
    /// # Errors
    /// A configuration that is missing, damaged or not supported.
    pub fn unet_config(&self) -> Result<UNetConfig> {
        UNetConfig::of(&self.sources.unet_config()?)
    }

    /// The text of the U-Net's `config.json`, as it is on disk where it is.
    ///
    /// # Errors
    /// A file that is missing or damaged.
    pub fn unet_config_text(&self) -> Result<String> {
        let json = self.sources.unet_config()?;
        let on_disk = std::fs::read_to_string(json.path());
        Ok(on_disk.unwrap_or_else(|_| format!("{:#}\n", json.value())))
    }

    /// The U-Net's weights under diffusers' names, LoRAs merged into them as they are taken.
    ///
    /// # Errors
    /// Weights that are missing or damaged.
    pub fn unet_weights(&self, options: &LoadOptions) -> Result<Weights> {
        let config = self.unet_config()?;
        let weights = self.sources.unet_weights(&config, options);
        weights.map_err(|error| error.of_loading(&self.path))
    }

    /// Loads the VAE.
    ///
    /// # Errors
    /// Weights that are missing or do not fit the configuration.
    pub fn vae(&self, options: &LoadOptions) -> Result<Vae> {
        let vae = self.sources.load_vae(options);
        vae.map_err(|error| error.of_loading(&self.path))
    }

    /// The noise schedule of the training and what the U-Net predicts, by the first that speaks: settings, a weight file's
    /// marks, the scheduler's file.
    ///
    /// # Errors
    /// A configuration that is missing or not supported.
    pub fn scheduler(&self) -> Result<SchedulerConfig> {
        let json = self.sources.base.config("scheduler")?;
        let config = SchedulerConfig::read(&json, Some(SchedulerKind::Ddim))?;
        self.sources.prediction.apply(config)
    }
}
