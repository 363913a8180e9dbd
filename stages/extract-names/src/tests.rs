//! The stage on small Parquet files, with the shipped NER model.

use std::collections::BTreeMap;
use std::fs::File;
use std::path::{Path, PathBuf};

use arrow::array::{
    ArrayRef, BinaryArray, Float32Array, Float64Array, Int32Array, Int64Array, LargeStringArray,
    RecordBatch, StringArray, StringViewArray, UInt64Array,
};
use arrow::compute::cast;
use arrow::datatypes::DataType;
use laioncele_core::ledger::Record;
use laioncele_core::stage::Partition;
use laioncele_core::table::Dropped;
use laioncele_core::testing::Rig;
use laioncele_core::{Digest, Part};
use parquet::arrow::ArrowWriter;
use parquet::data_type::{ByteArray, ByteArrayType};
use parquet::file::properties::WriterProperties;
use parquet::file::writer::SerializedFileWriter;
use parquet::schema::parser::parse_message_type;
use proptest::prelude::*;

use super::*;

/// The step with small parts.
const STEP: ExtractNames = ExtractNames { part_rows: 10_000 };
const URLS: &str = "url = \"URL\"\ncaption = \"TEXT\"\n";
const ALL: &str = "url = \"URL\"\ncaption = \"TEXT\"\nwidth = \"WIDTH\"\nheight = \"HEIGHT\"\nsimilarity = \"similarity\"\n\
                   punsafe = \"punsafe\"\npwatermark = \"pwatermark\"\nhash = \"md5\"\n";
const MIRA: &str = "Mira Castellan at the premiere in Paris";

/// A rig with its folder.
struct Bench {
    rig: Rig,
    folder: tempfile::TempDir,
}

impl Bench {
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
             [widths]\nname_tokens = 8\nname_channels = 4\nface = 4\nfeatures = 3\n\
             [models.ner]\nfolder = \"{}\"\n[extract_names]\n{sections}\n",
            model.display()
        );
        let manifest = Manifest::parse(&folder.path().join("m.toml"), &text)?;
        STEP.settings(&manifest)?;
        let rig = Rig::with_manifest(folder.path(), manifest).expect("a rig");
        Ok(Self { rig, folder })
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
        self.rig.run(&STEP, &shard, vec![part])
    }

    /// Runs a file of these columns.
    fn run_columns(&self, columns: Vec<(&str, ArrayRef)>) -> Record {
        let file = self.file("0.parquet");
        write(&file, columns);
        self.run(&file).expect("extracted")
    }

    fn mentions(&self, record: &Record) -> Vec<Mention> {
        self.rig.rows(record).expect("mentions")
    }

    /// Reason and detail of every drop.
    fn drops(&self, record: &Record) -> Vec<(String, String)> {
        let rows: Vec<Dropped> = self.rig.rows(record).expect("drops");
        let pair = |d: Dropped| (d.reason, d.detail.unwrap_or_default());
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

#[test]
fn captions_become_mentions() {
    let bench = Bench::new(&format!("{URLS}hash = \"md5\"\n"), "");
    let captions = [
        "Müller-Straße: Mira Castellan met Jonas Albrecht in Lisbon",
        "Red shoes on sale",
        MIRA,
    ];
    let record = bench.run_columns(vec![
        ("URL", urls(3)),
        ("TEXT", texts(captions)),
        (
            "md5",
            Arc::new(StringArray::from(vec![Some("aa"), None, None])),
        ),
        ("ignored", urls(3)),
    ]);
    let mentions = bench.mentions(&record);
    let names: Vec<&str> = mentions.iter().map(|m| m.name.as_str()).collect();
    assert_eq!(
        names,
        ["Mira Castellan", "Jonas Albrecht", "Mira Castellan"]
    );
    for mention in &mentions {
        let span = mention.start as usize..mention.end as usize;
        assert_eq!(mention.caption[span], mention.name);
        assert_eq!(
            mention.caption_id,
            CaptionId::of(&mention.url, &mention.caption)
        );
        assert_eq!(mention.image_id, laioncele_core::ImageId::of(&mention.url));
    }
    let hashes: Vec<_> = mentions.iter().map(|m| m.hash.as_deref()).collect();
    assert_eq!(hashes, [Some("aa"), Some("aa"), None]);
    assert_eq!(bench.drops(&record), pairs(&[("no_person", "")]));
    let account = &record.accounts[0];
    assert_eq!((account.rows_in, account.rows_out), (3, 2));
    assert_eq!(record.figures["mentions"], 3.0);
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

#[test]
fn every_filter_drops_with_its_reason() {
    let all = "min_width = 64\nmin_height = 64\nmax_punsafe = 0.8\nmax_pwatermark = 0.8\nmin_similarity = 0.2";
    let bench = Bench::new(ALL, all);
    let record = bench.run_columns(spoilt_rows());
    let expected = [
        ("too_small", "63 x 64"),
        ("too_small", "64 x -1"),
        ("unsafe", "0.81"),
        ("watermarked", "0.9"),
        ("low_similarity", "null"),
        ("too_small", "null x null"),
    ];
    assert_eq!(bench.drops(&record), pairs(&expected));
    assert_eq!(bench.mentions(&record).len(), 1);
}

#[test]
fn filters_are_off_unless_set() {
    let bench = Bench::new(ALL, "");
    let record = bench.run_columns(spoilt_rows());
    assert_eq!(bench.mentions(&record).len(), 7);
    let one = Bench::new(ALL, "min_similarity = -0.5");
    let record = one.run_columns(spoilt_rows());
    let expected = [("low_similarity", "null"), ("low_similarity", "null")];
    assert_eq!(one.drops(&record), pairs(&expected));
}

#[test]
fn one_bad_value_costs_its_row_only() {
    let bench = Bench::new(URLS, "");
    let file = bench.file("0.parquet");
    let url = |i: u8| format!("https://a.example/{i}.jpg").into_bytes();
    let rows = [
        (url(0), Some(b"Mira \xff Castellan".to_vec())),
        (url(1), None),
        (url(2), Some(b" \t\n\xc2\xa0".to_vec())),
        (url(3), Some(MIRA.into())),
        (b"ftp://a.example/x.jpg".to_vec(), Some(MIRA.into())),
        (b"photo.jpg".to_vec(), Some(MIRA.into())),
        (b"http://a.example/\xe2\x28".to_vec(), Some(MIRA.into())),
        (url(4), Some(b"\x00\x07\x1b[31m".to_vec())),
        (url(5), Some("x".repeat(2 << 20).into_bytes())),
    ];
    write_text(&file, &rows);
    let record = bench.run(&file).expect("extracted");
    let expected = [
        ("empty_caption", "not UTF-8 at byte 5"),
        ("empty_caption", "null"),
        ("empty_caption", "blank"),
        ("bad_url", "scheme ftp"),
        ("bad_url", "relative URL without a base"),
        ("bad_url", "not UTF-8 at byte 17"),
        ("no_person", ""),
        ("no_person", ""),
    ];
    assert_eq!(bench.drops(&record), pairs(&expected));
    assert_eq!(bench.mentions(&record).len(), 1);
}

#[test]
fn the_same_caption_of_the_same_image_counts_once() {
    let bench = Bench::new(URLS, "");
    let (a, b) = ("http://a.example/a.jpg", "http://a.example/b.jpg");
    let record = bench.run_columns(vec![
        ("URL", texts([a, a, b, a])),
        (
            "TEXT",
            texts([MIRA, MIRA, MIRA, "Jonas Albrecht in Lisbon"]),
        ),
    ]);
    assert_eq!(bench.mentions(&record).len(), 3);
    let drops: Vec<Dropped> = bench.rig.rows(&record).expect("drops");
    assert_eq!(drops[0].reason, "repeated_caption");
    assert_eq!(drops[0].id, CaptionId::of(a, MIRA).0);
}

#[test]
fn columns_may_be_of_any_fitting_type() {
    let captions = texts([MIRA, "Jonas Albrecht in Lisbon"]);
    let large: LargeStringArray = [Some(MIRA), Some("Jonas Albrecht in Lisbon")]
        .into_iter()
        .collect();
    let view: StringViewArray = [Some(MIRA), Some("Jonas Albrecht in Lisbon")]
        .into_iter()
        .collect();
    let bytes: BinaryArray = [Some(MIRA), Some("Jonas Albrecht in Lisbon")]
        .into_iter()
        .collect();
    let dictionary = DataType::Dictionary(Box::new(DataType::Int32), Box::new(DataType::Utf8));
    let dictionary = cast(&captions, &dictionary).expect("a dictionary");
    let forms: [ArrayRef; 5] = [
        captions,
        Arc::new(large),
        Arc::new(view),
        Arc::new(bytes),
        dictionary,
    ];
    let sizes: [ArrayRef; 3] = [
        Arc::new(UInt64Array::from(vec![64, 10])),
        Arc::new(Int64Array::from(vec![64, 10])),
        Arc::new(Float64Array::from(vec![64.0, 10.0])),
    ];
    let bench = Bench::new(&format!("{URLS}width = \"WIDTH\"\n"), "min_width = 64");
    for (text, size) in forms.iter().zip(sizes.iter().cycle()) {
        let columns = vec![
            ("WIDTH", size.clone()),
            ("TEXT", text.clone()),
            ("URL", urls(2)),
        ];
        let record = bench.run_columns(columns);
        assert_eq!(bench.mentions(&record).len(), 1, "{text:?}");
        let dropped = bench.drops(&record);
        assert_eq!(dropped, pairs(&[("too_small", "10 x null")]), "{size:?}");
    }
}

#[test]
fn unusable_files_are_named_with_what_is_wrong() {
    let bench = Bench::new(ALL, "");
    let file = bench.file("1.parquet");
    std::fs::write(&file, "PAR1 this is none").expect("written");
    let text = bench.error(&file);
    assert!(text.contains("1.parquet: not a Parquet file"), "{text}");

    write(&file, vec![("URL", urls(1)), ("TEXTS", urls(1))]);
    let text = bench.error(&file);
    let expected =
        "no column `TEXT`, which [source.columns] maps to `caption`: did you mean `TEXTS`?";
    assert!(
        text.contains("1.parquet") && text.contains(expected),
        "{text}"
    );

    let mut columns = spoilt_rows();
    columns[1].1 = Arc::new(Int64Array::from(vec![1; 7]));
    write(&file, columns);
    let text = bench.error(&file);
    assert!(
        text.contains("`TEXT`") && text.contains("expected text or bytes, found Int64"),
        "{text}"
    );

    let mut columns = spoilt_rows();
    columns[4].1 = texts(["0.1"; 7]);
    write(&file, columns);
    let text = bench.error(&file);
    assert!(
        text.contains("`punsafe`") && text.contains("floating-point number, found text"),
        "{text}"
    );
}

#[test]
fn all_files_of_the_source_are_checked_before_the_run() {
    let bench = Bench::new(URLS, "");
    write(
        &bench.file("0.parquet"),
        vec![("URL", urls(1)), ("TEXT", urls(1))],
    );
    check_source(&bench.rig.manifest).expect("as it must be");
    write(&bench.file("1.parquet"), vec![("URL", urls(1))]);
    let text = check_source(&bench.rig.manifest)
        .expect_err("no TEXT")
        .to_string();
    assert!(text.contains("1.parquet"), "{text}");
}

#[test]
fn a_damaged_page_is_an_error_that_names_the_file() {
    let bench = Bench::new(URLS, "");
    let file = bench.file("0.parquet");
    write(&file, vec![("URL", urls(4000)), ("TEXT", urls(4000))]);
    let mut bytes = std::fs::read(&file).expect("read");
    bytes[4..2000].fill(0xff);
    std::fs::write(&file, bytes).expect("written");
    let text = bench.error(&file);
    assert!(text.contains("0.parquet: after row 0"), "{text}");
}

#[test]
fn wrong_settings_are_refused() {
    let error = |columns, sections| {
        let bench = Bench::try_new(columns, sections);
        bench.err().expect("refused").to_string()
    };
    assert!(error(ALL, "min_widht = 3").contains("did you mean `min_width`?"));
    assert!(error(URLS, "max_punsafe = 0.5").contains("map it in [source.columns]"));
    assert!(error(ALL, "min_similarity = nan").contains("must be a number"));
}

#[test]
fn threads_and_batches_change_nothing() {
    // More mentions than one part takes, and more rows than one batch.
    let count = STEP.part_rows / 2 + 4000;
    let caption = ["Mira Castellan met Jonas Albrecht in Lisbon"];
    let captions = texts(caption.into_iter().cycle().take(count));
    let columns = vec![("URL", urls(count)), ("TEXT", captions)];
    let mut outputs: Vec<BTreeMap<u64, Digest>> = Vec::new();
    for threads in [1, 3] {
        let mut bench = Bench::new(URLS, "");
        bench.rig.surroundings.threads = threads;
        let record = bench.run_columns(columns.clone());
        let parts = record.outputs_of(TableId::Mentions);
        outputs.push(parts.map(|p| (p.rows, p.digest)).collect());
        assert_eq!(record.accounts[0].rows_out, count as u64);
    }
    assert_eq!(outputs[0].len(), 2, "two parts of different size");
    assert_eq!(outputs[0], outputs[1]);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Whatever the bytes: no panic, balanced books (the commit sees to that), offsets on character boundaries.
    #[test]
    fn any_bytes_are_a_caption(rows in prop::collection::vec(any_caption(), 1..20)) {
        thread_local!(static BENCH: Bench = Bench::new(URLS, ""));
        BENCH.with(|bench| {
            let url = |i| format!("http://a.example/{i}.jpg").into_bytes();
            let rows: Vec<_> = rows.into_iter().enumerate().map(|(i, text)| (url(i), text)).collect();
            let file = bench.file("any.parquet");
            write_text(&file, &rows);
            let record = bench.run(&file).expect("extracted");
            for mention in bench.mentions(&record) {
                let span = mention.start as usize..mention.end as usize;
                assert_eq!(mention.caption.get(span), Some(mention.name.as_str()));
                assert!(!mention.name.is_empty());
            }
            prop_assert_eq!(record.accounts[0].rows_in, rows.len() as u64);
            Ok(())
        })?;
    }
}

fn any_caption() -> impl Strategy<Value = Option<Vec<u8>>> {
    let text = "[\\PC\\s]{0,40}Mira Castellan[\\PC\\s]{0,40}";
    prop_oneof![
        Just(None),
        prop::collection::vec(any::<u8>(), 0..60).prop_map(Some),
        any::<String>().prop_map(|s| Some(s.into_bytes())),
        text.prop_map(|s| Some(s.into_bytes())),
    ]
}
