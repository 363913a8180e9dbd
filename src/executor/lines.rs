//! JSON lines over a pipe: one message per line, none longer than the protocol allows.

use std::io::{self, BufRead, Read, Write};

use laioncele_core::protocol::MAX_LINE;
use serde::Serialize;
use serde::de::DeserializeOwned;

/// The next message; `None` at the end of input. Blank lines are skipped.
///
/// # Errors
/// [`io::ErrorKind::InvalidData`] if a line is too long or is not a message; else the pipe's error.
pub(super) fn read<T: DeserializeOwned>(reader: &mut impl BufRead) -> io::Result<Option<T>> {
    loop {
        let mut line = Vec::new();
        let limit = MAX_LINE as u64 + 1;
        reader.by_ref().take(limit).read_until(b'\n', &mut line)?;
        if line.is_empty() {
            return Ok(None);
        }
        if line.len() > MAX_LINE {
            let text = format!("a line of more than {MAX_LINE} bytes");
            return Err(io::Error::new(io::ErrorKind::InvalidData, text));
        }
        if !line.trim_ascii().is_empty() {
            return serde_json::from_slice(&line)
                .map(Some)
                .map_err(|e| io::Error::new(io::ErrorKind::InvalidData, e));
        }
    }
}

/// Writes a message and flushes it.
///
/// # Errors
/// The pipe's error; [`io::ErrorKind::InvalidData`] if the message is too long.
pub(super) fn write<T: Serialize>(writer: &mut impl Write, message: &T) -> io::Result<()> {
    let mut line = serde_json::to_vec(message)?;
    line.push(b'\n');
    if line.len() > MAX_LINE {
        let text = format!("a message of {} bytes", line.len());
        return Err(io::Error::new(io::ErrorKind::InvalidData, text));
    }
    writer.write_all(&line)?;
    writer.flush()
}

#[cfg(test)]
mod tests {
    use super::*;
    use laioncele_core::protocol::ToWorker;

    #[test]
    fn read_returns_written_messages_and_ignores_unknown_fields() -> io::Result<()> {
        let mut pipe = Vec::new();
        write(&mut pipe, &ToWorker::Ping { n: 3 })?;
        pipe.extend_from_slice(b"\n{\"type\":\"cancel\",\"id\":7,\"soon\":true}\n");
        let mut reader = pipe.as_slice();
        assert_eq!(read(&mut reader)?, Some(ToWorker::Ping { n: 3 }));
        assert_eq!(read(&mut reader)?, Some(ToWorker::Cancel { id: 7 }));
        assert_eq!(read::<ToWorker>(&mut reader)?, None);
        Ok(())
    }

    #[test]
    fn read_refuses_an_endless_line_without_reading_it_all() {
        let mut reader = io::BufReader::new(io::repeat(b'x'));
        let error = read::<ToWorker>(&mut reader).expect_err("too long");
        assert_eq!(error.kind(), io::ErrorKind::InvalidData);
    }
}
