//! The residual layer that CLIP's text and image towers share.

use candle_core::Tensor;

use crate::config::JsonFile;
use crate::error::Result;
use crate::nn::{Activation, LayerNorm, Linear};
use crate::ops;
use crate::weights::Weights;

/// The numbers that a tower's layers share.
#[derive(Debug, Clone, Copy)]
pub(crate) struct LayerConfig {
    pub hidden_size: usize,
    pub intermediate_size: usize,
    pub num_hidden_layers: usize,
    pub num_attention_heads: usize,
    pub hidden_act: Activation,
    pub layer_norm_eps: f64,
}

impl LayerConfig {
    pub(crate) fn check(&self, json: &JsonFile) -> Result<()> {
        json.check_dimension("hidden_size", self.hidden_size)?;
        json.check_dimension("intermediate_size", self.intermediate_size)?;
        json.check_count("num_hidden_layers", self.num_hidden_layers, 256)?;
        json.check_multiple("hidden_size", self.hidden_size, self.num_attention_heads)
    }
}

/// x += out_proj(attention(LN1 x)); x += fc2(act(fc1(LN2 x))).
#[derive(Debug)]
pub(crate) struct Layer {
    layer_norm1: LayerNorm,
    q_proj: Linear,
    k_proj: Linear,
    v_proj: Linear,
    out_proj: Linear,
    layer_norm2: LayerNorm,
    fc1: Linear,
    fc2: Linear,
    hidden_act: Activation,
    heads: usize,
}

impl Layer {
    pub(crate) fn load(w: &Weights, config: &LayerConfig) -> Result<Self> {
        let (hidden, inner, eps) = (
            config.hidden_size,
            config.intermediate_size,
            config.layer_norm_eps,
        );
        let attention = w.pp("self_attn");
        Ok(Self {
            layer_norm1: LayerNorm::load(&w.pp("layer_norm1"), hidden, eps)?,
            q_proj: Linear::load(&attention.pp("q_proj"), hidden, hidden)?,
            k_proj: Linear::load(&attention.pp("k_proj"), hidden, hidden)?,
            v_proj: Linear::load(&attention.pp("v_proj"), hidden, hidden)?,
            out_proj: Linear::load(&attention.pp("out_proj"), hidden, hidden)?,
            layer_norm2: LayerNorm::load(&w.pp("layer_norm2"), hidden, eps)?,
            fc1: Linear::load(&w.pp("mlp.fc1"), hidden, inner)?,
            fc2: Linear::load(&w.pp("mlp.fc2"), inner, hidden)?,
            hidden_act: config.hidden_act,
            heads: config.num_attention_heads,
        })
    }

    /// `encoder.layers.0…` below `w`.
    pub(crate) fn load_all(w: &Weights, config: &LayerConfig) -> Result<Vec<Self>> {
        (0..config.num_hidden_layers)
            .map(|i| Self::load(&w.pp(format_args!("encoder.layers.{i}")), config))
            .collect()
    }

    /// [batch, tokens, hidden] → the same.
    pub(crate) fn forward(&self, x: &Tensor, causal: bool) -> Result<Tensor> {
        let y = self.layer_norm1.forward(x)?;
        let (q, k, v) = (
            self.q_proj.forward(&y)?,
            self.k_proj.forward(&y)?,
            self.v_proj.forward(&y)?,
        );
        let x = (x + self
            .out_proj
            .forward(&ops::attention(&q, &k, &v, self.heads, causal)?)?)?;
        let y = self
            .hidden_act
            .forward(&self.fc1.forward(&self.layer_norm2.forward(&x)?)?)?;
        Ok((&x + self.fc2.forward(&y)?)?)
    }
}
