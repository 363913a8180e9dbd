//! PhotoMaker's fuse module: a class word's row and a photo's vector to one row.

use candle_core::Tensor;
use laioncele_nn::Weights;
use laioncele_nn::layers::{Activation, LayerNorm, Linear};

use crate::error::Result;

/// PyTorch's default.
const EPS: f64 = 1e-5;

/// x = w + mlp1([w; v]); x ← x + mlp2(x); LayerNorm.
#[derive(Debug)]
pub(super) struct FuseModule {
    mlp1: Mlp,
    mlp2: Mlp,
    layer_norm: LayerNorm,
}

impl FuseModule {
    pub(super) fn load(w: &Weights, width: usize) -> Result<Self> {
        Ok(Self {
            mlp1: Mlp::load(&w.pp("mlp1"), 2 * width, width)?,
            mlp2: Mlp::load(&w.pp("mlp2"), width, width)?,
            layer_norm: LayerNorm::load(&w.pp("layer_norm"), width, EPS)?,
        })
    }

    /// Words and photos, each [photos, width] → [photos, width].
    pub(super) fn forward(&self, words: &Tensor, photos: &Tensor) -> Result<Tensor> {
        let both = Tensor::cat(&[words, photos], 1)?;
        let x = (words + self.mlp1.forward(&both)?)?;
        let x = (&x + self.mlp2.forward(&x)?)?;
        Ok(self.layer_norm.forward(&x)?)
    }
}

/// fc2(gelu(fc1(LayerNorm x))).
#[derive(Debug)]
struct Mlp {
    layernorm: LayerNorm,
    fc1: Linear,
    fc2: Linear,
}

impl Mlp {
    fn load(w: &Weights, input: usize, width: usize) -> Result<Self> {
        Ok(Self {
            layernorm: LayerNorm::load(&w.pp("layernorm"), input, EPS)?,
            fc1: Linear::load(&w.pp("fc1"), input, width)?,
            fc2: Linear::load(&w.pp("fc2"), width, width)?,
        })
    }

    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let wide = self.fc1.forward(&self.layernorm.forward(x)?)?;
        Ok(self.fc2.forward(&Activation::Gelu.forward(&wide)?)?)
    }
}
