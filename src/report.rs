//! The summary of a run: rows in, out and dropped, and the seconds of each step; as a table and as
//! JSON.

use std::collections::BTreeMap;
use std::time::Duration;

use laioncele_core::ledger::{Record, RowBalance};
use laioncele_core::{DropReason, StageName};
use serde::Serialize;

use crate::plan::StepPlan;
use crate::words::{count, duration, grouped, table};

/// A whole run.
#[derive(Debug, Default, Serialize)]
pub(crate) struct Summary {
    /// The steps, in the order in which they ran.
    pub steps: Vec<StepSummary>,
    /// Seconds from start to end.
    pub seconds: f64,
}

/// One step of a run.
#[derive(Debug, Serialize)]
pub(crate) struct StepSummary {
    /// The stage that the step belongs to.
    pub stage: StageName,
    /// The step's name.
    pub step: String,
    /// All tasks of the step.
    pub tasks: usize,
    /// Tasks that this run did.
    pub ran: usize,
    /// Tasks that are done now, whichever run did them.
    pub done: usize,
    /// Seconds that this run spent on the step.
    pub seconds: f64,
    /// Seconds that all its tasks took, also in earlier runs.
    pub task_seconds: f64,
    /// The balance of each unit over all tasks.
    pub balances: Vec<RowBalance>,
    /// Metrics that are no row counts, summed over all tasks.
    pub metrics: BTreeMap<String, f64>,
}

impl StepSummary {
    /// The summary of a step of which this run did `ran` tasks in the time `took`.
    pub(crate) fn of(step: &StepPlan, ran: usize, took: Duration) -> Self {
        let mut summary = Self {
            stage: step.stage,
            step: step.name.clone(),
            tasks: step.tasks.len(),
            ran,
            done: 0,
            seconds: took.as_secs_f64(),
            task_seconds: 0.0,
            balances: Vec::new(),
            metrics: BTreeMap::new(),
        };
        for record in step.records() {
            summary.add(record);
        }
        summary
    }

    fn add(&mut self, record: &Record) {
        self.done += 1;
        self.task_seconds += record.seconds;
        for (name, value) in &record.metrics {
            *self.metrics.entry(name.clone()).or_default() += value;
        }
        RowBalance::add_all(&mut self.balances, &record.balances);
    }
}

impl Summary {
    /// The table that is printed at the end of a run.
    pub(crate) fn render(&self) -> String {
        let heading = [
            "step",
            "unit",
            "in",
            "out",
            "dropped",
            "seconds",
            "by reason",
        ];
        let mut rows = vec![heading.map(str::to_owned).to_vec()];
        for step in &self.steps {
            let first = step.balances.first().map(|b| balance_row(step, b, true));
            rows.extend(first);
            let others = step.balances.iter().skip(1);
            rows.extend(others.map(|b| balance_row(step, b, false)));
        }
        let homonyms = self.homonyms();
        let ran: usize = self.steps.iter().map(|s| s.ran).sum();
        let tasks: usize = self.steps.iter().map(|s| s.tasks).sum();
        format!(
            "{}\n{homonyms}{ran} of {tasks} tasks run in {}",
            table(&rows, &[2, 3, 4, 5]),
            duration(Duration::from_secs_f64(self.seconds))
        )
    }
}

/// What verify-images calls the number of names whose photos show a second person often.
const HOMONYMS: &str = "homonyms";

impl Summary {
    /// A line on names that stand for two people; nothing without any.
    fn homonyms(&self) -> String {
        let counts = self.steps.iter().filter_map(|s| s.metrics.get(HOMONYMS));
        let names: f64 = counts.sum();
        if names < 1.0 {
            return String::new();
        }
        format!(
            "{} also {} another person in many photos (homonyms, see the dataset card)\n",
            count(names as usize, "name"),
            if names < 2.0 { "has" } else { "have" }
        )
    }
}

fn balance_row(step: &StepSummary, balance: &RowBalance, first: bool) -> Vec<String> {
    let dropped: u64 = balance.dropped.values().sum();
    let reason = |(r, n): (&DropReason, &u64)| format!("{r} {}", grouped(*n));
    let reasons: Vec<_> = balance.dropped.iter().map(reason).collect();
    let seconds = match (first, step.ran) {
        (false, _) => String::new(),
        (true, 0) => "already done".to_owned(),
        (true, _) => format!("{:.1}", step.seconds),
    };
    vec![
        if first {
            step.step.clone()
        } else {
            String::new()
        },
        balance.unit.to_string(),
        grouped(balance.rows_in),
        grouped(balance.rows_out),
        grouped(dropped),
        seconds,
        reasons.join(", "),
    ]
}

#[cfg(test)]
mod tests {
    use laioncele_core::Unit;

    use super::*;

    #[test]
    fn render_marks_steps_whose_tasks_were_already_done() {
        let balance = RowBalance {
            unit: Unit::Image,
            rows_in: 1200,
            rows_out: 1000,
            dropped: BTreeMap::from([(DropReason::DuplicateOf, 200)]),
        };
        let step = StepSummary {
            stage: StageName::DedupeImages,
            step: "dedupe-images".to_owned(),
            tasks: 2,
            ran: 0,
            done: 2,
            seconds: 0.1,
            task_seconds: 7.0,
            balances: vec![balance],
            metrics: BTreeMap::new(),
        };
        let summary = Summary {
            steps: vec![step],
            seconds: 0.2,
        };
        let text = summary.render();
        let row = text.lines().nth(1).unwrap_or_default();
        let words: Vec<_> = row.split_whitespace().collect();
        let expected = "dedupe-images image 1,200 1,000 200 already done duplicate_of 200";
        assert_eq!(words.join(" "), expected);
        assert!(text.ends_with("0 of 2 tasks run in 0.20 s"), "{text}");
        assert!(!text.contains("homonyms"), "{text}");
    }

    #[test]
    fn render_counts_homonyms() {
        let step = StepSummary {
            stage: StageName::VerifyImages,
            step: "verify-images".to_owned(),
            tasks: 2,
            ran: 2,
            done: 2,
            seconds: 0.1,
            task_seconds: 0.1,
            balances: Vec::new(),
            metrics: BTreeMap::from([("homonyms".to_owned(), 3.0)]),
        };
        let summary = Summary {
            steps: vec![step],
            seconds: 0.2,
        };
        let text = summary.render();
        let line = text.lines().rev().nth(1).unwrap_or_default();
        assert!(
            line.starts_with("3 names also have another person"),
            "{text}"
        );
    }
}
