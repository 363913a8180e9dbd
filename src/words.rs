//! Numbers as people read them.

use std::time::Duration;

/// `1234567` → `1,234,567`.
pub fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() * 4 / 3);
    for (k, digit) in digits.chars().enumerate() {
        if k > 0 && (digits.len() - k).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A number of bytes with a unit: `999 B`, `1.5 kB`, `2.0 GB`.
pub fn size(bytes: u64) -> String {
    const UNITS: [&str; 5] = ["kB", "MB", "GB", "TB", "PB"];
    if bytes < 1000 {
        return format!("{bytes} B");
    }
    let mut value = bytes as f64 / 1000.0;
    let mut unit = 0;
    while value >= 999.95 && unit + 1 < UNITS.len() {
        value /= 1000.0;
        unit += 1;
    }
    format!("{value:.1} {}", UNITS[unit])
}

/// A duration: `0.42 s`, `12.3 s`, `4:05`, `1:02:03`.
pub fn duration(duration: Duration) -> String {
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

/// `1 task`, `2 tasks`.
pub fn count(number: usize, word: &str) -> String {
    let plural = match word.strip_suffix('y') {
        _ if number == 1 => word.to_owned(),
        Some(stem) => format!("{stem}ies"),
        None => format!("{word}s"),
    };
    format!("{} {plural}", grouped(number as u64))
}

/// Lines of left-aligned columns, two blanks between them; columns in `right` are right-aligned.
pub fn table(rows: &[Vec<String>], right: &[usize]) -> String {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width = |c: usize| {
        let cells = rows.iter().filter_map(|r| r.get(c));
        cells.map(|t| t.chars().count()).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..columns).map(width).collect();
    let line = |row: &Vec<String>| {
        let cell = |(c, text): (usize, &String)| {
            let width = widths[c];
            if right.contains(&c) {
                format!("{text:>width$}")
            } else {
                format!("{text:<width$}")
            }
        };
        let cells: Vec<_> = row.iter().enumerate().map(cell).collect();
        cells.join("  ").trim_end().to_owned()
    };
    rows.iter().map(line).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_readable() {
        assert_eq!(
            [0, 999, 1000, 1_234_567].map(grouped),
            ["0", "999", "1,000", "1,234,567"]
        );
        assert_eq!(
            [999, 1500, 999_999, 2_000_000_000].map(size),
            ["999 B", "1.5 kB", "1.0 MB", "2.0 GB"]
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
    fn columns_line_up() {
        let rows = [["a", "1"], ["bcd", "22"]].map(|r| r.map(str::to_owned).to_vec());
        assert_eq!(table(&rows, &[1]), "a     1\nbcd  22");
    }
}
