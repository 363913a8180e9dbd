//! Numbers and tables for people to read.

use std::time::Duration;

use comfy_table::{CellAlignment, ColumnConstraint, ContentArrangement, Table, presets};
use indicatif::{DecimalBytes, HumanCount};

use crate::terminal;

/// `1234567` → `1,234,567`.
pub(crate) fn grouped(number: u64) -> String {
    HumanCount(number).to_string()
}

/// A number of bytes with a unit: `999 B`, `1.50 kB`, `2.00 GB`.
pub(crate) fn size(bytes: u64) -> String {
    // Rounded to the two decimals that are shown: DecimalBytes writes 999,999 as 1000.00 kB.
    let unit = bytes.checked_ilog10().unwrap_or(0) / 3 * 3;
    let step = 10_u64.pow(unit.saturating_sub(2));
    DecimalBytes(bytes.saturating_add(step / 2) / step * step).to_string()
}

/// A duration: `0.42 s`, `12.3 s`, `4:05`, `1:02:03`.
pub(crate) fn duration(duration: Duration) -> String {
    let seconds = duration.as_secs_f64();
    if seconds < 9.995 {
        return format!("{seconds:.2} s");
    }
    if seconds < 99.95 {
        return format!("{seconds:.1} s");
    }
    let whole = seconds.round() as u64;
    let (hours, minutes, seconds) = (whole / 3600, whole / 60 % 60, whole % 60);
    if hours > 0 {
        format!("{hours}:{minutes:02}:{seconds:02}")
    } else {
        format!("{minutes}:{seconds:02}")
    }
}

/// Seconds of workers' time below which it is told in seconds.
const FEW_SECONDS: f64 = 600.0;

/// Time of workers with three digits: `42.0 worker-seconds`, `1.50 worker-hours`, `1,234 worker-hours`.
pub(crate) fn worker_time(seconds: f64) -> String {
    let (unit, word) = worker_unit(seconds);
    format!("{} worker-{word}", three_digits(seconds / unit))
}

/// The unit that so much of workers' time is told in: its seconds, and its word.
pub(crate) fn worker_unit(seconds: f64) -> (f64, &'static str) {
    match seconds < FEW_SECONDS {
        true => (1.0, "seconds"),
        false => (3600.0, "hours"),
    }
}

/// A number from 0 on with three digits that count: `0.0123`, `1.50`, `12.3`, `1,234`.
pub(crate) fn three_digits(number: f64) -> String {
    if number <= 0.0 || !number.is_finite() {
        return "0".to_owned();
    }
    // Of 9.996 one decimal is shown, as of 10.0.
    let digits = number.log10().floor() as i32;
    let digits = (number + 0.5 * 10_f64.powi(digits - 2)).log10().floor() as i32;
    match usize::try_from(2 - digits) {
        Ok(decimals @ 1..) => format!("{number:.*}", decimals.min(9)),
        _ => grouped(number.round() as u64),
    }
}

/// `1 task`, `2 tasks`.
pub(crate) fn count(number: usize, word: &str) -> String {
    let plural = match word.strip_suffix('y') {
        _ if number == 1 => word.to_owned(),
        Some(stem) => format!("{stem}ies"),
        None => format!("{word}s"),
    };
    format!("{} {plural}", grouped(number as u64))
}

/// Columns with two blanks between them, left-aligned but for those in `right`, without any lines. On a narrow terminal the last column is
/// wrapped, or each row becomes a few lines.
pub(crate) fn table(rows: &[Vec<String>], right: &[usize]) -> String {
    fitted(rows, right, false, terminal::columns())
}

/// As [`table`], of rows of which the first is the heading.
pub(crate) fn headed_table(rows: &[Vec<String>], right: &[usize]) -> String {
    fitted(rows, right, true, terminal::columns())
}

/// Blanks between columns.
const GAP: usize = 2;
/// Columns that the last column of a table must have left to be wrapped there.
const WRAPPED: usize = 24;

fn fitted(rows: &[Vec<String>], right: &[usize], headed: bool, columns: Option<usize>) -> String {
    let mut table = plain(rows, right);
    let widths = table.column_max_content_widths();
    let widths: Vec<usize> = widths.into_iter().map(usize::from).collect();
    let Some((last, others)) = widths.split_last() else {
        return String::new();
    };
    let others: usize = others.iter().map(|width| width + GAP).sum();
    match columns {
        Some(columns) if others + last > columns && others + WRAPPED <= columns => {
            wrap(&mut table, columns);
            table.trim_fmt()
        }
        Some(columns) if others + last > columns => stacked(rows, headed, columns),
        _ => table.trim_fmt(),
    }
}

fn plain(rows: &[Vec<String>], right: &[usize]) -> Table {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).add_rows(rows);
    let last = table.column_count().saturating_sub(1);
    for column in table.column_iter_mut() {
        let gap = if column.index == last { 0 } else { GAP as u16 };
        column.set_padding((0, gap));
        if right.contains(&column.index) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    table
}

/// Gives the last column of `table` what the others leave of `columns`.
fn wrap(table: &mut Table, columns: usize) {
    table.set_content_arrangement(ContentArrangement::Dynamic);
    table.set_width(u16::try_from(columns).unwrap_or(u16::MAX));
    let last = table.column_count().saturating_sub(1);
    for column in table
        .column_iter_mut()
        .filter(|column| column.index != last)
    {
        column.set_constraint(ColumnConstraint::ContentWidth);
    }
}

/// The first cell of each row, and below it the others with what their column is called.
fn stacked(rows: &[Vec<String>], headed: bool, columns: usize) -> String {
    let (heading, rows) = match rows {
        [heading, rows @ ..] if headed => (heading.as_slice(), rows),
        rows => (&[][..], rows),
    };
    let called = |at: usize| heading.get(at).map_or("", String::as_str);
    let mut lines = Vec::new();
    for row in rows {
        let Some((first, others)) = row.split_first() else {
            continue;
        };
        if !first.is_empty() {
            lines.push(wrapped(vec![vec![first.clone()]], columns));
        }
        let cells = others
            .iter()
            .enumerate()
            .filter(|(_, cell)| !cell.is_empty());
        let cells = cells.map(|(at, cell)| match called(at + 1) {
            "" if headed => vec!["  ".to_owned(), cell.clone()],
            "" => vec![String::new(), cell.clone()],
            name => vec![format!("  {name}"), cell.clone()],
        });
        let cells: Vec<_> = cells.collect();
        if !cells.is_empty() {
            lines.push(wrapped(cells, columns));
        }
    }
    lines.join("\n")
}

fn wrapped(rows: Vec<Vec<String>>, columns: usize) -> String {
    let mut table = plain(&rows, &[]);
    wrap(&mut table, columns);
    table.trim_fmt()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_units_and_separators() {
        assert_eq!(
            [0, 999, 1000, 1_234_567].map(grouped),
            ["0", "999", "1,000", "1,234,567"]
        );
        assert_eq!(
            [999, 1500, 999_999, 2_000_000_000].map(size),
            ["999 B", "1.50 kB", "1.00 MB", "2.00 GB"]
        );
        let text = |s: f64| duration(Duration::from_secs_f64(s));
        assert_eq!(
            [0.42, 12.34, 99.96, 245.0, 3723.0].map(text),
            ["0.42 s", "12.3 s", "1:40", "4:05", "1:02:03"]
        );
        assert_eq!(
            [count(1, "task"), count(2, "identity"), count(1000, "row")],
            ["1 task", "2 identities", "1,000 rows"]
        );
    }

    #[test]
    fn hours_have_three_digits() {
        let numbers = [
            0.0,
            0.001_234,
            0.05,
            0.9996,
            9.996,
            12.34,
            999.6,
            1234.5,
            f64::NAN,
        ];
        let texts = [
            "0", "0.00123", "0.0500", "1.00", "10.0", "12.3", "1,000", "1,235", "0",
        ];
        assert_eq!(numbers.map(three_digits), texts);
        assert_eq!(worker_time(5400.0), "1.50 worker-hours");
        assert_eq!(worker_time(42.0), "42.0 worker-seconds");
    }

    #[test]
    fn table_aligns_columns_by_what_is_shown() {
        let rows = [
            ["a", "1", ""],
            ["bcd", "22", "x"],
            ["Zoë", "3", ""],
            ["名", "4", "y"],
        ];
        let rows = rows.map(|r| r.map(str::to_owned).to_vec());
        let expected = "a     1\nbcd  22  x\nZoë   3\n名    4  y";
        assert_eq!(fitted(&rows, &[1], false, None), expected);
    }

    #[test]
    fn a_table_is_never_wider_than_the_terminal() {
        let row = |cells: [&str; 4]| cells.map(str::to_owned).to_vec();
        let rows = [
            row(["step", "rows", "seconds", "why"]),
            row([
                "generate-portraits",
                "1,234",
                "0.5",
                "a setting: [generate_portraits] steps 20 → 30",
            ]),
            row([
                "",
                "7",
                "",
                "/a/path/without/any/blank/that/is/longer/than/the/whole/terminal/is/wide.txt",
            ]),
        ];
        for columns in 20..140 {
            for headed in [true, false] {
                let text = fitted(&rows, &[1, 2], headed, Some(columns));
                let widest = text.lines().map(|line| line.chars().count()).max();
                assert!(widest <= Some(columns), "{columns}:\n{text}");
                let said: String = text.split_whitespace().collect();
                assert!(
                    said.contains("1,234") && said.contains("wide.txt"),
                    "{text}"
                );
            }
        }
        let text = fitted(&rows[..2], &[1, 2], true, Some(64));
        assert_eq!(text.lines().count(), 4, "{text}");
        let text = fitted(&rows[..2], &[1, 2], true, Some(40));
        let expected =
            "generate-portraits\n  rows     1,234\n  seconds  0.5\n  why      a setting:";
        assert!(text.starts_with(expected), "{text}");
    }
}
