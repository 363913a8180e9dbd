//! What becomes of captions, of bad values and of repetitions, however the work is divided.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

#[test]
fn run_extracts_mentions_with_byte_offsets() {
    let extract = ExtractNamesHarness::new(&format!("{URLS}hash = \"md5\"\n"), "");
    let captions = [
        "Müller-Straße: Mira Castellan met Jonas Albrecht in Lisbon",
        "Red shoes on sale",
        MIRA,
    ];
    let record = extract.run_columns(vec![
        ("URL", urls(3)),
        ("TEXT", texts(captions)),
        (
            "md5",
            Arc::new(StringArray::from(vec![Some("aa"), None, None])),
        ),
        ("ignored", urls(3)),
    ]);
    let mentions = extract.mentions(&record);
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
    assert_eq!(extract.drops(&record), pairs(&[("no_person", "")]));
    let balance = &record.balances[0];
    assert_eq!((balance.rows_in, balance.rows_out), (3, 2));
    assert_eq!(record.metrics["mentions"], 3.0);
}

#[test]
fn bad_value_drops_its_row_only() {
    let extract = ExtractNamesHarness::new(URLS, "");
    let file = extract.file("0.parquet");
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
    let record = extract.run(&file).expect("extracted");
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
    assert_eq!(extract.drops(&record), pairs(&expected));
    assert_eq!(extract.mentions(&record).len(), 1);
}

#[test]
fn repeated_caption_of_one_image_is_dropped() {
    let extract = ExtractNamesHarness::new(URLS, "");
    let (a, b) = ("http://a.example/a.jpg", "http://a.example/b.jpg");
    let record = extract.run_columns(vec![
        ("URL", texts([a, a, b, a])),
        (
            "TEXT",
            texts([MIRA, MIRA, MIRA, "Jonas Albrecht in Lisbon"]),
        ),
    ]);
    assert_eq!(extract.mentions(&record).len(), 3);
    let drops: Vec<Dropped> = extract.harness.rows(&record).expect("drops");
    assert_eq!(drops[0].reason, DropReason::RepeatedCaption);
    assert_eq!(drops[0].id, CaptionId::of(a, MIRA).0);
}

/// A caption of `count` names, each in a sentence.
fn cast_list(count: usize) -> String {
    "Mira Castellan smiles. ".repeat(count)
}

#[test]
fn mentions_of_a_long_caption_keep_a_window_of_it() {
    let extract = ExtractNamesHarness::new(URLS, "caption_window = 200");
    let caption = cast_list(40);
    let record = extract.run_columns(vec![("URL", urls(2)), ("TEXT", texts([&caption, MIRA]))]);
    let mentions = extract.mentions(&record);
    let (last, long) = mentions.split_last().expect("mentions");
    assert_eq!(last.caption, MIRA, "a short caption is kept whole");
    assert!(long.len() > 20, "{} mentions", long.len());
    for mention in long {
        let span = mention.start as usize..mention.end as usize;
        assert_eq!(mention.caption[span], mention.name);
        assert_eq!(mention.caption.len(), 200);
        assert!(caption.contains(&mention.caption));
        assert_eq!(mention.caption_id, CaptionId::of(&mention.url, &caption));
    }
    let starts: std::collections::BTreeSet<u32> = long.iter().map(|m| m.start).collect();
    assert!(starts.contains(&0), "the first name begins the caption");
    assert!(
        starts.iter().any(|start| (80..100).contains(start)),
        "{starts:?}"
    );
}

#[test]
fn mentions_beyond_the_bound_are_dropped_with_their_names() {
    let bounded = ExtractNamesHarness::new(URLS, "max_mentions = 3");
    let free = ExtractNamesHarness::new(URLS, "");
    let caption = cast_list(40);
    let columns = || vec![("URL", urls(1)), ("TEXT", texts([caption.as_str()]))];
    let all = free.run_columns(columns());
    let record = bounded.run_columns(columns());
    let (kept, all) = (bounded.mentions(&record), free.mentions(&all));
    assert_eq!(kept, all[..3]);
    let drops = bounded.drops(&record);
    assert_eq!(drops.len(), all.len() - 3);
    for ((reason, name), mention) in drops.iter().zip(&all[3..]) {
        assert_eq!(
            (reason.as_str(), name),
            ("too_many_mentions", &mention.name)
        );
    }
    let balance = &record.balances[1];
    let counts = (balance.unit, balance.rows_in, balance.rows_out);
    assert_eq!(counts, (Unit::Mention, all.len() as u64, 3));
    assert_eq!(record.metrics["mentions"], 3.0);
}

/// 100 kB of names in one caption: 400 kB of mentions, not 400 MB.
#[test]
fn mentions_grow_with_their_captions_length_only() {
    let extract = ExtractNamesHarness::new(URLS, "");
    let caption = cast_list(4000);
    let record = extract.run_columns(vec![("URL", urls(1)), ("TEXT", texts([caption.as_str()]))]);
    let mentions = extract.mentions(&record);
    assert_eq!(mentions.len(), 100);
    let bytes: usize = mentions.iter().map(|m| m.caption.len()).sum();
    assert!(bytes <= 100 * 4096, "{bytes} bytes of captions");
    let balance = &record.balances[1];
    assert!(balance.rows_in > 2000, "{balance:?}");
}

#[test]
fn parts_are_closed_by_their_bytes_too() {
    let extract = ExtractNamesHarness::new(URLS, "");
    let caption = cast_list(170);
    let count = 20;
    let captions = texts(std::iter::repeat_n(caption.as_str(), count));
    let record = extract.run_columns(vec![("URL", urls(count)), ("TEXT", captions)]);
    let rows: Vec<u64> = record
        .outputs_of(TableId::Mentions)
        .map(|p| p.rows)
        .collect();
    assert_eq!(
        rows.iter().sum::<u64>(),
        extract.mentions(&record).len() as u64
    );
    assert!(
        rows.len() > 1 && rows.iter().all(|rows| *rows < 1200),
        "{rows:?}"
    );
}

#[test]
fn senseless_bounds_are_refused() {
    for (setting, text) in [
        ("caption_window = 63", "64 bytes"),
        ("max_mentions = 0", "1 or more"),
    ] {
        let error = ExtractNamesHarness::try_new(URLS, setting).err();
        let error = error.expect("a manifest error").to_string();
        assert!(error.contains(text), "{error}");
    }
}

#[test]
fn result_is_independent_of_threads_and_batches() {
    // More mentions than one part takes, and more rows than one batch.
    let count = STEP.part_rows / 2 + 4000;
    let caption = ["Mira Castellan met Jonas Albrecht in Lisbon"];
    let captions = texts(caption.into_iter().cycle().take(count));
    let columns = vec![("URL", urls(count)), ("TEXT", captions)];
    let mut outputs: Vec<BTreeMap<u64, Digest>> = Vec::new();
    for threads in [1, 3] {
        let mut extract = ExtractNamesHarness::new(URLS, "");
        extract.harness.runtime_environment.threads = threads;
        let record = extract.run_columns(columns.clone());
        let parts = record.outputs_of(TableId::Mentions);
        outputs.push(parts.map(|p| (p.rows, p.digest)).collect());
        assert_eq!(record.balances[0].rows_out, count as u64);
    }
    assert_eq!(outputs[0].len(), 2, "two parts of different size");
    assert_eq!(outputs[0], outputs[1]);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Whatever the bytes: no panic, balanced books (the commit sees to that), offsets on character
    /// boundaries.
    #[test]
    fn captions_of_any_bytes_are_accounted_for(rows in prop::collection::vec(any_caption(), 1..20)) {
        thread_local!(static HARNESS: ExtractNamesHarness = ExtractNamesHarness::new(URLS, ""));
        HARNESS.with(|extract| {
            let url = |i| format!("http://a.example/{i}.jpg").into_bytes();
            let rows: Vec<_> = rows.into_iter().enumerate().map(|(i, text)| (url(i), text)).collect();
            let file = extract.file("any.parquet");
            write_text(&file, &rows);
            let record = extract.run(&file).expect("extracted");
            for mention in extract.mentions(&record) {
                let span = mention.start as usize..mention.end as usize;
                assert_eq!(mention.caption.get(span), Some(mention.name.as_str()));
                assert!(!mention.name.is_empty());
            }
            prop_assert_eq!(record.balances[0].rows_in, rows.len() as u64);
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

#[test]
fn urls_stay_as_written_and_ids_are_of_what_they_mean() {
    let extract = ExtractNamesHarness::new(URLS, "");
    let written = [
        "http://a.example/?a=1&amp;b=2",
        " http://a.example/?a=1&b=2;c ",
        "http&#58;//a.example/1.jpg",
        "javascript&#58;alert(1)",
        "http://a.example/?a=1&b=2",
    ];
    let record = extract.run_columns(vec![("URL", texts(written)), ("TEXT", texts([MIRA; 5]))]);
    let found: Vec<_> = extract
        .mentions(&record)
        .into_iter()
        .map(|m| (m.url, m.image_id))
        .collect();
    let meant = [
        "http://a.example/?a=1&b=2",
        written[1],
        "http://a.example/1.jpg",
    ];
    let expected = written.iter().zip(meant);
    let expected =
        expected.map(|(url, meant)| ((*url).to_owned(), laioncele_core::ImageId::of(meant)));
    assert_eq!(found, expected.collect::<Vec<_>>());
    let drops = [
        ("bad_url", "relative URL without a base"),
        ("repeated_caption", ""),
    ];
    assert_eq!(extract.drops(&record), pairs(&drops));
}
