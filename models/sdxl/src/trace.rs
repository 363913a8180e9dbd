//! A record of everything a run computes, for whoever compares it with another implementation.

use std::collections::BTreeMap;
use std::path::Path;

use safetensors::tensor::{Dtype, TensorView};

use crate::error::{Error, Result};

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

/// Named tensors of one run, under the names of the fixtures: `ids_1`, `ids_2`, `embeds`, `pooled`,
/// `null_embeds`, `null_pooled`, `noise`, `time_ids`, `timesteps`, `first_output`, `predictions`, `states`,
/// `decoded`.
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

    /// Writes all tensors to a safetensors file.
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
