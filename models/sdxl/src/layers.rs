//! The layers that the U-Net and the VAE share: convolution, group norm, ResNet block.

use candle_core::Tensor;
use laioncele_nn::Weights;
use laioncele_nn::layers::Linear;

use crate::error::Result;
use crate::ops::{self, Geometry};

/// A square convolution with bias.
#[derive(Debug, Clone)]
pub(crate) struct Conv2d {
    weight: Tensor,
    bias: Tensor,
    geometry: Geometry,
}

impl Conv2d {
    /// 3 × 3 with one pixel of padding: the same size.
    pub(crate) fn same(w: &Weights, input: usize, output: usize) -> Result<Self> {
        Self::load(w, (input, output), 3, (1, 1, 1))
    }

    /// 1 × 1.
    pub(crate) fn pointwise(w: &Weights, input: usize, output: usize) -> Result<Self> {
        Self::load(w, (input, output), 1, (1, 0, 0))
    }

    /// 3 × 3 with stride 2: half the size.
    pub(crate) fn halving(w: &Weights, channels: usize, before: usize) -> Result<Self> {
        Self::load(w, (channels, channels), 3, (2, before, 1))
    }

    fn load(
        w: &Weights,
        (input, output): (usize, usize),
        kernel: usize,
        (stride, before, after): (usize, usize, usize),
    ) -> Result<Self> {
        let weight = w.get((output, input, kernel, kernel), "weight")?;
        let geometry = Geometry {
            stride,
            before,
            after,
            tf32: w.tf32(),
        };
        Ok(Self {
            weight,
            bias: w.get(output, "bias")?,
            geometry,
        })
    }

    /// [batch, in, h, w] → [batch, out, h', w'].
    pub(crate) fn forward(&self, x: &Tensor) -> Result<Tensor> {
        self.forward_with(x, &self.bias)
    }

    /// The same with another bias `[out]` or [batch, out].
    pub(crate) fn forward_with(&self, x: &Tensor, bias: &Tensor) -> Result<Tensor> {
        Ok(ops::conv2d(x, &self.weight, bias, self.geometry)?)
    }
}

/// Group norm over channels and positions.
#[derive(Debug, Clone)]
pub(crate) struct GroupNorm {
    weight: Tensor,
    bias: Tensor,
    groups: usize,
    eps: f64,
}

impl GroupNorm {
    pub(crate) fn load(w: &Weights, channels: usize, groups: usize, eps: f64) -> Result<Self> {
        Ok(Self {
            weight: w.get(channels, "weight")?,
            bias: w.get(channels, "bias")?,
            groups,
            eps,
        })
    }

    pub(crate) fn forward(&self, x: &Tensor) -> Result<Tensor> {
        Ok(ops::group_norm(
            x,
            &self.weight,
            &self.bias,
            self.groups,
            self.eps,
            false,
        )?)
    }

    /// silu(GroupNorm x).
    pub(crate) fn forward_silu(&self, x: &Tensor) -> Result<Tensor> {
        Ok(ops::group_norm(
            x,
            &self.weight,
            &self.bias,
            self.groups,
            self.eps,
            true,
        )?)
    }
}

/// What ResNet blocks of one model share.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ResNetConfig {
    pub groups: usize,
    pub eps: f64,
    /// Width of the time embedding; `None` in the VAE.
    pub time: Option<usize>,
}

/// shortcut(x) + conv2(silu(GN2(conv1(silu(GN1 x)) + time))).
#[derive(Debug)]
pub(crate) struct ResNet {
    norm1: GroupNorm,
    conv1: Conv2d,
    time_emb_proj: Option<Linear>,
    norm2: GroupNorm,
    conv2: Conv2d,
    conv_shortcut: Option<Conv2d>,
}

impl ResNet {
    pub(crate) fn load(
        w: &Weights,
        input: usize,
        output: usize,
        config: &ResNetConfig,
    ) -> Result<Self> {
        let conv_shortcut = match input == output {
            true => None,
            false => Some(Conv2d::pointwise(&w.pp("conv_shortcut"), input, output)?),
        };
        let time_emb_proj = match config.time {
            Some(width) => Some(Linear::load(&w.pp("time_emb_proj"), width, output)?),
            None => None,
        };
        Ok(Self {
            norm1: GroupNorm::load(&w.pp("norm1"), input, config.groups, config.eps)?,
            conv1: Conv2d::same(&w.pp("conv1"), input, output)?,
            time_emb_proj,
            norm2: GroupNorm::load(&w.pp("norm2"), output, config.groups, config.eps)?,
            conv2: Conv2d::same(&w.pp("conv2"), output, output)?,
            conv_shortcut,
        })
    }

    /// What conv1 adds to each channel for these activated time embeddings [rows, time] → [rows,
    /// out].
    pub(crate) fn time_bias(&self, activated: &Tensor) -> Result<Tensor> {
        let bias = &self.conv1.bias;
        Ok(match &self.time_emb_proj {
            Some(projection) => projection.forward(activated)?.broadcast_add(bias)?,
            None => bias
                .broadcast_as((activated.dim(0)?, bias.dim(0)?))?
                .contiguous()?,
        })
    }

    /// [batch, in, h, w] → [batch, out, h, w]; `time_bias` [batch, out] as [`ResNet::time_bias`]
    /// makes it.
    pub(crate) fn forward(&self, x: &Tensor, time_bias: Option<&Tensor>) -> Result<Tensor> {
        let h = self.norm1.forward_silu(x)?;
        let h = self
            .conv1
            .forward_with(&h, time_bias.unwrap_or(&self.conv1.bias))?;
        let h = self.conv2.forward(&self.norm2.forward_silu(&h)?)?;
        Ok(match &self.conv_shortcut {
            Some(shortcut) => (shortcut.forward(x)? + h)?,
            None => (x + h)?,
        })
    }
}
