//! The U-Net's blocks: ResNets with attention between them, down, in the middle and up.

use candle_core::Tensor;
use laioncele_nn::Weights;

use super::config::{Level, UNetConfig};
use super::image_attention::{ImageRows, KeyValue};
use super::transformer::{Transformer, TransformerConfig};
use crate::error::Result;
use crate::layers::{Conv2d, ResNet, ResNetConfig};
use crate::ops;

/// A block of the U-Net, down, mid or up.
#[derive(Debug)]
pub(super) struct Block {
    pub resnets: Vec<ResNet>,
    /// One per ResNet, or none.
    pub attentions: Vec<Transformer>,
    /// To the next block: a stride-2 convolution going down, one after upsampling going up.
    resample: Option<Conv2d>,
}

/// What a forward pass takes of the conditioning, used up in the U-Net's order.
pub(super) struct Pass<'a> {
    biases: std::slice::Iter<'a, Tensor>,
    key_values: &'a [KeyValue],
    image: Option<ImageRows<'a>>,
}

impl<'a> Pass<'a> {
    /// From the timestep's bias of every ResNet, and the keys and values of every cross-attention,
    /// of which there are none where all texts are zeros; `image` of those that also see photos.
    pub(super) fn new(
        biases: &'a [Tensor],
        key_values: &'a [KeyValue],
        image: Option<ImageRows<'a>>,
    ) -> Self {
        Self {
            biases: biases.iter(),
            key_values,
            image,
        }
    }

    fn resnet(&mut self, resnet: &ResNet, x: &Tensor) -> Result<Tensor> {
        resnet.forward(x, self.biases.next())
    }

    /// The block's attention after its ResNet `i`, if it has one.
    fn attend(&mut self, block: &Block, i: usize, x: Tensor) -> Result<Tensor> {
        let Some(transformer) = block.attentions.get(i) else {
            return Ok(x);
        };
        let depth = transformer.depth().min(self.key_values.len());
        let (texts, rest) = self.key_values.split_at(depth);
        self.key_values = rest;
        let image = self.image.as_mut();
        let image = image.map(|image| image.take(transformer.depth()));
        transformer.forward(&x, texts, image)
    }
}

impl Block {
    /// Going down; pushes what the way up is joined with.
    pub(super) fn down(
        &self,
        mut x: Tensor,
        skips: &mut Vec<Tensor>,
        pass: &mut Pass<'_>,
    ) -> Result<Tensor> {
        for (i, resnet) in self.resnets.iter().enumerate() {
            x = pass.resnet(resnet, &x)?;
            x = pass.attend(self, i, x)?;
            skips.push(x.clone());
        }
        if let Some(downsampler) = &self.resample {
            x = downsampler.forward(&x)?;
            skips.push(x.clone());
        }
        Ok(x)
    }

    /// A ResNet, attention, a ResNet.
    pub(super) fn mid(&self, x: &Tensor, pass: &mut Pass<'_>) -> Result<Tensor> {
        let x = pass.resnet(&self.resnets[0], x)?;
        let x = pass.attend(self, 0, x)?;
        pass.resnet(&self.resnets[1], &x)
    }

    /// Going up, joined with what the way down pushed. With `uneven` sizes the next block's size is
    /// that of its skip instead of the double.
    pub(super) fn up(
        &self,
        mut x: Tensor,
        skips: &mut Vec<Tensor>,
        uneven: bool,
        pass: &mut Pass<'_>,
    ) -> Result<Tensor> {
        for (i, resnet) in self.resnets.iter().enumerate() {
            let skip = skips
                .pop()
                .ok_or_else(|| candle_core::Error::Msg("more ResNets than skips".into()))?;
            x = pass.resnet(resnet, &Tensor::cat(&[&x, &skip], 1)?)?;
            x = pass.attend(self, i, x)?;
        }
        let Some(upsampler) = &self.resample else {
            return Ok(x);
        };
        let (.., height, width) = x.dims4()?;
        let (height, width) = match skips.last() {
            Some(skip) if uneven => (skip.dim(2)?, skip.dim(3)?),
            _ => (2 * height, 2 * width),
        };
        upsampler.forward(&ops::upsample_nearest(&x, height, width)?)
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
    /// `resnets.0…` and `attentions.0…` below `w`, then what `resample` loads: names and shapes are
    /// listed in the order of loading.
    fn load(
        &self,
        w: &Weights,
        config: &UNetConfig,
        resample: impl FnOnce() -> Option<Result<Conv2d>>,
    ) -> Result<Block> {
        let channels = self.level.channels;
        let resnet_config = ResNetConfig {
            groups: config.groups,
            eps: config.eps,
            time: Some(config.time_embed_dim),
        };
        let resnet = |(j, input): (usize, &usize)| {
            let w = w.pp(format_args!("resnets.{j}"));
            ResNet::load(&w, *input, channels, &resnet_config)
        };
        let transformer_config = TransformerConfig {
            channels,
            heads: self.level.heads,
            context: config.cross_attention_dim,
            groups: config.groups,
            linear_projection: config.use_linear_projection,
        };
        let attention = |(j, depth): (usize, &usize)| {
            let w = w.pp(format_args!("attentions.{j}"));
            Transformer::load(&w, *depth, &transformer_config)
        };
        let resnets = self.inputs.iter().enumerate().map(resnet);
        let attentions = self.depths.iter().enumerate().map(attention);
        Ok(Block {
            resnets: resnets.collect::<Result<_>>()?,
            attentions: attentions.collect::<Result<_>>()?,
            resample: resample().transpose()?,
        })
    }
}

pub(super) fn load_down(config: &UNetConfig, w: &Weights) -> Result<Vec<Block>> {
    let load = |(i, (level, inputs)): (usize, (&Level, Vec<usize>))| {
        let w = w.pp(format_args!("down_blocks.{i}"));
        let block = BlockConfig {
            level,
            inputs,
            depths: level.down_depths.as_deref().unwrap_or_default(),
        };
        let last = i + 1 == config.levels.len();
        block.load(&w, config, || {
            (!last).then(|| Conv2d::halving(&w.pp("downsamplers.0.conv"), level.channels, 1))
        })
    };
    let levels = config.levels.iter().zip(config.down_inputs());
    levels.enumerate().map(load).collect()
}

pub(super) fn load_mid(config: &UNetConfig, w: &Weights) -> Result<Block> {
    let level = &config.levels[config.levels.len() - 1];
    let block = BlockConfig {
        level,
        inputs: vec![level.channels; 2],
        depths: &[config.mid_depth],
    };
    block.load(w, config, || None)
}

pub(super) fn load_up(config: &UNetConfig, w: &Weights) -> Result<Vec<Block>> {
    let load = |(i, (level, inputs)): (usize, (&Level, Vec<usize>))| {
        let w = w.pp(format_args!("up_blocks.{i}"));
        let block = BlockConfig {
            level,
            inputs,
            depths: level.up_depths.as_deref().unwrap_or_default(),
        };
        let (last, channels) = (i + 1 == config.levels.len(), level.channels);
        block.load(&w, config, || {
            (!last).then(|| Conv2d::same(&w.pp("upsamplers.0.conv"), channels, channels))
        })
    };
    let levels = config.levels.iter().rev().zip(config.up_inputs());
    levels.enumerate().map(load).collect()
}
