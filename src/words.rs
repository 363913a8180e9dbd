//! Numbers and tables for people to read.

use std::time::Duration;

use comfy_table::{CellAlignment, Table, presets};
use indicatif::{DecimalBytes, HumanCount};

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

/// Time of workers with three digits: `0.0123 worker-hours`, `1.50 worker-hours`, `1,234 worker-hours`.
pub(crate) fn worker_hours(seconds: f64) -> String {
    format!("{} worker-hours", three_digits(seconds / 3600.0))
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

/// Columns with two blanks between them, left-aligned but for those in `right`, without any lines.
pub(crate) fn table(rows: &[Vec<String>], right: &[usize]) -> String {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).add_rows(rows);
    for column in table.column_iter_mut() {
        column.set_padding((0, 2));
        if right.contains(&column.index) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
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
        assert_eq!(worker_hours(5400.0), "1.50 worker-hours");
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
        assert_eq!(table(&rows, &[1]), expected);
    }
}
