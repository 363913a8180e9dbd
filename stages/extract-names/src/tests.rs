//! The stage on small Parquet files, with the shipped NER model.

mod captions;
mod filters;
mod source;

use std::fs::File;
use std::path::{Path, PathBuf};

use arrow::array::{
    ArrayRef, Float32Array, Float64Array, Int32Array, Int64Array, RecordBatch, StringArray,
};
use laioncele_core::Partition;
use laioncele_core::ledger::Record;
use laioncele_core::table::Dropped;
use laioncele_core::testing::StepHarness;
use laioncele_core::{Digest, Part};
use parquet::arrow::ArrowWriter;
use parquet::data_type::{ByteArray, ByteArrayType};
use parquet::file::properties::WriterProperties;
use parquet::file::writer::SerializedFileWriter;
use parquet::schema::parser::parse_message_type;

use super::*;

/// The step with small parts.
const STEP: ExtractNames = ExtractNames {
    part_rows: 10_000,
    part_bytes: 4 << 20,
};
const URLS: &str = "url = \"URL\"\ncaption = \"TEXT\"\n";
const ALL: &str = "url = \"URL\"\ncaption = \"TEXT\"\nwidth = \"WIDTH\"\nheight = \"HEIGHT\"\nsimilarity = \"similarity\"\n\
                   punsafe = \"punsafe\"\npwatermark = \"pwatermark\"\nhash = \"md5\"\n";
const MIRA: &str = "Mira Castellan at the premiere in Paris";

/// A harness with its folder.
struct ExtractNamesHarness {
    harness: StepHarness,
    folder: tempfile::TempDir,
}

impl ExtractNamesHarness {
    fn new(columns: &str, sections: &str) -> Self {
        Self::try_new(columns, sections).expect("a manifest")
    }

    fn try_new(columns: &str, sections: &str) -> Result<Self, CoreError> {
        let folder = tempfile::tempdir().expect("a folder");
        let captions = folder.path().join("captions");
        std::fs::create_dir(&captions).expect("created");
        let model =
            Path::new(env!("CARGO_MANIFEST_DIR")).join("../../manifests/mini/ner/en_core_web_sm");
        let text = format!(
            "[run]\nseed = 1\n[source]\npath = \"captions\"\n[source.columns]\n{columns}\
             [embedding_dims]\nname_tokens = 8\nname_channels = 4\nface = 4\nfeatures = 3\n\
             [models.ner]\nfolder = \"{}\"\n[extract_names]\n{sections}\n",
            model.display()
        );
        let manifest = Manifest::parse(&folder.path().join("m.toml"), &text)?;
        STEP.settings(&manifest)?;
        let harness = StepHarness::with_manifest(folder.path(), manifest).expect("a harness");
        Ok(Self { harness, folder })
    }

    fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join("captions").join(name)
    }

    fn run(&self, file: &Path) -> Result<Record, StageError> {
        let bytes = std::fs::read(file).expect("a shard");
        let shard = Partition::shard("0");
        let part = Part {
            table: TableId::Captions,
            partition: shard.clone(),
            path: file.display().to_string(),
            rows: 0,
            bytes: bytes.len() as u64,
            digest: Digest::of(&bytes),
        };
        self.harness.run(&STEP, &shard, vec![part])
    }

    /// Runs a file of these columns.
    fn run_columns(&self, columns: Vec<(&str, ArrayRef)>) -> Record {
        let file = self.file("0.parquet");
        write(&file, columns);
        self.run(&file).expect("extracted")
    }

    fn mentions(&self, record: &Record) -> Vec<Mention> {
        self.harness.rows(record).expect("mentions")
    }

    /// Reason and detail of every drop.
    fn drops(&self, record: &Record) -> Vec<(String, String)> {
        let rows: Vec<Dropped> = self.harness.rows(record).expect("drops");
        let pair = |d: Dropped| (d.reason.to_string(), d.detail.unwrap_or_default());
        rows.into_iter().map(pair).collect()
    }

    fn error(&self, file: &Path) -> String {
        self.run(file).expect_err("an unusable file").to_string()
    }
}

fn write(file: &Path, columns: Vec<(&str, ArrayRef)>) {
    let columns = columns
        .into_iter()
        .map(|(name, values)| (name, values, true));
    let batch = RecordBatch::try_from_iter_with_nullable(columns).expect("a batch");
    let out = File::create(file).expect("created");
    let mut writer = ArrowWriter::try_new(out, batch.schema(), None).expect("a writer");
    writer.write(&batch).expect("written");
    writer.close().expect("closed");
}

/// A file of two text columns whose values need not be UTF-8, though the file says so.
fn write_text(file: &Path, rows: &[(Vec<u8>, Option<Vec<u8>>)]) {
    let schema = "message m { required binary URL (UTF8); optional binary TEXT (UTF8); }";
    let schema = Arc::new(parse_message_type(schema).expect("a schema"));
    let out = File::create(file).expect("created");
    let properties = Arc::new(WriterProperties::default());
    let mut writer = SerializedFileWriter::new(out, schema, properties).expect("a writer");
    let mut group = writer.next_row_group().expect("a row group");
    let urls: Vec<_> = rows.iter().map(|r| ByteArray::from(r.0.clone())).collect();
    let texts = rows.iter().filter_map(|r| r.1.clone());
    let texts: Vec<_> = texts.map(ByteArray::from).collect();
    let levels: Vec<i16> = rows.iter().map(|r| r.1.is_some().into()).collect();
    for (values, levels) in [(urls, None), (texts, Some(&levels[..]))] {
        let mut column = group.next_column().expect("a column").expect("a column");
        let typed = column.typed::<ByteArrayType>();
        typed.write_batch(&values, levels, None).expect("written");
        column.close().expect("closed");
    }
    group.close().expect("closed");
    writer.close().expect("closed");
}

fn texts<'a>(values: impl IntoIterator<Item = &'a str>) -> ArrayRef {
    Arc::new(values.into_iter().map(Some).collect::<StringArray>())
}

fn urls(count: usize) -> ArrayRef {
    let url = |i| Some(format!("http://a.example/{i}.jpg"));
    Arc::new((0..count).map(url).collect::<StringArray>())
}

fn pairs(expected: &[(&str, &str)]) -> Vec<(String, String)> {
    let owned = |(a, b): &(&str, &str)| ((*a).to_owned(), (*b).to_owned());
    expected.iter().map(owned).collect()
}

/// Rows that each fail one filter, the first none, the last all for want of values.
fn spoilt_rows() -> Vec<(&'static str, ArrayRef)> {
    vec![
        ("URL", urls(7)),
        ("TEXT", texts([MIRA; 7])),
        (
            "WIDTH",
            Arc::new(Int32Array::from(vec![
                Some(64),
                Some(63),
                Some(64),
                Some(99),
                Some(99),
                Some(99),
                None,
            ])),
        ),
        (
            "HEIGHT",
            Arc::new(Int64Array::from(vec![
                Some(64),
                Some(64),
                Some(-1),
                Some(99),
                Some(99),
                Some(99),
                None,
            ])),
        ),
        (
            "punsafe",
            Arc::new(Float32Array::from(vec![
                Some(0.8),
                Some(0.1),
                Some(0.1),
                Some(0.81),
                Some(0.0),
                Some(0.0),
                None,
            ])),
        ),
        (
            "pwatermark",
            Arc::new(Float32Array::from(vec![
                Some(0.8),
                Some(0.1),
                Some(0.1),
                Some(0.1),
                Some(0.9),
                Some(0.1),
                None,
            ])),
        ),
        (
            "similarity",
            Arc::new(Float64Array::from(vec![
                Some(0.2),
                Some(0.3),
                Some(0.3),
                Some(0.3),
                Some(0.3),
                Some(f64::NAN),
                None,
            ])),
        ),
        ("md5", urls(7)),
    ]
}
