//! SDXL's U-Net: noisy latents, a timestep and a text to the model's prediction.
//!
//! What does not change during a run is computed before it: [`UNet::condition`] the text's keys and
//! values and the added condition, [`UNet::step_table`] what each timestep adds to every ResNet.

mod blocks;
mod config;
mod embeddings;
mod transformer;

use std::path::{Path, PathBuf};

use candle_core::{DType, Device, Tensor};
use laioncele_nn::layers::silu;
use laioncele_nn::{LoadOptions, Shapes, Weights};

use crate::error::{Error, Result};
use crate::folder::{self, WEIGHTS};
use crate::layers::{Conv2d, GroupNorm};
use blocks::{Block, Pass};
pub(crate) use config::UNetConfig;
use embeddings::{TimestepEmbedding, sinusoid};
use transformer::KeyValue;

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
}

impl Conditioning {
    /// A batch whose row i has the texts of row `rows[i]` here: what several images share is
    /// computed once.
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
        })
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
        let mut pass = Pass::new(&step.0, &conditioning.key_values);
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
