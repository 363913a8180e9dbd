//! IP-Adapter for SDXL: photos as image tokens that every cross-attention sees beside the text.
//! The files are those of tencent-ailab's `sdxl_models` in safetensors format, base and plus.

mod layers;
mod photos;
mod projection;
mod recognize;

use std::path::{Path, PathBuf};

use candle_core::{DType, Device, Tensor};
use laioncele_nn::LoadOptions;
use laioncele_sdxl::{CrossAttention, ImageAttention, UNet};

use crate::error::{Error, Result};
use crate::file;
use layers::Layers;
use projection::Projection;

pub use photos::{AdapterPhotos, PhotoTokens, Square};

/// What an adapter takes of its image encoder.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AdapterInput {
    /// The projected image embedding `[width]`, not of unit length: base adapters.
    Embedding {
        /// Its numbers: 1280 of bigG, 1024 of H.
        width: usize,
    },
    /// The states of all tokens before the last layer [tokens, width]: plus adapters.
    States {
        /// Numbers of a token: 1280 of H.
        width: usize,
    },
}

/// An adapter's projection and the image keys and values of a U-Net's cross-attentions.
#[derive(Debug)]
pub struct IpAdapter {
    path: PathBuf,
    projection: Projection,
    layers: Layers,
    device: Device,
    dtype: DType,
}

impl IpAdapter {
    /// Loads the file at `path` for `unet`, on its device and in its type; with
    /// [`LoadOptions::dry`] no number is read.
    ///
    /// # Errors
    /// Pickled tensors, a file that is no IP-Adapter of a kind that is supported, tensors that do
    /// not fit the U-Net.
    pub fn load(path: &Path, unet: &UNet, dry: bool) -> Result<Self> {
        let options = LoadOptions {
            device: unet.device().clone(),
            dtype: unet.dtype(),
            dry,
            ..LoadOptions::default()
        };
        Self::load_for(
            path,
            &unet.cross_attentions(),
            unet.context_width(),
            &options,
        )
    }

    /// Loads the file at `path` for a U-Net with these cross-attentions, whose text tokens have
    /// `context` numbers.
    ///
    /// # Errors
    /// As [`IpAdapter::load`].
    pub fn load_for(
        path: &Path,
        attentions: &[CrossAttention],
        context: usize,
        options: &LoadOptions,
    ) -> Result<Self> {
        let w = file::open(path, options)?;
        let kind = recognize::kind(path, &w, context)?;
        let adapter = Self {
            path: path.into(),
            projection: Projection::load(&w.pp("image_proj"), kind, context)?,
            layers: Layers::load(&w.pp("ip_adapter"), attentions, context)?,
            device: options.device.clone(),
            dtype: options.dtype,
        };
        let finished = w.finish(&[]);
        finished.map_err(|e| Error::of_finish(e, path, "the U-Net's cross-attentions"))?;
        Ok(adapter)
    }

    /// What it takes of its image encoder.
    pub fn input(&self) -> AdapterInput {
        self.projection.input()
    }

    /// Image tokens that it makes of a photo: 4 or 16 in the official files.
    pub fn image_tokens(&self) -> usize {
        self.projection.image_tokens()
    }

    /// Image tokens of one photo [1, tokens, context width] of what the image encoder gives:
    /// [1, width] of an embedding, [1, tokens, width] of states.
    ///
    /// # Errors
    /// Another shape.
    pub fn tokens(&self, seen: &Tensor) -> Result<Tensor> {
        self.projection.forward(seen)
    }

    /// What the U-Net sees of image tokens, each [1, tokens, context width]: `null` in the rows of
    /// the negative prompt, `person` in the prompt's, `scale` times as much as of the text.
    ///
    /// # Errors
    /// [`Error::Scale`] that is not finite; a tensor operation that failed.
    pub fn attention(&self, null: &Tensor, person: &Tensor, scale: f64) -> Result<ImageAttention> {
        if !scale.is_finite() {
            return Err(Error::Scale { scale });
        }
        let layers = self.layers.key_values(null, person)?;
        Ok(ImageAttention::new(layers, scale)?)
    }

    /// The file that it was loaded from.
    pub fn path(&self) -> &Path {
        &self.path
    }
}
