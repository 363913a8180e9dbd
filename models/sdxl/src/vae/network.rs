//! The two halves of the VAE.

use candle_core::Tensor;
use laioncele_nn::layers::Linear;
use laioncele_nn::{Weights, ops as nn_ops};

use super::config::VaeConfig;
use crate::error::Result;
use crate::layers::{Conv2d, GroupNorm, ResNet, ResNetConfig};
use crate::ops;

/// Fixed in diffusers' AutoencoderKL.
const EPS: f64 = 1e-6;

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
            .forward_channels_first(&nn_ops::attention(&q, &k, &v, 1, false)?)?;
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

/// Pixels to latents.
#[derive(Debug)]
pub(super) struct Encoder {
    conv_in: Conv2d,
    down_blocks: Vec<Stage>,
    mid_block: Middle,
    conv_norm_out: GroupNorm,
    conv_out: Conv2d,
}

impl Encoder {
    pub(super) fn load(w: &Weights, config: &VaeConfig) -> Result<Self> {
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

    /// Pixels [batch, 3, H, W] → [batch, 2 × latent channels, H / 8, W / 8].
    pub(super) fn forward(&self, image: &Tensor) -> Result<Tensor> {
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

/// Latents to pixels.
#[derive(Debug)]
pub(super) struct Decoder {
    conv_in: Conv2d,
    mid_block: Middle,
    up_blocks: Vec<Stage>,
    conv_norm_out: GroupNorm,
    conv_out: Conv2d,
}

impl Decoder {
    pub(super) fn load(w: &Weights, config: &VaeConfig) -> Result<Self> {
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

    /// [batch, latent channels, h, w] → pixels [batch, 3, 8 h, 8 w].
    pub(super) fn forward(&self, latents: &Tensor) -> Result<Tensor> {
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
