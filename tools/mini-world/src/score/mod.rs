//! What a run made of a world, held against its truth: every figure with its target.

mod found;
mod generated;
mod names;
mod photos;

use laioncele_core::store::Store;
use laioncele_core::{EmbeddingDims, Part, TableId};
use serde::{Deserialize, Serialize};

use crate::error::WorldError;
use crate::truth::Truth;
use found::Found;

/// What a figure must be.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Target {
    /// Not below.
    AtLeast(f64),
    /// Not above.
    AtMost(f64),
}

/// One figure.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Figure {
    /// What it says, in snake case.
    pub name: String,
    /// Its value; null where the run has not come so far, or there was nothing to count.
    pub value: Option<f64>,
    /// Rows or pairs that it was taken over.
    pub count: u64,
    /// What it must be; null for figures that are only told.
    pub target: Option<Target>,
    /// Whether it is what it must be; true without a target, false where a value is missing for one.
    pub met: bool,
}

impl Figure {
    fn new(name: &str, value: Option<f64>, count: u64, target: Option<Target>) -> Self {
        let met = match (target, value) {
            (None, _) => true,
            (Some(_), None) => false,
            (Some(Target::AtLeast(least)), Some(value)) => value >= least,
            (Some(Target::AtMost(most)), Some(value)) => value <= most,
        };
        Self {
            name: name.to_owned(),
            value,
            count,
            target,
            met,
        }
    }

    /// A part of a whole; no value where the whole is empty.
    fn share(name: &str, (part, whole): (u64, u64), target: Option<Target>) -> Self {
        let value = (whole > 0).then(|| part as f64 / whole as f64);
        Self::new(name, value, whole, target)
    }

    /// A number of things, of so many looked at.
    fn number(name: &str, number: u64, of: u64, target: Option<Target>) -> Self {
        Self::new(name, Some(number as f64), of, target)
    }

    /// A figure that needs a table which the run has not written.
    fn missing(name: &str, target: Option<Target>) -> Self {
        Self::new(name, None, 0, target)
    }
}

/// All figures of a run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Scores {
    /// In the order of the pipeline.
    pub figures: Vec<Figure>,
    /// Whether every target is met.
    pub passed: bool,
}

impl Scores {
    /// The figure called `name`.
    pub fn figure(&self, name: &str) -> Option<&Figure> {
        self.figures.iter().find(|f| f.name == name)
    }

    /// The figures as a table for people.
    pub fn table(&self) -> String {
        let wide = self.figures.iter().map(|f| f.name.len()).max().unwrap_or(0);
        let mut text = format!(
            "{:<wide$}  {:>8}  {:>6}  {:>8}\n",
            "figure", "value", "of", "target"
        );
        for figure in &self.figures {
            let value = figure.value.map_or("-".to_owned(), |v| format!("{v:.3}"));
            let target = match figure.target {
                Some(Target::AtLeast(least)) => format!("≥ {least}"),
                Some(Target::AtMost(most)) => format!("≤ {most}"),
                None => String::new(),
            };
            let verdict = match (figure.target, figure.met) {
                (None, _) => "",
                (_, true) => "met",
                (_, false) => "MISSED",
            };
            let Figure { name, count, .. } = figure;
            let line = format!("{name:<wide$}  {value:>8}  {count:>6}  {target:>8}  {verdict}");
            text.push_str(line.trim_end());
            text.push('\n');
        }
        text
    }
}

/// Holds the tables of `store` against `truth`; `parts` gives the parts of a table that the last run wrote or reused.
///
/// # Errors
/// A part that is missing, damaged or not this table's.
pub fn score(
    store: &Store,
    dims: &EmbeddingDims,
    parts: &dyn Fn(TableId) -> Vec<Part>,
    truth: &Truth,
) -> Result<Scores, WorldError> {
    let found = Found::read(store, dims, parts)?;
    let mut figures = Vec::new();
    names::figures(truth, &found, &mut figures);
    photos::figures(truth, &found, &mut figures);
    generated::figures(truth, &found, &mut figures);
    let passed = figures.iter().all(|f| f.met);
    Ok(Scores { figures, passed })
}

/// How many of `items` there are, and for how many of them `holds`: (part, whole).
fn count<T>(items: impl IntoIterator<Item = T>, mut holds: impl FnMut(&T) -> bool) -> (u64, u64) {
    let mut counts = (0, 0);
    for item in items {
        counts.0 += u64::from(holds(&item));
        counts.1 += 1;
    }
    counts
}
