//! The layouts of the paper's Tables 1 and 2, and of the comparison in its Figure 6.

mod fine_tuned;

use crate::images::{ALL, MEAN};
use crate::layout::{Cell, Layout, Row};
use crate::number_format::{CLIP_COSINE, FACE_COSINE, NumberFormat};
use crate::paper;
use crate::report::{Report, Score};

/// Which layout.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Table {
    /// Systems beside each other: CLIP-TI and distances by group, ID consistency.
    One,
    /// Fine-tuned models beside each other, on scenes.
    Two,
    /// Two encoders beside each other, one a column.
    Six,
}

/// Where the better value is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Better {
    More,
    Less,
}

/// A column of figures.
struct Column {
    head: String,
    metric: &'static str,
    group: String,
    format: NumberFormat,
    better: Better,
}

impl Column {
    fn new(head: String, metric: &'static str, group: &str) -> Self {
        let (format, better) = match metric {
            "clip_ti" | "clip_i" => (CLIP_COSINE, Better::More),
            "fid" | "frechet_clip" => (NumberFormat::Distance, Better::Less),
            "kid" | "kernel_clip" => (NumberFormat::Kernel, Better::Less),
            "faces_found" => (NumberFormat::Share, Better::More),
            "same_person_auc" => (NumberFormat::Area, Better::More),
            _ => (FACE_COSINE, Better::More),
        };
        Self {
            head,
            metric,
            group: group.to_owned(),
            format,
            better,
        }
    }

    fn cell(&self, report: &Report, system: &str) -> Cell {
        let Some(score) = report.find(system, self.metric, &self.group) else {
            return Cell::default();
        };
        let text = self.format.write(score.value, score.count);
        let equal = score.against_count.is_none_or(|count| count == score.count);
        let is_distance = self.better == Better::Less;
        Cell {
            text: if is_distance && !equal {
                format!("{text} ≠")
            } else {
                text
            },
            bold: false,
            value: Some(score.value),
        }
    }
}

/// A table of one or several reports. `paper` adds the paper's rows, in gray: of other references and other seeds.
pub fn tables(reports: &[Report], table: Table, paper: bool) -> Layout {
    let mut layout = match table {
        Table::One => table_1(reports, paper),
        Table::Two => fine_tuned::table_2(reports, paper),
        Table::Six => table_6(reports),
    };
    if paper && table != Table::Six {
        let note =
            "Rows of the paper are as printed there: other references, other seeds, other judges.";
        layout.notes.push(note.to_owned());
    }
    layout
}

/// The name of the distances that there are.
fn distance_names(reports: &[Report]) -> [&'static str; 4] {
    let has = |metric: &str| {
        reports
            .iter()
            .any(|r| r.scores.iter().any(|s| s.metric == metric))
    };
    if has("fid") {
        ["FID", "fid", "KID", "kid"]
    } else {
        ["CLIP-FD", "frechet_clip", "CLIP-KD", "kernel_clip"]
    }
}

/// The groups in the paper's order, others after them.
fn ordered(reports: &[Report]) -> Vec<&str> {
    let mut all: Vec<&str> = Vec::new();
    for group in reports.iter().flat_map(Report::groups) {
        if !all.contains(&group) {
            all.push(group);
        }
    }
    let place = |group: &&str| paper::GROUPS.iter().position(|known| known == group);
    all.sort_by_key(|group| (place(group).unwrap_or(usize::MAX), *group));
    all
}

/// The first of `wanted` that there is, else all images.
fn group_or_all<'a>(groups: &[&'a str], wanted: &'a str) -> &'a str {
    match groups.contains(&wanted) {
        true => wanted,
        false => ALL,
    }
}

/// A head with its group: `CLIP-TI ↑, style`.
fn head(what: &str, arrow: &str, group: &str) -> String {
    match group {
        ALL => format!("{what} {arrow}"),
        MEAN => format!("{what} {arrow}, mean"),
        group => format!("{what} {arrow}, {group}"),
    }
}

fn columns_1(reports: &[Report]) -> Vec<Column> {
    let groups = ordered(reports);
    let mut shown = groups.clone();
    match groups.len() {
        0 | 1 => shown = vec![ALL],
        _ => shown.push(MEAN),
    }
    let [fid_name, fid, kid_name, kid] = distance_names(reports);
    let mut columns = Vec::new();
    for (what, arrow, metric) in [("CLIP-TI", "↑", "clip_ti"), (fid_name, "↓", fid)] {
        columns.extend(
            shown
                .iter()
                .map(|g| Column::new(head(what, arrow, g), metric, g)),
        );
    }
    let kid_name = format!("{kid_name} × 1000");
    columns.push(Column::new(head(&kid_name, "↓", ALL), kid, ALL));
    let faces = group_or_all(&groups, "emotion");
    for (what, metric) in [
        ("ID Cons. A", "id_consistency"),
        ("ID Cons. B", "id_consistency_of_all"),
    ] {
        columns.push(Column::new(head(what, "↑", faces), metric, faces));
    }
    columns.push(Column::new(
        head("faces found", "↑", faces),
        "faces_found",
        faces,
    ));
    if groups.len() > 1 {
        columns.push(Column::new(format!("{fid_name} ↓, union"), fid, ALL));
    }
    columns
}

/// A report with one of its systems.
type Named<'a> = (&'a Report, &'a str);

/// The base model, SDXL by name, others as they come, ours last. Of several reports the first has all, the others their own.
fn rows_1(reports: &[Report]) -> Vec<Named<'_>> {
    let mut rows: Vec<Named<'_>> = Vec::new();
    let mut own: Vec<Named<'_>> = Vec::new();
    for (at, report) in reports.iter().enumerate() {
        let main = report.main_system();
        if at == 0 {
            let place = |system: &&str| u8::from(*system != crate::BY_NAME);
            let mut systems: Vec<&str> = report.systems();
            systems.retain(|system| *system != main);
            systems.sort_by_key(place);
            rows.extend(report.base().map(|base| (report, base)));
            rows.extend(systems.into_iter().map(|system| (report, system)));
        }
        own.extend((!main.is_empty()).then_some((report, main)));
    }
    rows.extend(own);
    rows
}

fn table_1(reports: &[Report], paper: bool) -> Layout {
    let columns = columns_1(reports);
    let named = rows_1(reports);
    let mut rows = filled(&columns, &named);
    if paper {
        rows.extend(paper::TABLE_1.iter().map(|row| paper_row(row, &columns)));
    }
    let mut notes = notes_of(reports);
    notes.push(
        "Mean is that of the groups, which the paper calls All; union is one distance over all images. The best of a column \
         is bold, unless its difference to another system has an interval that holds 0."
            .to_owned(),
    );
    finish("Table 1: systems", "system", &columns, rows, notes)
}

fn notes_of(reports: &[Report]) -> Vec<String> {
    let mut notes: Vec<String> = Vec::new();
    for note in reports.iter().flat_map(|report| &report.notes) {
        if !notes.contains(note) {
            notes.push(note.clone());
        }
    }
    notes
}

fn finish(
    title: &str,
    first: &str,
    columns: &[Column],
    rows: Vec<Row>,
    notes: Vec<String>,
) -> Layout {
    let mut header = vec![first.to_owned()];
    header.extend(columns.iter().map(|column| column.head.clone()));
    Layout {
        title: title.to_owned(),
        header,
        rows,
        notes,
    }
}

/// A row for each system, the best of each column bold.
fn filled(columns: &[Column], named: &[Named<'_>]) -> Vec<Row> {
    let row = |(report, system): &Named<'_>| Row {
        name: (*system).to_owned(),
        cells: columns
            .iter()
            .map(|column| column.cell(report, system))
            .collect(),
        gray: false,
    };
    let mut rows: Vec<Row> = named.iter().map(row).collect();
    for (at, column) in columns.iter().enumerate() {
        let values: Vec<Option<f64>> = rows.iter().map(|row| row.cells[at].value).collect();
        if let Some(best) = best(&values, column.better)
            && is_clear(column, named, best)
        {
            rows[best].cells[at].bold = true;
        }
    }
    rows
}

/// The place of the best of at least two values; none of equal ones.
fn best(values: &[Option<f64>], better: Better) -> Option<usize> {
    let sign = match better {
        Better::More => 1.0,
        Better::Less => -1.0,
    };
    let mut signed: Vec<(f64, usize)> = (values.iter().enumerate())
        .filter_map(|(at, value)| Some((sign * (*value)?, at)))
        .collect();
    signed.sort_by(|a, b| b.0.total_cmp(&a.0));
    match signed.as_slice() {
        [first, second, ..] if first.0 > second.0 => Some(first.1),
        _ => None,
    }
}

/// Whether no difference to another system, of those that have an interval, may be nothing.
fn is_clear(column: &Column, named: &[Named<'_>], best: usize) -> bool {
    let metric = format!("{}_difference", column.metric);
    let group = if column.group == MEAN {
        ALL
    } else {
        &column.group
    };
    let (report, system) = named[best];
    let between = |s: &&Score, other: &str| {
        let pair = (s.system.as_str(), s.against.as_deref().unwrap_or_default());
        s.metric == metric
            && s.group == group
            && (pair == (system, other) || pair == (other, system))
    };
    let others = named.iter().filter(|(_, other)| *other != system);
    let mut differences =
        others.filter_map(|(_, other)| report.scores.iter().find(|s| between(s, other)));
    differences.all(|s| match (s.low, s.high) {
        (Some(low), Some(high)) => low > 0.0 || high < 0.0,
        _ => true,
    })
}

fn paper_row((name, clip, fid, consistency): &paper::Row, columns: &[Column]) -> Row {
    let value = |column: &Column| {
        let place = match column.group.as_str() {
            MEAN => Some(4),
            group => paper::GROUPS.iter().position(|known| *known == group),
        };
        match column.metric {
            "clip_ti" => place.and_then(|at| clip[at]).map(|v| (v, 2)),
            "fid" => place.and_then(|at| fid[at]).map(|v| (v, 2)),
            "id_consistency" if column.group == "emotion" => Some((*consistency, 4)),
            _ => None,
        }
    };
    let cells = columns.iter().map(|column| printed(value(column)));
    Row {
        name: format!("{name} (paper)"),
        cells: cells.collect(),
        gray: true,
    }
}

/// A cell of a printed number with its decimals.
fn printed(value: Option<(f64, usize)>) -> Cell {
    value.map_or_else(Cell::default, |(value, decimals)| Cell {
        text: format!("{value:.decimals$}"),
        bold: false,
        value: Some(value),
    })
}

/// The metrics of Figure 6: title, metric.
const FIGURE_6: [(&str, &str); 7] = [
    ("CLIP-TI ↑", "clip_ti"),
    ("", "frechet"),
    ("", "kernel"),
    ("ID Cons. A ↑", "id_consistency"),
    ("Ref Simi. ↑", "reference_similarity"),
    ("same person, AUC ↑", "same_person_auc"),
    ("faces found ↑", "faces_found"),
];

fn table_6(reports: &[Report]) -> Layout {
    let [fid_name, fid, kid_name, kid] = distance_names(reports);
    let mut rows = Vec::new();
    for (title, metric) in FIGURE_6 {
        let (title, metric) = match metric {
            "frechet" => (format!("{fid_name} ↓"), fid),
            "kernel" => (format!("{kid_name} × 1000 ↓"), kid),
            metric => (title.to_owned(), metric),
        };
        let column = Column::new(title.clone(), metric, ALL);
        let mut cells: Vec<Cell> = (reports.iter())
            .map(|report| column.cell(report, report.main_system()))
            .collect();
        let values: Vec<Option<f64>> = cells.iter().map(|cell| cell.value).collect();
        if let Some(best) = best(&values, column.better) {
            cells[best].bold = true;
        }
        rows.push(Row {
            name: title,
            cells,
            gray: false,
        });
    }
    let mut header = vec!["metric".to_owned()];
    header.extend(reports.iter().map(|report| report.main_system().to_owned()));
    Layout {
        title: "Figure 6: encoders".to_owned(),
        header,
        rows,
        notes: notes_of(reports),
    }
}

#[cfg(test)]
mod tests;
