//! Where an SDXL model's files are, and in which type and where to compute.

use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};

use laioncele_nn::{DeviceChoice, LoadOptions, Precision};

use crate::error::Result;
use crate::folder::{PartPlace, SCHEDULER_CONFIG};
use crate::pipeline::SdxlOptions;

/// An SDXL model on disk, and how to load it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SdxlFiles {
    /// An SDXL folder in Diffusers layout.
    pub folder: PathBuf,
    /// A U-Net to use instead of the model's own: a folder, or one safetensors file of weights for
    /// the model's own `unet/config.json`.
    pub unet: Option<PathBuf>,
    /// A VAE to use instead of the model's own: a folder, or one safetensors file of weights for
    /// the model's own `vae/config.json`.
    pub vae: Option<PathBuf>,
    /// The type that the text encoders and the U-Net compute in; the VAE always computes in
    /// float32.
    pub precision: Precision,
    /// Where to compute.
    pub device: DeviceChoice,
    /// Images that a GPU generates at once ([`SdxlOptions::batch`]); half of it where its memory
    /// does not hold them. Without a GPU it is not asked: there images do not depend on their
    /// neighbours.
    pub batch: Option<NonZeroUsize>,
}

impl SdxlFiles {
    /// The files that are read of an SDXL folder's `scheduler`.
    pub fn scheduler_files(scheduler: &Path) -> Vec<PathBuf> {
        vec![scheduler.join(SCHEDULER_CONFIG)]
    }

    pub(crate) fn unet_place(&self) -> PartPlace {
        PartPlace::of(&self.folder, "unet", self.unet.as_deref())
    }

    pub(crate) fn vae_place(&self) -> PartPlace {
        PartPlace::of(&self.folder, "vae", self.vae.as_deref())
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
    pub fn image_options(&self) -> Result<SdxlOptions> {
        let device = self.device.open()?;
        let batch = self.batch.filter(|_| !device.is_cpu());
        Ok(SdxlOptions {
            // Opened twice, so that decoding and denoising have a stream each.
            vae_device: Some(self.device.open()?),
            device,
            dtype: self.precision.dtype(),
            unet: self.unet.clone(),
            vae: self.vae.clone(),
            batch: batch.map(NonZeroUsize::get),
            ..SdxlOptions::default()
        })
    }
}
