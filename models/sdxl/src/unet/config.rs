//! `unet/config.json`: what is read, what is refused.

use std::path::Path;

use laioncele_nn::config::JsonFile;
use serde::Deserialize;

use crate::error::Result;
use crate::folder::CONFIG;

/// A number for all levels, or one per level. A list always means levels, so that it is tried
/// first.
#[derive(Debug, Clone, Deserialize)]
#[serde(untagged)]
enum PerLevel<T> {
    Each(Vec<T>),
    One(T),
}

impl<T: Clone> PerLevel<T> {
    fn get(&self, level: usize) -> Option<T> {
        match self {
            Self::One(value) => Some(value.clone()),
            Self::Each(values) => values.get(level).cloned(),
        }
    }
}

/// Transformer blocks after a ResNet: one number for a whole level, or one per layer of it.
#[derive(Debug, Clone, Deserialize)]
#[serde(untagged)]
enum Depth {
    Level(usize),
    Layers(Vec<usize>),
}

impl Depth {
    /// The depths of `layers` layers.
    fn spread(&self, layers: usize) -> Option<Vec<usize>> {
        match self {
            Self::Level(depth) => Some(vec![*depth; layers]),
            Self::Layers(depths) => (depths.len() >= layers).then(|| depths[..layers].to_vec()),
        }
    }
}

/// The latents that a U-Net was trained on: one edge, or height and width.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(untagged)]
enum SampleSize {
    Edge(usize),
    HeightWidth([usize; 2]),
}

/// `unet/config.json` with diffusers' defaults for missing keys.
#[derive(Debug, Clone, Deserialize)]
#[serde(default)]
struct UNetJson {
    in_channels: usize,
    out_channels: usize,
    sample_size: Option<SampleSize>,
    block_out_channels: Vec<usize>,
    down_block_types: Vec<String>,
    up_block_types: Vec<String>,
    layers_per_block: PerLevel<usize>,
    transformer_layers_per_block: PerLevel<Depth>,
    reverse_transformer_layers_per_block: Option<Vec<Depth>>,
    attention_head_dim: PerLevel<usize>,
    cross_attention_dim: usize,
    use_linear_projection: bool,
    norm_num_groups: usize,
    norm_eps: f64,
    flip_sin_to_cos: bool,
    freq_shift: f64,
    time_embedding_dim: Option<usize>,
    addition_time_embed_dim: Option<usize>,
    projection_class_embeddings_input_dim: Option<usize>,
}

impl Default for UNetJson {
    fn default() -> Self {
        let names = |list: &[&str]| list.iter().map(ToString::to_string).collect();
        Self {
            in_channels: 4,
            out_channels: 4,
            sample_size: None,
            block_out_channels: vec![320, 640, 1280, 1280],
            down_block_types: names(&[
                "CrossAttnDownBlock2D",
                "CrossAttnDownBlock2D",
                "CrossAttnDownBlock2D",
                "DownBlock2D",
            ]),
            up_block_types: names(&[
                "UpBlock2D",
                "CrossAttnUpBlock2D",
                "CrossAttnUpBlock2D",
                "CrossAttnUpBlock2D",
            ]),
            layers_per_block: PerLevel::One(2),
            transformer_layers_per_block: PerLevel::One(Depth::Level(1)),
            reverse_transformer_layers_per_block: None,
            attention_head_dim: PerLevel::One(8),
            cross_attention_dim: 1280,
            use_linear_projection: false,
            norm_num_groups: 32,
            norm_eps: 1e-5,
            flip_sin_to_cos: true,
            freq_shift: 0.0,
            time_embedding_dim: None,
            addition_time_embed_dim: None,
            projection_class_embeddings_input_dim: None,
        }
    }
}

/// Keys whose other values are not implemented, with the accepted ones.
const FIXED: &[(&str, &[&str])] = &[
    ("_class_name", &["\"UNet2DConditionModel\""]),
    ("act_fn", &["\"silu\"", "\"swish\""]),
    ("addition_embed_type", &["\"text_time\""]),
    ("attention_type", &["\"default\""]),
    ("center_input_sample", &["false"]),
    ("class_embed_type", &["null"]),
    ("class_embeddings_concat", &["false"]),
    ("conv_in_kernel", &["3"]),
    ("conv_out_kernel", &["3"]),
    ("cross_attention_norm", &["null"]),
    ("downsample_padding", &["1"]),
    ("dual_cross_attention", &["false"]),
    ("encoder_hid_dim", &["null"]),
    ("encoder_hid_dim_type", &["null"]),
    ("mid_block_only_cross_attention", &["null", "false"]),
    ("mid_block_scale_factor", &["1"]),
    ("mid_block_type", &["\"UNetMidBlock2DCrossAttn\""]),
    ("num_attention_heads", &["null"]),
    ("num_class_embeds", &["null"]),
    ("only_cross_attention", &["false"]),
    ("resnet_out_scale_factor", &["1"]),
    ("resnet_skip_time_act", &["false"]),
    ("resnet_time_scale_shift", &["\"default\""]),
    ("time_cond_proj_dim", &["null"]),
    ("time_embedding_act_fn", &["null"]),
    ("time_embedding_type", &["\"positional\""]),
    ("timestep_post_act", &["null"]),
];

/// One resolution of the U-Net.
#[derive(Debug, Clone)]
pub struct Level {
    /// Channels of its ResNets and attentions.
    pub channels: usize,
    /// ResNets going down; going up there is one more.
    pub layers: usize,
    /// Attention heads.
    pub heads: usize,
    /// Transformer blocks per layer going down; `None` without attention.
    pub down_depths: Option<Vec<usize>>,
    /// Transformer blocks per layer (one more of them) going up; `None` without attention.
    pub up_depths: Option<Vec<usize>>,
}

/// A U-Net's shape, checked.
#[derive(Debug, Clone)]
pub struct UNetConfig {
    /// Channels of the latents that go in.
    pub in_channels: usize,
    /// Channels of the prediction.
    pub out_channels: usize,
    /// Edge of the latents that it was trained on.
    pub sample_size: Option<usize>,
    /// From the outermost resolution to the innermost.
    pub levels: Vec<Level>,
    /// Transformer blocks in the middle.
    pub mid_depth: usize,
    /// Width of a text token.
    pub cross_attention_dim: usize,
    /// Whether transformers project by a linear map, else by a 1 × 1 convolution.
    pub use_linear_projection: bool,
    /// Groups of the group norms.
    pub groups: usize,
    /// Their ε, in ResNets and at the end.
    pub eps: f64,
    /// Whether sinusoids begin with the cosines.
    pub flip_sin_to_cos: bool,
    /// What is taken off the sinusoids' divisor.
    pub freq_shift: f64,
    /// Width of the time embedding.
    pub time_embed_dim: usize,
    /// Width of each embedded size.
    pub addition_time_embed_dim: usize,
    /// Width of the pooled vector: the added condition's input less six embedded numbers.
    pub pooled_width: usize,
}

impl UNetConfig {
    /// Reads and checks `folder/config.json`.
    ///
    /// # Errors
    /// A configuration that is missing, damaged or not supported.
    pub fn read(folder: &Path) -> Result<Self> {
        Self::of(&JsonFile::read(&folder.join(CONFIG))?)
    }

    /// Checks a configuration.
    pub(crate) fn of(json: &JsonFile) -> Result<Self> {
        json.require_all(FIXED)?;
        if json.get("addition_embed_type").is_none() {
            return Err(json
                .unsupported("addition_embed_type", "null", "\"text_time\"")
                .into());
        }
        let config: UNetJson = json.parse()?;
        config.check(json)?;
        config.resolve(json)
    }

    /// Channels that the ResNets of each level take, going down.
    pub fn down_inputs(&self) -> Vec<Vec<usize>> {
        let mut input = self.levels[0].channels;
        let inputs = |level: &Level| {
            let mut inputs = vec![level.channels; level.layers];
            inputs[0] = std::mem::replace(&mut input, level.channels);
            inputs
        };
        self.levels.iter().map(inputs).collect()
    }

    /// The same going up, from the innermost level: each is joined with what the way down kept.
    pub fn up_inputs(&self) -> Vec<Vec<usize>> {
        let mut skips = self.skip_channels();
        let mut input = self.levels[self.levels.len() - 1].channels;
        let inputs = |level: &Level| {
            let mut joined =
                || std::mem::replace(&mut input, level.channels) + skips.pop().unwrap_or(0);
            (0..=level.layers).map(|_| joined()).collect()
        };
        self.levels.iter().rev().map(inputs).collect()
    }

    /// Channels of every tensor that the way down keeps, in its order.
    fn skip_channels(&self) -> Vec<usize> {
        let mut skips = vec![self.levels[0].channels];
        for (i, level) in self.levels.iter().enumerate() {
            let downsampled = usize::from(i + 1 < self.levels.len());
            skips.extend(std::iter::repeat_n(
                level.channels,
                level.layers + downsampled,
            ));
        }
        skips
    }
}

impl UNetJson {
    /// The edge of square latents; the longer one of others.
    fn edge(&self) -> Option<usize> {
        match self.sample_size? {
            SampleSize::Edge(edge) => Some(edge),
            SampleSize::HeightWidth([height, width]) => Some(height.max(width)),
        }
    }

    fn check(&self, json: &JsonFile) -> Result<()> {
        let levels = self.block_out_channels.len();
        json.check_count("block_out_channels", levels, 8)?;
        for (key, types) in [
            ("down_block_types", &self.down_block_types),
            ("up_block_types", &self.up_block_types),
        ] {
            if types.len() != levels {
                return Err(json
                    .unsupported(key, types.len(), &format!("{levels} types"))
                    .into());
            }
        }
        let dimensions = [
            ("in_channels", self.in_channels),
            ("out_channels", self.out_channels),
            ("cross_attention_dim", self.cross_attention_dim),
            ("sample_size", self.edge().unwrap_or(1)),
            ("time_embedding_dim", self.time_embedding_dim.unwrap_or(1)),
        ];
        dimensions
            .iter()
            .try_for_each(|(key, value)| json.check_dimension(key, *value))?;
        for channels in &self.block_out_channels {
            json.check_dimension("block_out_channels", *channels)?;
            json.check_multiple("block_out_channels", *channels, self.norm_num_groups)?;
        }
        Ok(json.check_multiple("block_out_channels", self.block_out_channels[0], 2)?)
    }

    fn resolve(self, json: &JsonFile) -> Result<UNetConfig> {
        let count = self.block_out_channels.len();
        let levels = (0..count)
            .map(|level| self.level(json, level))
            .collect::<Result<Vec<_>>>()?;
        let time_embed = self.addition_time_embed_dim.unwrap_or(0);
        json.check_dimension("addition_time_embed_dim", time_embed)?;
        json.check_multiple("addition_time_embed_dim", time_embed, 2)?;
        let joined = self.projection_class_embeddings_input_dim.unwrap_or(0);
        json.check_dimension("projection_class_embeddings_input_dim", joined)?;
        let pooled_width = joined
            .checked_sub(6 * time_embed)
            .filter(|width| *width > 0)
            .ok_or_else(|| {
                json.unsupported(
                    "projection_class_embeddings_input_dim",
                    joined,
                    "more than 6 x addition_time_embed_dim",
                )
            })?;
        let last = self
            .transformer_layers_per_block
            .get(count - 1)
            .and_then(|depth| depth.spread(1));
        Ok(UNetConfig {
            in_channels: self.in_channels,
            out_channels: self.out_channels,
            sample_size: self.edge(),
            mid_depth: check_depth(json, "transformer_layers_per_block", last)?[0],
            levels,
            cross_attention_dim: self.cross_attention_dim,
            use_linear_projection: self.use_linear_projection,
            groups: self.norm_num_groups,
            eps: self.norm_eps,
            flip_sin_to_cos: self.flip_sin_to_cos,
            freq_shift: self.freq_shift,
            time_embed_dim: self
                .time_embedding_dim
                .unwrap_or(4 * self.block_out_channels[0]),
            addition_time_embed_dim: time_embed,
            pooled_width,
        })
    }

    fn level(&self, json: &JsonFile, level: usize) -> Result<Level> {
        let up = self.block_out_channels.len() - 1 - level;
        let channels = self.block_out_channels[level];
        let layers = self.layers_per_block.get(level).unwrap_or(0);
        json.check_count("layers_per_block", layers, 16)?;
        let heads = self.attention_head_dim.get(level).unwrap_or(0);
        let down_depths = match self.down_block_types[level].as_str() {
            "DownBlock2D" => None,
            "CrossAttnDownBlock2D" => {
                let depth = self
                    .transformer_layers_per_block
                    .get(level)
                    .and_then(|depth| depth.spread(layers));
                Some(check_depth(json, "transformer_layers_per_block", depth)?)
            }
            other => {
                return Err(json
                    .unsupported(
                        "down_block_types",
                        other,
                        "DownBlock2D or CrossAttnDownBlock2D",
                    )
                    .into());
            }
        };
        let up_depths = match self.up_block_types[up].as_str() {
            "UpBlock2D" => None,
            "CrossAttnUpBlock2D" => Some(self.up_depths(json, level, up, layers + 1)?),
            other => {
                return Err(json
                    .unsupported("up_block_types", other, "UpBlock2D or CrossAttnUpBlock2D")
                    .into());
            }
        };
        let middle = up == 0;
        if down_depths.is_some() || up_depths.is_some() || middle {
            json.check_multiple("block_out_channels", channels, heads)?;
        }
        Ok(Level {
            channels,
            layers,
            heads,
            down_depths,
            up_depths,
        })
    }

    /// The up side mirrors the down side unless `reverse_transformer_layers_per_block` lists it.
    fn up_depths(
        &self,
        json: &JsonFile,
        level: usize,
        up: usize,
        layers: usize,
    ) -> Result<Vec<usize>> {
        if let Some(listed) = &self.reverse_transformer_layers_per_block {
            let depth = listed.get(up).and_then(|depth| depth.spread(layers));
            return check_depth(json, "reverse_transformer_layers_per_block", depth);
        }
        let depth = self
            .transformer_layers_per_block
            .get(level)
            .and_then(|depth| depth.spread(layers));
        check_depth(json, "transformer_layers_per_block", depth)
    }
}

fn check_depth(json: &JsonFile, key: &str, depths: Option<Vec<usize>>) -> Result<Vec<usize>> {
    let found = json
        .get(key)
        .map_or_else(|| "null".to_string(), ToString::to_string);
    let depths = depths.filter(|depths| !depths.is_empty());
    let depths =
        depths.ok_or_else(|| json.unsupported(key, &found, "a depth for every level and layer"))?;
    depths
        .iter()
        .try_for_each(|depth| json.check_count(key, *depth, 64))?;
    Ok(depths)
}
