//! SDXL's U-Net: noisy latents, a timestep and a text to the model's prediction.
//!
//! What does not change during a run is computed before it: [`UNet::condition`] the text's keys and values
//! and the added condition, [`UNet::step_table`] what each timestep adds to every ResNet.

mod config;
mod embeddings;
mod transformer;

use std::path::{Path, PathBuf};

use candle_core::{DType, Device, Tensor};
use laioncele_nn::layers::silu;
use laioncele_nn::{LoadOptions, Shapes, Weights};

use crate::error::{Error, Result};
use crate::layers::{Conv2d, GroupNorm, ResNet, ResNetConfig};
use crate::ops;
use config::{Level, UNetConfig};
use embeddings::{TimestepEmbedding, sinusoid};
use transformer::{KeyValue, Transformer, TransformerConfig};

/// [original height, original width, crop top, crop left, target height, target width], in pixels.
pub type TimeIds = [f32; 6];

/// What a run's texts and sizes come to, for a fixed batch of rows.
#[derive(Debug)]
pub struct Conditioning {
    /// One for each cross-attention, in the U-Net's order, of the rows after `zeros`; empty if there are none.
    key_values: Vec<KeyValue>,
    /// The first rows whose context is zeros: their cross-attention needs no keys and values.
    zeros: usize,
    /// The added condition [rows, time embedding width].
    added: Tensor,
}

impl Conditioning {
    /// A batch whose row i has the texts of row `rows[i]` here: what several images share is computed once.
    ///
    /// # Errors
    /// A row whose text is zeros after one whose is not: null texts come first, and no encoder gives zeros for another.
    pub fn spread(&self, rows: &[usize]) -> Result<Self> {
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

    /// The keys and values of the next `depth` cross-attentions; none where all texts are zeros.
    fn next<'a>(left: &mut &'a [KeyValue], depth: usize) -> &'a [KeyValue] {
        let (next, rest) = left.split_at(depth.min(left.len()));
        *left = rest;
        next
    }
}

/// What one timestep adds to every ResNet's channels, each [batch, channels], in the U-Net's order.
#[derive(Debug)]
pub struct StepBiases(Vec<Tensor>);

/// A level of the U-Net, down or up.
#[derive(Debug)]
struct Stage {
    resnets: Vec<ResNet>,
    /// One per ResNet, or none.
    attentions: Vec<Transformer>,
    /// To the next level: a stride-2 convolution going down, one after upsampling going up.
    resample: Option<Conv2d>,
}

/// SDXL's U-Net.
#[derive(Debug)]
pub struct UNet {
    config: UNetConfig,
    time_embedding: TimestepEmbedding,
    add_embedding: TimestepEmbedding,
    conv_in: Conv2d,
    down_blocks: Vec<Stage>,
    mid_block: Stage,
    up_blocks: Vec<Stage>,
    conv_norm_out: GroupNorm,
    conv_out: Conv2d,
    device: Device,
    dtype: DType,
    files: Vec<PathBuf>,
}

impl UNet {
    /// Loads `config.json` and `diffusion_pytorch_model.safetensors` of `folder`.
    pub fn load(folder: &Path, options: &LoadOptions) -> Result<Self> {
        let config = UNetConfig::read(folder)?;
        let w = Weights::open(folder, "diffusion_pytorch_model", options)?;
        Self::load_from(config, &w, options)
    }

    /// Loads `weights`, one safetensors file of a U-Net, under the `config.json` of `folder`: how few-step U-Nets such
    /// as SDXL-Lightning are published.
    pub fn load_file(weights: &Path, folder: &Path, options: &LoadOptions) -> Result<Self> {
        let config = UNetConfig::read(folder)?;
        let w = Weights::open_file(weights, options)?;
        Self::load_from(config, &w, options)
    }

    /// The tensors that `config.json` of `folder` asks for; the weights need not be there.
    pub fn shapes(folder: &Path) -> Result<Shapes> {
        let w = Weights::none();
        Self::build(UNetConfig::read(folder)?, &w, &LoadOptions::default())?;
        Ok(w.wanted())
    }

    fn load_from(config: UNetConfig, w: &Weights, options: &LoadOptions) -> Result<Self> {
        let unet = Self::build(config, w, options)?;
        w.finish(&[])?;
        Ok(unet)
    }

    fn build(config: UNetConfig, w: &Weights, options: &LoadOptions) -> Result<Self> {
        let first = config.levels[0].channels;
        let time = config.time_embed_dim;
        let joined = config.pooled_width + 6 * config.addition_time_embed_dim;
        Ok(Self {
            time_embedding: TimestepEmbedding::load(&w.pp("time_embedding"), first, time)?,
            add_embedding: TimestepEmbedding::load(&w.pp("add_embedding"), joined, time)?,
            conv_in: Conv2d::same(&w.pp("conv_in"), config.in_channels, first)?,
            down_blocks: load_down(&config, w)?,
            mid_block: load_mid(&config, &w.pp("mid_block"))?,
            up_blocks: load_up(&config, w)?,
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

    /// Whether input and output have equally many channels: true unless this is an inpainting U-Net.
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

    /// The texts of a batch: `context` [rows × tokens × context width] and `pooled` [rows × pooled width], one
    /// after the other, with each row's sizes.
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
            for transformer in self.stages().flat_map(|stage| &stage.attentions) {
                key_values.extend(transformer.key_values(&context)?);
            }
        }
        let mut joined = Vec::with_capacity(
            rows * (self.config.pooled_width + 6 * self.config.addition_time_embed_dim),
        );
        for (pooled, ids) in pooled.chunks_exact(self.config.pooled_width).zip(time_ids) {
            joined.extend_from_slice(pooled);
            ids.iter().for_each(|id| {
                joined.extend(sinusoid(
                    *id,
                    self.config.addition_time_embed_dim,
                    &self.config,
                ))
            });
        }
        let columns = joined.len() / rows.max(1);
        let added = self
            .add_embedding
            .forward(&self.tensor(&joined, (rows, columns))?)?;
        Ok(Conditioning {
            key_values,
            zeros,
            added,
        })
    }

    /// What each of `timesteps` adds to the ResNets under `conditioning`.
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
            .stages()
            .flat_map(|stage| &stage.resnets)
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
    pub fn forward(
        &self,
        sample: &Tensor,
        step: &StepBiases,
        conditioning: &Conditioning,
    ) -> Result<Tensor> {
        let mut biases = step.0.iter();
        let mut texts = conditioning.key_values.as_slice();
        let mut attend = |transformer: &Transformer, x: &Tensor| {
            transformer.forward(x, Conditioning::next(&mut texts, transformer.depth()))
        };
        let (.., height, width) = sample.dims4()?;
        let factor = 1usize << (self.config.levels.len() - 1);
        // Sizes that do not halve evenly come back through the skips' sizes instead of doubling.
        let uneven = !height.is_multiple_of(factor) || !width.is_multiple_of(factor);
        let mut x = self.conv_in.forward(sample)?;
        let mut skips = vec![x.clone()];
        for stage in &self.down_blocks {
            for (i, resnet) in stage.resnets.iter().enumerate() {
                x = resnet.forward(&x, biases.next())?;
                if let Some(attention) = stage.attentions.get(i) {
                    x = attend(attention, &x)?;
                }
                skips.push(x.clone());
            }
            if let Some(downsampler) = &stage.resample {
                x = downsampler.forward(&x)?;
                skips.push(x.clone());
            }
        }
        x = self.mid_block.resnets[0].forward(&x, biases.next())?;
        x = attend(&self.mid_block.attentions[0], &x)?;
        x = self.mid_block.resnets[1].forward(&x, biases.next())?;
        for stage in &self.up_blocks {
            for (i, resnet) in stage.resnets.iter().enumerate() {
                let skip = skips
                    .pop()
                    .ok_or_else(|| candle_core::Error::Msg("more ResNets than skips".into()))?;
                x = resnet.forward(&Tensor::cat(&[&x, &skip], 1)?, biases.next())?;
                if let Some(attention) = stage.attentions.get(i) {
                    x = attend(attention, &x)?;
                }
            }
            if let Some(upsampler) = &stage.resample {
                let (.., height, width) = x.dims4()?;
                let (height, width) = match skips.last() {
                    Some(skip) if uneven => (skip.dim(2)?, skip.dim(3)?),
                    _ => (2 * height, 2 * width),
                };
                x = upsampler.forward(&ops::upsample_nearest(&x, height, width)?)?;
            }
        }
        self.conv_out.forward(&self.conv_norm_out.forward_silu(&x)?)
    }

    /// All stages in the order of the forward pass.
    fn stages(&self) -> impl Iterator<Item = &Stage> {
        self.down_blocks
            .iter()
            .chain([&self.mid_block])
            .chain(&self.up_blocks)
    }

    /// Host numbers as a tensor of the U-Net's type on its device.
    pub fn tensor(&self, values: &[f32], shape: impl Into<candle_core::Shape>) -> Result<Tensor> {
        Ok(Tensor::from_slice(values, shape, &self.device)?.to_dtype(self.dtype)?)
    }
}

fn resnet_config(config: &UNetConfig) -> ResNetConfig {
    ResNetConfig {
        groups: config.groups,
        eps: config.eps,
        time: Some(config.time_embed_dim),
    }
}

fn transformer_config(config: &UNetConfig, level: &Level) -> TransformerConfig {
    TransformerConfig {
        channels: level.channels,
        heads: level.heads,
        context: config.cross_attention_dim,
        groups: config.groups,
        linear_projection: config.use_linear_projection,
    }
}

fn load_attentions(
    w: &Weights,
    depths: Option<&Vec<usize>>,
    config: &TransformerConfig,
) -> Result<Vec<Transformer>> {
    let depths = depths.into_iter().flatten().enumerate();
    depths
        .map(|(j, depth)| Transformer::load(&w.pp(format_args!("attentions.{j}")), *depth, config))
        .collect()
}

fn load_down(config: &UNetConfig, w: &Weights) -> Result<Vec<Stage>> {
    let mut input = config.levels[0].channels;
    let mut stages = Vec::new();
    for (i, level) in config.levels.iter().enumerate() {
        let w = w.pp(format_args!("down_blocks.{i}"));
        let mut resnets = Vec::new();
        for j in 0..level.layers {
            let w = w.pp(format_args!("resnets.{j}"));
            resnets.push(ResNet::load(
                &w,
                input,
                level.channels,
                &resnet_config(config),
            )?);
            input = level.channels;
        }
        let attentions = load_attentions(
            &w,
            level.down_depths.as_ref(),
            &transformer_config(config, level),
        )?;
        let resample = match i + 1 < config.levels.len() {
            true => Some(Conv2d::halving(
                &w.pp("downsamplers.0.conv"),
                level.channels,
                1,
            )?),
            false => None,
        };
        stages.push(Stage {
            resnets,
            attentions,
            resample,
        });
    }
    Ok(stages)
}

fn load_mid(config: &UNetConfig, w: &Weights) -> Result<Stage> {
    let level = &config.levels[config.levels.len() - 1];
    let resnet = |j: usize| {
        let w = w.pp(format_args!("resnets.{j}"));
        ResNet::load(&w, level.channels, level.channels, &resnet_config(config))
    };
    Ok(Stage {
        resnets: vec![resnet(0)?, resnet(1)?],
        attentions: load_attentions(
            w,
            Some(&vec![config.mid_depth]),
            &transformer_config(config, level),
        )?,
        resample: None,
    })
}

fn load_up(config: &UNetConfig, w: &Weights) -> Result<Vec<Stage>> {
    let mut skips = skip_channels(config);
    let mut input = config.levels[config.levels.len() - 1].channels;
    let mut stages = Vec::new();
    for (i, level) in config.levels.iter().rev().enumerate() {
        let w = w.pp(format_args!("up_blocks.{i}"));
        let mut resnets = Vec::new();
        for j in 0..level.layers + 1 {
            let joined = input + skips.pop().unwrap_or(0);
            let w = w.pp(format_args!("resnets.{j}"));
            resnets.push(ResNet::load(
                &w,
                joined,
                level.channels,
                &resnet_config(config),
            )?);
            input = level.channels;
        }
        let attentions = load_attentions(
            &w,
            level.up_depths.as_ref(),
            &transformer_config(config, level),
        )?;
        let resample = match i + 1 < config.levels.len() {
            true => Some(Conv2d::same(
                &w.pp("upsamplers.0.conv"),
                level.channels,
                level.channels,
            )?),
            false => None,
        };
        stages.push(Stage {
            resnets,
            attentions,
            resample,
        });
    }
    Ok(stages)
}

/// Channels of every tensor on the skip stack, in the order in which they are pushed.
fn skip_channels(config: &UNetConfig) -> Vec<usize> {
    let mut skips = vec![config.levels[0].channels];
    for (i, level) in config.levels.iter().enumerate() {
        let downsampled = usize::from(i + 1 < config.levels.len());
        skips.extend(std::iter::repeat_n(
            level.channels,
            level.layers + downsampled,
        ));
    }
    skips
}
