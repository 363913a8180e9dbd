//! The U-Net's transformer: self-attention, cross-attention to the text, gated feed-forward.

use candle_core::Tensor;

use super::layers::{Conv2d, GroupNorm, LayerNorm, Linear};
use crate::error::Result;
use crate::ops::attention::attention;
use crate::ops::gated::geglu;
use crate::ops::norm::Then;
use crate::parameters::Place;

/// Fixed in diffusers' Transformer2DModel.
const GROUP_NORM_EPS: f64 = 1e-6;

/// Fixed in diffusers' BasicTransformerBlock.
const LAYER_NORM_EPS: f64 = 1e-5;

/// The sizes of one transformer.
#[derive(Debug, Clone, Copy)]
pub(super) struct TransformerConfig {
    pub channels: usize,
    pub heads: usize,
    /// Width of a text token.
    pub context: usize,
    pub groups: usize,
    pub linear_projection: bool,
}

#[derive(Debug)]
struct Attention {
    to_q: Linear,
    to_k: Linear,
    to_v: Linear,
    to_out: Linear,
    heads: usize,
}

impl Attention {
    fn load(w: &Place<'_>, config: &TransformerConfig, context: usize) -> Result<Self> {
        let channels = config.channels;
        Ok(Self {
            to_q: Linear::projection(&w.pp("to_q"), channels, channels)?,
            to_k: Linear::projection(&w.pp("to_k"), context, channels)?,
            to_v: Linear::projection(&w.pp("to_v"), context, channels)?,
            to_out: Linear::out_projection(&w.pp("to_out.0"), channels)?,
            heads: config.heads,
        })
    }

    fn forward(&self, x: &Tensor, context: &Tensor) -> Result<Tensor> {
        let (q, k, v) = (
            self.to_q.forward(x)?,
            self.to_k.forward(context)?,
            self.to_v.forward(context)?,
        );
        self.to_out.forward(&attention(&q, &k, &v, self.heads)?)
    }
}

#[derive(Debug)]
struct Block {
    norm1: LayerNorm,
    attn1: Attention,
    norm2: LayerNorm,
    attn2: Attention,
    norm3: LayerNorm,
    ff_in: Linear,
    ff_out: Linear,
}

impl Block {
    fn load(w: &Place<'_>, config: &TransformerConfig) -> Result<Self> {
        let channels = config.channels;
        let norm = |name: &str| LayerNorm::load(&w.pp(name), channels, LAYER_NORM_EPS);
        Ok(Self {
            norm1: norm("norm1")?,
            attn1: Attention::load(&w.pp("attn1"), config, channels)?,
            norm2: norm("norm2")?,
            attn2: Attention::load(&w.pp("attn2"), config, config.context)?,
            norm3: norm("norm3")?,
            ff_in: Linear::load(&w.pp("ff.net.0.proj"), channels, 8 * channels)?,
            ff_out: Linear::load(&w.pp("ff.net.2"), 4 * channels, channels)?,
        })
    }

    fn forward(&self, x: &Tensor, context: &Tensor) -> Result<Tensor> {
        let y = self.norm1.forward(x)?;
        let x = (x + self.attn1.forward(&y, &y)?)?;
        let x = (&x + self.attn2.forward(&self.norm2.forward(&x)?, context)?)?;
        let gated = geglu(&self.ff_in.forward(&self.norm3.forward(&x)?)?)?;
        Ok((&x + self.ff_out.forward(&gated)?)?)
    }
}

/// A linear map of the channels, stored as such or as a 1 × 1 convolution.
#[derive(Debug)]
enum Projection {
    Linear(Linear),
    Conv(Conv2d),
}

impl Projection {
    fn load(w: &Place<'_>, config: &TransformerConfig) -> Result<Self> {
        let channels = config.channels;
        Ok(match config.linear_projection {
            true => Self::Linear(Linear::load(w, channels, channels)?),
            false => Self::Conv(Conv2d::pointwise(w, channels, channels)?),
        })
    }
}

/// [batch × channels × h × w] → [batch × h·w × channels].
fn to_tokens(x: &Tensor) -> Result<Tensor> {
    Ok(x.flatten_from(2)?.transpose(1, 2)?.contiguous()?)
}

/// GroupNorm, projection in, blocks, projection out, + input.
#[derive(Debug)]
pub(super) struct Transformer {
    norm: GroupNorm,
    proj_in: Projection,
    blocks: Vec<Block>,
    proj_out: Projection,
}

impl Transformer {
    pub(super) fn load(w: &Place<'_>, depth: usize, config: &TransformerConfig) -> Result<Self> {
        let blocks =
            (0..depth).map(|i| Block::load(&w.pp(format_args!("transformer_blocks.{i}")), config));
        let TransformerConfig {
            channels, groups, ..
        } = *config;
        Ok(Self {
            norm: GroupNorm::load(&w.pp("norm"), channels, groups, GROUP_NORM_EPS)?,
            proj_in: Projection::load(&w.pp("proj_in"), config)?,
            blocks: blocks.collect::<Result<_>>()?,
            proj_out: Projection::load(&w.pp("proj_out"), config)?,
        })
    }

    /// [batch × channels × h × w] → the same; `context` [batch × tokens × context width].
    pub(super) fn forward(&self, x: &Tensor, context: &Tensor) -> Result<Tensor> {
        let normed = self.norm.forward(x, Then::Nothing)?;
        let mut h = match &self.proj_in {
            Projection::Linear(linear) => linear.forward(&to_tokens(&normed)?)?,
            Projection::Conv(conv) => to_tokens(&conv.forward(&normed)?)?,
        };
        for block in &self.blocks {
            h = block.forward(&h, context)?;
        }
        let to_image = |h: Tensor| h.transpose(1, 2)?.contiguous()?.reshape(x.shape());
        let h = match &self.proj_out {
            Projection::Linear(linear) => to_image(linear.forward(&h)?)?,
            Projection::Conv(conv) => conv.forward(&to_image(h)?)?,
        };
        Ok((h + x)?)
    }
}
