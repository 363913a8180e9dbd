//! `config.json` of a BertForTokenClassification.

use std::collections::BTreeMap;

use laioncele_nn::Result;
use laioncele_nn::config::JsonFile;
use serde::Deserialize;

use crate::group::Label;

/// What the network's shape depends on; transformers' defaults where a key is absent.
#[derive(Debug, Clone, Deserialize)]
#[serde(default)]
pub(crate) struct Config {
    pub(crate) vocab_size: usize,
    pub(crate) hidden_size: usize,
    pub(crate) num_hidden_layers: usize,
    pub(crate) num_attention_heads: usize,
    pub(crate) intermediate_size: usize,
    pub(crate) max_position_embeddings: usize,
    pub(crate) type_vocab_size: usize,
    pub(crate) layer_norm_eps: f64,
    id2label: BTreeMap<usize, String>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            vocab_size: 30522,
            hidden_size: 768,
            num_hidden_layers: 12,
            num_attention_heads: 12,
            intermediate_size: 3072,
            max_position_embeddings: 512,
            type_vocab_size: 2,
            layer_norm_eps: 1e-12,
            id2label: BTreeMap::new(),
        }
    }
}

impl Config {
    pub(crate) fn read(json: &JsonFile) -> Result<Self> {
        if json.get("model_type").is_none() {
            return Err(json.unsupported("model_type", "nothing", "\"bert\""));
        }
        json.require_all(&[
            ("model_type", &["\"bert\""]),
            ("architectures", &["[\"BertForTokenClassification\"]"]),
            ("hidden_act", &["\"gelu\""]),
            ("position_embedding_type", &["\"absolute\""]),
            ("is_decoder", &["false"]),
        ])?;
        let config: Self = json.parse()?;
        json.check_dimension("vocab_size", config.vocab_size)?;
        json.check_dimension("hidden_size", config.hidden_size)?;
        json.check_dimension("intermediate_size", config.intermediate_size)?;
        json.check_count("num_hidden_layers", config.num_hidden_layers, 256)?;
        json.check_count("type_vocab_size", config.type_vocab_size, 1024)?;
        let (positions, heads) = (config.max_position_embeddings, config.num_attention_heads);
        json.check_dimension("max_position_embeddings", positions)?;
        json.check_multiple("hidden_size", config.hidden_size, heads)?;
        Ok(config)
    }

    /// The head's classes, by index.
    pub(crate) fn labels(&self, json: &JsonFile) -> Result<Vec<Label>> {
        if !self.id2label.keys().copied().eq(0..self.id2label.len()) {
            let found = self.id2label.keys().map(usize::to_string);
            let found = found.collect::<Vec<_>>().join(", ");
            return Err(json.unsupported("id2label", found, "the keys 0, 1, 2, ..."));
        }
        Ok(self
            .id2label
            .values()
            .map(|word| Label::new(word))
            .collect())
    }
}
