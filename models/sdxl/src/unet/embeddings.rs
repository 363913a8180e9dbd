//! Timesteps and the added condition as vectors.

use candle_core::Tensor;
use laioncele_nn::Weights;
use laioncele_nn::layers::{Linear, silu};

use super::config::UNetConfig;
use crate::error::Result;

/// [cos(t f), sin(t f)] (or sine first) with fᵢ = exp(−ln 10000 · i / (dim/2 − freq_shift)), always
/// float32.
pub fn sinusoid(value: f32, dim: usize, config: &UNetConfig) -> Vec<f32> {
    let half = dim / 2;
    let divisor = (half as f64 - config.freq_shift) as f32;
    let angles: Vec<f32> = (0..half)
        .map(|i| {
            // torch multiplies, divides and takes the exponential in float32: at t = 999 the
            // rounding shows.
            let exponent = (-(10_000f64.ln()) as f32 * i as f32) / divisor;
            value * f64::from(exponent).exp() as f32
        })
        .collect();
    let cosines = angles.iter().map(|a| f64::from(*a).cos() as f32);
    let sines = angles.iter().map(|a| f64::from(*a).sin() as f32);
    if config.flip_sin_to_cos {
        cosines.chain(sines).collect()
    } else {
        sines.chain(cosines).collect()
    }
}

/// linear_2(silu(linear_1 x)).
#[derive(Debug)]
pub(super) struct TimestepEmbedding {
    linear_1: Linear,
    linear_2: Linear,
}

impl TimestepEmbedding {
    pub(super) fn load(w: &Weights, input: usize, output: usize) -> Result<Self> {
        Ok(Self {
            linear_1: Linear::load(&w.pp("linear_1"), input, output)?,
            linear_2: Linear::load(&w.pp("linear_2"), output, output)?,
        })
    }

    /// [rows, in] → [rows, out].
    pub(super) fn forward(&self, x: &Tensor) -> Result<Tensor> {
        Ok(self.linear_2.forward(&silu(&self.linear_1.forward(x)?)?)?)
    }
}
