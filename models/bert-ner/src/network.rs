//! The network of a BertForTokenClassification: embeddings, post-norm layers, a linear head.

use std::path::Path;

use candle_core::Tensor;
use laioncele_nn::layers::{Activation, LayerNorm, Linear};
use laioncele_nn::{LoadOptions, Result, Weights, ops};

use crate::config::Config;

/// The weight files, without their extension.
pub(crate) const WEIGHTS: &str = "model";

/// A token classifier's network, on candle or on libtorch.
pub(crate) trait TokenNetwork: Send + Sync {
    /// Logits [tokens × labels] of token ids below `vocab_size`, between one and
    /// `max_position_embeddings` of them.
    fn logits(&self, ids: &[u32]) -> Result<Vec<f32>>;
}

/// The network in candle.
pub(crate) struct Network {
    words: Tensor,
    positions: Tensor,
    token_types: Tensor,
    norm: LayerNorm,
    layers: Vec<Layer>,
    classifier: Linear,
}

impl Network {
    /// Loads `model.safetensors` of `folder`, whole or in shards.
    pub(crate) fn load(
        folder: &Path,
        config: &Config,
        labels: usize,
        options: &LoadOptions,
    ) -> Result<Self> {
        let weights = Weights::open(folder, WEIGHTS, options)?;
        let (bert, hidden) = (weights.pp("bert"), config.hidden_size);
        let embeddings = bert.pp("embeddings");
        let table = |rows: usize, name| embeddings.get((rows, hidden), name);
        let layer = |i| Layer::load(&bert.pp(format_args!("encoder.layer.{i}")), config);
        let network = Self {
            words: table(config.vocab_size, "word_embeddings.weight")?,
            positions: table(config.max_position_embeddings, "position_embeddings.weight")?,
            token_types: table(config.type_vocab_size, "token_type_embeddings.weight")?,
            norm: LayerNorm::load(&embeddings.pp("LayerNorm"), hidden, config.layer_norm_eps)?,
            layers: (0..config.num_hidden_layers)
                .map(layer)
                .collect::<Result<_>>()?,
            classifier: Linear::load(&weights.pp("classifier"), hidden, labels)?,
        };
        // Older files keep the pooler, which a token classifier does not have.
        weights.finish(&["bert.pooler."])?;
        Ok(network)
    }
}

impl TokenNetwork for Network {
    fn logits(&self, ids: &[u32]) -> Result<Vec<f32>> {
        let tokens = ids.len();
        let ids = Tensor::new(ids, self.words.device())?;
        let x = self.words.embedding(&ids)?;
        let x = x.broadcast_add(&self.token_types.narrow(0, 0, 1)?)?;
        let x = (x + self.positions.narrow(0, 0, tokens)?)?;
        let mut x = self.norm.forward(&x.unsqueeze(0)?)?;
        for layer in &self.layers {
            x = layer.forward(&x)?;
        }
        Ok(self.classifier.forward(&x)?.flatten_all()?.to_vec1()?)
    }
}

struct Layer {
    query: Linear,
    key: Linear,
    value: Linear,
    attended: Linear,
    attended_norm: LayerNorm,
    wide: Linear,
    narrow: Linear,
    output_norm: LayerNorm,
    heads: usize,
}

impl Layer {
    fn load(w: &Weights, config: &Config) -> Result<Self> {
        let (hidden, inner) = (config.hidden_size, config.intermediate_size);
        let attention = w.pp("attention");
        let square = |name| Linear::load(&attention.pp(name), hidden, hidden);
        let norm = |w: &Weights| LayerNorm::load(&w.pp("LayerNorm"), hidden, config.layer_norm_eps);
        Ok(Self {
            query: square("self.query")?,
            key: square("self.key")?,
            value: square("self.value")?,
            attended: square("output.dense")?,
            attended_norm: norm(&attention.pp("output"))?,
            wide: Linear::load(&w.pp("intermediate.dense"), hidden, inner)?,
            narrow: Linear::load(&w.pp("output.dense"), inner, hidden)?,
            output_norm: norm(&w.pp("output"))?,
            heads: config.num_attention_heads,
        })
    }

    /// [1, tokens, hidden] → the same.
    fn forward(&self, x: &Tensor) -> candle_core::Result<Tensor> {
        let (q, k, v) = (
            self.query.forward(x)?,
            self.key.forward(x)?,
            self.value.forward(x)?,
        );
        let attended = ops::attention(&q, &k, &v, self.heads, false)?;
        let x = (self.attended.forward(&attended)? + x)?;
        let x = self.attended_norm.forward(&x)?;
        let wide = Activation::Gelu.forward(&self.wide.forward(&x)?)?;
        self.output_norm
            .forward(&(self.narrow.forward(&wide)? + x)?)
    }
}
