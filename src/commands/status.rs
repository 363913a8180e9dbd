//! `laioncele status`: what has run.

use clap::Args;
use laioncele_core::{StageName, TableId};
use serde::Serialize;

use crate::args::RunPaths;
use crate::failure::Failure;
use crate::output;
use crate::plan::StepPlan;
use crate::session::{Access, Session};
use crate::words::{grouped, size, table};

const EXAMPLES: &str = "\
Examples:
  laioncele status
  laioncele status --output /data/mini
  laioncele status --json | jq '.[] | select(.complete | not) | .step'";

/// `laioncele status`
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub struct Status {
    #[command(flatten)]
    paths: RunPaths,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// A step's line.
#[derive(Debug, Serialize)]
struct Line {
    stage: StageName,
    step: String,
    tasks: usize,
    done: usize,
    complete: bool,
    /// Rows written, dropped rows left out.
    rows: u64,
    /// Rows dropped.
    dropped: u64,
    /// Bytes of all parts written.
    bytes: u64,
    /// Seconds that its tasks took.
    task_seconds: f64,
    /// Figures that are no row counts, by name, summed over the tasks.
    metrics: std::collections::BTreeMap<String, f64>,
    state: String,
}

impl Status {
    /// Prints the status.
    ///
    /// # Errors
    /// Whatever is wrong with manifest, models, source or folder; a folder without a run.
    pub fn execute(self) -> Result<(), Failure> {
        let session = Session::open(&self.paths, StageName::Evaluate, Access::Existing)?;
        let lines: Vec<Line> = session.plan()?.steps.iter().map(Line::of).collect();
        if self.json {
            output::json(&lines)
        } else {
            output::data(&render(&lines))
        }
    }
}

impl Line {
    fn of(step: &StepPlan) -> Self {
        let mut line = Self {
            stage: step.stage,
            step: step.name.clone(),
            tasks: step.tasks.len(),
            done: step.records().count(),
            complete: step.complete(),
            rows: 0,
            dropped: 0,
            bytes: 0,
            task_seconds: 0.0,
            metrics: std::collections::BTreeMap::new(),
            state: state(step),
        };
        for record in step.records() {
            line.task_seconds += record.seconds;
            for (name, value) in &record.metrics {
                *line.metrics.entry(name.clone()).or_default() += value;
            }
            for part in &record.outputs {
                line.bytes += part.bytes;
                if part.table == TableId::Dropped {
                    line.dropped += part.rows;
                } else {
                    line.rows += part.rows;
                }
            }
        }
        line
    }
}

fn state(step: &StepPlan) -> String {
    if step.complete() {
        return "complete".to_owned();
    }
    if let Some(on) = step.waits_for() {
        return format!("waits for {on}");
    }
    let causes = step.first_causes();
    let cause = causes.first().map_or("", |(cause, _)| cause.as_str());
    format!("{} to run: {cause}", grouped(step.missing().count() as u64))
}

fn render(lines: &[Line]) -> String {
    let heading = [
        "step", "done", "of", "rows", "dropped", "size", "seconds", "state",
    ];
    let mut rows = vec![heading.map(str::to_owned).to_vec()];
    rows.extend(lines.iter().map(|line| {
        vec![
            line.step.clone(),
            grouped(line.done as u64),
            grouped(line.tasks as u64),
            grouped(line.rows),
            grouped(line.dropped),
            size(line.bytes),
            format!("{:.1}", line.task_seconds),
            line.state.clone(),
        ]
    }));
    table(&rows, &[1, 2, 3, 4, 5, 6])
}
