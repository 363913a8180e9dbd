//! How the names of the dataset's people are spread, and random names that are spread alike: people whom there never was
//! ([decision 48](../../../docs/decisions/0048-fictional-people.md)).

use std::collections::BTreeSet;

use laioncele_core::table::{Identity, NameEmbedding as NameRow};
use laioncele_core::{KeyHasher, NameId, TableId};
use laioncele_sdxl::{NameTensor, Noise};
use rayon::prelude::*;
use safetensors::tensor::TensorView;
use safetensors::{Dtype, SafeTensors};

use super::error::{GenerationError, Result};
use super::statistics::NameStatistics;
use super::tables::RunTables;

/// Random names that a published folder has: their covariance is that of all names, but for a sampling error.
const DRAWS: usize = 256;

/// Tensors of the file.
const MEAN: &str = "mean";
const SPREAD: &str = "draws";

/// A mean name and random differences from it, whose covariance is that of a dataset's names.
#[derive(Clone, Debug, PartialEq)]
pub struct NameSpread {
    mean: NameTensor,
    /// Each as many numbers as the mean.
    draws: Vec<Vec<f32>>,
}

/// A random name by the distribution of the run's known names: m + Σ zᵢ (xᵢ − m) / √(n − 1) with zᵢ standard normal, which is
/// a draw from the normal distribution of their mean and covariance. zᵢ comes from the seed and the name alone, so that a
/// dataset that grows by a person changes a seed's name little.
///
/// # Errors
/// [`GenerationError::NoNames`], [`GenerationError::FewNames`], or a damaged part.
pub fn fictional(tables: &RunTables<'_>, seed: u64) -> Result<NameTensor> {
    let spread = NameSpread::drawn(tables, &[seed])?;
    spread.moved(&[1.0])
}

impl NameSpread {
    /// Of the run's known names: what `encoder export` publishes. No known name can be told from it.
    ///
    /// # Errors
    /// As [`fictional`].
    pub fn of_run(tables: &RunTables<'_>) -> Result<Self> {
        let seeds: Vec<u64> = (0..DRAWS as u64)
            .map(|draw| KeyHasher::new("name spread").number("draw", draw).finish())
            .map(|digest| digest.low_u64())
            .collect();
        Self::drawn(tables, &seeds)
    }

    /// A random difference for each seed.
    fn drawn(tables: &RunTables<'_>, seeds: &[u64]) -> Result<Self> {
        let statistics = NameStatistics::read(tables)?;
        if statistics.names < 2 {
            return Err(GenerationError::FewNames);
        }
        let mean = statistics.mean;
        let mut known = BTreeSet::new();
        for part in tables.parts(TableId::Identities) {
            let rows = tables.rows::<Identity>(&part)?;
            known.extend(rows.iter().map(|row| row.name_id));
        }
        let mut sums = vec![vec![0f64; mean.rows().len()]; seeds.len()];
        let mut names = 0usize;
        for part in tables.parts(TableId::NameEmbeddings) {
            for row in tables.rows::<NameRow>(&part)? {
                if known.contains(&row.name_id) && row.embedding.0.len() == mean.rows().len() {
                    let centred = centred(&row, &mean);
                    let sums = seeds.par_iter().zip(&mut sums);
                    sums.try_for_each(|(seed, sums)| add(sums, &centred, *seed, row.name_id))?;
                    names += 1;
                }
            }
        }
        if names < 2 {
            return Err(GenerationError::FewNames);
        }
        let root = ((names - 1) as f64).sqrt();
        let scaled = |sums: Vec<f64>| sums.iter().map(|sum| (sum / root) as f32).collect();
        Ok(Self {
            draws: sums.into_iter().map(scaled).collect(),
            mean,
        })
    }

    /// A random name: m + Σ wₖ dₖ / √K with wₖ standard normal. The same seed gives the same name.
    ///
    /// # Errors
    /// None that is known.
    pub fn fictional(&self, seed: u64) -> Result<NameTensor> {
        let seed = KeyHasher::new("fictional").number("seed", seed).finish();
        let weights = Noise::Seed(seed.low_u64()).sample(self.draws.len())?;
        let root = (self.draws.len() as f32).sqrt();
        let weights: Vec<f32> = weights.iter().map(|weight| weight / root).collect();
        self.moved(&weights)
    }

    fn moved(&self, weights: &[f32]) -> Result<NameTensor> {
        let mut rows = self.mean.rows().to_vec();
        for (weight, draw) in weights.iter().zip(&self.draws) {
            let pairs = rows.iter_mut().zip(draw);
            pairs.for_each(|(row, number)| *row += weight * number);
        }
        Ok(NameTensor::new(rows, self.mean.width())?)
    }

    /// As a file: `mean` [tokens, channels] and `draws` [256, tokens, channels], float32.
    ///
    /// # Errors
    /// None that is known.
    pub fn to_bytes(&self) -> std::result::Result<Vec<u8>, safetensors::SafeTensorError> {
        let bytes = |numbers: &mut dyn Iterator<Item = &f32>| -> Vec<u8> {
            numbers.flat_map(|number| number.to_le_bytes()).collect()
        };
        let (rows, width) = (self.mean.rows(), self.mean.width());
        let tokens = rows.len() / width;
        let (mean, draws) = (
            bytes(&mut rows.iter()),
            bytes(&mut self.draws.iter().flatten()),
        );
        let shape = vec![self.draws.len(), tokens, width];
        let views = [
            (
                MEAN,
                TensorView::new(Dtype::F32, vec![tokens, width], &mean)?,
            ),
            (SPREAD, TensorView::new(Dtype::F32, shape, &draws)?),
        ];
        safetensors::serialize(views, None)
    }

    /// Reads what [`NameSpread::to_bytes`] wrote, of names of `tokens` × `channels`.
    ///
    /// # Errors
    /// What is wrong with the bytes.
    pub fn from_bytes(
        bytes: &[u8],
        tokens: usize,
        channels: usize,
    ) -> std::result::Result<Self, String> {
        let file = SafeTensors::deserialize(bytes).map_err(|e| e.to_string())?;
        let floats = |name: &str| {
            let tensor = file.tensor(name).map_err(|e| e.to_string())?;
            let (floats, rest) = tensor.data().as_chunks::<4>();
            let floats: Vec<f32> = floats.iter().map(|v| f32::from_le_bytes(*v)).collect();
            let is_whole = tensor.dtype() == Dtype::F32 && rest.is_empty();
            let finite = floats.iter().all(|v| v.is_finite());
            match is_whole && finite {
                true => Ok(floats),
                false => Err(format!("`{name}` is not of finite float32 numbers")),
            }
        };
        let (mean, draws) = (floats(MEAN)?, floats(SPREAD)?);
        let one = tokens * channels;
        if mean.len() != one || draws.is_empty() || !draws.len().is_multiple_of(one) {
            return Err(format!("it is not of names of {tokens} x {channels}"));
        }
        Ok(Self {
            mean: NameTensor::new(mean, channels).map_err(|e| e.to_string())?,
            draws: draws.chunks_exact(one).map(<[f32]>::to_vec).collect(),
        })
    }
}

fn centred(row: &NameRow, mean: &NameTensor) -> Vec<f32> {
    let pairs = row.embedding.0.iter().zip(mean.rows());
    pairs.map(|(number, mean)| number.to_f32() - mean).collect()
}

fn add(sums: &mut [f64], centred: &[f32], seed: u64, name: NameId) -> Result<()> {
    let of_name = KeyHasher::new("fictional")
        .number("seed", seed)
        .text("name", &name.to_string())
        .finish();
    let weight = f64::from(Noise::Seed(of_name.low_u64()).sample(1)?[0]);
    let pairs = sums.iter_mut().zip(centred);
    pairs.for_each(|(sum, number)| *sum += weight * f64::from(*number));
    Ok(())
}
