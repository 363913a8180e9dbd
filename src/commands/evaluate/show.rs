//! What `laioncele evaluate` prints.

use laioncele_evaluate::{Format, Report, Score, Table, tables};

use super::Formats;
use crate::failure::Failure;
use crate::output;
use crate::words::headed_table;

/// Prints a layout of the paper.
pub(super) fn layout(
    reports: &[Report],
    layout: Table,
    paper: bool,
    format: Option<Formats>,
    json: bool,
) -> Result<(), Failure> {
    let layout = tables(reports, layout, paper);
    if json {
        return output::json(&layout);
    }
    let format = match format {
        Some(Formats::Markdown) => Format::Markdown,
        Some(Formats::Csv) => Format::Csv,
        Some(Formats::Latex) => Format::Latex,
        None => {
            let text = columns(&layout.cells());
            return output::data(&with_notes(text, &layout.notes));
        }
    };
    output::data(layout.write(format).trim_end())
}

/// A report for a terminal.
pub(super) fn render(report: &Report) -> String {
    with_notes(columns(&report.table()), &report.notes)
}

/// Figures as they are: metric, group, value, interval, sample size.
pub(super) fn scores(scores: &[Score]) -> String {
    let mut lines = vec![
        ["metric", "group", "value", "95 %", "sample size"]
            .map(str::to_owned)
            .to_vec(),
    ];
    lines.extend(scores.iter().map(|score| {
        let interval = match (score.low, score.high) {
            (Some(low), Some(high)) => format!("{low:.6} … {high:.6}"),
            _ => String::new(),
        };
        vec![
            score.metric.clone(),
            score.group.clone(),
            format!("{:.6}", score.value),
            interval,
            score.count.to_string(),
        ]
    }));
    headed_table(&lines, &[2, 3, 4])
}

fn columns(lines: &[Vec<String>]) -> String {
    let count = lines.first().map_or(0, Vec::len);
    headed_table(lines, &(1..count).collect::<Vec<_>>())
}

fn with_notes(text: String, notes: &[String]) -> String {
    let notes = notes.iter().map(|note| format!("\n{note}"));
    text + "\n" + &notes.collect::<String>()
}
