//! The layers that both CLIP and SDXL are built of: linear maps, layer norms, activations.

use candle_core::{DType, Tensor, bail};
use serde::Deserialize;

use crate::error::Result;
use crate::kernels;
use crate::ops::{self, ElementwiseOp};
use crate::weights::Weights;

/// y = x Wᵀ + b over the last dimension.
#[derive(Debug, Clone)]
pub struct Linear {
    weight: Tensor,
    bias: Option<Tensor>,
}

impl Linear {
    /// `weight` `[out, in]` and `bias` `[out]`.
    ///
    /// # Errors
    /// As [`Weights::get`].
    pub fn load(w: &Weights, input: usize, output: usize) -> Result<Self> {
        Ok(Self {
            weight: w.get((output, input), "weight")?,
            bias: Some(w.get(output, "bias")?),
        })
    }

    /// `weight` [out, in] only.
    ///
    /// # Errors
    /// As [`Weights::get`].
    pub fn load_without_bias(w: &Weights, input: usize, output: usize) -> Result<Self> {
        Ok(Self {
            weight: w.get((output, input), "weight")?,
            bias: None,
        })
    }

    /// From tensors: weight `[out, in]`, bias `[out]`.
    pub fn new(weight: Tensor, bias: Option<Tensor>) -> Self {
        Self { weight, bias }
    }

    /// [out, in]
    pub fn shape(&self) -> [usize; 2] {
        let dims = self.weight.dims();
        [dims[0], dims[1]]
    }

    /// The same map with `delta` [out, in] added to its weight: in float32, rounded once.
    ///
    /// # Errors
    /// A matrix of another shape.
    pub fn plus(&self, delta: &Tensor) -> candle_core::Result<Self> {
        let (dtype, device) = (self.weight.dtype(), self.weight.device());
        let delta = delta.to_device(device)?.to_dtype(DType::F32)?;
        let weight = (self.weight.to_dtype(DType::F32)? + delta)?.to_dtype(dtype)?;
        Ok(Self {
            weight,
            bias: self.bias.clone(),
        })
    }

    /// Its bias `[out]`, if it has one.
    pub fn bias(&self) -> Option<&Tensor> {
        self.bias.as_ref()
    }

    /// [rows, in] → [rows, out], or [batch, tokens, in] → [batch, tokens, out].
    ///
    /// # Errors
    /// Shapes that do not match, or a tensor operation that failed.
    pub fn forward(&self, x: &Tensor) -> candle_core::Result<Tensor> {
        match x.rank() {
            2 => ops::linear(&x.unsqueeze(0)?, &self.weight, self.bias.as_ref(), false)?.squeeze(0),
            3 => ops::linear(x, &self.weight, self.bias.as_ref(), false),
            rank => bail!("a linear layer takes 2 or 3 dimensions, not {rank}"),
        }
    }

    /// [batch, tokens, in] → [batch, out, tokens].
    ///
    /// # Errors
    /// Shapes that do not match, or a tensor operation that failed.
    pub fn forward_channels_first(&self, x: &Tensor) -> candle_core::Result<Tensor> {
        ops::linear(x, &self.weight, self.bias.as_ref(), true)
    }
}

/// Layer norm over the last dimension.
#[derive(Debug, Clone)]
pub struct LayerNorm {
    weight: Tensor,
    bias: Tensor,
    eps: f64,
}

impl LayerNorm {
    /// `weight` and `bias` `[width]`.
    ///
    /// # Errors
    /// As [`Weights::get`].
    pub fn load(w: &Weights, width: usize, eps: f64) -> Result<Self> {
        Ok(Self {
            weight: w.get(width, "weight")?,
            bias: w.get(width, "bias")?,
            eps,
        })
    }

    /// The same shape; norms are computed in float32 whatever the type.
    ///
    /// # Errors
    /// Shapes that do not match, or a tensor operation that failed.
    pub fn forward(&self, x: &Tensor) -> candle_core::Result<Tensor> {
        ops::layer_norm(x, &self.weight, &self.bias, self.eps)
    }
}

/// A CLIP tower's activation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Activation {
    /// x · σ(1.702 x).
    QuickGelu,
    /// x · Φ(x) with the error function.
    Gelu,
}

impl Activation {
    /// Elementwise.
    ///
    /// # Errors
    /// Shapes that do not match, or a tensor operation that failed.
    pub fn forward(self, x: &Tensor) -> candle_core::Result<Tensor> {
        match (self, ops::on_cpu_in_f32(x)) {
            (Self::QuickGelu, true) => x.contiguous()?.apply_op1_no_bwd(&QUICK_GELU),
            (Self::Gelu, true) => x.contiguous()?.apply_op1_no_bwd(&GELU),
            (Self::QuickGelu, false) => x * candle_nn::ops::sigmoid(&(x * 1.702)?)?,
            (Self::Gelu, false) => x.gelu_erf(),
        }
    }
}

/// x · σ(x), elementwise.
///
/// # Errors
/// A tensor operation that failed.
pub fn silu(x: &Tensor) -> candle_core::Result<Tensor> {
    if ops::on_cpu_in_f32(x) {
        x.contiguous()?.apply_op1_no_bwd(&SILU)
    } else {
        x.silu()
    }
}

const QUICK_GELU: ElementwiseOp = ElementwiseOp {
    name: "quick-gelu",
    apply: |x, y| {
        y.iter_mut()
            .zip(x)
            .for_each(|(y, x)| *y = kernels::quick_gelu(*x));
    },
};
const GELU: ElementwiseOp = ElementwiseOp {
    name: "gelu",
    apply: |x, y| {
        y.iter_mut()
            .zip(x)
            .for_each(|(y, x)| *y = kernels::gelu(*x));
    },
};
const SILU: ElementwiseOp = ElementwiseOp {
    name: "silu",
    apply: |x, y| {
        y.iter_mut()
            .zip(x)
            .for_each(|(y, x)| *y = kernels::silu(*x));
    },
};
