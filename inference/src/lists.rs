//! Lists that people write: CSV with a header. A byte order mark and CRLF are fine; what is wrong is named with its line.
//!
//! The crate csv, by which sources are read, takes a quote that is never closed for closed at the end, and with it the rest of a list
//! for one field: in what people write by hand that must be told.

use std::collections::BTreeMap;
use std::iter::Peekable;
use std::str::Chars;

/// A row of any columns.
#[derive(Debug)]
pub struct ListRow {
    /// The line that it begins on.
    pub line: usize,
    /// By name, in lower case.
    pub fields: BTreeMap<String, String>,
}

/// The rows of a CSV text below its header, whose names are unlike each other and hold all of `required`.
///
/// # Errors
/// What is wrong, with the line.
pub fn named_fields(text: &str, required: &[&str]) -> Result<Vec<ListRow>, String> {
    let mut records = csv_records(text)?.into_iter();
    let (_, header) = records.next().ok_or("empty; a header was expected")?;
    let names: Vec<String> = header.iter().map(|h| h.trim().to_lowercase()).collect();
    if let Some(name) = (1..names.len()).find(|k| names[..*k].contains(&names[*k])) {
        return Err(format!("line 1: two columns `{}`", names[name]));
    }
    if let Some(name) = required
        .iter()
        .find(|name| !names.iter().any(|n| n == *name))
    {
        return Err(format!("line 1: there is no column `{name}`"));
    }
    let named = |(line, fields): (usize, Vec<String>)| {
        if fields.len() != names.len() {
            let (found, expected) = (fields.len(), names.len());
            return Err(format!(
                "line {line}: {found} fields where the header has {expected}"
            ));
        }
        let fields = names.iter().cloned().zip(fields).collect();
        Ok(ListRow { line, fields })
    };
    records.map(named).collect()
}

/// The records of a CSV text by RFC 4180, each with the line that it begins on; blank lines are
/// skipped.
///
/// # Errors
/// A quote that is never closed, with its line.
pub fn csv_records(text: &str) -> Result<Vec<(usize, Vec<String>)>, String> {
    let (mut records, mut fields, mut field) = (Vec::new(), Vec::new(), String::new());
    let (mut line, mut begun) = (1, 1);
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '"' if field.is_empty() => quoted(&mut chars, &mut field, &mut line)?,
            ',' => fields.push(std::mem::take(&mut field)),
            '\r' if chars.peek() == Some(&'\n') => {}
            '\n' => {
                if !(fields.is_empty() && field.is_empty()) {
                    fields.push(std::mem::take(&mut field));
                    records.push((begun, std::mem::take(&mut fields)));
                }
                line += 1;
                begun = line;
            }
            c => field.push(c),
        }
    }
    if !(fields.is_empty() && field.is_empty()) {
        fields.push(field);
        records.push((begun, fields));
    }
    Ok(records)
}

/// Reads the rest of a quoted field, after its opening quote.
fn quoted(
    chars: &mut Peekable<Chars<'_>>,
    field: &mut String,
    line: &mut usize,
) -> Result<(), String> {
    let begun = *line;
    while let Some(c) = chars.next() {
        match c {
            '"' if chars.peek() == Some(&'"') => {
                chars.next();
                field.push('"');
            }
            '"' => return Ok(()),
            c => {
                *line += usize::from(c == '\n');
                field.push(c);
            }
        }
    }
    Err(format!("line {begun}: a quote that is never closed"))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn fields_in_quotes_come_back(rows in prop::collection::vec(prop::collection::vec("[a,\"\n\r é]{0,6}", 2..4), 1..5)) {
            let quote = |field: &String| format!("\"{}\"", field.replace('"', "\"\""));
            let line = |row: &Vec<String>| row.iter().map(quote).collect::<Vec<_>>().join(",");
            let text = rows.iter().map(line).collect::<Vec<_>>().join("\r\n");
            let found = csv_records(&text).expect("records");
            let fields: Vec<_> = found.into_iter().map(|(_, fields)| fields).collect();
            prop_assert_eq!(fields, rows);
        }

        #[test]
        fn any_text_is_read_or_refused(text in "[a,\"\r\n]{0,40}") {
            let _ = csv_records(&text);
        }
    }
}
