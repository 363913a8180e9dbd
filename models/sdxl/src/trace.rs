//! A record of everything a run computes, to compare it with another implementation.

use std::collections::BTreeMap;
use std::path::Path;

use safetensors::tensor::{Dtype, TensorView};

use crate::error::{Error, Result};
use crate::name::{NAME_TOKENS, PromptEmbedding};

/// Numbers with a shape.
#[derive(Debug, Clone, PartialEq)]
pub struct TraceTensor {
    /// Sizes of the dimensions, outermost first.
    pub shape: Vec<usize>,
    /// The numbers, row by row.
    pub values: TraceValues,
}

/// The numbers of a [`TraceTensor`].
#[derive(Debug, Clone, PartialEq)]
pub enum TraceValues {
    /// Embeddings, latents, pixels.
    F32(Vec<f32>),
    /// Timesteps.
    F64(Vec<f64>),
    /// Token ids.
    I32(Vec<i32>),
}

/// Named tensors of one run, under the names of the fixtures. B is the images, S the steps, W the
/// width of a text token (2048 for SDXL), P that of a pooled vector (1280); float32 where nothing
/// else is said.
///
/// | tensors | shape |
/// |---|---|
/// | `ids_1`, `ids_2`: the prompt's token ids (int32) | [B, 77] |
/// | `embeds`, `pooled`: the prompt, its name in it | [B, 77, W], [B, P] |
/// | `null_ids_1`, `null_ids_2`, `null_embeds`, `null_pooled`: what is guided away from (ids only of a text) | the same |
/// | `noise`: standard normal, before the scheduler scales it | [B, 4, h, w] |
/// | `step_noise`: standard normal, what LCM adds after every step but the last; of no other scheduler | [S − 1, B, 4, h, w] |
/// | `time_ids`: what the U-Net is told of sizes | [1, 6] |
/// | `timesteps` (float64) | `[S]` |
/// | `first_output`: the U-Net's first, null rows before text rows | [2 B or B, 4, h, w] |
/// | `predictions`: after guidance | [S, B, 4, h, w] |
/// | `states`: the latents at first and after every step | [S + 1, B, 4, h, w] |
/// | `decoded`: pixels around [-1, 1] | [B, 3, H, W] |
///
/// With a name ([`Trace::record_name`]) also `names`, `name_ids_1`, `name_ids_2`, `token_count`,
/// `prompt_embeds`, `prompt_pooled` and `np`.
#[derive(Debug, Clone, Default)]
pub struct Trace {
    tensors: BTreeMap<String, TraceTensor>,
}

impl Trace {
    /// The tensors by name.
    pub fn tensors(&self) -> &BTreeMap<String, TraceTensor> {
        &self.tensors
    }

    /// The float32 numbers recorded as `name`.
    pub fn floats(&self, name: &str) -> Option<&[f32]> {
        match &self.tensors.get(name)?.values {
            TraceValues::F32(values) => Some(values),
            _ => None,
        }
    }

    /// Records a tensor; of the same name the last one counts.
    pub fn record(&mut self, name: &str, shape: &[usize], values: TraceValues) {
        self.tensors.insert(
            name.into(),
            TraceTensor {
                shape: shape.to_vec(),
                values,
            },
        );
    }

    /// A name's way into a prompt: `names` [1, 8, W], `name_ids_1`, `name_ids_2` [1, 77] and
    /// `token_count` `[1]` of the name's own `text`; `prompt_embeds` [1, 77, W] and `prompt_pooled`
    /// [1, P] before, `np` [1, 77, W] after.
    ///
    /// # Errors
    /// [`Error::Size`] for a text of eight tokens or fewer, ends included.
    pub fn record_name(
        &mut self,
        text: &PromptEmbedding,
        prompt: &PromptEmbedding,
        named: &PromptEmbedding,
    ) -> Result<()> {
        let (tokens, width) = (prompt.tokens(), prompt.width);
        let floats = |values: &[f32]| TraceValues::F32(values.to_vec());
        let ids = |ids: &[u32]| TraceValues::I32(ids.iter().map(|id| *id as i32).collect());
        let name = text.name()?;
        self.record("names", &[1, NAME_TOKENS, width], floats(name.rows()));
        for (key, row) in ["name_ids_1", "name_ids_2"].into_iter().zip(&text.ids) {
            self.record(key, &[1, row.len()], ids(row));
        }
        let count = TraceValues::I32(vec![text.token_count as i32]);
        self.record("token_count", &[1], count);
        let shape = [1, tokens, width];
        self.record("prompt_embeds", &shape, floats(&prompt.embeds));
        let pooled = [1, prompt.pooled.len()];
        self.record("prompt_pooled", &pooled, floats(&prompt.pooled));
        self.record("np", &shape, floats(&named.embeds));
        Ok(())
    }

    /// Writes all tensors to a safetensors file.
    ///
    /// # Errors
    /// [`Error::Write`]
    pub fn write(&self, path: &Path) -> Result<()> {
        let failed = |source: Box<dyn std::error::Error + Send + Sync>| Error::Write {
            path: path.into(),
            source,
        };
        let bytes: Vec<(&String, Dtype, &TraceTensor, Vec<u8>)> = self
            .tensors
            .iter()
            .map(|(name, tensor)| {
                let (dtype, bytes) = match &tensor.values {
                    TraceValues::F32(values) => (
                        Dtype::F32,
                        values.iter().flat_map(|v| v.to_le_bytes()).collect(),
                    ),
                    TraceValues::F64(values) => (
                        Dtype::F64,
                        values.iter().flat_map(|v| v.to_le_bytes()).collect(),
                    ),
                    TraceValues::I32(values) => (
                        Dtype::I32,
                        values.iter().flat_map(|v| v.to_le_bytes()).collect(),
                    ),
                };
                (name, dtype, tensor, bytes)
            })
            .collect();
        let views = bytes
            .iter()
            .map(|(name, dtype, tensor, bytes)| {
                Ok((
                    name.as_str(),
                    TensorView::new(*dtype, tensor.shape.clone(), bytes)?,
                ))
            })
            .collect::<std::result::Result<Vec<_>, safetensors::SafeTensorError>>()
            .map_err(|source| failed(source.into()))?;
        safetensors::serialize_to_file(views, None, path).map_err(|source| failed(source.into()))
    }
}
