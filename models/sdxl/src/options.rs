//! In which type, where and from which files the U-Net and the VAE are loaded.

use std::path::PathBuf;

use candle_core::{DType, Device};
use laioncele_nn::WeightVariant;

/// How to load an SDXL folder.
#[derive(Debug, Clone)]
pub struct SdxlOptions {
    /// Where to compute.
    pub device: Device,
    /// Where the VAE computes, if not there: another stream, another GPU.
    pub vae_device: Option<Device>,
    /// The U-Net's type.
    pub dtype: DType,
    /// The VAE's type; f16 only for a VAE whose `force_upcast` is false.
    pub vae_dtype: DType,
    /// Which weight files to read.
    pub variant: WeightVariant,
    /// A U-Net to use instead of the model's own: a folder, or one safetensors file of weights for
    /// the model's own `unet/config.json`.
    pub unet: Option<PathBuf>,
    /// A VAE to use instead of the model's own: a folder, or one safetensors file of weights for
    /// the model's own `vae/config.json`.
    pub vae: Option<PathBuf>,
    /// Images that go through the U-Net at once. `None` is one on the CPU, where images are
    /// generated beside each other on threads instead, and [`SdxlOptions::GPU_BATCH`] on a GPU.
    pub batch: Option<usize>,
    /// Compare the weights with the configurations without reading a number ([`laioncele_nn::LoadOptions::dry`]).
    pub dry: bool,
}

impl Default for SdxlOptions {
    fn default() -> Self {
        Self {
            device: Device::Cpu,
            vae_device: None,
            dtype: DType::F32,
            vae_dtype: DType::F32,
            variant: WeightVariant::Any,
            unet: None,
            vae: None,
            batch: None,
            dry: false,
        }
    }
}

impl SdxlOptions {
    /// Images at once on a GPU: eight rows of the U-Net with guidance, as many as a name's
    /// portraits.
    pub const GPU_BATCH: usize = 4;
}
