//! Compares what a run made of a world with the world's truth: metrics, each with its target.

mod generated;
mod metric;
mod names;
mod photos;
mod prompts;
mod tables;

use laioncele_core::store::Store;
use laioncele_core::{EmbeddingDims, Part, TableId};
use serde::{Deserialize, Serialize};

use crate::error::WorldError;
use crate::truth::Truth;
pub use metric::{Metric, Target};
use tables::RunTables;

/// All metrics of a run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Scores {
    /// In the order of the pipeline.
    #[serde(alias = "figures")]
    pub metrics: Vec<Metric>,
    /// Whether all targets are met.
    pub passed: bool,
}

impl Scores {
    /// The metric called `name`.
    pub fn metric(&self, name: &str) -> Option<&Metric> {
        self.metrics.iter().find(|metric| metric.name == name)
    }

    /// The metrics as a table for people.
    pub fn table(&self) -> String {
        let names = self.metrics.iter().map(|metric| metric.name.len());
        let wide = names.max().unwrap_or(0);
        let mut text = format!(
            "{:<wide$}  {:>8}  {:>6}  {:>8}\n",
            "metric", "value", "of", "target"
        );
        for metric in &self.metrics {
            text.push_str(&metric.line(wide));
            text.push('\n');
        }
        text
    }
}

/// Compares the tables of `store` with `truth`. `parts` gives the parts of a table that the last
/// run wrote or reused.
///
/// # Errors
/// A part that is missing, damaged, or of another table.
pub fn score(
    store: &Store,
    dims: &EmbeddingDims,
    parts: &dyn Fn(TableId) -> Vec<Part>,
    truth: &Truth,
) -> Result<Scores, WorldError> {
    let tables = RunTables::read(store, dims, parts)?;
    let mut metrics = Vec::new();
    names::metrics(truth, &tables, &mut metrics);
    photos::metrics(truth, &tables, &mut metrics);
    generated::metrics(truth, &tables, &mut metrics);
    prompts::metrics(
        tables.evaluation.as_deref().unwrap_or_default(),
        &mut metrics,
    );
    let passed = metrics.iter().all(|metric| metric.met);
    Ok(Scores { metrics, passed })
}
