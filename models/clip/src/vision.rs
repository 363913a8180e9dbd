//! CLIP's image tower with its projection: preprocessed pixels to image embeddings.

use std::path::{Path, PathBuf};

use candle_core::{DType, Device, Tensor};
use serde::Deserialize;

use crate::layer::{Layer, LayerConfig, TowerConfig, open_weights, tower_files};
use laioncele_nn::Result;
use laioncele_nn::config::JsonFile;
use laioncele_nn::layers::{Activation, LayerNorm, Linear};
use laioncele_nn::{LoadOptions, Shapes, Weights};

/// `config.json` of a CLIPVisionModelWithProjection, or `vision_config` of a whole CLIPModel.
#[derive(Debug, Clone, Deserialize)]
#[serde(default)]
pub struct VisionConfig {
    /// Width of a token.
    pub hidden_size: usize,
    /// Width inside the feed-forward part.
    pub intermediate_size: usize,
    /// Layers.
    pub num_hidden_layers: usize,
    /// Heads; `hidden_size` is a multiple of it.
    pub num_attention_heads: usize,
    /// Colour channels.
    pub num_channels: usize,
    /// Edge of the square image, in pixels.
    pub image_size: usize,
    /// Edge of one patch, in pixels.
    pub patch_size: usize,
    /// Activation of the feed-forward part.
    pub hidden_act: Activation,
    /// Added to the variance by every layer norm.
    pub layer_norm_eps: f64,
    /// Width of the image embedding.
    pub projection_dim: usize,
}

impl Default for VisionConfig {
    /// The defaults of transformers' CLIPVisionConfig.
    fn default() -> Self {
        Self {
            hidden_size: 768,
            intermediate_size: 3072,
            num_hidden_layers: 12,
            num_attention_heads: 12,
            num_channels: 3,
            image_size: 224,
            patch_size: 32,
            hidden_act: Activation::QuickGelu,
            layer_norm_eps: 1e-5,
            projection_dim: 512,
        }
    }
}

impl VisionConfig {
    /// Reads the configuration of a tower that has a file of its own, of any name.
    ///
    /// # Errors
    /// A file that is missing, damaged or not supported.
    pub fn read_file(path: &Path) -> Result<Self> {
        let json = JsonFile::read(path)?;
        let config: Self = json.parse()?;
        config.check(&json)?;
        Ok(config)
    }

    /// Numbers of an image as the tower takes it: 3 × image_size × image_size.
    pub fn pixels(&self) -> usize {
        3 * self.image_size * self.image_size
    }

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

    fn patches_per_side(&self) -> usize {
        self.image_size / self.patch_size
    }
}

impl TowerConfig for VisionConfig {
    const SECTION: &'static str = "vision_config";

    fn set_projection(&mut self, width: usize) {
        self.projection_dim = width;
    }

    fn check(&self, json: &JsonFile) -> Result<()> {
        self.layers().check(json)?;
        json.check_count("num_channels", self.num_channels, 3)?;
        json.check_count("image_size", self.image_size, 4096)?;
        json.check_count("patch_size", self.patch_size, self.image_size)?;
        json.check_dimension("projection_dim", self.projection_dim)?;
        if self.num_channels != 3 {
            return Err(json.unsupported("num_channels", self.num_channels, "3"));
        }
        Ok(())
    }
}

/// What the image tower makes of one batch.
#[derive(Debug)]
pub struct VisionStates {
    /// The normed embeddings, then the output of every layer, each [batch, 1 + patches, hidden].
    pub hidden_states: Vec<Tensor>,
    /// The normed class token of the last of them [batch, hidden].
    pub pooled: Tensor,
    /// The projected class token [batch, projection_dim], not of unit length.
    pub image_embeds: Tensor,
}

impl VisionStates {
    /// The input of the last layer: what IP-Adapter's resampler reads.
    pub fn penultimate(&self) -> &Tensor {
        &self.hidden_states[self.hidden_states.len() - 2]
    }
}

/// CLIP's image tower with projection.
#[derive(Debug)]
pub struct VisionModel {
    config: VisionConfig,
    class_embedding: Tensor,
    patch_embedding: Linear,
    position_embedding: Tensor,
    pre_layrnorm: LayerNorm,
    layers: Vec<Layer>,
    post_layernorm: LayerNorm,
    visual_projection: Linear,
    files: Vec<PathBuf>,
    device: Device,
    dtype: DType,
}

impl VisionModel {
    /// Loads `config.json` and `model.safetensors` of `folder`: a CLIPVisionModelWithProjection or
    /// a whole CLIPModel.
    ///
    /// # Errors
    /// A configuration or weight file that is missing, damaged or not supported; weights that do
    /// not fit the configuration.
    pub fn load(folder: &Path, options: &LoadOptions) -> Result<Self> {
        let (config, whole) = VisionConfig::read(folder)?;
        let weights = open_weights(folder, options)?;
        let model = Self::build(config, &weights, options)?;
        weights.finish(if whole {
            &["text_model.", "text_projection.", "logit_scale"]
        } else {
            &[]
        })?;
        Ok(model)
    }

    /// From the tensors of another model's file, under the names of transformers
    /// (`vision_model.…`, `visual_projection.weight`). The caller ends the loading.
    ///
    /// # Errors
    /// A file that cannot be read.
    pub fn build(config: VisionConfig, w: &Weights, options: &LoadOptions) -> Result<Self> {
        let tower = w.pp("vision_model");
        let embeddings = tower.pp("embeddings");
        let (hidden, eps, patch) = (config.hidden_size, config.layer_norm_eps, config.patch_size);
        let tokens = 1 + config.patches_per_side().pow(2);
        // Stride equals kernel: the convolution is one linear map of every patch's pixels.
        let channels = config.num_channels;
        let patch_weight = embeddings.get_as(
            (hidden, channels, patch, patch),
            "patch_embedding.weight",
            (hidden, channels * patch * patch),
        )?;
        Ok(Self {
            class_embedding: embeddings.get(hidden, "class_embedding")?,
            patch_embedding: Linear::new(patch_weight, None),
            position_embedding: embeddings.get((tokens, hidden), "position_embedding.weight")?,
            pre_layrnorm: LayerNorm::load(&tower.pp("pre_layrnorm"), hidden, eps)?,
            layers: Layer::load_all(&tower, &config.layers())?,
            post_layernorm: LayerNorm::load(&tower.pp("post_layernorm"), hidden, eps)?,
            visual_projection: Linear::load_without_bias(
                &w.pp("visual_projection"),
                hidden,
                config.projection_dim,
            )?,
            files: w.files().map(Path::to_path_buf).collect(),
            device: options.device.clone(),
            dtype: options.dtype,
            config,
        })
    }

    /// The files that [`VisionModel::load`] reads.
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
    pub fn shapes(folder: &Path) -> Result<Shapes> {
        let (config, _) = VisionConfig::read(folder)?;
        let weights = Weights::none();
        Self::build(config, &weights, &LoadOptions::default())?;
        Ok(weights.wanted())
    }

    /// The configuration as read.
    pub fn config(&self) -> &VisionConfig {
        &self.config
    }

    /// The weight files that were read.
    pub fn files(&self) -> &[PathBuf] {
        &self.files
    }

    /// Whether the tower runs on a GPU.
    pub fn is_on_gpu(&self) -> bool {
        !self.device.is_cpu()
    }

    /// Runs the tower over images [3 × image_size × image_size] of preprocessed float32, one after
    /// the other in `pixels`.
    ///
    /// # Errors
    /// Pixels of another number, or a tensor operation that failed.
    pub fn forward(&self, pixels: &[f32]) -> Result<VisionStates> {
        let edge = self.config.image_size;
        let batch = pixels.len() / (3 * edge * edge);
        let pixels = Tensor::from_slice(pixels, (batch, 3, edge, edge), &self.device)?
            .to_dtype(self.dtype)?;
        let mut x = self.pre_layrnorm.forward(&self.embed(&pixels)?)?;
        let mut hidden_states = vec![x.clone()];
        for layer in &self.layers {
            x = layer.forward(&x, false)?;
            hidden_states.push(x.clone());
        }
        let class = x.narrow(1, 0, 1)?.squeeze(1)?.contiguous()?;
        let pooled = self.post_layernorm.forward(&class)?;
        let image_embeds = self.visual_projection.forward(&pooled)?;
        Ok(VisionStates {
            hidden_states,
            pooled,
            image_embeds,
        })
    }

    /// [batch, 3, edge, edge] → [batch, 1 + patches, hidden], the class token first, patches row by
    /// row.
    fn embed(&self, pixels: &Tensor) -> Result<Tensor> {
        let (batch, channels, ..) = pixels.dims4()?;
        let (side, patch, hidden) = (
            self.config.patches_per_side(),
            self.config.patch_size,
            self.config.hidden_size,
        );
        let used = side * patch;
        let pixels = pixels
            .narrow(2, 0, used)?
            .narrow(3, 0, used)?
            .contiguous()?;
        let patches = pixels
            .reshape((batch, channels, side, patch, side, patch))?
            .permute((0, 2, 4, 1, 3, 5))?;
        let patches =
            patches
                .contiguous()?
                .reshape((batch, side * side, channels * patch * patch))?;
        let tokens = self.patch_embedding.forward(&patches)?;
        let class = self.class_embedding.broadcast_as((batch, 1, hidden))?;
        Ok(Tensor::cat(&[&class.contiguous()?, &tokens], 1)?
            .broadcast_add(&self.position_embedding)?)
    }
}
