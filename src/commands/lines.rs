//! Text files and standard input, line by line; answers to standard output.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::path::Path;

use laioncele_core::CoreError;

use crate::failure::{Exit, Failure};

/// What editors on Windows begin a UTF-8 file with; no part of the first line.
const BYTE_ORDER_MARK: &[u8] = b"\xEF\xBB\xBF";
/// The file name that stands for standard input.
pub(super) const STDIN: &str = "-";
/// Most lines processed together.
const BLOCK: usize = 8192;
/// Size of the input buffer in bytes.
const BLOCK_BYTES: usize = 1 << 20;

/// Writes answers, one a line. `false` where nobody reads them any more: a closed pipe is no error.
///
/// # Errors
/// Standard output that cannot be written.
pub(super) fn write_answers(
    output: &mut impl Write,
    answers: impl IntoIterator<Item = String>,
) -> Result<bool, Failure> {
    match write_all(output, answers) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(false),
        Err(error) => Err(Failure::new(
            Exit::Environment,
            format!("standard output: {error}"),
        )),
    }
}

fn write_all(output: &mut impl Write, answers: impl IntoIterator<Item = String>) -> io::Result<()> {
    for answer in answers {
        writeln!(output, "{answer}")?;
    }
    output.flush()
}

/// The input's lines, block by block.
pub(super) struct Lines {
    name: String,
    reader: BufReader<Box<dyn Read>>,
    number: u64,
    /// The error that the next call returns.
    failure: Option<Failure>,
}

impl Lines {
    /// Opens a file, or standard input.
    ///
    /// # Errors
    /// A file that cannot be opened.
    pub(super) fn open(file: &Path) -> Result<Self, Failure> {
        let input: Box<dyn Read> = if file == Path::new(STDIN) {
            Box::new(io::stdin())
        } else {
            Box::new(File::open(file).map_err(|e| CoreError::from_io(file, e))?)
        };
        let name = if file == Path::new(STDIN) {
            "standard input".to_owned()
        } else {
            file.display().to_string()
        };
        Ok(Self {
            name,
            reader: BufReader::with_capacity(BLOCK_BYTES, input),
            number: 0,
            failure: None,
        })
    }

    /// The next lines: waits for one, then takes those already buffered. Empty at the end. An error
    /// is returned after the lines before it.
    pub(super) fn block(&mut self) -> Result<Vec<String>, Failure> {
        if let Some(failure) = self.failure.take() {
            return Err(failure);
        }
        let mut lines = Vec::new();
        while lines.len() < BLOCK && (lines.is_empty() || self.reader.buffer().contains(&b'\n')) {
            match self.line() {
                Ok(Some(line)) => lines.push(line),
                Ok(None) => break,
                Err(failure) if lines.is_empty() => return Err(failure),
                Err(failure) => {
                    self.failure = Some(failure);
                    break;
                }
            }
        }
        Ok(lines)
    }

    /// How a message names a line, counted from 1.
    pub(super) fn location(&self, number: u64) -> String {
        format!("{}, line {number}", self.name)
    }

    /// The next line, without its end: LF or CRLF.
    fn line(&mut self) -> Result<Option<String>, Failure> {
        let mut bytes = Vec::new();
        let read = self.reader.read_until(b'\n', &mut bytes);
        let location = || self.location(self.number + 1);
        let read =
            read.map_err(|e| Failure::new(Exit::Environment, format!("{}: {e}", location())))?;
        if read == 0 {
            return Ok(None);
        }
        if bytes.ends_with(b"\n") {
            bytes.pop();
            if bytes.ends_with(b"\r") {
                bytes.pop();
            }
        }
        if self.number == 0 && bytes.starts_with(BYTE_ORDER_MARK) {
            bytes.drain(..BYTE_ORDER_MARK.len());
        }
        let line = String::from_utf8(bytes).map_err(|e| {
            let at = e.utf8_error().valid_up_to();
            Failure::new(
                Exit::Usage,
                format!("{}: not UTF-8 from byte {at} on", location()),
            )
        })?;
        self.number += 1;
        Ok(Some(line))
    }
}
