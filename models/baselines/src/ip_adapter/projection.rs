//! What an image encoder gives, as image tokens: one linear map (base), or a resampler (plus).

use candle_core::{D, Tensor};
use laioncele_nn::layers::{Activation, LayerNorm, Linear};
use laioncele_nn::{Weights, ops};

use super::AdapterInput;
use super::recognize::Kind;
use crate::error::Result;

/// Of all norms here; fixed in tencent-ailab's code.
const EPS: f64 = 1e-5;

/// Numbers of a head of the resampler; fixed there too.
const HEAD: usize = 64;

#[derive(Debug)]
pub(super) enum Projection {
    Base(Base),
    Plus(Resampler),
}

impl Projection {
    pub(super) fn load(w: &Weights, kind: Kind, context: usize) -> Result<Self> {
        Ok(match kind {
            Kind::Base { width, tokens } => Self::Base(Base {
                proj: Linear::load(&w.pp("proj"), width, tokens * context)?,
                norm: LayerNorm::load(&w.pp("norm"), context, EPS)?,
                width,
                tokens,
            }),
            Kind::Plus { .. } => Self::Plus(Resampler::load(w, kind, context)?),
        })
    }

    pub(super) fn input(&self) -> AdapterInput {
        match self {
            Self::Base(base) => AdapterInput::Embedding { width: base.width },
            Self::Plus(resampler) => AdapterInput::States {
                width: resampler.width,
            },
        }
    }

    pub(super) fn image_tokens(&self) -> usize {
        match self {
            Self::Base(base) => base.tokens,
            Self::Plus(resampler) => resampler.latents.dims()[1],
        }
    }

    /// [n, width] or [n, tokens, width] → [n, image tokens, context].
    pub(super) fn forward(&self, seen: &Tensor) -> Result<Tensor> {
        match self {
            Self::Base(base) => base.forward(seen),
            Self::Plus(resampler) => resampler.forward(seen),
        }
    }
}

/// LayerNorm of the tokens that one linear map gives.
#[derive(Debug)]
pub(super) struct Base {
    proj: Linear,
    norm: LayerNorm,
    width: usize,
    tokens: usize,
}

impl Base {
    fn forward(&self, embeds: &Tensor) -> Result<Tensor> {
        let photos = embeds.dim(0)?;
        let tokens = self.proj.forward(embeds)?;
        let context = tokens.dim(D::Minus1)? / self.tokens;
        let tokens = tokens.reshape((photos, self.tokens, context))?;
        Ok(self.norm.forward(&tokens)?)
    }
}

/// Learnt queries that look at an encoder's hidden state, layer by layer.
#[derive(Debug)]
pub(super) struct Resampler {
    latents: Tensor,
    proj_in: Linear,
    layers: Vec<Layer>,
    proj_out: Linear,
    norm_out: LayerNorm,
    width: usize,
}

impl Resampler {
    fn load(w: &Weights, kind: Kind, context: usize) -> Result<Self> {
        let Kind::Plus {
            width,
            hidden,
            queries,
            inner,
            feed_forward,
            layers,
        } = kind
        else {
            return Err(candle_core::Error::Msg("no resampler".into()).into());
        };
        let layer = |i: usize| {
            let w = w.pp(format_args!("layers.{i}"));
            Layer::load(&w, hidden, inner, feed_forward)
        };
        Ok(Self {
            latents: w.get((1, queries, hidden), "latents")?,
            proj_in: Linear::load(&w.pp("proj_in"), width, hidden)?,
            layers: (0..layers).map(layer).collect::<Result<_>>()?,
            proj_out: Linear::load(&w.pp("proj_out"), hidden, context)?,
            norm_out: LayerNorm::load(&w.pp("norm_out"), context, EPS)?,
            width,
        })
    }

    fn forward(&self, states: &Tensor) -> Result<Tensor> {
        let (photos, ..) = states.dims3()?;
        let (_, queries, hidden) = self.latents.dims3()?;
        let x = self.proj_in.forward(states)?;
        let latents = self.latents.broadcast_as((photos, queries, hidden))?;
        let mut latents = latents.contiguous()?;
        for layer in &self.layers {
            latents = layer.forward(&x, &latents)?;
        }
        Ok(self.norm_out.forward(&self.proj_out.forward(&latents)?)?)
    }
}

/// Attention to the picture's tokens and to the latents themselves, then a feed-forward part.
#[derive(Debug)]
struct Layer {
    norm1: LayerNorm,
    norm2: LayerNorm,
    to_q: Linear,
    to_kv: Linear,
    to_out: Linear,
    norm: LayerNorm,
    wide: Linear,
    narrow: Linear,
    inner: usize,
}

impl Layer {
    fn load(w: &Weights, hidden: usize, inner: usize, feed_forward: usize) -> Result<Self> {
        let (attention, ff) = (w.pp("0"), w.pp("1"));
        let map = |w: Weights, input, output| Linear::load_without_bias(&w, input, output);
        Ok(Self {
            norm1: LayerNorm::load(&attention.pp("norm1"), hidden, EPS)?,
            norm2: LayerNorm::load(&attention.pp("norm2"), hidden, EPS)?,
            to_q: map(attention.pp("to_q"), hidden, inner)?,
            to_kv: map(attention.pp("to_kv"), hidden, 2 * inner)?,
            to_out: map(attention.pp("to_out"), inner, hidden)?,
            norm: LayerNorm::load(&ff.pp("0"), hidden, EPS)?,
            wide: map(ff.pp("1"), hidden, feed_forward)?,
            narrow: map(ff.pp("3"), feed_forward, hidden)?,
            inner,
        })
    }

    fn forward(&self, x: &Tensor, latents: &Tensor) -> Result<Tensor> {
        let own = self.norm2.forward(latents)?;
        let seen = Tensor::cat(&[&self.norm1.forward(x)?, &own], 1)?;
        let key_value = self.to_kv.forward(&seen)?;
        let key = key_value.narrow(2, 0, self.inner)?.contiguous()?;
        let value = key_value.narrow(2, self.inner, self.inner)?.contiguous()?;
        let query = self.to_q.forward(&own)?;
        let attended = ops::attention(&query, &key, &value, self.inner / HEAD, false)?;
        let latents = (latents + self.to_out.forward(&attended)?)?;
        let wide = self.wide.forward(&self.norm.forward(&latents)?)?;
        let narrow = self.narrow.forward(&Activation::Gelu.forward(&wide)?)?;
        Ok((latents + narrow)?)
    }
}
