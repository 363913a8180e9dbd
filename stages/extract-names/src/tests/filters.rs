//! The filters and their settings.

use super::*;

#[test]
fn each_filter_drops_with_its_reason() {
    let all = "min_width = 64\nmin_height = 64\nmax_punsafe = 0.8\nmax_pwatermark = 0.8\nmin_similarity = 0.2";
    let extract = ExtractNamesHarness::new(ALL, all);
    let record = extract.run_columns(spoilt_rows());
    let expected = [
        ("too_small", "63 x 64"),
        ("too_small", "64 x -1"),
        ("unsafe", "0.81"),
        ("watermarked", "0.9"),
        ("low_similarity", "null"),
        ("too_small", "null x null"),
    ];
    assert_eq!(extract.drops(&record), pairs(&expected));
    assert_eq!(extract.mentions(&record).len(), 1);
}

#[test]
fn filters_are_off_unless_set() {
    let extract = ExtractNamesHarness::new(ALL, "");
    let record = extract.run_columns(spoilt_rows());
    assert_eq!(extract.mentions(&record).len(), 7);
    let one = ExtractNamesHarness::new(ALL, "min_similarity = -0.5");
    let record = one.run_columns(spoilt_rows());
    let expected = [("low_similarity", "null"), ("low_similarity", "null")];
    assert_eq!(one.drops(&record), pairs(&expected));
}

#[test]
fn from_manifest_rejects_wrong_settings() {
    let error = |columns, sections| {
        let extract = ExtractNamesHarness::try_new(columns, sections);
        extract.err().expect("refused").to_string()
    };
    assert!(error(ALL, "min_widht = 3").contains("did you mean `min_width`?"));
    assert!(error(URLS, "max_punsafe = 0.5").contains("map it in [source.columns]"));
    assert!(error(ALL, "min_similarity = nan").contains("must be a number"));
}

#[test]
fn labels_are_filtered_and_what_has_none_does_not_pass() {
    let labels = [
        Some("UNLIKELY"),
        Some("unsure"),
        Some("NSFW"),
        None,
        Some("?"),
    ];
    let expected = ["unsure", "NSFW", "null", "?"];
    for (most, kept) in [("unlikely", 1), ("unsure", 2)] {
        let extract = ExtractNamesHarness::new("", &format!("max_nsfw = \"{most}\""));
        let record = extract.run_columns(vec![
            ("URL", urls(5)),
            ("TEXT", texts([MIRA; 5])),
            (
                "NSFW",
                Arc::new(labels.into_iter().collect::<StringArray>()),
            ),
        ]);
        assert_eq!(extract.mentions(&record).len(), kept);
        let expected = expected[kept - 1..].iter().map(|label| ("unsafe", *label));
        assert_eq!(extract.drops(&record), pairs(&expected.collect::<Vec<_>>()));
    }
}

#[test]
fn a_filter_needs_its_column_in_every_file() {
    let extract = ExtractNamesHarness::new("", "min_width = 64\nmax_nsfw = \"unsure\"");
    let file = extract.file("0.parquet");
    write(
        &file,
        vec![("URL", urls(1)), ("TEXT", urls(1)), ("WIDTH", urls(1))],
    );
    let text = check_source(&extract.harness.manifest)
        .expect_err("no labels")
        .to_string();
    let expected = "no column for `nsfw`, which [extract_names] max_nsfw needs";
    assert!(text.contains(expected), "{text}");
    assert_eq!(extract.error(&file), text);
}

#[test]
fn rows_that_were_not_downloaded_or_cannot_be_read_are_dropped() {
    use laioncele_source::SourceRow;
    let reason = |row: SourceRow| {
        let dropped = filter::filter(&row, &Settings::default()).expect_err("dropped");
        (dropped.reason, dropped.detail.unwrap_or_default())
    };
    let row = SourceRow {
        url: Some(b"http://a.example/1.jpg"),
        caption: Some(MIRA.as_bytes()),
        status: Some(b"failed_to_download"),
        ..SourceRow::default()
    };
    let expected = (DropReason::NotDownloaded, "failed_to_download".to_owned());
    assert_eq!(reason(row), expected);
    let malformed = SourceRow {
        malformed: Some("line 2: no JSON"),
        ..row
    };
    let expected = (DropReason::MalformedRow, "line 2: no JSON".to_owned());
    assert_eq!(reason(malformed), expected);
}

#[test]
fn the_key_of_a_manifest_that_maps_all_columns_names_nothing_new() {
    let extract = ExtractNamesHarness::new(URLS, "");
    let settings = STEP.settings(&extract.harness.manifest).expect("settings");
    let columns = serde_json::json!({ "columns": { "url": "URL", "caption": "TEXT" } });
    assert_eq!(settings["source"], columns);
    assert!(settings.get("max_nsfw").is_none());
}
