//! A file that cannot be read is named, and what is wrong with it.

use arrow::array::Int64Array;

use super::*;

/// Whether the error of a source with this file says all of `words`.
fn says(name: &str, bytes: &[u8], words: &[&str]) {
    let source = Source::new();
    source.write("a.csv", b"url,caption\n");
    source.write(name, bytes);
    let text = source.error();
    for word in words.iter().chain([&name]) {
        assert!(text.contains(word), "{word} is not in: {text}");
    }
}

#[test]
fn files_of_another_format_than_their_name_says_are_named() {
    for name in ["0.csv", "0.tsv", "0.jsonl", "0.tar", "0.csv.gz"] {
        says(name, b"", &["an empty file (0 bytes)"]);
    }
    let source = Source::new();
    source.write("0.parquet", b"");
    assert!(
        source
            .error()
            .contains("0.parquet: an empty file (0 bytes)")
    );
    source.write("0.parquet", b"PAR1 this is none");
    assert!(source.error().contains("0.parquet: not a Parquet file"));
    says("b.csv", b"u\0r\0l\0,\0c\0", &["not CSV", "zero bytes"]);
    says("b.tsv", b"\n\n", &["nothing but blank lines"]);
    says("b.jsonl", b"[{\"url\": 1}]", &["one object a line"]);
    says(
        "b.jsonl",
        b"url,caption\n1,2\n",
        &["not JSON lines: line 1"],
    );
    says("b.csv.gz", b"url,caption\n", &["cannot be opened", "gzip"]);
    says("b.tar", &[b'x'; 2048], &["not a whole tar file"]);
    says("b.tar.gz", b"\x1f\x8b", &["uncompress it"]);
}

#[test]
fn a_tar_that_was_cut_off_is_named() {
    let mut builder = tar::Builder::new(Vec::new());
    let mut header = tar::Header::new_ustar();
    header.set_size(3000);
    builder
        .append_data(&mut header, "0.jpg", &[7; 3000][..])
        .expect("appended");
    let whole = builder.into_inner().expect("finished");
    says("b.tar", &whole[..2000], &["cut off?"]);
}

#[test]
fn columns_that_are_missing_or_could_be_two_are_named() {
    let source = Source::new();
    source.parquet(
        "0.parquet",
        &[("address", url_column(1)), ("caption", texts(&["x"]))],
    );
    let text = source.error();
    assert!(
        text.contains(
            "no column for `url`: looked for url, image_url; the file has address, caption"
        ),
        "{text}"
    );

    let source = Source::new();
    source.parquet(
        "0.parquet",
        &[
            ("URL", url_column(1)),
            ("Url", url_column(1)),
            ("caption", texts(&["x"])),
        ],
    );
    let text = source.error();
    assert!(text.contains("`URL` and `Url` could both be"), "{text}");

    let source = Source::new();
    source.write(
        "0.csv",
        b"url,caption,width,width\nhttp://a.example/0.jpg,x,1,2\n",
    );
    let error = source.error();
    assert!(error.contains("two columns are called `width`"), "{error}");
    let source = Source::with("path = \"captions\"\ncolumns = { width = \"\" }");
    source.write(
        "0.csv",
        b"url,caption,width,width\nhttp://a.example/0.jpg,x,1,2\n",
    );
    assert_eq!(source.rows()[0].width, None);

    // The first name that would do is enough; it does not matter what the others could be.
    let source = Source::new();
    let text = || texts(&["x"]);
    let columns = [
        ("url", url_column(1)),
        ("caption", text()),
        ("TEXT", text()),
        ("Text", text()),
    ];
    source.parquet("0.parquet", &columns);
    assert_eq!(source.rows()[0].caption, "x");

    let source =
        Source::with("path = \"captions\"\nlayout = \"coyo\"\ncolumns = { caption = \"TEXTS\" }");
    source.parquet(
        "0.parquet",
        &[("URL", url_column(1)), ("TEXT", texts(&["x"]))],
    );
    let text = source.error();
    assert!(
        text.contains(
            "no column `TEXTS`, which [source.columns] maps to `caption`: did you mean `TEXT`?"
        ),
        "{text}"
    );
}

#[test]
fn a_missing_column_is_an_error_only_if_a_setting_needs_it() {
    let source = Source::new();
    source.write("0.csv", b"url,caption,width\nhttp://a.example/0.jpg,x,1\n");
    source.write("1.csv", b"url,caption\nhttp://a.example/1.jpg,x\n");
    assert_eq!(source.summary().files, 2);
    let need = Need {
        role: Role::Width,
        setting: "[extract_names] min_width".to_owned(),
    };
    let text = source.error_of(&[need]);
    let expected =
        "1.csv: no column for `width`, which [extract_names] min_width needs: looked for width";
    assert!(text.contains(expected), "{text}");
}

#[test]
fn a_column_of_another_type_is_named() {
    let source = Source::new();
    let number: ArrayRef = Arc::new(Int64Array::from(vec![1]));
    source.parquet("0.parquet", &[("url", url_column(1)), ("caption", number)]);
    let text = source.error();
    assert!(text.contains("column `caption`, which its name maps to `caption`: expected text or bytes, found Int64"), "{text}");

    let source = Source::with("path = \"captions\"\ncolumns = { punsafe = \"NSFW\" }");
    source.parquet(
        "0.parquet",
        &[
            ("url", url_column(1)),
            ("caption", texts(&["x"])),
            ("NSFW", texts(&["UNSURE"])),
        ],
    );
    let text = source.error();
    assert!(text.contains("`NSFW`, which [source.columns] maps to `punsafe`: expected an integer or floating-point number"), "{text}");
}

#[test]
fn a_damaged_file_is_named_with_the_rows_before() {
    let source = Source::new();
    let many: String = (0..20_000)
        .map(|i| format!("http://a.example/{i}.jpg,Mira {i}\n"))
        .collect();
    source.write_gzip("0.csv.gz", format!("url,caption\n{many}").as_bytes());
    let path = source.join("captions/0.csv.gz");
    let whole = fs::read(&path).expect("read");
    fs::write(&path, &whole[..whole.len() / 2]).expect("written");
    let file = SourceFile::open(&path, &source.manifest().source, &[]).expect("its head is whole");
    let last = file.batches("").expect("batches").last().expect("a batch");
    let text = last.expect_err("damaged").to_string();
    assert!(text.contains("0.csv.gz: unreadable after row"), "{text}");
}

#[test]
fn the_first_file_that_cannot_be_used_is_the_one_named() {
    let source = Source::new();
    for number in 0..40 {
        source.write(&format!("{number:02}.csv"), b"url,caption\n");
    }
    source.write("13.csv", b"");
    source.write("37.csv", b"");
    assert!(source.error().contains("13.csv"));
}
