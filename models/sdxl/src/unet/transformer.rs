//! The U-Net's transformer: self-attention, cross-attention to the text, gated feed-forward.

use candle_core::Tensor;
use laioncele_nn::layers::{LayerNorm, Linear};
use laioncele_nn::{Weights, ops as nn_ops};

use super::image_attention::{ImageKeys, ImageRows, KeyValue};
use crate::error::Result;
use crate::layers::GroupNorm;
use crate::ops;

/// Fixed in diffusers' Transformer2DModel.
const GROUP_NORM_EPS: f64 = 1e-6;

/// Fixed in diffusers' BasicTransformerBlock.
const LAYER_NORM_EPS: f64 = 1e-5;

/// The sizes of one transformer.
#[derive(Debug, Clone, Copy)]
pub(super) struct TransformerConfig {
    pub channels: usize,
    pub heads: usize,
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
    fn load(w: &Weights, config: &TransformerConfig, context: usize) -> Result<Self> {
        let channels = config.channels;
        Ok(Self {
            to_q: Linear::load_without_bias(&w.pp("to_q"), channels, channels)?,
            to_k: Linear::load_without_bias(&w.pp("to_k"), context, channels)?,
            to_v: Linear::load_without_bias(&w.pp("to_v"), context, channels)?,
            to_out: Linear::load(&w.pp("to_out.0"), channels, channels)?,
            heads: config.heads,
        })
    }

    fn key_value(&self, context: &Tensor) -> Result<KeyValue> {
        Ok(KeyValue {
            key: self.to_k.forward(context)?,
            value: self.to_v.forward(context)?,
        })
    }

    fn forward(&self, x: &Tensor, other: &KeyValue) -> Result<Tensor> {
        let q = self.to_q.forward(x)?;
        Ok(self.to_out.forward(&self.attend(&q, other)?)?)
    }

    fn attend(&self, q: &Tensor, other: &KeyValue) -> candle_core::Result<Tensor> {
        nn_ops::attention(q, &other.key, &other.value, self.heads, false)
    }

    /// Attention to photos, and to the text, which is of the last rows of x; the rows before them
    /// have a text of zeros, which adds nothing to what they see.
    fn forward_both(
        &self,
        x: &Tensor,
        text: Option<&KeyValue>,
        image: ImageKeys<'_>,
    ) -> Result<Tensor> {
        let q = self.to_q.forward(x)?;
        let mut seen = image.attend(&q, self.heads)?;
        if let Some(text) = text {
            let (rows, with) = (q.dim(0)?, text.key.dim(0)?);
            let zeros = rows - with;
            let read = self.attend(&q.narrow(0, zeros, with)?, text)?;
            let both = (read + seen.narrow(0, zeros, with)?)?;
            seen = match zeros {
                0 => both,
                zeros => Tensor::cat(&[&seen.narrow(0, 0, zeros)?, &both], 0)?,
            };
        }
        Ok(self.to_out.forward(&seen)?)
    }

    /// Its four linear maps by their names in the weight files.
    fn maps_mut(&mut self) -> [(&'static str, &mut Linear); 4] {
        [
            ("to_q", &mut self.to_q),
            ("to_k", &mut self.to_k),
            ("to_v", &mut self.to_v),
            ("to_out.0", &mut self.to_out),
        ]
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
    fn load(w: &Weights, config: &TransformerConfig) -> Result<Self> {
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

    /// `text` is of the last rows of x; the rows before them have a text of zeros.
    fn forward(
        &self,
        x: &Tensor,
        text: Option<&KeyValue>,
        image: Option<ImageKeys<'_>>,
    ) -> Result<Tensor> {
        let y = self.norm1.forward(x)?;
        let x = (x + self.attn1.forward(&y, &self.attn1.key_value(&y)?)?)?;
        let x = match image {
            None => self.attend_text(&x, text)?,
            Some(image) => {
                let seen = (self.attn2).forward_both(&self.norm2.forward(&x)?, text, image)?;
                (x + seen)?
            }
        };
        let gated = ops::geglu(&self.ff_in.forward(&self.norm3.forward(&x)?)?)?;
        Ok((&x + self.ff_out.forward(&gated)?)?)
    }

    /// x + attn2(norm2 x). Keys and values have no bias, so that those of zeros are zeros: all that
    /// such a row gets is the output's bias.
    fn attend_text(&self, x: &Tensor, text: Option<&KeyValue>) -> Result<Tensor> {
        let rows = x.dim(0)?;
        let zeros = match text {
            Some(text) => rows - text.key.dim(0)?,
            None => rows,
        };
        let bias = self.attn2.to_out.bias();
        let without = |x: &Tensor| bias.map_or_else(|| Ok(x.clone()), |bias| x.broadcast_add(bias));
        let Some(text) = text else {
            return Ok(without(x)?);
        };
        let with = x.narrow(0, zeros, rows - zeros)?;
        let with = (&with + self.attn2.forward(&self.norm2.forward(&with)?, text)?)?;
        if zeros == 0 {
            return Ok(with);
        }
        Ok(Tensor::cat(
            &[&without(&x.narrow(0, 0, zeros)?)?, &with],
            0,
        )?)
    }
}

/// GroupNorm, projection in, blocks, projection out, + input.
#[derive(Debug)]
pub(super) struct Transformer {
    norm: GroupNorm,
    proj_in: Linear,
    blocks: Vec<Block>,
    proj_out: Linear,
}

impl Transformer {
    pub(super) fn load(w: &Weights, depth: usize, config: &TransformerConfig) -> Result<Self> {
        let blocks =
            (0..depth).map(|i| Block::load(&w.pp(format_args!("transformer_blocks.{i}")), config));
        Ok(Self {
            norm: GroupNorm::load(
                &w.pp("norm"),
                config.channels,
                config.groups,
                GROUP_NORM_EPS,
            )?,
            proj_in: load_projection(&w.pp("proj_in"), config)?,
            blocks: blocks.collect::<Result<_>>()?,
            proj_out: load_projection(&w.pp("proj_out"), config)?,
        })
    }

    /// How many keys and values of the text it takes.
    pub(super) fn depth(&self) -> usize {
        self.blocks.len()
    }

    /// The linear maps of all attentions by their names below the transformer's.
    pub(super) fn attention_maps_mut(&mut self) -> impl Iterator<Item = (String, &mut Linear)> {
        let blocks = self.blocks.iter_mut().enumerate();
        blocks.flat_map(|(k, block)| {
            let attentions = [("attn1", &mut block.attn1), ("attn2", &mut block.attn2)];
            attentions.into_iter().flat_map(move |(attention, maps)| {
                let name = move |map| format!("transformer_blocks.{k}.{attention}.{map}");
                let maps = maps.maps_mut().into_iter();
                maps.map(move |(map, linear)| (name(map), linear))
            })
        })
    }

    /// The text's keys and values for every block: context [rows, tokens, context width].
    pub(super) fn key_values(&self, context: &Tensor) -> Result<Vec<KeyValue>> {
        self.blocks
            .iter()
            .map(|block| block.attn2.key_value(context))
            .collect()
    }

    /// [batch, channels, h, w] → the same; `text` has as many as there are blocks, or none where
    /// all texts are zeros; so has `image`.
    pub(super) fn forward(
        &self,
        x: &Tensor,
        text: &[KeyValue],
        image: Option<ImageRows<'_>>,
    ) -> Result<Tensor> {
        let (batch, channels, height, width) = x.dims4()?;
        let tokens = self
            .norm
            .forward(x)?
            .reshape((batch, channels, height * width))?
            .transpose(1, 2)?;
        let mut h = self.proj_in.forward(&tokens)?;
        for (i, block) in self.blocks.iter().enumerate() {
            h = block.forward(&h, text.get(i), image.and_then(|image| image.layer(i)))?;
        }
        let h = self
            .proj_out
            .forward_channels_first(&h)?
            .reshape((batch, channels, height, width))?;
        Ok((h + x)?)
    }
}

/// A linear map of the channels, stored as such or as a 1 × 1 convolution.
fn load_projection(w: &Weights, config: &TransformerConfig) -> Result<Linear> {
    let channels = config.channels;
    if config.linear_projection {
        return Ok(Linear::load(w, channels, channels)?);
    }
    let weight = w.get_as((channels, channels, 1, 1), "weight", (channels, channels))?;
    Ok(Linear::new(weight, Some(w.get(channels, "bias")?)))
}
