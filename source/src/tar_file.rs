//! A WebDataset shard: a tar file in which the files of a sample lie one behind the other. Headers
//! and texts are read, images are stepped over.

use std::io::{self, BufReader, Read, Seek, SeekFrom};
use std::path::Path;

use laioncele_core::input::InputFile;
use tar::{EntryType, Header};

use crate::sample::{Kind, MAX_TEXT, Sample, part_of};

/// Bytes of a block; a header is one.
pub(crate) const BLOCK: u64 = 512;
/// Bytes at most of a long name, or of the attributes of an entry.
const MAX_EXTENSION: u64 = 64 << 10;

/// A file in the archive.
struct Member {
    name: String,
    /// Where its bytes begin.
    at: u64,
    size: u64,
}

/// Reads the samples of an archive in its order.
pub(crate) struct TarSamples {
    file: BufReader<InputFile>,
    length: u64,
    /// Where the next header is.
    next: u64,
    /// The first file of the next sample.
    waiting: Option<Member>,
}

fn damaged(reason: String) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, reason)
}

impl TarSamples {
    pub(crate) fn open(path: &Path) -> io::Result<Self> {
        let file = InputFile::open(path)?;
        let length = file.length();
        Ok(Self {
            file: BufReader::with_capacity(1 << 16, file),
            length,
            next: 0,
            waiting: None,
        })
    }

    /// Whether the archive ends as one does: with a block of zeros. One that was cut off does not.
    ///
    /// # Errors
    /// That it does not, or what the file system says.
    pub(crate) fn check_end(&mut self) -> io::Result<()> {
        let mut block = [0xff; BLOCK as usize];
        if self.length >= BLOCK {
            self.file.seek(SeekFrom::End(-(BLOCK as i64)))?;
            self.file.read_exact(&mut block)?;
            self.file.seek(SeekFrom::Start(0))?;
        }
        if block.iter().all(|b| *b == 0) {
            Ok(())
        } else {
            Err(damaged(
                "it does not end as a tar file does: cut off?".to_owned(),
            ))
        }
    }

    /// The next sample, none at the end.
    ///
    /// # Errors
    /// A damaged archive, or what the file system says.
    pub(crate) fn next(&mut self) -> io::Result<Option<Sample>> {
        let mut sample = Sample::default();
        let (mut begun, mut ends) = (false, Vec::new());
        loop {
            let member = match self.waiting.take() {
                Some(member) => Some(member),
                None => self.member()?,
            };
            let Some(member) = member else { break };
            let Some((name, kind)) = part_of(&member.name) else {
                continue;
            };
            let end = member.name[name.len()..].to_ascii_lowercase();
            // A second file of one name and kind is of another sample with the same key.
            if begun && (name != sample.name || ends.contains(&end)) {
                self.waiting = Some(member);
                break;
            }
            if !begun {
                name.clone_into(&mut sample.name);
                begun = true;
            }
            ends.push(end);
            match kind {
                Kind::Image => {
                    let place = || format!("{}+{}", member.at, member.size);
                    sample.image.get_or_insert_with(place);
                }
                Kind::Json if sample.json.is_none() => sample.json = Some(self.text(&member)?),
                Kind::Text if sample.text.is_none() => sample.text = Some(self.text(&member)?),
                Kind::Json | Kind::Text => {}
            }
        }
        Ok(begun.then_some(sample))
    }

    fn text(&mut self, member: &Member) -> io::Result<Result<Vec<u8>, String>> {
        if member.size > MAX_TEXT {
            return Ok(Err(format!(
                "text of {} bytes, {MAX_TEXT} at most",
                member.size
            )));
        }
        self.read(member.at, member.size).map(Ok)
    }

    /// The next file that is no folder and no link.
    fn member(&mut self) -> io::Result<Option<Member>> {
        let (mut long_name, mut long_size) = (None, None);
        loop {
            let Some(header) = self.header()? else {
                return Ok(None);
            };
            let at = self.next + BLOCK;
            let entry_size = header.entry_size()?;
            let size = match header.entry_type() {
                EntryType::XHeader | EntryType::GNULongName | EntryType::XGlobalHeader => {
                    entry_size
                }
                _ => long_size.take().unwrap_or(entry_size),
            };
            let end = at.checked_add(size).filter(|end| *end <= self.length);
            let Some(end) = end else {
                return Err(damaged(format!(
                    "cut off: the entry at byte {} does not end",
                    self.next
                )));
            };
            self.next = end.next_multiple_of(BLOCK);
            match header.entry_type() {
                EntryType::GNULongName => {
                    let name = self.extension(at, size)?;
                    let end = name.iter().position(|b| *b == 0).unwrap_or(name.len());
                    long_name = Some(String::from_utf8_lossy(&name[..end]).into_owned());
                }
                EntryType::XHeader => {
                    for (key, value) in attributes(&self.extension(at, size)?) {
                        match key.as_str() {
                            "path" => long_name = Some(value),
                            "size" => long_size = value.parse().ok(),
                            _ => {}
                        }
                    }
                }
                EntryType::Regular | EntryType::Continuous => {
                    let own = || String::from_utf8_lossy(&header.path_bytes()).into_owned();
                    let name = long_name.take().unwrap_or_else(own);
                    return Ok(Some(Member { name, at, size }));
                }
                EntryType::XGlobalHeader | EntryType::GNULongLink => {}
                _ => long_name = None,
            }
        }
    }

    /// The header at `next` or behind the blocks of zeros there, none at the end. Zeros end an
    /// archive, but another one may have been written behind it.
    fn header(&mut self) -> io::Result<Option<Header>> {
        loop {
            if self.next == self.length {
                return Ok(None);
            }
            if self.length - self.next.min(self.length) < BLOCK {
                return Err(damaged(format!("cut off at byte {}", self.length)));
            }
            let block = self.read(self.next, BLOCK)?;
            if block.iter().all(|b| *b == 0) {
                self.next += BLOCK;
                continue;
            }
            return match header_of(&block) {
                Some(header) => Ok(Some(header)),
                None => Err(damaged(format!("no tar header at byte {}", self.next))),
            };
        }
    }

    fn extension(&mut self, at: u64, size: u64) -> io::Result<Vec<u8>> {
        if size > MAX_EXTENSION {
            return Err(damaged(format!("{size} bytes of attributes at byte {at}")));
        }
        self.read(at, size)
    }

    fn read(&mut self, at: u64, size: u64) -> io::Result<Vec<u8>> {
        let here = self.file.stream_position()?;
        self.file.seek_relative(at as i64 - here as i64)?;
        let mut bytes = vec![0; size as usize];
        self.file.read_exact(&mut bytes)?;
        Ok(bytes)
    }
}

/// The header that `block` is, if its checksum is right.
pub(crate) fn header_of(block: &[u8]) -> Option<Header> {
    let block = block.get(..BLOCK as usize)?;
    let header = Header::from_byte_slice(block).clone();
    // The checksum's own field counts as spaces.
    let sum = (0..).zip(block).map(|(i, b)| match i {
        148..156 => u32::from(b' '),
        _ => u32::from(*b),
    });
    (header.cksum().ok()? == sum.sum::<u32>()).then_some(header)
}

/// `length key=value\n`, one behind the other.
fn attributes(mut text: &[u8]) -> Vec<(String, String)> {
    let mut found = Vec::new();
    while let Some(space) = text.iter().position(|b| *b == b' ') {
        let length = std::str::from_utf8(&text[..space]).ok();
        let length = length.and_then(|l| l.parse::<usize>().ok());
        let Some(record) = length.and_then(|l| text.get(space + 1..l)) else {
            break;
        };
        let record = String::from_utf8_lossy(record.strip_suffix(b"\n").unwrap_or(record));
        if let Some((key, value)) = record.split_once('=') {
            found.push((key.to_owned(), value.to_owned()));
        }
        text = &text[length.unwrap_or(text.len())..];
    }
    found
}

#[cfg(test)]
mod tests {
    use std::fs;

    use proptest::prelude::*;

    use super::*;

    fn archive(files: &[(&str, &[u8])]) -> Vec<u8> {
        let mut builder = tar::Builder::new(Vec::new());
        for (name, bytes) in files {
            let mut header = Header::new_ustar();
            header.set_size(bytes.len() as u64);
            header.set_mode(0o644);
            builder
                .append_data(&mut header, name, *bytes)
                .expect("appended");
        }
        builder.into_inner().expect("finished")
    }

    fn samples(bytes: &[u8]) -> Result<Vec<Sample>, String> {
        let file = tempfile::NamedTempFile::new().expect("a file");
        fs::write(file.path(), bytes).expect("written");
        let mut samples = TarSamples::open(file.path()).expect("opened");
        let next = || samples.next().map_err(|e| e.to_string()).transpose();
        std::iter::from_fn(next).collect()
    }

    #[test]
    fn files_of_one_name_are_a_sample_however_long_the_name() {
        let long = format!("{}/1", "folder".repeat(40));
        let names = ["jpg", "json", "txt"].map(|end| format!("{long}.{end}"));
        let mut files: Vec<(&str, &[u8])> =
            vec![("0.jpg", b"image"), ("._0.jpg", b"x"), ("0.json", b"{}")];
        files.extend(names.iter().map(|name| (name.as_str(), &b"1"[..])));
        let bytes = archive(&files);
        let found = samples(&bytes).expect("samples");
        assert_eq!(found.len(), 2);
        assert_eq!(
            (found[0].name.as_str(), found[1].name.as_str()),
            ("0", long.as_str())
        );
        assert_eq!(found[0].image.as_deref(), Some("512+5"));
        assert_eq!(&bytes[512..517], b"image");
        assert_eq!(found[1].text, Some(Ok(b"1".to_vec())));
    }

    #[test]
    fn no_sample_is_lost_behind_an_end_or_under_a_key_that_was_there() {
        let files = ["0.jpg", "0.json", "0.jpg", "0.png", "0.txt", "0.jpg"];
        let mut bytes = archive(&files.map(|name| (name, name.as_bytes())));
        bytes.extend(archive(&[("1.jpg", b"image"), ("1.txt", b"x")]));
        let found = samples(&bytes).expect("samples");
        let found: Vec<_> = found
            .iter()
            .map(|s| {
                (
                    s.name.as_str(),
                    s.image.is_some(),
                    s.json.is_some(),
                    s.text.is_some(),
                )
            })
            .collect();
        let expected = [
            ("0", true, true, false),
            ("0", true, false, true),
            ("0", true, false, false),
            ("1", true, false, true),
        ];
        assert_eq!(found, expected);
        bytes.extend([1; BLOCK as usize]);
        assert!(
            samples(&bytes)
                .expect_err("no archive")
                .contains("no tar header")
        );
    }

    #[test]
    fn a_text_that_is_too_long_is_not_read() {
        let long = vec![b' '; MAX_TEXT as usize + 1];
        let found = samples(&archive(&[("0.json", &long)])).expect("samples");
        assert!(matches!(&found[0].json, Some(Err(why)) if why.contains("at most")));
    }

    #[test]
    fn an_archive_that_was_cut_off_says_so() {
        let bytes = archive(&[("0.jpg", &[7; 2000]), ("0.json", b"{}")]);
        for length in [100, 1000, 2700] {
            let error = samples(&bytes[..length]).expect_err("cut off");
            assert!(error.contains("cut off"), "{length}: {error}");
        }
        assert!(
            samples(&[b'x'; 1024])
                .expect_err("no tar")
                .contains("no tar header at byte 0")
        );
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        /// Whatever the bytes, and wherever a real archive is damaged: an end, never a panic.
        #[test]
        fn any_bytes_end(
            noise in prop::collection::vec(any::<u8>(), 0..2000),
            damage in prop::collection::vec((0..4096usize, any::<u8>()), 0..4),
        ) {
            let _ = samples(&noise);
            let mut bytes = archive(&[("0.jpg", b"image"), ("0.json", b"{}"), ("1.txt", b"x")]);
            for (at, byte) in damage {
                if let Some(place) = bytes.get_mut(at) {
                    *place = byte;
                }
            }
            let _ = samples(&bytes);
        }

        #[test]
        fn any_attributes_are_read(text in prop::collection::vec(any::<u8>(), 0..100)) {
            let _ = attributes(&text);
        }
    }
}
