//! CSV, TSV and JSON lines.

use super::*;

fn csv() -> String {
    let quoted = |text: &str| format!("\"{}\"", text.replace('"', "\"\""));
    let rows = two_rows()
        .into_iter()
        .map(|r| format!("{},640,{}\r\n", r.url, quoted(&r.caption)));
    format!("\u{feff}url,WIDTH,TEXT\r\n{}", rows.collect::<String>())
}

fn json() -> String {
    let row = |r: Row| serde_json::json!({"url": r.url, "TEXT": r.caption, "WIDTH": 640, "x": [1]});
    two_rows()
        .into_iter()
        .map(|r| row(r).to_string() + "\n")
        .collect()
}

fn expected() -> Vec<Row> {
    let wide = |row| Row {
        width: Some(640.0),
        ..row
    };
    two_rows().into_iter().map(wide).collect()
}

#[test]
fn every_format_of_text_reads_the_same_rows() {
    // A TSV cannot hold a tab but in quotes.
    let tsv = csv()
        .replace(",640,", "\t640\t")
        .replace("url,WIDTH,TEXT", "url\tWIDTH\tTEXT");
    let tsv = tsv.replace("Jonas\tAlbrecht", "Jonas Albrecht");
    for (name, text) in [
        ("a.csv", csv()),
        ("a.tsv", tsv),
        ("a.jsonl", json()),
        ("a.json", json()),
        ("a.ndjson", json()),
    ] {
        let mut expected = expected();
        if name == "a.tsv" {
            "Jonas Albrecht in Köln".clone_into(&mut expected[1].caption);
        }
        let source = Source::new();
        source.write(name, text.as_bytes());
        assert_eq!(source.rows(), expected, "{name}");
        let compressed = Source::new();
        compressed.write_gzip(&format!("{name}.gz"), text.as_bytes());
        assert_eq!(compressed.rows(), expected, "{name}.gz");
        assert_eq!(compressed.summary().uncounted, 1);
    }
}

#[test]
fn files_without_a_header_have_url_and_caption_in_either_order() {
    let (cc12m, cc3m) = (
        "http://a.example/0.jpg\tMira Castellan\n",
        "Mira Castellan\thttp://a.example/0.jpg\n",
    );
    for (name, text, told) in [
        ("cc12m.tsv", cc12m, "layout cc12m: url = 1, caption = 2"),
        ("cc3m.tsv", cc3m, "layout cc12m: url = 2, caption = 1"),
    ] {
        for settings in [
            "path = \"captions\"",
            "path = \"captions\"\nlayout = \"cc12m\"",
        ] {
            let source = Source::with(settings);
            source.write(name, text.as_bytes());
            assert_eq!(source.description(), told);
            let rows = source.rows();
            assert_eq!(rows.len(), 1);
            assert_eq!(
                (rows[0].url.as_str(), rows[0].caption.as_str()),
                ("http://a.example/0.jpg", "Mira Castellan")
            );
        }
    }
    let source = Source::with(
        "path = \"captions\"\ncolumns = { url = \"1\", caption = \"2\", width = \"3\" }",
    );
    source.write("0.csv", b"http://a.example/0.jpg,Mira Castellan,640\n");
    assert_eq!(source.rows()[0].width, Some(640.0));
}

#[test]
fn a_line_that_cannot_be_read_is_a_row_with_a_reason() {
    let source = Source::new();
    let mut text = b"url,caption\nhttp://a.example/0.jpg\n".to_vec();
    text.extend(b"http://a.example/1.jpg,Mira \xff Castellan\nhttp://a.example/2.jpg,a,b\n");
    text.extend(b"http://a.example/3.jpg,\"open\nhttp://a.example/4.jpg,fine,\n");
    source.write("0.csv", &text);
    let rows = source.rows();
    let malformed: Vec<_> = rows.iter().map(|row| row.malformed.as_deref()).collect();
    let expected = [
        Some("line 2: 1 fields instead of 2"),
        None,
        Some("line 4: 3 fields instead of 2"),
        Some("line 5: a quote that is not closed"),
        None,
    ];
    assert_eq!(malformed, expected);
    assert_eq!(
        (rows[1].caption.as_str(), rows[4].caption.as_str()),
        ("Mira \u{fffd} Castellan", "fine")
    );

    let source = Source::new();
    let mut text =
        b"{\"url\": \"http://a.example/0.jpg\", \"caption\": \"x\"}\n\n{\"url\": \n".to_vec();
    text.extend(b"{\"url\": \"\xff\"}\n[]\n{\"caption\": 7}\n");
    source.write("0.jsonl", &text);
    let rows = source.rows();
    let malformed: Vec<bool> = rows.iter().map(|row| row.malformed.is_some()).collect();
    assert_eq!(malformed, [false, true, true, true, false]);
    assert_eq!((rows[4].url.as_str(), rows[4].caption.as_str()), ("", "7"));
}

#[test]
fn a_long_line_is_dropped_and_the_next_one_read() {
    let source = Source::new();
    let mut text = b"url\tcaption\nhttp://a.example/0.jpg\t".to_vec();
    text.extend(vec![b'x'; 5 << 20]);
    text.extend(b"\nhttp://a.example/1.jpg\tMira\n");
    source.write("0.tsv", &text);
    let rows = source.rows();
    assert_eq!(
        rows[0].malformed.as_deref(),
        Some("line 2: longer than 4 MiB")
    );
    assert_eq!(rows[1].caption, "Mira");
}

#[test]
fn a_header_alone_is_no_row() {
    let source = Source::new();
    source.write("0.csv", b"url,caption\n");
    source.write("1.jsonl", b"\n \n");
    assert_eq!(source.rows(), []);
}
