//! SDXL's VAE: pictures to latents and back.

use std::path::{Path, PathBuf};

use candle_core::{DType, Device, Tensor};
use laioncele_clip::config::JsonFile;
use laioncele_clip::nn::Linear;
use laioncele_clip::{LoadOptions, Shapes, Weights, finite_numbers, ops as clip_ops};
use serde::Deserialize;

use crate::error::{Error, Result};
use crate::layers::{Conv2d, GroupNorm, ResNet, ResNetConfig};
use crate::ops;

/// Fixed in diffusers' AutoencoderKL.
const EPS: f64 = 1e-6;

/// `vae/config.json` with diffusers' defaults for missing keys.
#[derive(Debug, Clone, Deserialize)]
#[serde(default)]
struct VaeConfig {
    in_channels: usize,
    out_channels: usize,
    block_out_channels: Vec<usize>,
    layers_per_block: usize,
    latent_channels: usize,
    norm_num_groups: usize,
    scaling_factor: f64,
    force_upcast: bool,
    latents_mean: Option<Vec<f32>>,
    latents_std: Option<Vec<f32>>,
    use_quant_conv: bool,
    use_post_quant_conv: bool,
    mid_block_add_attention: bool,
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
    fn read(folder: &Path, dtype: DType) -> Result<Self> {
        let json = JsonFile::read(&folder.join("config.json"))?;
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
            // SDXL's own decoder exceeds 65504 inside and gives black pictures.
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

#[derive(Debug)]
struct Attention {
    group_norm: GroupNorm,
    to_q: Linear,
    to_k: Linear,
    to_v: Linear,
    to_out: Linear,
}

impl Attention {
    fn load(w: &Weights, channels: usize, groups: usize) -> Result<Self> {
        // Files from before diffusers 0.18 name the four maps differently.
        let old = w.contains("query.weight");
        let names = if old {
            ["query", "key", "value", "proj_attn"]
        } else {
            ["to_q", "to_k", "to_v", "to_out.0"]
        };
        let linear = |i: usize| Linear::load(&w.pp(names[i]), channels, channels);
        Ok(Self {
            group_norm: GroupNorm::load(&w.pp("group_norm"), channels, groups, EPS)?,
            to_q: linear(0)?,
            to_k: linear(1)?,
            to_v: linear(2)?,
            to_out: linear(3)?,
        })
    }

    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let (batch, channels, height, width) = x.dims4()?;
        let y = self
            .group_norm
            .forward(x)?
            .reshape((batch, channels, height * width))?
            .transpose(1, 2)?;
        let (q, k, v) = (
            self.to_q.forward(&y)?,
            self.to_k.forward(&y)?,
            self.to_v.forward(&y)?,
        );
        let y = self
            .to_out
            .forward_channels_first(&clip_ops::attention(&q, &k, &v, 1, false)?)?;
        Ok((x + y.reshape((batch, channels, height, width))?)?)
    }
}

#[derive(Debug)]
struct Middle {
    before: ResNet,
    attention: Option<Attention>,
    after: ResNet,
}

impl Middle {
    fn load(w: &Weights, channels: usize, config: &VaeConfig) -> Result<Self> {
        let shared = resnet_config(config);
        let attention = match config.mid_block_add_attention {
            true => Some(Attention::load(
                &w.pp("attentions.0"),
                channels,
                config.norm_num_groups,
            )?),
            false => None,
        };
        Ok(Self {
            before: ResNet::load(&w.pp("resnets.0"), channels, channels, &shared)?,
            attention,
            after: ResNet::load(&w.pp("resnets.1"), channels, channels, &shared)?,
        })
    }

    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let mut x = self.before.forward(x, None)?;
        if let Some(attention) = &self.attention {
            x = attention.forward(&x)?;
        }
        self.after.forward(&x, None)
    }
}

#[derive(Debug)]
struct Stage {
    resnets: Vec<ResNet>,
    resample: Option<Conv2d>,
}

#[derive(Debug)]
struct Encoder {
    conv_in: Conv2d,
    down_blocks: Vec<Stage>,
    mid_block: Middle,
    conv_norm_out: GroupNorm,
    conv_out: Conv2d,
}

impl Encoder {
    fn load(w: &Weights, config: &VaeConfig) -> Result<Self> {
        let widths = &config.block_out_channels;
        let last = widths[widths.len() - 1];
        let mut input = widths[0];
        let mut down_blocks = Vec::new();
        for (i, channels) in widths.iter().enumerate() {
            let w = w.pp(format_args!("down_blocks.{i}"));
            let resnets = load_resnets(&w, input, *channels, config.layers_per_block, config)?;
            let resample = match i + 1 < widths.len() {
                // Zeros only to the right and below: diffusers pads so before this convolution.
                true => Some(Conv2d::halving(&w.pp("downsamplers.0.conv"), *channels, 0)?),
                false => None,
            };
            down_blocks.push(Stage { resnets, resample });
            input = *channels;
        }
        Ok(Self {
            conv_in: Conv2d::same(&w.pp("conv_in"), config.in_channels, widths[0])?,
            down_blocks,
            mid_block: Middle::load(&w.pp("mid_block"), last, config)?,
            conv_norm_out: GroupNorm::load(
                &w.pp("conv_norm_out"),
                last,
                config.norm_num_groups,
                EPS,
            )?,
            conv_out: Conv2d::same(&w.pp("conv_out"), last, 2 * config.latent_channels)?,
        })
    }

    fn forward(&self, image: &Tensor) -> Result<Tensor> {
        let mut x = self.conv_in.forward(image)?;
        for stage in &self.down_blocks {
            for resnet in &stage.resnets {
                x = resnet.forward(&x, None)?;
            }
            if let Some(downsampler) = &stage.resample {
                x = downsampler.forward(&x)?;
            }
        }
        let x = self.mid_block.forward(&x)?;
        self.conv_out.forward(&self.conv_norm_out.forward_silu(&x)?)
    }
}

#[derive(Debug)]
struct Decoder {
    conv_in: Conv2d,
    mid_block: Middle,
    up_blocks: Vec<Stage>,
    conv_norm_out: GroupNorm,
    conv_out: Conv2d,
}

impl Decoder {
    fn load(w: &Weights, config: &VaeConfig) -> Result<Self> {
        let widths = &config.block_out_channels;
        let last = widths[widths.len() - 1];
        let mut input = last;
        let mut up_blocks = Vec::new();
        for (i, channels) in widths.iter().rev().enumerate() {
            let w = w.pp(format_args!("up_blocks.{i}"));
            let resnets = load_resnets(&w, input, *channels, config.layers_per_block + 1, config)?;
            let resample = match i + 1 < widths.len() {
                true => Some(Conv2d::same(
                    &w.pp("upsamplers.0.conv"),
                    *channels,
                    *channels,
                )?),
                false => None,
            };
            up_blocks.push(Stage { resnets, resample });
            input = *channels;
        }
        Ok(Self {
            conv_in: Conv2d::same(&w.pp("conv_in"), config.latent_channels, last)?,
            mid_block: Middle::load(&w.pp("mid_block"), last, config)?,
            up_blocks,
            conv_norm_out: GroupNorm::load(
                &w.pp("conv_norm_out"),
                widths[0],
                config.norm_num_groups,
                EPS,
            )?,
            conv_out: Conv2d::same(&w.pp("conv_out"), widths[0], config.out_channels)?,
        })
    }

    fn forward(&self, latents: &Tensor) -> Result<Tensor> {
        let mut x = self.mid_block.forward(&self.conv_in.forward(latents)?)?;
        for stage in &self.up_blocks {
            for resnet in &stage.resnets {
                x = resnet.forward(&x, None)?;
            }
            if let Some(upsampler) = &stage.resample {
                let (.., height, width) = x.dims4()?;
                x = upsampler.forward(&ops::upsample_nearest(&x, 2 * height, 2 * width)?)?;
            }
        }
        self.conv_out.forward(&self.conv_norm_out.forward_silu(&x)?)
    }
}

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
    /// Loads `config.json` and `diffusion_pytorch_model.safetensors` of `folder`. Computing in f16 needs a VAE
    /// whose `force_upcast` is false.
    pub fn load(folder: &Path, options: &LoadOptions) -> Result<Self> {
        let config = VaeConfig::read(folder, options.dtype)?;
        let w = Weights::open(folder, "diffusion_pytorch_model", options)?;
        let vae = Self::build(config, &w, options)?;
        w.finish(&[])?;
        Ok(vae)
    }

    /// The tensors that `config.json` of `folder` asks for; the weights need not be there.
    pub fn shapes(folder: &Path) -> Result<Shapes> {
        let (w, options) = (Weights::none(), LoadOptions::default());
        Self::build(VaeConfig::read(folder, options.dtype)?, &w, &options)?;
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

    /// Latents [batch × channels × height × width] → pixels around [-1, 1], [batch × 3 × 8 height × 8 width].
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
        finite(&self.decoder.forward(&z)?, "the decoded picture")
    }

    /// Pixels in [-1, 1], [batch × 3 × height × width] → their latents' distribution, before scaling.
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
                "picture size",
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
        let mean = finite(&x.narrow(1, 0, channels)?, "the encoded picture")?;
        let logvar = finite(&x.narrow(1, channels, channels)?, "the encoded picture")?;
        Ok(LatentDistribution {
            mean,
            logvar: logvar.into_iter().map(|v| v.clamp(-30.0, 20.0)).collect(),
        })
    }
}

fn finite(tensor: &Tensor, what: &str) -> Result<Vec<f32>> {
    finite_numbers(tensor, what).map_err(|error| match error {
        laioncele_clip::Error::NotFiniteResult { what } => Error::NotFinite {
            what,
            hint: "compute the VAE in f32 (SDXL's own overflows f16) and check the weights",
        },
        other => other.into(),
    })
}

fn resnet_config(config: &VaeConfig) -> ResNetConfig {
    ResNetConfig {
        groups: config.norm_num_groups,
        eps: EPS,
        time: None,
    }
}

fn load_resnets(
    w: &Weights,
    mut input: usize,
    output: usize,
    count: usize,
    config: &VaeConfig,
) -> Result<Vec<ResNet>> {
    let mut resnets = Vec::new();
    for j in 0..count {
        resnets.push(ResNet::load(
            &w.pp(format_args!("resnets.{j}")),
            input,
            output,
            &resnet_config(config),
        )?);
        input = output;
    }
    Ok(resnets)
}
