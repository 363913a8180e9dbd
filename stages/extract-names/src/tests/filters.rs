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
