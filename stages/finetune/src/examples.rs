//! Prepared photos on disk, `examples.bin` and `examples.jsonl`: written once, in the data set's
//! order, read photo by photo while training, so that memory does not grow with the data set.
//!
//! The first line of `examples.jsonl` says what the file was made from; each further line is a photo
//! with the CRC of its numbers, or one that was skipped. A crash leaves lines and numbers of some
//! photos: the next start goes on after the last line whose numbers are whole, and begins anew if
//! the first line is another.

use std::fs::{File, OpenOptions};
use std::io::{BufRead, BufReader, Seek, SeekFrom, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::error::{FinetuneError, Result};
use crate::prepare::{Described, Numbers, Skipped};

/// Numbers of each kind in a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Widths {
    /// Of one photo's latents.
    pub latents: usize,
    /// Distributions of latents: two where photos are mirrored.
    pub views: usize,
    /// Of a text.
    pub context: usize,
    /// Of a pooled vector.
    pub pooled: usize,
    /// Of a face's embedding.
    pub face: usize,
}

impl Widths {
    fn record(&self) -> usize {
        2 * self.latents * self.views + self.context + self.pooled + self.face
    }
}

/// The first line.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Head {
    format: u32,
    key: String,
    widths: Widths,
}

const FORMAT: u32 = 1;

/// Any further line.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Line {
    Photo { crc: u32, described: Described },
    Skipped { key: String, reason: Skipped },
}

/// The prepared photos of a data set.
#[derive(Debug)]
pub(crate) struct Examples {
    numbers: File,
    path: PathBuf,
    widths: Widths,
    photos: Vec<(u32, Described)>,
    skipped: Vec<(String, Skipped)>,
}

/// Photos on their way onto the disk.
#[derive(Debug)]
pub(crate) struct Writer {
    lines: File,
    examples: Examples,
}

impl Writer {
    /// Goes on with what is in `folder` of this key and widths, or begins anew.
    ///
    /// # Errors
    /// A folder that cannot be written.
    pub(crate) fn open(folder: &Path, key: &str, widths: Widths) -> Result<Self> {
        std::fs::create_dir_all(folder).map_err(FinetuneError::io(folder))?;
        let (lines_path, path) = (folder.join("examples.jsonl"), folder.join("examples.bin"));
        let open = |path: &Path| {
            let mut options = OpenOptions::new();
            options.read(true).write(true).create(true).truncate(false);
            options.open(path).map_err(FinetuneError::io(path))
        };
        let (lines, numbers) = (open(&lines_path)?, open(&path)?);
        let head = Head {
            format: FORMAT,
            key: key.into(),
            widths,
        };
        let mut examples = Examples {
            numbers,
            path,
            widths,
            photos: Vec::new(),
            skipped: Vec::new(),
        };
        let kept = examples.take_over(&lines, &head);
        lines
            .set_len(kept)
            .map_err(FinetuneError::io(&lines_path))?;
        let bytes = (examples.photos.len() * 4 * widths.record()) as u64;
        (examples.numbers.set_len(bytes)).map_err(FinetuneError::io(&examples.path))?;
        let mut writer = Self { lines, examples };
        let end = SeekFrom::Start(kept);
        (writer.lines.seek(end)).map_err(FinetuneError::io(&lines_path))?;
        if kept == 0 {
            writer.line(&head)?;
        }
        Ok(writer)
    }

    /// Photos that are there already, skipped ones among them.
    pub(crate) fn done(&self) -> usize {
        self.examples.photos.len() + self.examples.skipped.len()
    }

    fn line(&mut self, line: &impl Serialize) -> Result<()> {
        let path = self.examples.path.with_extension("jsonl");
        let text = serde_json::to_string(line)? + "\n";
        let written = self.lines.write_all(text.as_bytes());
        written.map_err(FinetuneError::io(&path))
    }

    /// Adds a photo.
    ///
    /// # Errors
    /// Numbers of other widths; a full disk.
    pub(crate) fn add(&mut self, described: Described, numbers: &Numbers) -> Result<()> {
        let bytes = self.examples.encode(numbers)?;
        let crc = crc32fast::hash(&bytes);
        let at = (self.examples.photos.len() * bytes.len()) as u64;
        let written = self.examples.numbers.write_all_at(&bytes, at);
        written.map_err(FinetuneError::io(&self.examples.path))?;
        let line = Line::Photo { crc, described };
        self.line(&line)?;
        if let Line::Photo { crc, described } = line {
            self.examples.photos.push((crc, described));
        }
        Ok(())
    }

    /// Adds a photo that is not trained on.
    ///
    /// # Errors
    /// A full disk.
    pub(crate) fn skip(&mut self, key: &str, reason: Skipped) -> Result<()> {
        let line = Line::Skipped {
            key: key.into(),
            reason,
        };
        self.line(&line)?;
        self.examples.skipped.push((key.into(), reason));
        Ok(())
    }

    /// All photos, now that none is missing.
    pub(crate) fn finish(self) -> Examples {
        self.examples
    }
}

impl Examples {
    /// Takes over the lines that are whole and whose numbers are; the bytes of those lines.
    fn take_over(&mut self, lines: &File, head: &Head) -> u64 {
        let mut reader = BufReader::new(lines);
        let mut text = String::new();
        let mut kept = 0;
        let next = |reader: &mut BufReader<&File>, text: &mut String| {
            text.clear();
            let read = reader.read_line(text).ok()?;
            text.ends_with('\n').then_some(read as u64)
        };
        let Some(read) = next(&mut reader, &mut text) else {
            return 0;
        };
        if !serde_json::from_str::<Head>(&text).is_ok_and(|found| found == *head) {
            return 0;
        }
        kept += read;
        while let Some(read) = next(&mut reader, &mut text) {
            match serde_json::from_str(&text) {
                Ok(Line::Photo { crc, described }) => {
                    self.photos.push((crc, described));
                    if self.read(self.photos.len() - 1).is_err() {
                        self.photos.pop();
                        break;
                    }
                }
                Ok(Line::Skipped { key, reason }) => self.skipped.push((key, reason)),
                Err(_) => break,
            }
            kept += read;
        }
        kept
    }

    /// Photos.
    pub(crate) fn len(&self) -> usize {
        self.photos.len()
    }

    /// Whether there is none.
    pub(crate) fn is_empty(&self) -> bool {
        self.photos.is_empty()
    }

    /// What is known of photo `index`.
    pub(crate) fn described(&self, index: usize) -> &Described {
        &self.photos[index].1
    }

    /// Keys of the photos that were skipped, with the reason.
    pub(crate) fn skipped(&self) -> &[(String, Skipped)] {
        &self.skipped
    }

    /// The numbers of photo `index`.
    ///
    /// # Errors
    /// [`FinetuneError::Damaged`]
    pub(crate) fn read(&self, index: usize) -> Result<Numbers> {
        let mut bytes = vec![0; 4 * self.widths.record()];
        let at = (index * bytes.len()) as u64;
        let damaged = |reason: String| FinetuneError::Damaged {
            path: self.path.clone(),
            reason: format!("photo {index}: {reason}; delete the folder, and it is made again"),
        };
        let read = self.numbers.read_exact_at(&mut bytes, at);
        read.map_err(|error| damaged(error.to_string()))?;
        if crc32fast::hash(&bytes) != self.photos[index].0 {
            return Err(damaged("other numbers than were written".into()));
        }
        let (four, _) = bytes.as_chunks::<4>();
        let mut values = four.iter().map(|b| f32::from_le_bytes(*b));
        let mut take = |count: usize| values.by_ref().take(count).collect::<Vec<f32>>();
        let Widths {
            latents,
            views,
            context,
            pooled,
            face,
        } = self.widths;
        Ok(Numbers {
            latents: (0..views).map(|_| [take(latents), take(latents)]).collect(),
            context: take(context),
            pooled: take(pooled),
            face: take(face),
        })
    }

    fn encode(&self, numbers: &Numbers) -> Result<Vec<u8>> {
        let latents = numbers.latents.iter().flatten().map(Vec::as_slice);
        // A face that was not found again has no embedding: zeros are like nobody's.
        let none = vec![0f32; self.widths.face];
        let face = match numbers.face.is_empty() {
            true => &none,
            false => &numbers.face,
        };
        let rest = [&numbers.context[..], &numbers.pooled, face];
        let values: Vec<f32> = latents.chain(rest).flatten().copied().collect();
        if values.len() != self.widths.record() {
            return Err(FinetuneError::Damaged {
                path: self.path.clone(),
                reason: format!(
                    "a photo of {} numbers where {} are expected",
                    values.len(),
                    self.widths.record()
                ),
            });
        }
        Ok(values.iter().flat_map(|v| v.to_le_bytes()).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WIDTHS: Widths = Widths {
        latents: 2,
        views: 1,
        context: 3,
        pooled: 1,
        face: 2,
    };

    fn described(key: &str) -> Described {
        Described {
            key: key.into(),
            person: "ada".into(),
            caption: "a person".into(),
            named: false,
            time_ids: [[1.0; 6], [2.0; 6]],
        }
    }

    fn numbers(start: f32) -> Numbers {
        Numbers {
            latents: vec![[vec![start, 1.0], vec![2.0, 3.0]]],
            context: vec![4.0, 5.0, 6.0],
            pooled: vec![7.0],
            face: vec![8.0, 9.0],
        }
    }

    fn write(folder: &Path, key: &str, count: usize) -> Writer {
        let mut writer = Writer::open(folder, key, WIDTHS).expect("a writer");
        for k in writer.done()..count {
            match k {
                1 => writer.skip("b", Skipped::NoFace).expect("skipped"),
                _ => writer
                    .add(described(&k.to_string()), &numbers(k as f32))
                    .expect("added"),
            }
        }
        writer
    }

    #[test]
    fn photos_are_read_as_they_were_written() {
        let folder = tempfile::tempdir().expect("a folder");
        let examples = write(folder.path(), "a", 4).finish();
        assert_eq!(examples.len(), 3);
        assert_eq!(examples.skipped(), [("b".to_owned(), Skipped::NoFace)]);
        assert_eq!(examples.read(1).expect("numbers"), numbers(2.0));
        assert_eq!(examples.described(2).key, "3");
    }

    /// However much of either file a crash leaves, the rest is made again, and equal.
    #[test]
    fn a_cut_file_is_gone_on_with() {
        let whole = tempfile::tempdir().expect("a folder");
        drop(write(whole.path(), "a", 5));
        let (lines, bytes) = (
            whole.path().join("examples.jsonl"),
            whole.path().join("examples.bin"),
        );
        let (lines, bytes) = (
            std::fs::read(lines).expect("lines"),
            std::fs::read(bytes).expect("bytes"),
        );
        for cut in 0..=lines.len() {
            let folder = tempfile::tempdir().expect("a folder");
            let put = |name: &str, bytes: &[u8]| {
                std::fs::write(folder.path().join(name), bytes).expect("written");
            };
            put("examples.jsonl", &lines[..cut]);
            put("examples.bin", &bytes[..bytes.len() * (cut % 7) / 6]);
            drop(write(folder.path(), "a", 5));
            let read = |name: &str| std::fs::read(folder.path().join(name)).expect("bytes");
            assert!(
                read("examples.jsonl") == lines && read("examples.bin") == bytes,
                "{cut}"
            );
        }
    }

    #[test]
    fn another_key_begins_anew() {
        let folder = tempfile::tempdir().expect("a folder");
        drop(write(folder.path(), "a", 5));
        let writer = Writer::open(folder.path(), "b", WIDTHS).expect("a writer");
        assert_eq!(writer.done(), 0);
    }

    #[test]
    fn damage_is_found_when_it_is_read() {
        let folder = tempfile::tempdir().expect("a folder");
        let examples = write(folder.path(), "a", 3).finish();
        let path = folder.path().join("examples.bin");
        let mut bytes = std::fs::read(&path).expect("bytes");
        bytes[5] ^= 1;
        std::fs::write(&path, bytes).expect("written");
        let error = examples.read(0).expect_err("damage");
        assert!(matches!(error, FinetuneError::Damaged { .. }), "{error}");
        assert!(examples.read(1).is_ok());
    }
}
