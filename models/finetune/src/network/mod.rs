//! SDXL's U-Net once more, every operation with its gradient: noisy latents, timesteps and texts to
//! predictions. Its numbers equal those of `laioncele_sdxl::UNet`; none of that one's short cuts
//! (rows of zeros, cached keys and values, biases of timesteps) is taken here.

pub(crate) mod layers;
pub(crate) mod recompute;
mod transformer;

use std::cell::RefCell;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use candle_core::{DType, Device, Tensor};
use laioncele_nn::{LoadOptions, Weights};
use laioncele_sdxl::{Level, Parts, TimeIds, UNetConfig, sinusoid};

use crate::error::{Error, Result};
use crate::ops::norm::Then;
use crate::ops::upsample::upsample_nearest;
use crate::parameters::{Build, Parameter, Place, Trained};
use layers::{Conv2d, GroupNorm, ResNet, ResNetConfig, TimestepEmbedding};
use recompute::Recomputing;
use transformer::{Transformer, TransformerConfig};

/// The weight files of a U-Net folder, without their extension.
const WEIGHTS: &str = "diffusion_pytorch_model";

/// How to load a U-Net that is to be trained.
#[derive(Debug, Clone)]
pub struct NetworkOptions {
    /// Where to compute.
    pub device: Device,
    /// In which type; what is trained is float32 whatever this is.
    pub dtype: DType,
    /// What is trained.
    pub trained: Trained,
    /// The seed of a LoRA's first numbers.
    pub seed: u64,
}

impl NetworkOptions {
    /// How the weights are read: in float32 if all of them are trained.
    fn load(&self) -> LoadOptions {
        LoadOptions {
            device: self.device.clone(),
            dtype: match self.trained {
                Trained::UNet => DType::F32,
                Trained::Lora { .. } => self.dtype,
            },
            ..LoadOptions::default()
        }
    }
}

/// A U-Net that can be trained.
#[derive(Debug)]
pub struct Network {
    config: UNetConfig,
    time_embedding: TimestepEmbedding,
    add_embedding: TimestepEmbedding,
    conv_in: Conv2d,
    down_blocks: Vec<Block>,
    mid_block: Block,
    up_blocks: Vec<Block>,
    conv_norm_out: GroupNorm,
    conv_out: Conv2d,
    parameters: Vec<Parameter>,
    options: NetworkOptions,
    files: Vec<PathBuf>,
}

/// A batch of the network's inputs; all rows have equally many numbers.
#[derive(Debug, Clone, Default)]
pub struct Inputs {
    /// Noisy latents [rows × channels × height × width].
    pub latents: Vec<f32>,
    /// Height and width of the latents.
    pub size: [usize; 2],
    /// One timestep per row.
    pub timesteps: Vec<f32>,
    /// Texts [rows × tokens × context width].
    pub context: Vec<f32>,
    /// Pooled vectors [rows × pooled width].
    pub pooled: Vec<f32>,
    /// Sizes and crop of each row.
    pub time_ids: Vec<TimeIds>,
}

impl Network {
    /// Loads `config.json` and the weights of `folder`, an SDXL folder's `unet`.
    ///
    /// # Errors
    /// Files that are missing, damaged or not supported; weights that do not fit.
    pub fn load(folder: &Path, options: &NetworkOptions) -> Result<Self> {
        let weights = Weights::open(folder, WEIGHTS, &options.load())?;
        Self::of_weights(UNetConfig::read(folder)?, weights, options)
    }

    /// Loads the U-Net of a model, whatever it is made of; LoRAs are merged into it.
    ///
    /// # Errors
    /// As [`Network::load`].
    pub fn of_parts(parts: &Parts, options: &NetworkOptions) -> Result<Self> {
        let weights = parts.unet_weights(&options.load())?;
        Self::of_weights(parts.unet_config()?, weights, options)
    }

    fn of_weights(config: UNetConfig, weights: Weights, options: &NetworkOptions) -> Result<Self> {
        let files = weights.files().map(Path::to_path_buf).collect();
        let build = Build {
            trained: options.trained,
            seed: options.seed,
            device: options.device.clone(),
            parameters: RefCell::default(),
        };
        let root = Place::root(&build, weights);
        let mut network = Self::build(config, &root, options, files)?;
        root.finish()?;
        drop(root);
        network.parameters = build.parameters.into_inner();
        Ok(network)
    }

    fn build(
        config: UNetConfig,
        w: &Place<'_>,
        options: &NetworkOptions,
        files: Vec<PathBuf>,
    ) -> Result<Self> {
        let (first, time) = (config.levels[0].channels, config.time_embed_dim);
        let joined = config.pooled_width + 6 * config.addition_time_embed_dim;
        let (groups, eps) = (config.groups, config.eps);
        Ok(Self {
            time_embedding: TimestepEmbedding::load(&w.pp("time_embedding"), first, time)?,
            add_embedding: TimestepEmbedding::load(&w.pp("add_embedding"), joined, time)?,
            conv_in: Conv2d::same(&w.pp("conv_in"), config.in_channels, first)?,
            down_blocks: load_down(&config, w)?,
            mid_block: load_mid(&config, &w.pp("mid_block"))?,
            up_blocks: load_up(&config, w)?,
            conv_norm_out: GroupNorm::load(&w.pp("conv_norm_out"), first, groups, eps)?,
            conv_out: Conv2d::same(&w.pp("conv_out"), first, config.out_channels)?,
            parameters: Vec::new(),
            options: options.clone(),
            config,
            files,
        })
    }

    /// Its shape.
    pub fn config(&self) -> &UNetConfig {
        &self.config
    }

    /// How it was loaded.
    pub fn options(&self) -> &NetworkOptions {
        &self.options
    }

    /// The weight files that were read.
    pub fn files(&self) -> &[PathBuf] {
        &self.files
    }

    /// What is trained, in the order of the U-Net's modules.
    pub fn parameters(&self) -> &[Parameter] {
        &self.parameters
    }

    /// The parameter of this name.
    ///
    /// # Errors
    /// [`Error::Parameter`]
    pub fn parameter(&self, name: &str) -> Result<&Parameter> {
        let mut parameters = self.parameters.iter();
        let found = parameters.find(|parameter| parameter.name == name);
        found.ok_or_else(|| Error::Parameter {
            name: name.into(),
            count: 0,
        })
    }

    /// Predictions [rows × channels × height × width], row by row.
    ///
    /// # Errors
    /// Sizes that do not fit; a tensor operation that failed.
    pub fn predict(&self, inputs: &Inputs) -> Result<Vec<f32>> {
        let output = self.forward(inputs, None)?;
        Ok(output.to_dtype(DType::F32)?.flatten_all()?.to_vec1()?)
    }

    /// Predictions as the tensor that gradients come from.
    pub(crate) fn forward(
        &self,
        inputs: &Inputs,
        recomputing: Option<&Recomputing>,
    ) -> Result<Tensor> {
        let config = &self.config;
        let (rows, [height, width]) = (inputs.timesteps.len(), inputs.size);
        let image = config.in_channels * height * width;
        Error::check_size("the latents", inputs.latents.len(), rows * image)?;
        let (context_width, length) = (config.cross_attention_dim, inputs.context.len());
        let tokens = length / (rows * context_width).max(1);
        Error::check_size("the context", length, rows * tokens * context_width)?;
        let shape = (rows, config.in_channels, height, width);
        let context = self.tensor(&inputs.context, (rows, tokens, context_width))?;
        let mut pass = Pass {
            time: self.time(inputs)?,
            context,
            recomputing,
        };
        let factor = 1usize << (config.levels.len() - 1);
        // Sizes that do not halve evenly come back through the skips' sizes instead of doubling.
        let uneven = !height.is_multiple_of(factor) || !width.is_multiple_of(factor);
        let mut x = self
            .conv_in
            .forward(&self.tensor(&inputs.latents, shape)?)?;
        let mut skips = vec![x.clone()];
        for block in &self.down_blocks {
            x = block.down(x, &mut skips, &mut pass)?;
        }
        x = self.mid_block.mid(x, &mut pass)?;
        for block in &self.up_blocks {
            x = block.up(x, &mut skips, uneven, &mut pass)?;
        }
        let x = self.conv_norm_out.forward(&x, Then::Silu)?;
        self.conv_out.forward(&x)
    }

    /// The activated time embedding [rows × time width].
    fn time(&self, inputs: &Inputs) -> Result<Tensor> {
        let config = &self.config;
        let rows = inputs.timesteps.len();
        let first = config.levels[0].channels;
        Error::check_size(
            "the pooled vectors",
            inputs.pooled.len(),
            rows * config.pooled_width,
        )?;
        Error::check_size("the sizes", inputs.time_ids.len(), rows)?;
        let times = inputs.timesteps.iter();
        let times: Vec<f32> = times.flat_map(|t| sinusoid(*t, first, config)).collect();
        let mut joined = Vec::new();
        for (pooled, ids) in inputs
            .pooled
            .chunks_exact(config.pooled_width)
            .zip(&inputs.time_ids)
        {
            joined.extend_from_slice(pooled);
            for id in ids {
                joined.extend(sinusoid(*id, config.addition_time_embed_dim, config));
            }
        }
        let width = config.pooled_width + 6 * config.addition_time_embed_dim;
        let times = self.tensor(&times, (rows, first))?;
        let joined = self.tensor(&joined, (rows, width))?;
        let embedded = self.time_embedding.forward(&times)?;
        Ok((embedded + self.add_embedding.forward(&joined)?)?.silu()?)
    }

    fn tensor(&self, values: &[f32], shape: impl Into<candle_core::Shape>) -> Result<Tensor> {
        let NetworkOptions { device, dtype, .. } = &self.options;
        Ok(Tensor::from_slice(values, shape, device)?.to_dtype(*dtype)?)
    }
}

/// What a forward pass brings to every block.
struct Pass<'a> {
    time: Tensor,
    context: Tensor,
    recomputing: Option<&'a Recomputing>,
}

impl Pass<'_> {
    fn resnet(&self, resnet: &Arc<ResNet>, x: &Tensor) -> Result<Tensor> {
        let Some(recomputing) = self.recomputing else {
            return resnet.forward(x, &self.time);
        };
        let resnet = resnet.clone();
        let segment = move |x: &Tensor, time: &Tensor| resnet.forward(x, time).map_err(inner);
        Ok(recomputing.run(x, &self.time, Arc::new(segment))?)
    }

    fn transformer(&self, transformer: &Arc<Transformer>, x: &Tensor) -> Result<Tensor> {
        let Some(recomputing) = self.recomputing else {
            return transformer.forward(x, &self.context);
        };
        let transformer = transformer.clone();
        let segment =
            move |x: &Tensor, context: &Tensor| transformer.forward(x, context).map_err(inner);
        Ok(recomputing.run(x, &self.context, Arc::new(segment))?)
    }
}

/// An error on its way through candle.
fn inner(error: Error) -> candle_core::Error {
    match error {
        Error::Candle(error) => error,
        other => candle_core::Error::Msg(other.to_string()),
    }
}

/// A block of the U-Net, down, mid or up.
#[derive(Debug)]
struct Block {
    resnets: Vec<Arc<ResNet>>,
    /// One per ResNet, or none.
    attentions: Vec<Arc<Transformer>>,
    /// To the next block: a stride-2 convolution going down, one after upsampling going up.
    resample: Option<Conv2d>,
}

impl Block {
    fn layer(&self, i: usize, x: &Tensor, pass: &Pass<'_>) -> Result<Tensor> {
        let x = pass.resnet(&self.resnets[i], x)?;
        match self.attentions.get(i) {
            Some(transformer) => pass.transformer(transformer, &x),
            None => Ok(x),
        }
    }

    /// Going down; pushes what the way up is joined with.
    fn down(&self, mut x: Tensor, skips: &mut Vec<Tensor>, pass: &mut Pass<'_>) -> Result<Tensor> {
        for i in 0..self.resnets.len() {
            x = self.layer(i, &x, pass)?;
            skips.push(x.clone());
        }
        if let Some(downsampler) = &self.resample {
            x = downsampler.forward(&x)?;
            skips.push(x.clone());
        }
        Ok(x)
    }

    /// A ResNet, attention, a ResNet.
    fn mid(&self, x: Tensor, pass: &mut Pass<'_>) -> Result<Tensor> {
        let x = self.layer(0, &x, pass)?;
        pass.resnet(&self.resnets[1], &x)
    }

    /// Going up, joined with what the way down pushed.
    fn up(
        &self,
        mut x: Tensor,
        skips: &mut Vec<Tensor>,
        uneven: bool,
        pass: &mut Pass<'_>,
    ) -> Result<Tensor> {
        for i in 0..self.resnets.len() {
            let skip = skips
                .pop()
                .ok_or_else(|| candle_core::Error::Msg("more ResNets than skips".into()))?;
            x = self.layer(i, &Tensor::cat(&[&x, &skip], 1)?, pass)?;
        }
        let Some(upsampler) = &self.resample else {
            return Ok(x);
        };
        let (.., height, width) = x.dims4()?;
        let (height, width) = match skips.last() {
            Some(skip) if uneven => (skip.dim(2)?, skip.dim(3)?),
            _ => (2 * height, 2 * width),
        };
        upsampler.forward(&upsample_nearest(&x, height, width)?)
    }
}

/// A block as its weights are named, down, mid or up alike.
struct BlockConfig<'a> {
    level: &'a Level,
    /// Channels that each ResNet takes.
    inputs: Vec<usize>,
    /// Transformer depths, one for each ResNet that attention follows.
    depths: &'a [usize],
}

impl BlockConfig<'_> {
    fn load(&self, w: &Place<'_>, config: &UNetConfig, resample: Option<Conv2d>) -> Result<Block> {
        let channels = self.level.channels;
        let resnet_config = ResNetConfig {
            groups: config.groups,
            eps: config.eps,
            time: config.time_embed_dim,
        };
        let transformer_config = TransformerConfig {
            channels,
            heads: self.level.heads,
            context: config.cross_attention_dim,
            groups: config.groups,
            linear_projection: config.use_linear_projection,
        };
        let mut resnets = Vec::new();
        for (j, input) in self.inputs.iter().enumerate() {
            let w = w.pp(format_args!("resnets.{j}"));
            let resnet = ResNet::load(&w, *input, channels, resnet_config)?;
            resnets.push(Arc::new(resnet));
        }
        let mut attentions = Vec::new();
        for (j, depth) in self.depths.iter().enumerate() {
            let w = w.pp(format_args!("attentions.{j}"));
            let transformer = Transformer::load(&w, *depth, &transformer_config)?;
            attentions.push(Arc::new(transformer));
        }
        Ok(Block {
            resnets,
            attentions,
            resample,
        })
    }
}

fn load_down(config: &UNetConfig, w: &Place<'_>) -> Result<Vec<Block>> {
    let load = |(i, (level, inputs)): (usize, (&Level, Vec<usize>))| {
        let w = w.pp(format_args!("down_blocks.{i}"));
        let last = i + 1 == config.levels.len();
        let resample = (!last)
            .then(|| Conv2d::halving(&w.pp("downsamplers.0.conv"), level.channels))
            .transpose()?;
        let block = BlockConfig {
            level,
            inputs,
            depths: level.down_depths.as_deref().unwrap_or_default(),
        };
        block.load(&w, config, resample)
    };
    let levels = config.levels.iter().zip(config.down_inputs());
    levels.enumerate().map(load).collect()
}

fn load_mid(config: &UNetConfig, w: &Place<'_>) -> Result<Block> {
    let level = &config.levels[config.levels.len() - 1];
    let block = BlockConfig {
        level,
        inputs: vec![level.channels; 2],
        depths: &[config.mid_depth],
    };
    block.load(w, config, None)
}

fn load_up(config: &UNetConfig, w: &Place<'_>) -> Result<Vec<Block>> {
    let load = |(i, (level, inputs)): (usize, (&Level, Vec<usize>))| {
        let w = w.pp(format_args!("up_blocks.{i}"));
        let (last, channels) = (i + 1 == config.levels.len(), level.channels);
        let resample = (!last)
            .then(|| Conv2d::same(&w.pp("upsamplers.0.conv"), channels, channels))
            .transpose()?;
        let block = BlockConfig {
            level,
            inputs,
            depths: level.up_depths.as_deref().unwrap_or_default(),
        };
        block.load(&w, config, resample)
    };
    let levels = config.levels.iter().rev().zip(config.up_inputs());
    levels.enumerate().map(load).collect()
}
