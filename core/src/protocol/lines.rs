//! JSON lines over a pipe: one message a line, none longer than [`MAX_LINE`]. What comes through is hostile until it is a
//! message: a native library may print, a machine may die in the middle of a line.

use std::io::{self, BufRead, Read, Write};

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::MAX_LINE;

/// Why a line is no message.
#[derive(Debug, thiserror::Error)]
pub enum LineError {
    /// It does not end within [`MAX_LINE`] bytes.
    #[error("a line of more than {MAX_LINE} bytes")]
    TooLong,
    /// It is not JSON, or JSON of another form.
    #[error("a line that is no message: {0}")]
    NoMessage(#[source] serde_json::Error),
    /// The pipe failed.
    #[error(transparent)]
    Pipe(#[from] io::Error),
}

/// The next message; `None` at the end of input. Blank lines are skipped, and so is a last line that was cut off: whoever
/// wrote it is gone.
///
/// # Errors
/// A line that is no message, after which nothing more should be read; what the pipe says.
pub fn read<T: DeserializeOwned>(reader: &mut impl BufRead) -> Result<Option<T>, LineError> {
    let mut line = Vec::new();
    loop {
        line.clear();
        let limit = MAX_LINE as u64 + 1;
        reader.by_ref().take(limit).read_until(b'\n', &mut line)?;
        if line.is_empty() {
            return Ok(None);
        }
        if line.len() > MAX_LINE {
            return Err(LineError::TooLong);
        }
        if line.trim_ascii().is_empty() {
            continue;
        }
        return match serde_json::from_slice(&line) {
            Ok(message) => Ok(Some(message)),
            Err(_) if line.last() != Some(&b'\n') => Ok(None),
            Err(error) => Err(LineError::NoMessage(error)),
        };
    }
}

/// Writes a message and flushes it.
///
/// # Errors
/// A message that is too long, or that is no JSON (a path that is not UTF-8): nothing is written then. What the pipe says.
pub fn write<T: Serialize>(writer: &mut impl Write, message: &T) -> Result<(), LineError> {
    let mut line = serde_json::to_vec(message).map_err(LineError::NoMessage)?;
    line.push(b'\n');
    if line.len() > MAX_LINE {
        return Err(LineError::TooLong);
    }
    writer.write_all(&line)?;
    Ok(writer.flush()?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::ToWorker;

    #[test]
    fn read_returns_written_messages_and_ignores_unknown_fields() {
        let mut pipe = Vec::new();
        write(&mut pipe, &ToWorker::Ping { n: 3 }).expect("written");
        pipe.extend_from_slice(b"\n{\"type\":\"cancel\",\"id\":7,\"soon\":true}\n");
        let mut reader = pipe.as_slice();
        let mut next = || read(&mut reader).expect("a message");
        assert_eq!(next(), Some(ToWorker::Ping { n: 3 }));
        assert_eq!(next(), Some(ToWorker::Cancel { id: 7 }));
        assert_eq!(next(), None);
    }

    #[test]
    fn read_refuses_an_endless_line_without_reading_it_all() {
        let mut reader = io::BufReader::new(io::repeat(b'x'));
        let read = read::<ToWorker>(&mut reader);
        assert!(matches!(read, Err(LineError::TooLong)), "{read:?}");
    }

    #[test]
    fn a_line_of_just_the_limit_is_read() {
        let mut line = br#"{"type":"ping","n":4}"#.to_vec();
        line.resize(MAX_LINE - 1, b' ');
        line.push(b'\n');
        assert_eq!(
            read(&mut line.as_slice()).expect("a message"),
            Some(ToWorker::Ping { n: 4 })
        );
        line.insert(0, b' ');
        let long = read::<ToWorker>(&mut line.as_slice());
        assert!(matches!(long, Err(LineError::TooLong)), "{long:?}");
    }

    #[test]
    fn a_last_line_that_was_cut_off_is_the_end() {
        let mut cut: &[u8] = b"{\"type\":\"ping\",\"n\":1}\n{\"type\":\"pi";
        assert_eq!(
            read(&mut cut).expect("whole"),
            Some(ToWorker::Ping { n: 1 })
        );
        assert_eq!(read::<ToWorker>(&mut cut).expect("the end"), None);
        let mut broken: &[u8] = b"{\"type\":\"pi\n";
        let broken = read::<ToWorker>(&mut broken);
        assert!(matches!(broken, Err(LineError::NoMessage(_))), "{broken:?}");
    }

    #[test]
    fn a_message_that_is_too_long_is_not_written() {
        let mut pipe = Vec::new();
        let text = "x".repeat(MAX_LINE);
        let level = "info".to_owned();
        let id = None;
        let said = write(
            &mut pipe,
            &crate::protocol::FromWorker::Log { id, level, text },
        );
        assert!(matches!(said, Err(LineError::TooLong)) && pipe.is_empty());
    }
}
