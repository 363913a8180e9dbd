//! The funnel: what went into each step, what came out, what was dropped for what; time, rate and memory.

use laioncele_core::ledger::{Record, RowBalance};
use serde::Serialize;

use crate::numbers::{duration, grouped, percent, size};
use crate::plot::bar;
use crate::view::RunView;

/// What the plan says of a step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StepFact {
    /// The stage that it belongs to.
    pub stage: String,
    /// Its name.
    pub step: String,
    /// All of its tasks.
    pub tasks: usize,
    /// Those that are done.
    pub done: usize,
    /// `complete`, or what is to run and why.
    pub state: String,
}

/// A step of the page.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct StepRow {
    /// The stage.
    pub stage: String,
    /// The stage's place, from 1; 0 for further steps of the same stage.
    pub number: usize,
    /// The step.
    pub step: String,
    /// Tasks.
    pub tasks: usize,
    /// Tasks that are done.
    pub done: usize,
    /// In words.
    pub state: String,
    /// Whether all tasks are done.
    pub complete: bool,
    /// A balance for each unit.
    pub units: Vec<UnitRow>,
    /// Seconds of all tasks together.
    pub time: String,
    /// Rows in of the first unit a second of task time.
    pub rate: String,
    /// The most memory that a worker had while it did one of the tasks.
    pub memory: String,
}

/// The balance of a unit in a step.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct UnitRow {
    /// The unit.
    pub unit: String,
    /// Rows in.
    pub rows_in: u64,
    /// Rows out.
    pub rows_out: u64,
    /// Rows dropped.
    pub dropped: u64,
    /// The three with separators.
    pub shown: [String; 3],
    /// The share that went on.
    pub kept: String,
    /// The same as a bar (SVG).
    pub bar: String,
    /// Reasons with rows, most rows first.
    pub reasons: Vec<(String, u64, String)>,
}

/// What a task's record calls the most memory of its worker, in bytes.
const PEAK_MEMORY: &str = "peak_memory_bytes";

/// The rows of all steps.
pub(crate) fn rows(view: &RunView, facts: &[StepFact]) -> Vec<StepRow> {
    let (mut rows, mut stages) = (Vec::with_capacity(facts.len()), 0);
    for (k, fact) in facts.iter().enumerate() {
        let is_first = k == 0 || facts[k - 1].stage != fact.stage;
        stages += usize::from(is_first);
        let records: Vec<&Record> = view
            .records
            .iter()
            .filter(|r| r.step == fact.step)
            .collect();
        rows.push(row(fact, if is_first { stages } else { 0 }, &records));
    }
    rows
}

fn row(fact: &StepFact, number: usize, records: &[&Record]) -> StepRow {
    let mut balances = Vec::new();
    for record in records {
        RowBalance::add_all(&mut balances, &record.balances);
    }
    balances.sort_by_key(|balance| balance.unit);
    let seconds: f64 = records.iter().map(|r| r.seconds).sum();
    let first = balances.first().map_or(0, |b| b.rows_in);
    let memory = records.iter().filter_map(|r| r.metrics.get(PEAK_MEMORY));
    let memory = memory.fold(0.0, |most: f64, bytes| most.max(*bytes));
    StepRow {
        stage: fact.stage.clone(),
        number,
        step: fact.step.clone(),
        tasks: fact.tasks,
        done: fact.done,
        state: fact.state.clone(),
        complete: fact.done == fact.tasks,
        units: balances.iter().map(unit).collect(),
        time: match records.is_empty() {
            true => "–".to_owned(),
            false => duration(seconds),
        },
        rate: match first > 0 && seconds > 0.0 {
            true => Significant(first as f64 / seconds).to_string(),
            false => "–".to_owned(),
        },
        memory: match memory > 0.0 {
            true => size(memory as u64),
            false => "not recorded".to_owned(),
        },
    }
}

/// A rate with as many digits as are worth reading.
struct Significant(f64);

impl std::fmt::Display for Significant {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.0 < 10.0 {
            true => write!(f, "{:.1}", self.0),
            false => f.write_str(&grouped(self.0.round() as u64)),
        }
    }
}

fn unit(balance: &RowBalance) -> UnitRow {
    let dropped: u64 = balance.dropped.values().sum();
    let reason = |(reason, rows): (&laioncele_core::DropReason, &u64)| {
        (reason.to_string(), *rows, grouped(*rows))
    };
    let mut reasons: Vec<_> = balance.dropped.iter().map(reason).collect();
    reasons.sort_by(|a, b| (b.1, &a.0).cmp(&(a.1, &b.0)));
    UnitRow {
        unit: balance.unit.to_string(),
        rows_in: balance.rows_in,
        rows_out: balance.rows_out,
        dropped,
        shown: [balance.rows_in, balance.rows_out, dropped].map(grouped),
        kept: percent(balance.rows_out, balance.rows_in),
        bar: bar(balance.rows_out as f64 / balance.rows_in.max(1) as f64),
        reasons,
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use laioncele_core::{DropReason, Unit};

    use super::*;

    #[test]
    fn reasons_are_sorted_by_their_rows_and_add_up() {
        let balance = RowBalance {
            unit: Unit::Image,
            rows_in: 1200,
            rows_out: 300,
            dropped: BTreeMap::from([(DropReason::Dns, 100), (DropReason::Http4xx, 800)]),
        };
        let row = unit(&balance);
        assert_eq!(row.shown, ["1,200", "300", "900"]);
        assert_eq!(row.kept, "25.0 %");
        let reasons: Vec<_> = row.reasons.iter().map(|r| r.0.as_str()).collect();
        assert_eq!(reasons, ["http_4xx", "dns"]);
        assert_eq!(row.reasons.iter().map(|r| r.1).sum::<u64>(), row.dropped);
    }
}
