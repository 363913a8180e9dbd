//! Lines of a text file, compressed or not, none of them longer than memory allows.

use std::io::{self, BufRead, BufReader};
use std::path::Path;

use flate2::bufread::MultiGzDecoder;
use laioncele_core::input::InputFile;

/// Bytes of a line at most; what is longer is no row of ours.
pub(crate) const MAX_LINE: usize = 4 << 20;

const UTF8_MARK: &[u8] = b"\xef\xbb\xbf";

/// A line without its end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Line {
    /// Counted from 1.
    pub(crate) number: u64,
    /// Its bytes; none where it is longer than [`MAX_LINE`].
    pub(crate) bytes: Option<Vec<u8>>,
}

/// Reads line by line. A line ends at LF or CRLF; a byte order mark before the first is no text.
pub(crate) struct Lines {
    reader: Box<dyn BufRead + Send>,
    number: u64,
}

impl Lines {
    /// The lines of the file at `path`.
    pub(crate) fn open(path: &Path, gzip: bool) -> io::Result<Self> {
        let file = BufReader::with_capacity(1 << 17, InputFile::open(path)?);
        Ok(if gzip {
            Self::new(BufReader::with_capacity(1 << 17, MultiGzDecoder::new(file)))
        } else {
            Self::new(file)
        })
    }

    pub(crate) fn new(reader: impl BufRead + Send + 'static) -> Self {
        Self {
            reader: Box::new(reader),
            number: 0,
        }
    }

    /// The next line, none at the end.
    ///
    /// # Errors
    /// What the file system says, or gzip of a damaged file.
    pub(crate) fn next(&mut self) -> io::Result<Option<Line>> {
        let (mut line, mut too_long, mut begun) = (Vec::new(), false, false);
        loop {
            let buffer = self.reader.fill_buf()?;
            if buffer.is_empty() {
                break;
            }
            begun = true;
            let end = buffer.iter().position(|b| *b == b'\n');
            let piece = &buffer[..end.unwrap_or(buffer.len())];
            too_long |= line.len() + piece.len() > MAX_LINE;
            if too_long {
                line = Vec::new();
            } else {
                line.extend_from_slice(piece);
            }
            let used = piece.len() + usize::from(end.is_some());
            self.reader.consume(used);
            if end.is_some() {
                break;
            }
        }
        if !begun {
            return Ok(None);
        }
        self.number += 1;
        if line.last() == Some(&b'\r') {
            line.pop();
        }
        if self.number == 1 && line.starts_with(UTF8_MARK) {
            line.drain(..UTF8_MARK.len());
        }
        Ok(Some(Line {
            number: self.number,
            bytes: (!too_long).then_some(line),
        }))
    }
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use proptest::prelude::*;

    use super::*;

    fn lines(text: &[u8]) -> Vec<Option<Vec<u8>>> {
        let mut lines = Lines::new(Cursor::new(text.to_vec()));
        std::iter::from_fn(|| lines.next().expect("no I/O"))
            .map(|line| line.bytes)
            .collect()
    }

    #[test]
    fn ends_and_mark_are_no_text() {
        let found = lines(b"\xef\xbb\xbfa\r\nb\n\nc");
        let expected = ["a", "b", "", "c"].map(|t| Some(t.as_bytes().to_vec()));
        assert_eq!(found, expected);
    }

    #[test]
    fn a_line_longer_than_memory_allows_is_one_line_without_bytes() {
        let mut text = vec![b'x'; MAX_LINE + 1];
        text.extend_from_slice(b"\nshort\n");
        assert_eq!(lines(&text), [None, Some(b"short".to_vec())]);
    }

    proptest! {
        #[test]
        fn any_bytes_are_split_at_line_feeds(text in prop::collection::vec(any::<u8>(), 0..200)) {
            let count = text.split_inclusive(|b| *b == b'\n').count();
            prop_assert_eq!(lines(&text).len(), count);
        }
    }
}
