//! CSV and TSV, record by record, whatever the bytes.
//!
//! CSV as RFC 4180 has it, a quoted field may hold line ends. A quote that is never closed, or
//! lines later by one that opens another field, would swallow what lies between: such a record is
//! given up, its first line is malformed, and reading goes on at the next line. One that is closed
//! but longer than a row may be is one malformed record. TSV has no quotes: captions are full of
//! them. But a field that is quoted as a whole, as pandas writes one, is what is between the quotes.

use std::collections::VecDeque;
use std::io;

use crate::lines::{Line, Lines, MAX_LINE};

/// Lines that one record may have.
const RECORD_LINES: usize = 1000;
/// Bytes that are looked through for the end of a quote.
const LOOK_AHEAD: usize = 64 << 20;

/// A record, or why it is none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Record {
    /// The line that it begins on, from 1.
    pub(crate) line: u64,
    pub(crate) fields: Result<Vec<Vec<u8>>, String>,
}

/// Reads records.
pub(crate) struct Records {
    lines: Lines,
    /// Lines that were read for a record that was given up.
    again: VecDeque<Line>,
    tabs: bool,
}

impl Records {
    /// The records of `lines`: of TSV with `tabs`, else of CSV.
    pub(crate) fn new(lines: Lines, tabs: bool) -> Self {
        let again = VecDeque::new();
        Self { lines, again, tabs }
    }

    fn line(&mut self) -> io::Result<Option<Line>> {
        match self.again.pop_front() {
            Some(line) => Ok(Some(line)),
            None => self.lines.next(),
        }
    }

    /// The next record, none at the end. Blank lines are none.
    ///
    /// # Errors
    /// What the file system says, or gzip of a damaged file.
    pub(crate) fn next(&mut self) -> io::Result<Option<Record>> {
        loop {
            let Some(line) = self.line()? else {
                return Ok(None);
            };
            let number = line.number;
            let fields = match line.bytes {
                None => Err(too_long()),
                Some(bytes) if bytes.is_empty() => continue,
                Some(bytes) if self.tabs => Ok(split_tabs(&bytes)),
                Some(bytes) => self.quoted(&bytes)?,
            };
            let line = number;
            return Ok(Some(Record { line, fields }));
        }
    }

    /// The fields of the record that begins with `first`.
    fn quoted(&mut self, first: &[u8]) -> io::Result<Result<Vec<Vec<u8>>, String>> {
        let mut splitter = Splitter::default();
        splitter.feed(first);
        let (mut more, mut length) = (Vec::new(), first.len());
        while splitter.is_open() {
            let next = self.line()?;
            let fits = next.as_ref().and_then(|line| line.bytes.as_ref());
            let is_field = fits.is_some_and(|bytes| {
                length += bytes.len() + 1;
                splitter.feed(b"\n");
                splitter.follow(bytes) && length < LOOK_AHEAD
            });
            more.extend(next);
            if !is_field {
                for line in more.into_iter().rev() {
                    self.again.push_front(line);
                }
                return Ok(Err("a quote that is not closed".to_owned()));
            }
        }
        if more.len() > RECORD_LINES {
            return Ok(Err(format!("more than {RECORD_LINES} lines in quotes")));
        }
        if length > MAX_LINE {
            return Ok(Err(too_long()));
        }
        Ok(Ok(splitter.finish()))
    }
}

/// What is said of a line longer than [`MAX_LINE`].
pub(crate) fn too_long() -> String {
    format!("longer than {} MiB", MAX_LINE >> 20)
}

#[derive(Clone, Copy, Default, PartialEq)]
enum State {
    #[default]
    Start,
    Plain,
    Quoted,
    /// Behind a quote in a quoted field.
    Closed,
}

/// Splits a CSV record, given piece by piece.
#[derive(Default)]
struct Splitter {
    state: State,
    field: Vec<u8>,
    fields: Vec<Vec<u8>>,
}

impl Splitter {
    fn feed(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            self.state = match (self.state, byte) {
                (State::Start | State::Plain | State::Closed, b',') => {
                    self.fields.push(std::mem::take(&mut self.field));
                    State::Start
                }
                (State::Start, b'"') => State::Quoted,
                (State::Quoted, b'"') => State::Closed,
                (State::Closed, b'"') => {
                    self.field.push(b'"');
                    State::Quoted
                }
                (State::Quoted, _) => {
                    self.field.push(byte);
                    State::Quoted
                }
                _ => {
                    self.field.push(byte);
                    State::Plain
                }
            };
        }
    }

    /// Feeds a line of a record that began on an earlier one. Says whether its quotes are closed
    /// only where a field ends: others open a field, so that the one before was no opening one.
    fn follow(&mut self, bytes: &[u8]) -> bool {
        for byte in bytes {
            if self.state == State::Closed && !matches!(byte, b',' | b'"') {
                return false;
            }
            self.feed(std::slice::from_ref(byte));
        }
        true
    }

    /// Whether a quote is open.
    fn is_open(&self) -> bool {
        self.state == State::Quoted
    }

    fn finish(mut self) -> Vec<Vec<u8>> {
        self.fields.push(self.field);
        self.fields
    }
}

fn split_tabs(line: &[u8]) -> Vec<Vec<u8>> {
    line.split(|b| *b == b'\t').map(unquoted).collect()
}

/// What is between the quotes of a field that is quoted as a whole; else the field.
fn unquoted(field: &[u8]) -> Vec<u8> {
    let inner = field
        .strip_prefix(b"\"")
        .and_then(|f| f.strip_suffix(b"\""));
    let Some(inner) = inner else {
        return field.to_vec();
    };
    let (mut text, mut rest) = (Vec::with_capacity(inner.len()), inner.iter());
    while let Some(byte) = rest.next() {
        if *byte == b'"' && rest.next() != Some(&b'"') {
            return field.to_vec();
        }
        text.push(*byte);
    }
    text
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use proptest::prelude::*;

    use super::*;

    fn records(text: &[u8], tabs: bool) -> Vec<Record> {
        let mut records = Records::new(Lines::new(Cursor::new(text.to_vec())), tabs);
        std::iter::from_fn(|| records.next().expect("no I/O")).collect()
    }

    fn fields(text: &str, tabs: bool) -> Vec<Result<Vec<String>, String>> {
        let text_of = |field| String::from_utf8(field).expect("text");
        let found = records(text.as_bytes(), tabs).into_iter();
        found
            .map(|r| r.fields.map(|f| f.into_iter().map(text_of).collect()))
            .collect()
    }

    fn row(fields: &[&str]) -> Result<Vec<String>, String> {
        Ok(fields.iter().map(|f| (*f).to_owned()).collect())
    }

    #[test]
    fn a_quote_that_is_not_closed_costs_its_own_line_only() {
        let lost = Err("a quote that is not closed".to_owned());
        let text = "a,b\nc,\"never closed\nd,e\n";
        assert_eq!(
            fields(text, false),
            [row(&["a", "b"]), lost, row(&["d", "e"])]
        );
        let text = "a,\"stray\nb,c\nd,\"two words\"\n";
        let lost = Err("a quote that is not closed".to_owned());
        assert_eq!(
            fields(text, false),
            [lost, row(&["b", "c"]), row(&["d", "two words"])]
        );
        let text = "\"two\nlines\",\"say \"\"hi\"\"\"\n\nd,\n";
        let expected = [row(&["two\nlines", "say \"hi\""]), row(&["d", ""])];
        assert_eq!(fields(text, false), expected);
    }

    #[test]
    fn a_field_that_is_too_long_is_one_record_whatever_it_holds() {
        let line = "http://a.example/0.jpg,Mira Castellan\n";
        for (times, why) in [(RECORD_LINES + 1, "lines in quotes"), (0, "MiB")] {
            let inside = match times {
                0 => format!("{}\n", "x".repeat(1 << 19)).repeat(9),
                times => line.repeat(times),
            };
            let found = fields(&format!("a,\"{inside}\"\n{line}"), false);
            assert_eq!(found.len(), 2);
            assert!(
                found[0].as_ref().is_err_and(|e| e.contains(why)),
                "{found:?}"
            );
            assert_eq!(found[1], row(&["http://a.example/0.jpg", "Mira Castellan"]));
        }
    }

    #[test]
    fn tabs_split_without_quotes_but_whole_quoted_fields_are_read() {
        let text =
            "http://a.example\tThe \"Duke\"\n\"x\"\t\"say \"\"hi\"\"\"\n\"a\" b\t\"a\" \"b\"\n";
        let expected = [
            row(&["http://a.example", "The \"Duke\""]),
            row(&["x", "say \"hi\""]),
            row(&["\"a\" b", "\"a\" \"b\""]),
        ];
        assert_eq!(fields(text, true), expected);
    }

    proptest! {
        /// What the csv crate writes is read back.
        #[test]
        fn written_csv_is_read_back(rows in prop::collection::vec(
            prop::collection::vec("[ -~äß\\n\"]{0,12}", 2..5), 1..8)
        ) {
            let mut writer = csv::WriterBuilder::new().flexible(true).from_writer(Vec::new());
            for row in &rows {
                writer.write_record(row).expect("written");
            }
            let text = writer.into_inner().expect("flushed");
            let found: Vec<Vec<Vec<u8>>> = records(&text, false)
                .into_iter()
                .map(|r| r.fields.expect("a record"))
                .collect();
            let rows: Vec<Vec<Vec<u8>>> = rows
                .into_iter()
                .map(|row| row.into_iter().map(String::into_bytes).collect())
                .collect();
            prop_assert_eq!(found, rows);
        }

        /// Whatever the bytes: no panic, and no record begins where none can.
        #[test]
        fn any_bytes_are_records(text in prop::collection::vec(
            prop_oneof![Just(b'"'), Just(b','), Just(b'\n'), Just(b'\t'), any::<u8>()], 0..300)
        ) {
            let lines = text.split(|b| *b == b'\n').count() as u64;
            for tabs in [false, true] {
                let mut before = 0;
                for record in records(&text, tabs) {
                    prop_assert!(record.line > before && record.line <= lines);
                    before = record.line;
                }
            }
        }
    }
}
