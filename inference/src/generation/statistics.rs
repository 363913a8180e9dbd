//! What Equations 4 and 5 need to know of the dataset's names.

use std::collections::BTreeSet;

use laioncele_core::table::{Identity, NameEmbedding as NameRow, NameSum};
use laioncele_core::{KeyHasher, NameId, Part, StageError, TableId};
use laioncele_sdxl::NameTensor;

use super::config::{Eta, MeanLength};
use super::error::{GenerationError, Result};
use super::tables::RunTables;

/// The mean over the names of the dataset's identities (42,000 in the paper).
#[derive(Clone, Debug, PartialEq)]
pub struct NameStatistics {
    /// Mean of the name embeddings: the mean of Equation 4.
    pub mean: NameTensor,
    /// Mean of their lengths ‖N‖₂.
    pub mean_length: f32,
    /// Names that both were taken over.
    pub names: usize,
}

impl NameStatistics {
    /// Adds up each bucket's sums, which pack-shards has written. A run of an earlier version has none: the identities'
    /// name embeddings are read instead, part by part.
    ///
    /// # Errors
    /// [`GenerationError::NoNames`], or a damaged part.
    pub fn read(tables: &RunTables<'_>) -> Result<Self> {
        let width = tables.embedding_dims().name_channels;
        let parts = tables.parts(TableId::NameSums);
        if parts.is_empty() {
            return Sums::of_names(tables)?.finish(width);
        }
        let mut sums = Sums::default();
        for part in parts {
            for row in tables.rows::<NameSum>(&part)? {
                sums.merge(&row);
            }
        }
        sums.finish(width)
    }

    /// Equations 4 and 5: a predicted name away from the mean name by `delta`, brought to the length `eta`.
    ///
    /// # Errors
    /// A name of another width.
    pub fn guided(&self, name: &NameTensor, delta: f32, eta: Eta) -> Result<NameTensor> {
        let length = match eta {
            Eta::Length(length) => length,
            Eta::Mean(MeanLength::Mean) => self.mean_length,
        };
        Ok(name.recentre(&self.mean, delta)?.rescale(length))
    }

    /// The same, kept by the worker as long as the tables are the same.
    pub(super) fn kept(tables: &RunTables<'_>) -> Result<std::sync::Arc<Self>> {
        let read = [
            TableId::NameSums,
            TableId::Identities,
            TableId::NameEmbeddings,
        ];
        let parts = read.iter().flat_map(|table| tables.parts(*table));
        let add = |hasher: KeyHasher, part: Part| {
            let hasher = hasher.text("table", part.table.as_str());
            hasher.digest("part", part.digest)
        };
        let digest = parts.fold(KeyHasher::new("names"), add).finish();
        let key = format!("name statistics {digest}");
        let load = || Self::read(tables).map_err(StageError::from);
        Ok(tables.loader().keep_any(&key, load)?)
    }
}

#[derive(Default)]
struct Sums {
    rows: Vec<f64>,
    length: f64,
    names: usize,
}

impl Sums {
    fn of_names(tables: &RunTables<'_>) -> Result<Self> {
        let mut known = BTreeSet::new();
        for part in tables.parts(TableId::Identities) {
            let rows = tables.rows::<Identity>(&part)?;
            known.extend(rows.iter().map(|row| row.name_id));
        }
        let mut sums = Self::default();
        for part in tables.parts(TableId::NameEmbeddings) {
            for row in tables.rows::<NameRow>(&part)? {
                sums.add(&row, &known);
            }
        }
        Ok(sums)
    }

    fn merge(&mut self, row: &NameSum) {
        self.rows.resize(row.sums.0.len(), 0.0);
        let pairs = self.rows.iter_mut().zip(&row.sums.0);
        pairs.for_each(|(sum, v)| *sum += v);
        self.length += row.lengths;
        self.names += usize::try_from(row.names).unwrap_or(usize::MAX);
    }

    fn add(&mut self, row: &NameRow, known: &BTreeSet<NameId>) {
        if !known.contains(&row.name_id) {
            return;
        }
        let numbers = row.embedding.0.iter().map(|v| v.to_f64());
        self.rows.resize(row.embedding.0.len(), 0.0);
        let mut squares = 0.0;
        for (sum, number) in self.rows.iter_mut().zip(numbers) {
            *sum += number;
            squares += number * number;
        }
        self.length += squares.sqrt();
        self.names += 1;
    }

    fn finish(self, width: usize) -> Result<NameStatistics> {
        if self.names == 0 {
            return Err(GenerationError::NoNames);
        }
        let count = self.names as f64;
        let mean = self.rows.iter().map(|sum| (sum / count) as f32).collect();
        Ok(NameStatistics {
            mean: NameTensor::new(mean, width)?,
            mean_length: (self.length / count) as f32,
            names: self.names,
        })
    }
}
