//! A small source of each shape, read back through the crate's public face.

mod errors;
mod layouts;
mod parquet;
mod samples;
mod shards;
mod text;
mod urls;

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use ::parquet::arrow::ArrowWriter;
use ::parquet::file::properties::WriterProperties;
use arrow::array::{ArrayRef, RecordBatch, StringArray};
use flate2::Compression;
use flate2::write::GzEncoder;
use laioncele_core::{Digest, Manifest};

use super::*;

/// A folder with a manifest in it, and the source that it names.
struct Source {
    folder: tempfile::TempDir,
    /// What stands in `[source]`.
    settings: String,
}

/// A row, owned.
#[derive(Clone, Debug, Default, PartialEq)]
struct Row {
    url: String,
    caption: String,
    hash: String,
    nsfw: String,
    status: String,
    width: Option<f64>,
    height: Option<f64>,
    similarity: Option<f32>,
    punsafe: Option<f32>,
    pwatermark: Option<f32>,
    image_at: Option<String>,
    malformed: Option<String>,
}

impl Row {
    fn of(row: &SourceRow) -> Self {
        let text = |bytes: Option<&[u8]>| String::from_utf8_lossy(bytes.unwrap_or_default()).into();
        Self {
            url: text(row.url),
            caption: text(row.caption),
            hash: row.hash.unwrap_or_default().to_owned(),
            nsfw: text(row.nsfw),
            status: text(row.status),
            width: row.width,
            height: row.height,
            similarity: row.similarity,
            punsafe: row.punsafe,
            pwatermark: row.pwatermark,
            image_at: row.image_at.map(str::to_owned),
            malformed: row.malformed.map(str::to_owned),
        }
    }
}

impl Source {
    /// A source in the folder `captions`.
    fn new() -> Self {
        Self::with("path = \"captions\"")
    }

    fn with(settings: &str) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        fs::create_dir(folder.path().join("captions")).expect("created");
        let settings = settings.to_owned();
        Self { folder, settings }
    }

    fn join(&self, path: &str) -> PathBuf {
        self.folder.path().join(path)
    }

    /// Writes a file below `captions`.
    fn write(&self, name: &str, bytes: &[u8]) {
        let path = self.join("captions").join(name);
        fs::create_dir_all(path.parent().expect("a folder")).expect("created");
        fs::write(path, bytes).expect("written");
    }

    fn write_gzip(&self, name: &str, bytes: &[u8]) {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
        encoder.write_all(bytes).expect("compressed");
        self.write(name, &encoder.finish().expect("compressed"));
    }

    fn parquet(&self, name: &str, columns: &[(&str, ArrayRef)]) {
        self.parquet_with(name, columns, WriterProperties::default());
    }

    fn parquet_with(&self, name: &str, columns: &[(&str, ArrayRef)], properties: WriterProperties) {
        let columns = columns
            .iter()
            .cloned()
            .map(|(name, values)| (name, values, true));
        let batch = RecordBatch::try_from_iter_with_nullable(columns).expect("a batch");
        let path = self.join("captions").join(name);
        fs::create_dir_all(path.parent().expect("a folder")).expect("created");
        let file = File::create(path).expect("created");
        let mut writer =
            ArrowWriter::try_new(file, batch.schema(), Some(properties)).expect("a writer");
        writer.write(&batch).expect("written");
        writer.close().expect("closed");
    }

    fn manifest(&self) -> Manifest {
        let text = format!(
            "[run]\nseed = 1\n[source]\n{}\n[embedding_dims]\nname_tokens = 8\nname_channels = 4\nface = 4\nfeatures = 3\n",
            self.settings
        );
        Manifest::parse(&self.join("m.toml"), &text).expect("a manifest")
    }

    fn shards(&self) -> Vec<SourceShard> {
        shards(&self.manifest()).expect("shards")
    }

    /// All rows of all shards.
    fn rows(&self) -> Vec<Row> {
        let manifest = self.manifest();
        let mut rows = Vec::new();
        for shard in self.shards() {
            let file = SourceFile::open(&shard.path, &manifest.source, &[]).expect("a file");
            let origin = SourceImages::origin(&shard.partition, Digest::of(b"x"));
            for batch in file.batches(&origin).expect("batches") {
                let batch = batch.expect("a batch");
                rows.extend(batch.rows().iter().map(Row::of));
            }
        }
        rows
    }

    /// What is said of the first file.
    fn description(&self) -> String {
        let file = SourceFile::open(&self.shards()[0].path, &self.manifest().source, &[]);
        file.expect("a file").description()
    }

    fn summary(&self) -> SourceSummary {
        check_source(&self.manifest(), &[]).expect("a usable source")
    }

    fn error(&self) -> String {
        self.error_of(&[])
    }

    fn error_of(&self, needs: &[Need]) -> String {
        let error = check_source(&self.manifest(), needs).expect_err("an unusable source");
        laioncele_core::error::chain(&error)
    }
}

fn texts(values: &[&str]) -> ArrayRef {
    Arc::new(values.iter().copied().map(Some).collect::<StringArray>())
}

/// `count` urls.
fn urls(count: usize) -> Vec<String> {
    (0..count)
        .map(|i| format!("http://a.example/{i}.jpg"))
        .collect()
}

fn url_column(count: usize) -> ArrayRef {
    Arc::new(urls(count).into_iter().map(Some).collect::<StringArray>())
}

const CAPTIONS: [&str; 2] = ["Mira Castellan, \"live\"", "Jonas\tAlbrecht in Köln"];

/// Two rows of url and caption.
fn two_rows() -> Vec<Row> {
    let rows = urls(2).into_iter().zip(CAPTIONS);
    rows.map(|(url, caption)| Row {
        url,
        caption: caption.to_owned(),
        ..Row::default()
    })
    .collect()
}

fn is_below(path: &Path, folder: &Path) -> bool {
    path.starts_with(folder)
}
