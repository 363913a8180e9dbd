//! Table 2: fine-tuned models beside each other.

use super::printed;
use super::{Column, Named, distance_names, filled, finish, group_or_all, head, notes_of, ordered};
use crate::layout::{Cell, Layout, Row};
use crate::paper;
use crate::report::{Report, Score};

/// How many columns, from the first, are compared image by image.
const COMPARED: usize = 3;

const DIFFERENCES: &str = "Δ are differences to the first row, image by image of the same person, prompt and place, \
     with intervals of 95 % over people.";

/// The main system of each report; of a single one all its systems, the main one first.
fn rows_2(reports: &[Report]) -> Vec<Named<'_>> {
    let [only] = reports else {
        return reports.iter().map(|r| (r, r.main_system())).collect();
    };
    let main = only.main_system();
    let others = only.systems().into_iter().filter(|s| *s != main);
    std::iter::once(main)
        .chain(others)
        .map(|s| (only, s))
        .collect()
}

/// Table 2: a run each, or the systems of one report and what they differ by from its main one.
pub(super) fn table_2(reports: &[Report], paper: bool) -> Layout {
    let groups = ordered(reports);
    let group = group_or_all(&groups, "scene");
    let [_, _, kid_name, kid] = distance_names(reports);
    let columns = [
        Column::new(head("CLIP-TI", "↑", group), "clip_ti", group),
        Column::new(head("Ref Simi.", "↑", group), "reference_similarity", group),
        Column::new(head("ID Cons. A", "↑", group), "id_consistency", group),
        Column::new(head(&format!("{kid_name} × 1000"), "↓", group), kid, group),
    ];
    let named = rows_2(reports);
    let mut rows = filled(&columns, &named);
    let mut notes = notes_of(reports);
    let differ = named.len() > 1 && reports.len() == 1;
    if differ {
        let compared = &columns[..COMPARED];
        for (row, (report, system)) in rows.iter_mut().zip(&named) {
            let difference = |column| difference(column, report, system, named[0].1);
            row.cells.extend(compared.iter().map(difference));
        }
        notes.push(DIFFERENCES.to_owned());
    }
    if paper {
        let row = |(name, values): &(&str, [f64; 3])| {
            let [clip, reference, consistency] = *values;
            let values = [
                Some((clip, 2)),
                Some((reference, 4)),
                Some((consistency, 4)),
                None,
            ];
            Row {
                name: format!("{name} (paper)"),
                cells: values.into_iter().map(printed).collect(),
                gray: true,
            }
        };
        rows.extend(paper::TABLE_2.iter().map(row));
    }
    let first = if differ { "system" } else { "run" };
    let mut layout = finish("Table 2: fine-tuning", first, &columns, rows, notes);
    if differ {
        let heads = columns[..COMPARED].iter().map(|c| format!("Δ {}", c.head));
        layout.header.extend(heads);
        let width = layout.header.len() - 1;
        let rows = layout.rows.iter_mut();
        rows.for_each(|row| row.cells.resize(width, Cell::default()));
    }
    layout
}

/// What the images of `system` differ by from those of `first`.
fn difference(column: &Column, report: &Report, system: &str, first: &str) -> Cell {
    let metric = format!("{}_difference", column.metric);
    let between = |a: &str, b: &str| {
        let is = |s: &&Score| {
            s.metric == metric
                && s.group == column.group
                && s.system == a
                && s.against.as_deref() == Some(b)
        };
        report.scores.iter().find(is)
    };
    let forward = between(system, first).map(|score| (score, 1.0));
    let found = forward.or_else(|| between(first, system).map(|score| (score, -1.0)));
    let Some((score, sign)) = found else {
        return Cell::default();
    };
    let write = |value: f64| {
        let text = column.format.write(sign * value, score.count);
        match text.starts_with('-') {
            true => text,
            false => format!("+{text}"),
        }
    };
    let bounds = score.low.zip(score.high).map(|(low, high)| {
        let (low, high) = if sign < 0.0 { (high, low) } else { (low, high) };
        format!(" ({} … {})", write(low), write(high))
    });
    Cell {
        text: write(score.value) + &bounds.unwrap_or_default(),
        bold: false,
        value: Some(sign * score.value),
    }
}
