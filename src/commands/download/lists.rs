//! The rows of lists of urls, cut into shards.

use std::collections::VecDeque;
use std::path::PathBuf;

use laioncele_core::DropReason;
use laioncele_core::error::Cause;
use laioncele_core::manifest::SourceSettings;
use laioncele_download::{Row, ShardRows};
use laioncele_source::{Batches, SourceError, SourceFile, SourceRow};

/// Bytes of texts that end a shard early: its rows are held in memory.
const SHARD_TEXT: usize = 8 << 20;

/// Reads lists one after the other. A shard holds rows of one list only, so that lists can be added.
pub(super) struct Lists {
    files: std::vec::IntoIter<PathBuf>,
    source: SourceSettings,
    rows_per_shard: usize,
    batches: Option<Batches>,
    waiting: VecDeque<Row>,
    number: u64,
}

impl Lists {
    /// The rows of `files`, at most `rows_per_shard` of them to a shard.
    pub(super) fn new(files: Vec<PathBuf>, source: SourceSettings, rows_per_shard: usize) -> Self {
        Self {
            files: files.into_iter(),
            source,
            rows_per_shard,
            batches: None,
            waiting: VecDeque::new(),
            number: 0,
        }
    }

    /// The next row of the list that is open; none at its end.
    fn row(&mut self) -> Result<Option<Row>, SourceError> {
        while self.waiting.is_empty() {
            let Some(batch) = self.batches.as_mut().and_then(Iterator::next) else {
                self.batches = None;
                return Ok(None);
            };
            self.waiting = batch?.rows().iter().map(row).collect();
        }
        Ok(self.waiting.pop_front())
    }

    fn shard(&mut self) -> Result<Option<ShardRows>, SourceError> {
        let (mut rows, mut text) = (Vec::new(), 0);
        loop {
            if self.batches.is_none() {
                let Some(file) = self.files.next() else {
                    return Ok(None);
                };
                self.batches = Some(SourceFile::open_urls(&file, &self.source)?.batches("")?);
            }
            while rows.len() < self.rows_per_shard && text < SHARD_TEXT {
                let Some(row) = self.row()? else {
                    break;
                };
                text += length(&row);
                rows.push(row);
            }
            if !rows.is_empty() {
                rows.shrink_to_fit();
                let number = self.number;
                self.number += 1;
                return Ok(Some(ShardRows { number, rows }));
            }
        }
    }
}

impl Iterator for Lists {
    type Item = Result<ShardRows, Cause>;

    fn next(&mut self) -> Option<Self::Item> {
        self.shard().map_err(Cause::from).transpose()
    }
}

fn length(row: &Row) -> usize {
    let texts = [&row.url, &row.caption, &row.hash, &row.nsfw];
    texts.into_iter().flatten().map(String::len).sum()
}

fn row(row: &SourceRow) -> Row {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let url = row.url.filter(|url| !url.trim_ascii().is_empty());
    let fault = match (row.malformed, url) {
        (Some(why), _) => Some((DropReason::MalformedRow, why.to_owned())),
        (None, None) => Some((DropReason::BadUrl, "no url".to_owned())),
        (None, Some(_)) => None,
    };
    Row {
        url: url.map(url_text),
        fault,
        caption: row.caption.map(text),
        hash: row.hash.map(str::to_owned),
        similarity: row.similarity,
        punsafe: row.punsafe,
        pwatermark: row.pwatermark,
        nsfw: row.nsfw.map(text),
    }
}

/// A url as text: bytes that are no UTF-8 are escaped, as they would be on their way to the server.
fn url_text(url: &[u8]) -> String {
    let mut text = String::with_capacity(url.len());
    for chunk in url.utf8_chunks() {
        text.push_str(chunk.valid());
        for byte in chunk.invalid() {
            text.push_str(&format!("%{byte:02X}"));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use laioncele_core::manifest::SourcePath;

    use super::*;

    fn shards(texts: &[&str], rows_per_shard: usize) -> Vec<ShardRows> {
        let folder = tempfile::tempdir().expect("a folder");
        let path = |n: usize| folder.path().join(format!("{n}.txt"));
        for (number, text) in texts.iter().enumerate() {
            std::fs::write(path(number), text).expect("written");
        }
        let source = SourceSettings {
            path: SourcePath::Several(Vec::new()),
            layout: None,
            columns: std::collections::BTreeMap::new(),
        };
        let files = (0..texts.len()).map(path).collect();
        let lists = Lists::new(files, source, rows_per_shard);
        lists.map(|shard| shard.expect("a shard")).collect()
    }

    #[test]
    fn a_shard_ends_with_its_list() {
        let found = shards(&["a\nb\nc\n", "d\n"], 2);
        let urls = |shard: &ShardRows| {
            shard
                .rows
                .iter()
                .filter_map(|r| r.url.clone())
                .collect::<String>()
        };
        let found: Vec<_> = found.iter().map(|s| (s.number, urls(s))).collect();
        assert_eq!(found, [(0, "ab".into()), (1, "c".into()), (2, "d".into())]);
    }

    #[test]
    fn long_rows_make_short_shards() {
        let long = format!("http://a.example/{}\n", "x".repeat(3 << 20));
        let found = shards(&[&long.repeat(7)], 10_000);
        let rows: Vec<usize> = found.iter().map(|s| s.rows.len()).collect();
        assert_eq!(rows, [3, 3, 1]);
    }

    #[test]
    fn urls_keep_bytes_that_are_no_text() {
        assert_eq!(
            url_text(b"http://a.example/\xfc.jpg?\xc3\xbc"),
            "http://a.example/%FC.jpg?\u{fc}"
        );
    }

    #[test]
    fn rows_without_url_have_a_class() {
        let row = row(&SourceRow {
            url: Some(b"  "),
            caption: Some(b"caption"),
            ..SourceRow::default()
        });
        assert_eq!(row.fault, Some((DropReason::BadUrl, "no url".to_owned())));
        assert_eq!((row.url, row.caption.as_deref()), (None, Some("caption")));
    }
}
