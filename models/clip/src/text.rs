//! CLIP's text tower: token ids to hidden states and the pooled vector.

use std::path::{Path, PathBuf};

use candle_core::{Device, Tensor};
use serde::Deserialize;

use crate::layer::{Layer, LayerConfig, TowerConfig, open_weights, tower_files};
use laioncele_nn::config::JsonFile;
use laioncele_nn::layers::{Activation, LayerNorm, Linear};
use laioncele_nn::{Error, Result};
use laioncele_nn::{LoadOptions, Shapes, Weights};

/// `config.json` of a CLIPTextModel or CLIPTextModelWithProjection.
#[derive(Debug, Clone, Deserialize)]
#[serde(default)]
pub struct TextConfig {
    /// Width of a token.
    pub hidden_size: usize,
    /// Width inside the feed-forward part.
    pub intermediate_size: usize,
    /// Layers.
    pub num_hidden_layers: usize,
    /// Heads; `hidden_size` is a multiple of it.
    pub num_attention_heads: usize,
    /// Activation of the feed-forward part.
    pub hidden_act: Activation,
    /// Added to the variance by every layer norm.
    pub layer_norm_eps: f64,
    /// The longest token sequence.
    pub max_position_embeddings: usize,
    /// Rows of the token embedding.
    pub vocab_size: usize,
    /// Width of the projected pooled vector.
    pub projection_dim: usize,
    /// Where the pooled vector is taken; 2 stands for the largest id (see [`TextModel::forward`]).
    pub eos_token_id: u32,
}

impl Default for TextConfig {
    /// The defaults of transformers' CLIPTextConfig.
    fn default() -> Self {
        Self {
            hidden_size: 512,
            intermediate_size: 2048,
            num_hidden_layers: 12,
            num_attention_heads: 8,
            hidden_act: Activation::QuickGelu,
            layer_norm_eps: 1e-5,
            max_position_embeddings: 77,
            vocab_size: 49408,
            projection_dim: 512,
            eos_token_id: 49407,
        }
    }
}

impl TextConfig {
    fn layers(&self) -> LayerConfig {
        LayerConfig {
            hidden_size: self.hidden_size,
            intermediate_size: self.intermediate_size,
            num_hidden_layers: self.num_hidden_layers,
            num_attention_heads: self.num_attention_heads,
            hidden_act: self.hidden_act,
            layer_norm_eps: self.layer_norm_eps,
        }
    }
}

impl TowerConfig for TextConfig {
    const SECTION: &'static str = "text_config";

    fn set_projection(&mut self, width: usize) {
        self.projection_dim = width;
    }

    fn check(&self, json: &JsonFile) -> Result<()> {
        self.layers().check(json)?;
        json.check_dimension("vocab_size", self.vocab_size)?;
        json.check_dimension("projection_dim", self.projection_dim)?;
        json.check_count(
            "max_position_embeddings",
            self.max_position_embeddings,
            4096,
        )
    }
}

/// What the text tower makes of one batch.
#[derive(Debug)]
pub struct TextStates {
    /// The embeddings, then the output of every layer, each [batch, tokens, hidden].
    pub hidden_states: Vec<Tensor>,
    /// final_layer_norm of the last of them.
    pub last_hidden_state: Tensor,
    /// [batch, projection_dim], or [batch, hidden] without a projection.
    pub pooled: Tensor,
}

impl TextStates {
    /// The input of the last layer, without the final norm: what SDXL is conditioned on.
    pub fn penultimate(&self) -> &Tensor {
        &self.hidden_states[self.hidden_states.len() - 2]
    }
}

/// CLIP's text tower.
#[derive(Debug)]
pub struct TextModel {
    config: TextConfig,
    token_embedding: Tensor,
    position_embedding: Tensor,
    layers: Vec<Layer>,
    final_layer_norm: LayerNorm,
    text_projection: Option<Linear>,
    files: Vec<PathBuf>,
}

impl TextModel {
    /// Loads `config.json` and `model.safetensors` of `folder`; a whole CLIPModel folder serves
    /// too.
    ///
    /// # Errors
    /// A configuration or weight file that is missing, damaged or not supported; weights that do
    /// not fit the configuration.
    pub fn load(folder: &Path, with_projection: bool, options: &LoadOptions) -> Result<Self> {
        let weights = Self::weights(folder, options)?;
        let json = JsonFile::read(&folder.join("config.json"))?;
        Self::of_weights(&json, with_projection, &weights)
    }

    /// The weights that [`TextModel::load`] reads.
    ///
    /// # Errors
    /// A folder without weights; a file that is damaged or cannot be read.
    pub fn weights(folder: &Path, options: &LoadOptions) -> Result<Weights> {
        open_weights(folder, options)
    }

    /// A tower of weights from anywhere, for the configuration `config`.
    ///
    /// # Errors
    /// A configuration that is not supported; weights that do not fit it.
    pub fn of_weights(config: &JsonFile, with_projection: bool, weights: &Weights) -> Result<Self> {
        let (config, whole) = TextConfig::of(config)?;
        let model = Self::build(config, with_projection, weights)?;
        weights.finish(if whole {
            &["vision_model.", "visual_projection.", "logit_scale"]
        } else {
            &[]
        })?;
        Ok(model)
    }

    /// The files that [`TextModel::load`] reads.
    ///
    /// # Errors
    /// A folder without weights, an index that cannot be read.
    pub fn files_read(folder: &Path) -> Result<Vec<PathBuf>> {
        tower_files(folder)
    }

    /// The tensors that `config.json` of `folder` asks for; the weights need not be there.
    ///
    /// # Errors
    /// A configuration that is missing, damaged or not supported.
    pub fn shapes(folder: &Path, with_projection: bool) -> Result<Shapes> {
        Self::shapes_of(
            &JsonFile::read(&folder.join("config.json"))?,
            with_projection,
        )
    }

    /// The tensors that a configuration asks for.
    ///
    /// # Errors
    /// A configuration that is not supported.
    pub fn shapes_of(config: &JsonFile, with_projection: bool) -> Result<Shapes> {
        let (config, _) = TextConfig::of(config)?;
        let weights = Weights::none();
        Self::build(config, with_projection, &weights)?;
        Ok(weights.wanted())
    }

    fn build(config: TextConfig, with_projection: bool, w: &Weights) -> Result<Self> {
        // transformers 5 writes a bare CLIPTextModel without the `text_model.` that older files
        // have.
        let bare = w.contains("embeddings.token_embedding.weight");
        let tower = if bare { w.clone() } else { w.pp("text_model") };
        let embeddings = tower.pp("embeddings");
        let hidden = config.hidden_size;
        let text_projection = match with_projection {
            true => Some(Linear::load_without_bias(
                &w.pp("text_projection"),
                hidden,
                config.projection_dim,
            )?),
            false => None,
        };
        Ok(Self {
            token_embedding: embeddings
                .get((config.vocab_size, hidden), "token_embedding.weight")?,
            position_embedding: embeddings.get(
                (config.max_position_embeddings, hidden),
                "position_embedding.weight",
            )?,
            layers: Layer::load_all(&tower, &config.layers())?,
            final_layer_norm: LayerNorm::load(
                &tower.pp("final_layer_norm"),
                hidden,
                config.layer_norm_eps,
            )?,
            text_projection,
            files: w.files().map(Path::to_path_buf).collect(),
            config,
        })
    }

    /// Gives the ids from `first` on these embeddings, each of the hidden width, in place of
    /// whatever rows the table has there.
    ///
    /// # Errors
    /// [`Error::TokenId`] where the table ends before `first`; rows of another width.
    pub fn set_tokens(&mut self, first: usize, rows: &[Vec<f32>]) -> Result<()> {
        let table = &self.token_embedding;
        if first > self.config.vocab_size {
            return Err(Error::TokenId {
                id: first as u32,
                size: self.config.vocab_size,
            });
        }
        let shape = (rows.len(), self.config.hidden_size);
        let added = Tensor::from_vec(rows.concat(), shape, &Device::Cpu)?;
        let added = added.to_dtype(table.dtype())?.to_device(table.device())?;
        self.token_embedding = Tensor::cat(&[&table.narrow(0, 0, first)?, &added], 0)?;
        self.config.vocab_size = first + rows.len();
        Ok(())
    }

    /// The configuration as read.
    pub fn config(&self) -> &TextConfig {
        &self.config
    }

    /// The weight files that were read.
    pub fn files(&self) -> &[PathBuf] {
        &self.files
    }

    /// Where the tower computes.
    pub fn device(&self) -> &Device {
        self.token_embedding.device()
    }

    /// Width of the pooled vector.
    pub fn pooled_width(&self) -> usize {
        if self.text_projection.is_some() {
            self.config.projection_dim
        } else {
            self.config.hidden_size
        }
    }

    /// Runs the tower over equally long token rows.
    ///
    /// The pooled vector is taken at the first position of the row's largest id if `eos_token_id`
    /// is 2 (a historical error that SDXL's files carry), else at the first `eos_token_id`, or 0 if
    /// there is none.
    ///
    /// # Errors
    /// [`Error::TokenCount`] and [`Error::TokenId`]; a tensor operation that failed.
    pub fn forward(&self, ids: &[Vec<u32>]) -> Result<TextStates> {
        let tokens = ids.first().map_or(0, Vec::len);
        self.check_ids(ids, tokens)?;
        let flat: Vec<u32> = ids.concat();
        let device = self.token_embedding.device();
        let index = Tensor::from_vec(flat, ids.len() * tokens, device)?;
        let embedded = self.token_embedding.index_select(&index, 0)?;
        let embedded = embedded.reshape((ids.len(), tokens, self.config.hidden_size))?;
        let mut x = embedded.broadcast_add(&self.position_embedding.narrow(0, 0, tokens)?)?;
        let mut hidden_states = vec![x.clone()];
        for layer in &self.layers {
            x = layer.forward(&x, true)?;
            hidden_states.push(x.clone());
        }
        let last_hidden_state = self.final_layer_norm.forward(&x)?;
        let pooled = self.pool(ids, &last_hidden_state)?;
        Ok(TextStates {
            hidden_states,
            last_hidden_state,
            pooled,
        })
    }

    fn check_ids(&self, ids: &[Vec<u32>], tokens: usize) -> Result<()> {
        let most = self.config.max_position_embeddings;
        for row in ids {
            if row.len() != tokens || tokens == 0 || tokens > most {
                return Err(Error::TokenCount {
                    length: row.len(),
                    most,
                });
            }
            if let Some(id) = row
                .iter()
                .find(|id| **id as usize >= self.config.vocab_size)
            {
                return Err(Error::TokenId {
                    id: *id,
                    size: self.config.vocab_size,
                });
            }
        }
        if ids.is_empty() {
            Err(Error::TokenCount { length: 0, most })
        } else {
            Ok(())
        }
    }

    fn pool(&self, ids: &[Vec<u32>], last: &Tensor) -> Result<Tensor> {
        let rows = ids
            .iter()
            .enumerate()
            .map(|(i, row)| last.get(i)?.narrow(0, self.end_position(row), 1));
        let rows = rows.collect::<candle_core::Result<Vec<_>>>()?;
        let pooled = Tensor::cat(&rows, 0)?;
        Ok(match &self.text_projection {
            Some(projection) => projection.forward(&pooled)?,
            None => pooled,
        })
    }

    fn end_position(&self, row: &[u32]) -> usize {
        let end = if self.config.eos_token_id == 2 {
            row.iter().copied().max().unwrap_or(0)
        } else {
            self.config.eos_token_id
        };
        row.iter().position(|id| *id == end).unwrap_or(0)
    }
}
