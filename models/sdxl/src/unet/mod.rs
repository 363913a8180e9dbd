//! SDXL's U-Net: noisy latents, a timestep and a text to the model's prediction.
//!
//! What does not change during a run is computed before it: [`UNet::condition`] the text's keys and
//! values and the added condition, [`UNet::step_table`] what each timestep adds to every ResNet.

mod blocks;
mod config;
mod embeddings;
mod image_attention;
mod transformer;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use candle_core::{DType, Device, Tensor};
use laioncele_nn::layers::silu;
use laioncele_nn::{LoadOptions, Shapes, Weights};

use crate::error::{Error, Result};
use crate::folder::{self, WEIGHTS};
use crate::layers::{Conv2d, GroupNorm};
use blocks::{Block, Pass};
pub use config::{Level, UNetConfig};
use embeddings::TimestepEmbedding;
pub use embeddings::sinusoid;
use image_attention::KeyValue;

pub use image_attention::{CrossAttention, ImageAttention, ImageKeyValue, ImageLayer};

/// [original height, original width, crop top, crop left, target height, target width], in pixels.
pub type TimeIds = [f32; 6];

/// What a run's texts and sizes come to, for a fixed batch of rows.
#[derive(Debug)]
pub struct Conditioning {
    /// One for each cross-attention, in the U-Net's order, of the rows after `zeros`; empty if
    /// there are none.
    key_values: Vec<KeyValue>,
    /// The first rows whose context is zeros: their cross-attention needs no keys and values.
    zeros: usize,
    /// The added condition [rows, time embedding width].
    added: Tensor,
    /// What the rows see of photos, and how many of them, the first, see none.
    image: Option<(Arc<ImageAttention>, usize)>,
}

impl Conditioning {
    /// A batch whose row i has the texts of row `rows[i]` here: what several images share is
    /// computed once.
    ///
    /// Photos are given to what comes of it ([`UNet::see`]).
    ///
    /// # Errors
    /// A row whose text is zeros after one whose is not: unconditional embeddings come first, and no encoder
    /// gives zeros for another.
    pub fn select_rows(&self, rows: &[usize]) -> Result<Self> {
        let zeros = rows.iter().take_while(|row| **row < self.zeros).count();
        let device = self.added.device();
        let index = |rows: &[usize], less: usize| {
            let numbers = rows
                .iter()
                .map(|row| row.checked_sub(less).map(|r| r as u32));
            let numbers: Option<Vec<u32>> = numbers.collect();
            let numbers = numbers.ok_or_else(|| {
                candle_core::Error::Msg("rows with a text of zeros come first".into())
            })?;
            Tensor::from_vec(numbers, rows.len(), device)
        };
        let texts = &rows[zeros..];
        let key_values = match texts.is_empty() {
            true => Vec::new(),
            false => {
                let texts = index(texts, self.zeros)?;
                let selected = self.key_values.iter().map(|text| text.select(&texts));
                selected.collect::<Result<_>>()?
            }
        };
        Ok(Self {
            key_values,
            zeros,
            added: self.added.index_select(&index(rows, 0)?, 0)?,
            image: None,
        })
    }
}

/// What one timestep adds to every ResNet's channels, each [batch, channels], in the U-Net's order.
#[derive(Debug)]
pub struct StepBiases(Vec<Tensor>);

/// SDXL's U-Net.
#[derive(Debug)]
pub struct UNet {
    config: UNetConfig,
    time_embedding: TimestepEmbedding,
    add_embedding: TimestepEmbedding,
    conv_in: Conv2d,
    down_blocks: Vec<Block>,
    mid_block: Block,
    up_blocks: Vec<Block>,
    conv_norm_out: GroupNorm,
    conv_out: Conv2d,
    device: Device,
    dtype: DType,
    files: Vec<PathBuf>,
}

impl UNet {
    /// Loads `config.json` and `diffusion_pytorch_model.safetensors` of `folder`.
    ///
    /// # Errors
    /// A configuration or weight file that is missing, damaged or not supported; weights that do
    /// not fit the configuration.
    pub fn load(folder: &Path, options: &LoadOptions) -> Result<Self> {
        let config = UNetConfig::read(folder)?;
        let weights = Weights::open(folder, WEIGHTS, options)?;
        Self::of_weights(config, &weights, options)
    }

    /// A U-Net of weights from anywhere; one file of them is how few-step U-Nets such as
    /// SDXL-Lightning are published.
    ///
    /// # Errors
    /// As [`UNet::load`].
    pub(crate) fn of_weights(
        config: UNetConfig,
        w: &Weights,
        options: &LoadOptions,
    ) -> Result<Self> {
        let unet = Self::build(config, w, options)?;
        w.finish(&[])?;
        Ok(unet)
    }

    /// The files that [`UNet::load`] reads.
    ///
    /// # Errors
    /// A folder without weights, an index that cannot be read.
    pub fn files_read(folder: &Path) -> Result<Vec<PathBuf>> {
        folder::files_read(folder)
    }

    /// The tensors that `config.json` of `folder` asks for; the weights need not be there.
    ///
    /// # Errors
    /// A configuration that is missing, damaged or not supported.
    pub fn shapes(folder: &Path) -> Result<Shapes> {
        Self::shapes_of(&UNetConfig::read(folder)?)
    }

    /// The tensors that a configuration asks for.
    pub(crate) fn shapes_of(config: &UNetConfig) -> Result<Shapes> {
        let w = Weights::none();
        Self::build(config.clone(), &w, &LoadOptions::default())?;
        Ok(w.wanted())
    }

    fn build(config: UNetConfig, w: &Weights, options: &LoadOptions) -> Result<Self> {
        let first = config.levels[0].channels;
        let time = config.time_embed_dim;
        let joined = config.pooled_width + 6 * config.addition_time_embed_dim;
        Ok(Self {
            time_embedding: TimestepEmbedding::load(&w.pp("time_embedding"), first, time)?,
            add_embedding: TimestepEmbedding::load(&w.pp("add_embedding"), joined, time)?,
            conv_in: Conv2d::same(&w.pp("conv_in"), config.in_channels, first)?,
            down_blocks: blocks::load_down(&config, w)?,
            mid_block: blocks::load_mid(&config, &w.pp("mid_block"))?,
            up_blocks: blocks::load_up(&config, w)?,
            conv_norm_out: GroupNorm::load(
                &w.pp("conv_norm_out"),
                first,
                config.groups,
                config.eps,
            )?,
            conv_out: Conv2d::same(&w.pp("conv_out"), first, config.out_channels)?,
            device: options.device.clone(),
            dtype: options.dtype,
            files: w.files().map(Path::to_path_buf).collect(),
            config,
        })
    }

    /// Channels of the latents.
    pub fn channels(&self) -> usize {
        self.config.in_channels
    }

    /// Whether input and output have equally many channels: true unless this is an inpainting
    /// U-Net.
    pub fn is_plain(&self) -> bool {
        self.config.in_channels == self.config.out_channels
    }

    /// Edge of the latents that the U-Net was trained on, if the configuration says so.
    pub fn sample_size(&self) -> Option<usize> {
        self.config.sample_size
    }

    /// Width of a text token.
    pub fn context_width(&self) -> usize {
        self.config.cross_attention_dim
    }

    /// Width of the pooled vector.
    pub fn pooled_width(&self) -> usize {
        self.config.pooled_width
    }

    /// The weight files that were read.
    pub fn files(&self) -> &[PathBuf] {
        &self.files
    }

    /// The texts of a batch: `context` [rows × tokens × context width] and `pooled` [rows × pooled
    /// width], one after the other, with each row's sizes.
    ///
    /// # Errors
    /// [`Error::Size`], or a tensor operation that failed.
    pub fn condition(
        &self,
        context: &[f32],
        pooled: &[f32],
        time_ids: &[TimeIds],
    ) -> Result<Conditioning> {
        let (rows, width) = (time_ids.len(), self.config.cross_attention_dim);
        let tokens = context.len() / (rows * width).max(1);
        Error::check_size("the context", context.len(), rows * tokens * width)?;
        Error::check_size(
            "the pooled vectors",
            pooled.len(),
            rows * self.config.pooled_width,
        )?;
        let texts = context.chunks_exact((tokens * width).max(1));
        let zeros = texts
            .take_while(|text| text.iter().all(|v| *v == 0.0))
            .count();
        let mut key_values = Vec::new();
        if zeros < rows {
            let context = &context[zeros * tokens * width..];
            let context = self.tensor(context, (rows - zeros, tokens, width))?;
            for transformer in self.blocks().flat_map(|block| &block.attentions) {
                key_values.extend(transformer.key_values(&context)?);
            }
        }
        let added = self.added_condition(pooled, time_ids)?;
        Ok(Conditioning {
            key_values,
            zeros,
            added,
            image: None,
        })
    }

    /// The cross-attentions in the order of the forward pass: down, middle, up.
    pub fn cross_attentions(&self) -> Vec<CrossAttention> {
        let levels = self.config.levels.iter().enumerate();
        let up = self.config.levels.iter().rev().enumerate();
        let named = |kind: &str, i: usize| format!("{kind}_blocks.{i}");
        let down = levels.map(|(i, l)| (named("down", i), l, l.down_depths.as_deref()));
        let up = up.map(|(i, l)| (named("up", i), l, l.up_depths.as_deref()));
        let mid_depth = [self.config.mid_depth];
        let last = &self.config.levels[self.config.levels.len() - 1];
        let mid = ("mid_block".to_owned(), last, Some(&mid_depth[..]));
        let mut attentions = Vec::new();
        for (block, level, depths) in down.chain([mid]).chain(up) {
            for (j, depth) in depths.unwrap_or_default().iter().enumerate() {
                attentions.extend((0..*depth).map(|k| CrossAttention {
                    name: format!("{block}.attentions.{j}.transformer_blocks.{k}.attn2"),
                    channels: level.channels,
                }));
            }
        }
        attentions
    }

    /// The conditioning of rows that also see photos: the first `null_rows` none, the others the
    /// person's. A scale of 0 leaves it as it is.
    ///
    /// # Errors
    /// [`Error::Size`] of an image attention that was made for another U-Net.
    pub fn see(
        &self,
        conditioning: Conditioning,
        image: &Arc<ImageAttention>,
        null_rows: usize,
    ) -> Result<Conditioning> {
        image.check(&self.cross_attentions(), self.dtype)?;
        Ok(Conditioning {
            image: (image.scale() != 0.0).then(|| (image.clone(), null_rows)),
            ..conditioning
        })
    }

    /// Adds `delta` (name, [out, in]) to the weights of the attentions' linear maps, which a LoRA
    /// changes: `delta` gives a float32 matrix for those that it knows by name
    /// (`down_blocks.1.attentions.0.transformer_blocks.0.attn1.to_q`, …, `…to_out.0`). Sums are
    /// rounded once, to the U-Net's type.
    ///
    /// # Errors
    /// What `delta` returns; a matrix of another shape.
    pub fn add_to_attentions<E: From<Error>>(
        &mut self,
        mut delta: impl FnMut(&str, [usize; 2]) -> std::result::Result<Option<Tensor>, E>,
    ) -> std::result::Result<(), E> {
        let down = self.down_blocks.iter_mut().enumerate();
        let up = self.up_blocks.iter_mut().enumerate();
        let down = down.map(|(i, block)| (format!("down_blocks.{i}"), block));
        let up = up.map(|(i, block)| (format!("up_blocks.{i}"), block));
        let blocks = down.chain([("mid_block".to_owned(), &mut self.mid_block)]);
        for (block_name, block) in blocks.chain(up) {
            for (j, transformer) in block.attentions.iter_mut().enumerate() {
                for (map_name, map) in transformer.attention_maps_mut() {
                    let name = format!("{block_name}.attentions.{j}.{map_name}");
                    if let Some(delta) = delta(&name, map.shape())? {
                        *map = map.plus(&delta).map_err(Error::from)?;
                    }
                }
            }
        }
        Ok(())
    }

    /// The type that it computes in.
    pub fn dtype(&self) -> DType {
        self.dtype
    }

    /// Where it computes.
    pub fn device(&self) -> &Device {
        &self.device
    }

    /// The added condition [rows, time embedding width] of pooled vectors and sizes.
    fn added_condition(&self, pooled: &[f32], time_ids: &[TimeIds]) -> Result<Tensor> {
        let config = &self.config;
        let columns = config.pooled_width + 6 * config.addition_time_embed_dim;
        let mut joined = Vec::with_capacity(time_ids.len() * columns);
        for (pooled, ids) in pooled.chunks_exact(config.pooled_width).zip(time_ids) {
            joined.extend_from_slice(pooled);
            for id in ids {
                joined.extend(sinusoid(*id, config.addition_time_embed_dim, config));
            }
        }
        let joined = self.tensor(&joined, (time_ids.len(), columns))?;
        self.add_embedding.forward(&joined)
    }

    /// What each of `timesteps` adds to the ResNets under `conditioning`.
    ///
    /// # Errors
    /// A tensor operation that failed.
    pub fn step_table(
        &self,
        timesteps: &[f64],
        conditioning: &Conditioning,
    ) -> Result<Vec<StepBiases>> {
        let (steps, rows) = (timesteps.len(), conditioning.added.dim(0)?);
        let first = self.config.levels[0].channels;
        let sinusoids: Vec<f32> = timesteps
            .iter()
            .flat_map(|t| sinusoid(*t as f32, first, &self.config))
            .collect();
        let times = self
            .time_embedding
            .forward(&self.tensor(&sinusoids, (steps, first))?)?;
        let embedded = times
            .unsqueeze(1)?
            .broadcast_add(&conditioning.added.unsqueeze(0)?)?;
        let activated = silu(&embedded.reshape((steps * rows, self.config.time_embed_dim))?)?;
        let biases = self
            .blocks()
            .flat_map(|block| &block.resnets)
            .map(|resnet| resnet.time_bias(&activated));
        let biases = biases.collect::<Result<Vec<_>>>()?;
        let step = |i: usize| {
            biases
                .iter()
                .map(|bias| bias.narrow(0, i * rows, rows))
                .collect::<candle_core::Result<_>>()
        };
        (0..steps).map(|i| Ok(StepBiases(step(i)?))).collect()
    }

    /// One prediction: sample [rows, channels, h, w] → the same shape.
    ///
    /// # Errors
    /// A tensor operation that failed.
    pub fn forward(
        &self,
        sample: &Tensor,
        step: &StepBiases,
        conditioning: &Conditioning,
    ) -> Result<Tensor> {
        let image = conditioning.image.as_ref();
        let image = image.map(|(image, null_rows)| image.rows(*null_rows));
        let mut pass = Pass::new(&step.0, &conditioning.key_values, image);
        let (.., height, width) = sample.dims4()?;
        let factor = 1usize << (self.config.levels.len() - 1);
        // Sizes that do not halve evenly come back through the skips' sizes instead of doubling.
        let uneven = !height.is_multiple_of(factor) || !width.is_multiple_of(factor);
        let mut x = self.conv_in.forward(sample)?;
        let mut skips = vec![x.clone()];
        for block in &self.down_blocks {
            x = block.down(x, &mut skips, &mut pass)?;
        }
        x = self.mid_block.mid(&x, &mut pass)?;
        for block in &self.up_blocks {
            x = block.up(x, &mut skips, uneven, &mut pass)?;
        }
        self.conv_out.forward(&self.conv_norm_out.forward_silu(&x)?)
    }

    /// All blocks in the order of the forward pass.
    fn blocks(&self) -> impl Iterator<Item = &Block> {
        self.down_blocks
            .iter()
            .chain([&self.mid_block])
            .chain(&self.up_blocks)
    }

    /// Host numbers as a tensor of the U-Net's type on its device.
    ///
    /// # Errors
    /// A shape of another number of values.
    pub fn tensor(&self, values: &[f32], shape: impl Into<candle_core::Shape>) -> Result<Tensor> {
        Ok(Tensor::from_slice(values, shape, &self.device)?.to_dtype(self.dtype)?)
    }
}
