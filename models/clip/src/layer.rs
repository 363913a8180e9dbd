//! What CLIP's text and image towers share: the residual layer, and where their configuration is.

use std::path::{Path, PathBuf};

use candle_core::Tensor;
use serde::de::DeserializeOwned;
use serde_json::Value;

use laioncele_nn::config::JsonFile;
use laioncele_nn::layers::{Activation, LayerNorm, Linear};
use laioncele_nn::ops;
use laioncele_nn::{LoadOptions, Result, Weights};

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

/// The weight files of a tower, without their extension.
const WEIGHTS: &str = "model";

/// A tower's weights.
pub(crate) fn open_weights(folder: &Path, options: &LoadOptions) -> Result<Weights> {
    Weights::open(folder, WEIGHTS, options)
}

/// The files that loading a tower reads.
pub(crate) fn tower_files(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut files = Weights::files_read(folder, WEIGHTS, LoadOptions::default().variant)?;
    files.push(config_file(folder));
    Ok(files)
}

fn config_file(folder: &Path) -> PathBuf {
    folder.join("config.json")
}

/// The configuration of a tower: a `config.json` of its own, or a section of a whole CLIPModel's.
pub(crate) trait TowerConfig: DeserializeOwned {
    /// Its key in a whole CLIPModel's file.
    const SECTION: &'static str;

    /// Takes the width that a whole CLIPModel gives both of its towers.
    fn set_projection(&mut self, width: usize);

    /// Refuses what cannot be.
    fn check(&self, json: &JsonFile) -> Result<()>;

    /// Reads `folder/config.json`, and whether it is a whole CLIPModel's.
    fn read(folder: &Path) -> Result<(Self, bool)> {
        Self::of(&JsonFile::read(&config_file(folder))?)
    }

    /// The configuration of a file, and whether it is a whole CLIPModel's.
    fn of(json: &JsonFile) -> Result<(Self, bool)> {
        let whole = json.get(Self::SECTION).is_some();
        let mut config: Self = match whole {
            true => json.parse_section(Self::SECTION)?,
            false => json.parse()?,
        };
        let width = json.get("projection_dim").and_then(Value::as_u64);
        if let Some(width) = width.filter(|_| whole) {
            config.set_projection(usize::try_from(width).unwrap_or(usize::MAX));
        }
        config.check(json)?;
        Ok((config, whole))
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
