//! `laioncele status`: what has run.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use clap::Args;
use laioncele_core::ledger::Record;
use laioncele_core::{Digest, StageName, Step, TableId, Unit};
use serde::Serialize;

use crate::args::{RunPaths, SetArgs};
use crate::events::Now;
use crate::failure::Failure;
use crate::output;
use crate::plan::{Plan, StepPlan};
use crate::published::{Published, Results};
use crate::report::add_metrics;
use crate::run_view::at_work;
use crate::session::{Access, Session};
use crate::staleness::StepState;
use crate::words::{
    count, grouped, headed_table, size, table, three_digits, worker_time, worker_unit,
};

const EXAMPLES: &str = "\
Examples:
  laioncele status
  laioncele status --output /data/mini
  laioncele status --watch                          while another process runs
  laioncele status --json | jq '.[] | select(.complete | not) | .step'";

/// `laioncele status`
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Status {
    #[command(flatten)]
    paths: RunPaths,
    #[command(flatten)]
    set: SetArgs,
    /// While another process runs here, show how far it is; then the status
    #[arg(long, short, conflicts_with = "json")]
    watch: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// Time between two looks at a run.
const LOOK: Duration = Duration::from_secs(1);

/// Prints how far the run in the folder is, a line for each change, until nobody works there.
fn watch(output: &Path) {
    let mut shown = Vec::new();
    while at_work(output).is_some() {
        let now = Now::read(output);
        for step in now.iter().filter(|step| !shown.contains(*step)) {
            output::message(&step.describe());
        }
        shown = now;
        std::thread::sleep(LOOK);
    }
}

/// A step's entry. Rows are counted per table and per unit: rows of different kinds have no sum.
#[derive(Debug, Serialize)]
struct Entry {
    #[serde(flatten)]
    of: StepState,
    complete: bool,
    /// What its tasks have written, without dropped rows.
    tables: BTreeMap<TableId, Written>,
    /// Rows dropped, by unit.
    dropped: BTreeMap<Unit, u64>,
    /// Bytes of all parts written.
    bytes: u64,
    /// Seconds that its tasks took.
    task_seconds: f64,
    /// Seconds of workers that those are: of tasks that a worker runs at once each has an even share.
    worker_seconds: f64,
    /// Metrics that are no row counts, summed over the tasks.
    metrics: BTreeMap<String, f64>,
    state: String,
}

/// The parts of a table.
#[derive(Debug, Default, Serialize)]
struct Written {
    rows: u64,
    bytes: u64,
}

impl Status {
    /// Prints the status.
    ///
    /// # Errors
    /// Whatever is wrong with manifest, models, source or folder; a folder without a run.
    pub(crate) fn execute(mut self) -> Result<(), Failure> {
        self.paths.set = std::mem::take(&mut self.set.set);
        if self.watch {
            watch(&self.paths.output);
        }
        let session = Session::open(&self.paths, StageName::Evaluate, Access::Existing)?;
        let plan = session.plan()?;
        let at_once = |step: &StepPlan| session.step(&step.name).map_or(1, Step::tasks_at_once);
        let entries = plan.steps.iter();
        let entries = entries.map(|step| Entry::of(&plan, step, at_once(step)));
        let entries: Vec<Entry> = entries.collect();
        if self.json {
            return output::json(&entries);
        }
        let of = session.manifest.digest();
        let manifest = session.manifest.path().display();
        let results = Results::load(session.store()?)?;
        let mut text = format!(
            "manifest {manifest} ({})\n\n{}",
            of.short(),
            render(&entries)
        );
        if let Some(cost) = cost(&entries) {
            text.push_str(&format!("\n\n{cost}"));
        }
        if let Some(published) = published(&results, of) {
            text.push_str(&format!("\n\n{published}"));
        }
        output::data(&text)
    }
}

impl Entry {
    fn of(plan: &Plan, step: &StepPlan, at_once: usize) -> Self {
        let of = StepState::of(plan, step);
        let mut entry = Self {
            complete: step.complete(),
            tables: BTreeMap::new(),
            dropped: BTreeMap::new(),
            bytes: 0,
            task_seconds: 0.0,
            worker_seconds: 0.0,
            metrics: BTreeMap::new(),
            state: state(&of),
            of,
        };
        step.records().for_each(|record| entry.add(record));
        entry.worker_seconds = entry.task_seconds / at_once.max(1) as f64;
        entry
    }

    fn add(&mut self, record: &Record) {
        self.task_seconds += record.seconds;
        for part in &record.outputs {
            self.bytes += part.bytes;
            if part.table != TableId::Dropped {
                let written = self.tables.entry(part.table).or_default();
                written.rows += part.rows;
                written.bytes += part.bytes;
            }
        }
        for balance in &record.balances {
            let dropped: u64 = balance.dropped.values().sum();
            if dropped > 0 {
                *self.dropped.entry(balance.unit).or_default() += dropped;
            }
        }
        add_metrics(&mut self.metrics, record);
    }

    /// A row for the step, with its first table, and one for each further table.
    fn rows(&self) -> Vec<Vec<String>> {
        let dropped = |(unit, rows): (&Unit, &u64)| {
            count(usize::try_from(*rows).unwrap_or(usize::MAX), unit.as_str())
        };
        let dropped: Vec<_> = self.dropped.iter().map(dropped).collect();
        let mut tables = self.tables.iter().map(|(table, written)| {
            let rows = grouped(written.rows);
            [table.to_string(), rows, size(written.bytes)]
        });
        let [table, rows, bytes] = tables.next().unwrap_or_default();
        let first = vec![
            self.of.step.clone(),
            grouped(self.of.done as u64),
            grouped(self.of.tasks as u64),
            table,
            rows,
            bytes,
            format!("{:.1}", self.task_seconds),
            self.state.clone(),
            dropped.join(", "),
        ];
        let further = tables.map(|[table, rows, bytes]| {
            let none = String::new;
            vec![none(), none(), none(), table, rows, bytes]
        });
        std::iter::once(first).chain(further).collect()
    }
}

fn state(step: &StepState) -> String {
    match step.to_run {
        Some(0) => "complete".to_owned(),
        Some(to_run) => format!("{} to run: {}", grouped(to_run as u64), step.why()),
        None => step.why(),
    }
}

/// The workers' time of the stages whose tasks are done, and of all of them. Attempts that came to nothing are in no record.
fn cost(entries: &[Entry]) -> Option<String> {
    let mut stages: Vec<(StageName, f64)> = Vec::new();
    for entry in entries.iter().filter(|entry| entry.of.done > 0) {
        match stages.last_mut() {
            Some((stage, seconds)) if *stage == entry.of.stage => *seconds += entry.worker_seconds,
            _ => stages.push((entry.of.stage, entry.worker_seconds)),
        }
    }
    let all: f64 = stages.iter().map(|(_, seconds)| seconds).sum();
    let (unit, _) = worker_unit(all);
    let line =
        |(stage, seconds): &(StageName, f64)| format!("{stage} {}", three_digits(seconds / unit));
    let lines: Vec<_> = stages.iter().map(line).collect();
    let all = worker_time(all);
    let text = format!("{all} ({})", lines.join(", "));
    (!lines.is_empty()).then(|| table(&[vec!["cost so far".to_owned(), text]], &[]))
}

/// What is published, and which of it belongs to another manifest than that of digest `now`.
fn published(results: &Results, now: Digest) -> Option<String> {
    let line = |(step, found): (&String, &Published)| {
        let of = match found.manifest == now {
            true => String::new(),
            false => format!(", of another manifest ({})", found.manifest.short()),
        };
        format!(
            "published by {step}: {}{of}",
            count(found.files.len(), "file")
        )
    };
    let lines: Vec<_> = results.steps.iter().map(line).collect();
    (!lines.is_empty()).then(|| lines.join("\n"))
}

fn render(entries: &[Entry]) -> String {
    let heading = [
        "step", "done", "of", "table", "rows", "size", "seconds", "state", "dropped",
    ];
    let mut rows = vec![heading.map(str::to_owned).to_vec()];
    rows.extend(entries.iter().flat_map(Entry::rows));
    headed_table(&rows, &[1, 2, 4, 5, 6])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn render_keeps_rows_of_tables_and_units_apart() {
        let written = |rows| Written { rows, bytes: 2000 };
        let entry = Entry {
            of: StepState {
                stage: StageName::MergeNames,
                step: "merge-names".to_owned(),
                tasks: 1,
                done: 1,
                to_run: Some(0),
                waits_for: None,
                causes: Vec::new(),
            },
            complete: true,
            tables: BTreeMap::from([
                (TableId::Names, written(42)),
                (TableId::Candidates, written(1300)),
            ]),
            dropped: BTreeMap::from([(Unit::Mention, 7), (Unit::Name, 1)]),
            bytes: 4100,
            task_seconds: 0.54,
            worker_seconds: 0.54,
            metrics: BTreeMap::new(),
            state: "complete".to_owned(),
        };
        let entries = [entry];
        let costs = "cost so far  0.540 worker-seconds (merge-names 0.540)";
        assert_eq!(cost(&entries).as_deref(), Some(costs));
        let text = render(&entries);
        let words = |line: &str| line.split_whitespace().collect::<Vec<_>>().join(" ");
        let lines: Vec<_> = text.lines().skip(1).map(words).collect();
        let expected = [
            "merge-names 1 1 names 42 2.00 kB 0.5 complete 7 mentions, 1 name",
            "candidates 1,300 2.00 kB",
        ];
        assert_eq!(lines, expected);
    }
}
