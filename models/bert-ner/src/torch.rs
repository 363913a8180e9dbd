//! The network as rust-bert has it, on libtorch, from the same files.

use std::path::Path;
use std::sync::{Mutex, PoisonError};

use laioncele_nn::config::JsonFile;
use laioncele_nn::{LoadOptions, Weights};
use rust_bert::bert::{BertConfig, BertForTokenClassification};
use tch::nn::VarStore;
use tch::{Device, Tensor, no_grad};

use crate::config::Config;
use crate::network::{Network, TokenNetwork, WEIGHTS};
use crate::{Error, Result};

/// rust-bert's network.
pub(crate) struct RustBert {
    /// Tensors of tch may move between threads, but not be shared.
    model: Mutex<BertForTokenClassification>,
}

impl RustBert {
    /// Loads `model.safetensors` of `folder`, whole or in shards.
    pub(crate) fn load(
        folder: &Path,
        json: &JsonFile,
        config: &Config,
        labels: usize,
    ) -> Result<Self> {
        // rust-bert does not read it.
        json.require("layer_norm_eps", &["1e-12"])?;
        // What does not fit is said before rust-bert makes room for it, and as the other network
        // says it.
        let dry = LoadOptions {
            dry: true,
            ..LoadOptions::default()
        };
        Network::load(folder, config, labels, &dry)?;

        let store = VarStore::new(Device::Cpu);
        let model = BertForTokenClassification::new(store.root(), &shape(config, labels));
        let model = Mutex::new(model.map_err(failure)?);
        let weights = Weights::open(folder, WEIGHTS, &LoadOptions::default())?;
        for (name, variable) in store.variables() {
            fill(variable, &name, &weights)?;
        }
        Ok(Self { model })
    }
}

impl TokenNetwork for RustBert {
    fn logits(&self, ids: &[u32]) -> Result<Vec<f32>> {
        let ids: Vec<i64> = ids.iter().map(|id| i64::from(*id)).collect();
        let ids = Tensor::from_slice(&ids).unsqueeze(0);
        let model = self.model.lock().unwrap_or_else(PoisonError::into_inner);
        // The pool's other threads wait for the lock: libtorch may have theirs.
        tch::set_num_threads(i32::try_from(rayon::current_num_threads()).unwrap_or(1));
        let output = no_grad(|| model.forward_t(Some(&ids), None, None, None, None, false));
        Vec::try_from(output.logits.flatten(0, -1)).map_err(failure)
    }
}

/// The part of rust-bert's configuration that its network depends on.
fn shape(config: &Config, labels: usize) -> BertConfig {
    BertConfig {
        hidden_size: config.hidden_size as i64,
        intermediate_size: config.intermediate_size as i64,
        max_position_embeddings: config.max_position_embeddings as i64,
        num_attention_heads: config.num_attention_heads as i64,
        num_hidden_layers: config.num_hidden_layers as i64,
        type_vocab_size: config.type_vocab_size as i64,
        vocab_size: config.vocab_size as i64,
        // Only how many they are matters here.
        id2label: Some((0..labels as i64).map(|i| (i, String::new())).collect()),
        ..BertConfig::default()
    }
}

/// Copies the weights of this name to a variable, whose name is the one that transformers gives it.
fn fill(mut variable: Tensor, name: &str, weights: &Weights) -> Result<()> {
    let size = variable.size();
    let dimensions: Vec<usize> = size.iter().map(|side| *side as usize).collect();
    let values: Vec<f32> = weights.get(dimensions, name)?.flatten_all()?.to_vec1()?;
    let values = Tensor::from_slice(&values).view(size.as_slice());
    no_grad(|| variable.f_copy_(&values)).map_err(failure)
}

/// What libtorch says.
fn failure(error: impl std::fmt::Display + Send + Sync + 'static) -> Error {
    candle_core::Error::msg(format!("rust-bert: {error}")).into()
}
