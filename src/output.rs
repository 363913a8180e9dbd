//! The two streams: data on standard output, messages on standard error. A closed pipe is no error.

use std::io::{self, Write};

use serde::Serialize;

use crate::failure::{Exit, Failure};
use crate::terminal;

/// Writes `text` and a line end to standard output.
///
/// # Errors
/// A full disk behind a redirection; not a closed pipe.
pub(crate) fn data(text: &str) -> Result<(), Failure> {
    let mut stdout = io::stdout().lock();
    let written = writeln!(stdout, "{text}").and_then(|()| stdout.flush());
    match written {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(Failure::new(
            Exit::Environment,
            format!("standard output: {error}"),
        )),
        _ => Ok(()),
    }
}

/// Writes `value` as indented JSON to standard output.
///
/// # Errors
/// As [`data`].
pub(crate) fn json<T: Serialize>(value: &T) -> Result<(), Failure> {
    let text = serde_json::to_string_pretty(value)
        .map_err(|e| Failure::new(Exit::Defect, format!("JSON: {e}")))?;
    data(&text)
}

/// Writes `text` and a line end to standard error, around the progress bar. A failure to write is
/// ignored: there is nowhere left to report it.
pub(crate) fn message(text: &str) {
    terminal::suspend_bar(|| {
        let _ = writeln!(io::stderr().lock(), "{text}");
    });
}
