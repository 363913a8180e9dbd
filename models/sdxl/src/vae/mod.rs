//! SDXL's VAE: images to latents and back.

mod config;
mod network;

use std::path::{Path, PathBuf};

use candle_core::{DType, Device, Tensor};
use laioncele_nn::{LoadOptions, Shapes, Weights, finite_numbers};

use crate::error::{Error, Result};
use crate::folder::{self, WEIGHTS};
use crate::layers::Conv2d;
pub(crate) use config::VaeConfig;
use network::{Decoder, Encoder};

/// SDXL's VAE.
#[derive(Debug)]
pub struct Vae {
    config: VaeConfig,
    encoder: Encoder,
    quant_conv: Option<Conv2d>,
    post_quant_conv: Option<Conv2d>,
    decoder: Decoder,
    device: Device,
    dtype: DType,
    files: Vec<PathBuf>,
}

/// A normal distribution over latents, each [batch × channels × h × w].
#[derive(Debug, Clone)]
pub struct LatentDistribution {
    /// The mean.
    pub mean: Vec<f32>,
    /// ln of the variance, within [-30, 20].
    pub logvar: Vec<f32>,
}

impl Vae {
    /// Loads `config.json` and `diffusion_pytorch_model.safetensors` of `folder`. Computing in f16
    /// needs a VAE whose `force_upcast` is false.
    ///
    /// # Errors
    /// A configuration or weight file that is missing, damaged or not supported; weights that do
    /// not fit the configuration.
    pub fn load(folder: &Path, options: &LoadOptions) -> Result<Self> {
        let config = VaeConfig::read(folder, options.dtype)?;
        let weights = Weights::open(folder, WEIGHTS, options)?;
        Self::of_weights(config, &weights, options)
    }

    /// A VAE of weights from anywhere.
    ///
    /// # Errors
    /// As [`Vae::load`].
    pub(crate) fn of_weights(
        config: VaeConfig,
        w: &Weights,
        options: &LoadOptions,
    ) -> Result<Self> {
        let vae = Self::build(config, w, options)?;
        w.finish(&[])?;
        Ok(vae)
    }

    /// The files that [`Vae::load`] reads.
    ///
    /// # Errors
    /// A folder without weights, an index that cannot be read.
    pub fn files_read(folder: &Path) -> Result<Vec<PathBuf>> {
        folder::files_read(folder)
    }

    /// The tensors that `config.json` of `folder` asks for; the weights need not be there.
    ///
    /// # Errors
    /// A configuration that is missing, damaged or not supported.
    pub fn shapes(folder: &Path) -> Result<Shapes> {
        Self::shapes_of(&VaeConfig::read(folder, LoadOptions::default().dtype)?)
    }

    /// The tensors that a configuration asks for.
    pub(crate) fn shapes_of(config: &VaeConfig) -> Result<Shapes> {
        let w = Weights::none();
        Self::build(config.clone(), &w, &LoadOptions::default())?;
        Ok(w.wanted())
    }

    fn build(config: VaeConfig, w: &Weights, options: &LoadOptions) -> Result<Self> {
        let latent = config.latent_channels;
        let pointwise = |wanted: bool, name: &str, channels: usize| match wanted {
            true => Conv2d::pointwise(&w.pp(name), channels, channels).map(Some),
            false => Ok(None),
        };
        Ok(Self {
            encoder: Encoder::load(&w.pp("encoder"), &config)?,
            quant_conv: pointwise(config.use_quant_conv, "quant_conv", 2 * latent)?,
            post_quant_conv: pointwise(config.use_post_quant_conv, "post_quant_conv", latent)?,
            decoder: Decoder::load(&w.pp("decoder"), &config)?,
            device: options.device.clone(),
            dtype: options.dtype,
            files: w.files().map(Path::to_path_buf).collect(),
            config,
        })
    }

    /// Channels of the latents.
    pub fn channels(&self) -> usize {
        self.config.latent_channels
    }

    /// Pixels per latent: 8 for SDXL.
    pub fn factor(&self) -> usize {
        1 << (self.config.block_out_channels.len() - 1)
    }

    /// The weight files that were read.
    pub fn files(&self) -> &[PathBuf] {
        &self.files
    }

    /// Latents as the U-Net leaves them → what [`Vae::decode`] takes.
    pub fn unscale(&self, latents: &[f32], plane: usize) -> Vec<f32> {
        let scaling = self.config.scaling_factor as f32;
        let (Some(mean), Some(std)) = (&self.config.latents_mean, &self.config.latents_std) else {
            return latents.iter().map(|v| v / scaling).collect();
        };
        let channel = |i: usize| i / plane.max(1) % self.config.latent_channels;
        latents
            .iter()
            .enumerate()
            .map(|(i, v)| v * std[channel(i)] / scaling + mean[channel(i)])
            .collect()
    }

    /// The inverse of [`Vae::unscale`]: samples of [`Vae::encode`]'s distribution → what the U-Net
    /// takes.
    pub fn scale(&self, latents: &[f32], plane: usize) -> Vec<f32> {
        let scaling = self.config.scaling_factor as f32;
        let (Some(mean), Some(std)) = (&self.config.latents_mean, &self.config.latents_std) else {
            return latents.iter().map(|v| v * scaling).collect();
        };
        let channel = |i: usize| i / plane.max(1) % self.config.latent_channels;
        latents
            .iter()
            .enumerate()
            .map(|(i, v)| (v - mean[channel(i)]) * scaling / std[channel(i)])
            .collect()
    }

    /// Latents [batch × channels × height × width] → pixels around [-1, 1], [batch × 3 × 8 height ×
    /// 8 width].
    ///
    /// # Errors
    /// [`Error::Size`], or [`Error::NotFinite`].
    pub fn decode(&self, latents: &[f32], height: usize, width: usize) -> Result<Vec<f32>> {
        let channels = self.config.latent_channels;
        let batch = latents.len() / (channels * height * width).max(1);
        Error::check_size(
            "the latents",
            latents.len(),
            batch * channels * height * width,
        )?;
        let z = Tensor::from_slice(latents, (batch, channels, height, width), &self.device)?
            .to_dtype(self.dtype)?;
        let z = match &self.post_quant_conv {
            Some(conv) => conv.forward(&z)?,
            None => z,
        };
        finite(&self.decoder.forward(&z)?, "the decoded image")
    }

    /// Pixels in [-1, 1], [batch × 3 × height × width] → their latents' distribution, before
    /// scaling.
    ///
    /// # Errors
    /// [`Error::Setting`] of an image size, [`Error::Size`], or [`Error::NotFinite`].
    pub fn encode(
        &self,
        pixels: &[f32],
        height: usize,
        width: usize,
    ) -> Result<LatentDistribution> {
        let factor = self.factor();
        if height == 0
            || width == 0
            || !height.is_multiple_of(factor)
            || !width.is_multiple_of(factor)
        {
            return Err(Error::setting(
                "image size",
                format!("{width} x {height}"),
                format!("multiples of {factor}"),
            ));
        }
        let batch = pixels.len() / (3 * height * width);
        Error::check_size("the pixels", pixels.len(), batch * 3 * height * width)?;
        let x = Tensor::from_slice(pixels, (batch, 3, height, width), &self.device)?
            .to_dtype(self.dtype)?;
        let mut x = self.encoder.forward(&x)?;
        if let Some(conv) = &self.quant_conv {
            x = conv.forward(&x)?;
        }
        let channels = self.config.latent_channels;
        let mean = finite(&x.narrow(1, 0, channels)?, "the encoded image")?;
        let logvar = finite(&x.narrow(1, channels, channels)?, "the encoded image")?;
        Ok(LatentDistribution {
            mean,
            logvar: logvar.into_iter().map(|v| v.clamp(-30.0, 20.0)).collect(),
        })
    }
}

fn finite(tensor: &Tensor, what: &str) -> Result<Vec<f32>> {
    finite_numbers(tensor, what).map_err(|error| match error {
        laioncele_nn::Error::NotFiniteResult { what } => Error::NotFinite {
            what,
            hint: "compute the VAE in f32 (SDXL's own overflows f16) and check the weights",
        },
        other => other.into(),
    })
}
