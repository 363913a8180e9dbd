//! The tensors of a recording: what was trained on, and weights.

use std::error::Error;
use std::path::Path;

use half::f16;
use laioncele_encoder::{EncoderConfig, standardized};
use laioncele_train_encoder::{Batch, Tensors};
use safetensors::{Dtype, SafeTensors};

/// What stops the comparison.
pub(crate) type Failure = Box<dyn Error + Send + Sync>;

/// What all runs were trained on.
pub(super) struct Data {
    pub(super) width: usize,
    pub(super) output: usize,
    pub(super) features: Vec<f32>,
    pub(super) names: Vec<f32>,
    pub(super) person: Vec<usize>,
    pub(super) batches: Vec<Vec<usize>>,
    pub(super) input_mean: Vec<f32>,
    pub(super) input_std: Vec<f32>,
}

impl Data {
    pub(super) fn read(path: &Path, config: &EncoderConfig) -> Result<Self, Failure> {
        let bytes = std::fs::read(path)?;
        let file = SafeTensors::deserialize(&bytes)?;
        let (width, output) = (config.input, config.output());
        let person = integers(&file, "photo_person")?;
        let features = floats(&file, "features", person.len() * width)?;
        let names = file.tensor("names")?;
        if names.dtype() != Dtype::F16 {
            return Err("names are not float16".into());
        }
        let (numbers, _) = names.data().as_chunks::<2>();
        let names: Vec<f32> = numbers
            .iter()
            .map(|n| f16::from_le_bytes(*n).to_f32())
            .collect();
        let rows = integers(&file, "batches")?;
        let size = *file.tensor("batches")?.shape().last().ok_or("no batches")?;
        let people = names.len() / output.max(1);
        if person.iter().any(|p| *p >= people) || rows.iter().any(|row| *row >= person.len()) {
            return Err("a row that is not there".into());
        }
        Ok(Self {
            width,
            output,
            features,
            names,
            person,
            batches: rows.chunks(size.max(1)).map(<[usize]>::to_vec).collect(),
            input_mean: floats(&file, "input_mean", width)?,
            input_std: floats(&file, "input_std", width)?,
        })
    }

    pub(super) fn batch(&self, rows: &[usize]) -> Batch {
        let (size, width, output) = (rows.len(), self.width, self.output);
        let mut inputs = vec![0.0; width * size];
        let mut targets = vec![0.0; output * size];
        for (column, row) in rows.iter().enumerate() {
            for k in 0..width {
                let value = self.features[row * width + k];
                inputs[k * size + column] =
                    standardized(value, self.input_mean[k], self.input_std[k]);
            }
            let name = &self.names[self.person[*row] * output..][..output];
            for (k, value) in name.iter().enumerate() {
                targets[k * size + column] = *value;
            }
        }
        Batch {
            size,
            inputs,
            targets,
        }
    }
}

/// Weights and biases of the three layers, under names that begin with `prefix`.
pub(super) fn group(
    file: &SafeTensors<'_>,
    prefix: &str,
    config: &EncoderConfig,
) -> Result<Tensors, Failure> {
    let mut tensors = Tensors::zeros(config);
    for (k, tensor) in tensors.0.iter_mut().enumerate() {
        let part = if k % 2 == 0 { "weight" } else { "bias" };
        let name = format!("{prefix}layers.{}.{part}", k / 2);
        *tensor = floats(file, &name, tensor.len())?;
    }
    Ok(tensors)
}

pub(super) fn floats(
    file: &SafeTensors<'_>,
    name: &str,
    count: usize,
) -> Result<Vec<f32>, Failure> {
    let view = file.tensor(name)?;
    let (numbers, _) = view.data().as_chunks::<4>();
    if view.dtype() != Dtype::F32 || numbers.len() != count {
        return Err(format!("{name} is not {count} float32 numbers").into());
    }
    Ok(numbers.iter().map(|n| f32::from_le_bytes(*n)).collect())
}

pub(super) fn integers(file: &SafeTensors<'_>, name: &str) -> Result<Vec<usize>, Failure> {
    let view = file.tensor(name)?;
    if view.dtype() != Dtype::I32 {
        return Err(format!("{name} is not int32").into());
    }
    let (numbers, _) = view.data().as_chunks::<4>();
    let number = |n: &[u8; 4]| usize::try_from(i32::from_le_bytes(*n));
    Ok(numbers.iter().map(number).collect::<Result<_, _>>()?)
}
