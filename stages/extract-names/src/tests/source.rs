//! Files as others write them: types of columns, and what is wrong with a file.

use arrow::array::{
    BinaryArray, Float64Array, Int64Array, LargeStringArray, StringViewArray, UInt64Array,
};
use arrow::compute::cast;
use arrow::datatypes::DataType;

use super::*;

#[test]
fn open_accepts_every_fitting_column_type() {
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
    let extract = ExtractNamesHarness::new(&format!("{URLS}width = \"WIDTH\"\n"), "min_width = 64");
    for (text, size) in forms.iter().zip(sizes.iter().cycle()) {
        let columns = vec![
            ("WIDTH", size.clone()),
            ("TEXT", text.clone()),
            ("URL", urls(2)),
        ];
        let record = extract.run_columns(columns);
        assert_eq!(extract.mentions(&record).len(), 1, "{text:?}");
        let dropped = extract.drops(&record);
        assert_eq!(dropped, pairs(&[("too_small", "10 x null")]), "{size:?}");
    }
}

#[test]
fn open_names_file_and_column_that_are_wrong() {
    let extract = ExtractNamesHarness::new(ALL, "");
    let file = extract.file("1.parquet");
    std::fs::write(&file, "PAR1 this is none").expect("written");
    let text = extract.error(&file);
    assert!(text.contains("1.parquet: not a Parquet file"), "{text}");

    write(&file, vec![("URL", urls(1)), ("TEXTS", urls(1))]);
    let text = extract.error(&file);
    let expected =
        "no column `TEXT`, which [source.columns] maps to `caption`: did you mean `TEXTS`?";
    assert!(
        text.contains("1.parquet") && text.contains(expected),
        "{text}"
    );

    let mut columns = spoilt_rows();
    columns[1].1 = Arc::new(Int64Array::from(vec![1; 7]));
    write(&file, columns);
    let text = extract.error(&file);
    assert!(
        text.contains("`TEXT`") && text.contains("expected text or bytes, found Int64"),
        "{text}"
    );

    let mut columns = spoilt_rows();
    columns[4].1 = texts(["0.1"; 7]);
    write(&file, columns);
    let text = extract.error(&file);
    assert!(
        text.contains("`punsafe`") && text.contains("floating-point number, found text"),
        "{text}"
    );
}

#[test]
fn check_source_opens_every_file() {
    let extract = ExtractNamesHarness::new(URLS, "");
    write(
        &extract.file("0.parquet"),
        vec![("URL", urls(1)), ("TEXT", urls(1))],
    );
    let summary = check_source(&extract.harness.manifest).expect("a usable source");
    assert_eq!((summary.files, summary.rows), (1, 1));
    assert!(summary.bytes > 0);
    write(&extract.file("1.parquet"), vec![("URL", urls(1))]);
    let text = check_source(&extract.harness.manifest)
        .expect_err("no TEXT")
        .to_string();
    assert!(text.contains("1.parquet"), "{text}");
}

#[test]
fn check_source_names_every_missing_column() {
    let extract = ExtractNamesHarness::new(URLS, "");
    write(&extract.file("0.parquet"), vec![("SIZE", urls(1))]);
    let text = check_source(&extract.harness.manifest)
        .expect_err("no mapped column")
        .to_string();
    for words in ["no column `TEXT`", "no column `URL` for `url`"] {
        assert!(text.contains(words), "{words} is not in: {text}");
    }
}

#[test]
fn hidden_files_are_no_shards() {
    let extract = ExtractNamesHarness::new(URLS, "");
    let good = || vec![("URL", urls(1)), ("TEXT", urls(1))];
    write(&extract.file("0.parquet"), good());
    write(&extract.file("_tmp.parquet"), good());
    std::fs::write(extract.file("._0.parquet"), "an AppleDouble file").expect("written");
    let summary = check_source(&extract.harness.manifest).expect("a usable source");
    assert_eq!(summary.files, 1);
}

#[test]
fn damaged_page_error_names_the_file() {
    let extract = ExtractNamesHarness::new(URLS, "");
    let file = extract.file("0.parquet");
    write(&file, vec![("URL", urls(4000)), ("TEXT", urls(4000))]);
    let mut bytes = std::fs::read(&file).expect("read");
    bytes[4..2000].fill(0xff);
    std::fs::write(&file, bytes).expect("written");
    let text = extract.error(&file);
    assert!(text.contains("0.parquet: unreadable after row 0"), "{text}");
}
