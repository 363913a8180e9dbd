//! The layers that the U-Net is built of.

use candle_core::Tensor;

use crate::error::Result;
use crate::ops::conv::{Geometry, conv2d};
use crate::ops::linear::{Frozen, linear, with_lora};
use crate::ops::norm::{Then, group_norm, layer_norm};
use crate::parameters::Place;

/// y = x Wᵀ + b, with a LoRA beside it or without.
#[derive(Debug)]
pub(crate) enum Linear {
    Plain {
        weight: Tensor,
        bias: Option<Tensor>,
    },
    Lora {
        frozen: Frozen,
        a: Tensor,
        b: Tensor,
    },
}

impl Linear {
    pub(crate) fn load(w: &Place<'_>, input: usize, output: usize) -> Result<Self> {
        Ok(Self::Plain {
            weight: w.get((output, input), "weight")?,
            bias: Some(w.get(output, "bias")?),
        })
    }

    /// A projection of an attention: what a LoRA stands beside.
    pub(crate) fn projection(w: &Place<'_>, input: usize, output: usize) -> Result<Self> {
        Self::with(w, input, output, None)
    }

    /// [`Linear::projection`] with a bias.
    pub(crate) fn out_projection(w: &Place<'_>, channels: usize) -> Result<Self> {
        let weight = w.get((channels, channels), "weight")?;
        let bias = Some(w.get(channels, "bias")?);
        Self::beside(w, weight, bias)
    }

    fn with(w: &Place<'_>, input: usize, output: usize, bias: Option<Tensor>) -> Result<Self> {
        let weight = w.get((output, input), "weight")?;
        Self::beside(w, weight, bias)
    }

    fn beside(w: &Place<'_>, weight: Tensor, bias: Option<Tensor>) -> Result<Self> {
        let (output, input) = weight.dims2()?;
        Ok(match w.lora(input, output)? {
            None => Self::Plain { weight, bias },
            Some((a, b, scale)) => Self::Lora {
                frozen: Frozen {
                    weight,
                    bias,
                    scale,
                },
                a,
                b,
            },
        })
    }

    /// [… × in] → [… × out].
    pub(crate) fn forward(&self, x: &Tensor) -> Result<Tensor> {
        Ok(match self {
            Self::Plain { weight, bias } => linear(x, weight, bias.as_ref())?,
            Self::Lora { frozen, a, b } => with_lora(x, frozen, a, b)?,
        })
    }
}

/// A square convolution with bias.
#[derive(Debug)]
pub(crate) struct Conv2d {
    weight: Tensor,
    bias: Tensor,
    geometry: Geometry,
}

impl Conv2d {
    /// 3 × 3 with one pixel of padding: the same size.
    pub(crate) fn same(w: &Place<'_>, input: usize, output: usize) -> Result<Self> {
        Self::load(w, (input, output), 3, (1, 1))
    }

    /// 1 × 1.
    pub(crate) fn pointwise(w: &Place<'_>, input: usize, output: usize) -> Result<Self> {
        Self::load(w, (input, output), 1, (1, 0))
    }

    /// 3 × 3 with stride 2: half the size.
    pub(crate) fn halving(w: &Place<'_>, channels: usize) -> Result<Self> {
        Self::load(w, (channels, channels), 3, (2, 1))
    }

    fn load(
        w: &Place<'_>,
        (input, output): (usize, usize),
        kernel: usize,
        (stride, padding): (usize, usize),
    ) -> Result<Self> {
        Ok(Self {
            weight: w.get((output, input, kernel, kernel), "weight")?,
            bias: w.get(output, "bias")?,
            geometry: Geometry { stride, padding },
        })
    }

    /// [batch × in × h × w] → [batch × out × h' × w'].
    pub(crate) fn forward(&self, x: &Tensor) -> Result<Tensor> {
        Ok(conv2d(x, &self.weight, &self.bias, self.geometry)?)
    }

    /// The same with `added` [batch × out] to every position.
    pub(crate) fn forward_plus(&self, x: &Tensor, added: &Tensor) -> Result<Tensor> {
        let bias = added.broadcast_add(&self.bias.to_dtype(added.dtype())?)?;
        Ok(conv2d(x, &self.weight, &bias, self.geometry)?)
    }
}

/// Group norm over channels and positions.
#[derive(Debug)]
pub(crate) struct GroupNorm {
    weight: Tensor,
    bias: Tensor,
    groups: usize,
    eps: f64,
}

impl GroupNorm {
    pub(crate) fn load(w: &Place<'_>, channels: usize, groups: usize, eps: f64) -> Result<Self> {
        Ok(Self {
            weight: w.get(channels, "weight")?,
            bias: w.get(channels, "bias")?,
            groups,
            eps,
        })
    }

    /// [batch × channels × h × w] → the same.
    pub(crate) fn forward(&self, x: &Tensor, then: Then) -> Result<Tensor> {
        let (weight, bias) = (&self.weight, &self.bias);
        Ok(group_norm(x, weight, bias, self.groups, self.eps, then)?)
    }
}

/// Layer norm over the last dimension.
#[derive(Debug)]
pub(crate) struct LayerNorm {
    weight: Tensor,
    bias: Tensor,
    eps: f64,
}

impl LayerNorm {
    pub(crate) fn load(w: &Place<'_>, width: usize, eps: f64) -> Result<Self> {
        Ok(Self {
            weight: w.get(width, "weight")?,
            bias: w.get(width, "bias")?,
            eps,
        })
    }

    /// The same shape.
    pub(crate) fn forward(&self, x: &Tensor) -> Result<Tensor> {
        Ok(layer_norm(x, &self.weight, &self.bias, self.eps)?)
    }
}

/// linear_2(silu(linear_1 x)).
#[derive(Debug)]
pub(crate) struct TimestepEmbedding {
    linear_1: Linear,
    linear_2: Linear,
}

impl TimestepEmbedding {
    pub(crate) fn load(w: &Place<'_>, input: usize, output: usize) -> Result<Self> {
        Ok(Self {
            linear_1: Linear::load(&w.pp("linear_1"), input, output)?,
            linear_2: Linear::load(&w.pp("linear_2"), output, output)?,
        })
    }

    /// [rows × in] → [rows × out].
    pub(crate) fn forward(&self, x: &Tensor) -> Result<Tensor> {
        self.linear_2.forward(&self.linear_1.forward(x)?.silu()?)
    }
}

/// shortcut(x) + conv2(silu(GN2(conv1(silu(GN1 x)) + time))).
#[derive(Debug)]
pub(crate) struct ResNet {
    norm1: GroupNorm,
    conv1: Conv2d,
    time_emb_proj: Linear,
    norm2: GroupNorm,
    conv2: Conv2d,
    conv_shortcut: Option<Conv2d>,
}

/// What the ResNets of a U-Net share.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ResNetConfig {
    pub groups: usize,
    pub eps: f64,
    /// Width of the time embedding.
    pub time: usize,
}

impl ResNet {
    pub(crate) fn load(
        w: &Place<'_>,
        input: usize,
        output: usize,
        config: ResNetConfig,
    ) -> Result<Self> {
        let ResNetConfig { groups, eps, time } = config;
        let shortcut = (input != output)
            .then(|| Conv2d::pointwise(&w.pp("conv_shortcut"), input, output))
            .transpose()?;
        Ok(Self {
            norm1: GroupNorm::load(&w.pp("norm1"), input, groups, eps)?,
            conv1: Conv2d::same(&w.pp("conv1"), input, output)?,
            time_emb_proj: Linear::load(&w.pp("time_emb_proj"), time, output)?,
            norm2: GroupNorm::load(&w.pp("norm2"), output, groups, eps)?,
            conv2: Conv2d::same(&w.pp("conv2"), output, output)?,
            conv_shortcut: shortcut,
        })
    }

    /// [batch × in × h × w] → [batch × out × h × w]; `time` [batch × time width] is the activated
    /// time embedding.
    pub(crate) fn forward(&self, x: &Tensor, time: &Tensor) -> Result<Tensor> {
        let added = self.time_emb_proj.forward(time)?;
        let h = self.norm1.forward(x, Then::Silu)?;
        let h = self.conv1.forward_plus(&h, &added)?;
        let h = self.conv2.forward(&self.norm2.forward(&h, Then::Silu)?)?;
        Ok(match &self.conv_shortcut {
            Some(shortcut) => (shortcut.forward(x)? + h)?,
            None => (x + h)?,
        })
    }
}
