//! `vae/config.json`: what is read, what is refused.

use std::path::Path;

use candle_core::DType;
use laioncele_nn::config::JsonFile;
use serde::Deserialize;

use crate::error::Result;
use crate::folder::CONFIG;

/// `vae/config.json` with diffusers' defaults for missing keys.
#[derive(Debug, Clone, Deserialize)]
#[serde(default)]
#[allow(clippy::struct_excessive_bools, reason = "the keys of config.json")]
pub(crate) struct VaeConfig {
    pub(super) in_channels: usize,
    pub(super) out_channels: usize,
    pub(crate) block_out_channels: Vec<usize>,
    pub(super) layers_per_block: usize,
    pub(crate) latent_channels: usize,
    pub(super) norm_num_groups: usize,
    pub(super) scaling_factor: f64,
    pub(super) force_upcast: bool,
    pub(super) latents_mean: Option<Vec<f32>>,
    pub(super) latents_std: Option<Vec<f32>>,
    pub(super) use_quant_conv: bool,
    pub(super) use_post_quant_conv: bool,
    pub(super) mid_block_add_attention: bool,
}

impl Default for VaeConfig {
    fn default() -> Self {
        Self {
            in_channels: 3,
            out_channels: 3,
            block_out_channels: vec![64],
            layers_per_block: 1,
            latent_channels: 4,
            norm_num_groups: 32,
            scaling_factor: 0.18215,
            force_upcast: true,
            latents_mean: None,
            latents_std: None,
            use_quant_conv: true,
            use_post_quant_conv: true,
            mid_block_add_attention: true,
        }
    }
}

/// Keys whose other values are not implemented, with the accepted ones.
const FIXED: &[(&str, &[&str])] = &[
    ("_class_name", &["\"AutoencoderKL\""]),
    ("act_fn", &["\"silu\"", "\"swish\""]),
    ("in_channels", &["3"]),
    ("out_channels", &["3"]),
    ("shift_factor", &["null", "0"]),
];

impl VaeConfig {
    /// Reads and checks `folder/config.json` for computing in `dtype`.
    pub(super) fn read(folder: &Path, dtype: DType) -> Result<Self> {
        Self::of(&JsonFile::read(&folder.join(CONFIG))?, dtype)
    }

    /// Checks a configuration for computing in `dtype`.
    pub(crate) fn of(json: &JsonFile, dtype: DType) -> Result<Self> {
        json.require_all(FIXED)?;
        let config: Self = json.parse()?;
        json.check_count("block_out_channels", config.block_out_channels.len(), 8)?;
        json.check_count("layers_per_block", config.layers_per_block, 16)?;
        json.check_dimension("latent_channels", config.latent_channels)?;
        for channels in &config.block_out_channels {
            json.check_dimension("block_out_channels", *channels)?;
            json.check_multiple("block_out_channels", *channels, config.norm_num_groups)?;
        }
        for (key, kind) in [
            ("down_block_types", "DownEncoderBlock2D"),
            ("up_block_types", "UpDecoderBlock2D"),
        ] {
            let found = json.get(key).and_then(|value| value.as_array());
            let fits = found.is_none_or(|list| {
                list.len() == config.block_out_channels.len() && list.iter().all(|v| v == kind)
            });
            if !fits {
                return Err(json
                    .unsupported(key, &json.value()[key], &format!("{kind} for every level"))
                    .into());
            }
        }
        for (key, list) in [
            ("latents_mean", &config.latents_mean),
            ("latents_std", &config.latents_std),
        ] {
            if list
                .as_ref()
                .is_some_and(|list| list.len() != config.latent_channels)
            {
                return Err(json
                    .unsupported(key, &json.value()[key], "one number per latent channel")
                    .into());
            }
        }
        if config.scaling_factor == 0.0 || !config.scaling_factor.is_finite() {
            return Err(json
                .unsupported(
                    "scaling_factor",
                    config.scaling_factor,
                    "a number other than 0",
                )
                .into());
        }
        if dtype == DType::F16 && config.force_upcast {
            // SDXL's own decoder exceeds 65504 inside and gives black images.
            return Err(json
                .unsupported(
                    "force_upcast",
                    true,
                    "false for a VAE computed in f16; take f32 or bf16",
                )
                .into());
        }
        Ok(config)
    }
}
