//! Lists of urls: captions may be missing, and text has a url a line.

use laioncele_core::manifest::{SourcePath, SourceSettings};

use super::*;

fn settings(columns: &[(&str, &str)]) -> SourceSettings {
    let columns = columns
        .iter()
        .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()));
    SourceSettings {
        path: SourcePath::Several(Vec::new()),
        layout: None,
        columns: columns.collect(),
    }
}

fn urls(path: &Path, settings: &SourceSettings) -> Result<Vec<(String, String)>, SourceError> {
    let file = SourceFile::open_urls(path, settings)?;
    let mut found = Vec::new();
    for batch in file.batches("")? {
        for row in batch?.rows() {
            let row = Row::of(&row);
            found.push((row.url, row.caption + &row.malformed.unwrap_or_default()));
        }
    }
    Ok(found)
}

#[test]
fn lists_without_captions_are_read() {
    let folder = tempfile::tempdir().expect("a folder");
    let gz = |text: &[u8]| {
        let mut writer = GzEncoder::new(Vec::new(), Compression::fast());
        writer.write_all(text).expect("written");
        writer.finish().expect("written")
    };
    let text: &[u8] = b"\xef\xbb\xbfhttp://a.example/\r\n\n  \nhttp://b.example/ x";
    for (name, bytes) in [
        ("list.txt", text.to_vec()),
        ("list", text.to_vec()),
        ("list.txt.gz", gz(text)),
        (
            "a.csv",
            b"id,URL\n1,http://a.example/\n2,http://b.example/ x\n".to_vec(),
        ),
        (
            "b.csv",
            b"http://a.example/\nhttp://b.example/ x\n".to_vec(),
        ),
        (
            "a.jsonl",
            b"{\"url\": \"http://a.example/\"}\n{\"url\": \"http://b.example/ x\"}".to_vec(),
        ),
    ] {
        let path = folder.path().join(name);
        fs::write(&path, bytes).expect("written");
        let found = urls(&path, &settings(&[])).expect(name);
        let expected =
            ["http://a.example/", "http://b.example/ x"].map(|u| (u.to_owned(), String::new()));
        assert_eq!(found, expected, "{name}");
    }
    let path = folder.path().join("c.jsonl");
    fs::write(
        &path,
        "{\"link\": \"http://a.example/\", \"alt\": \"A\"}\n[",
    )
    .expect("written");
    let found = urls(&path, &settings(&[("url", "link"), ("caption", "alt")])).expect("read");
    assert_eq!(found[0], ("http://a.example/".to_owned(), "A".to_owned()));
    assert!(found[1].1.starts_with("line 2"), "{found:?}");
    let error = urls(&path, &settings(&[])).expect_err("no url");
    assert!(matches!(
        error,
        SourceError::UnknownColumn { role: "url", .. }
    ));
}

#[test]
fn binary_files_are_no_lists() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("photo");
    fs::write(&path, [0xff, 0xd8, 0, 1]).expect("written");
    let error = urls(&path, &settings(&[])).expect_err("no text");
    assert!(matches!(error, SourceError::NotOfFormat { .. }), "{error}");
}

#[test]
fn files_folders_and_patterns_are_found_once_each_and_in_order() {
    let folder = tempfile::tempdir().expect("a folder");
    for name in [
        "b.csv",
        "a.jsonl",
        "notes.txt",
        "x.tar",
        "sub/c.tsv",
        ".hidden.csv",
        "00000_status.parquet",
    ] {
        let path = folder.path().join(name);
        fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
        fs::write(path, "http://a.example/").expect("written");
    }
    let named = |names: &[&str]| {
        let paths: Vec<PathBuf> = names.iter().map(|n| folder.path().join(n)).collect();
        let found = url_files(&paths).expect("found");
        let below = found
            .iter()
            .map(|p| p.strip_prefix(folder.path()).expect("below"));
        below.map(|p| p.display().to_string()).collect::<Vec<_>>()
    };
    assert_eq!(named(&[""]), ["a.jsonl", "b.csv", "sub/c.tsv"]);
    assert_eq!(named(&["*.txt", "b.csv", "*.csv"]), ["notes.txt", "b.csv"]);
    assert_eq!(named(&["notes.txt", "sub"]), ["notes.txt", "sub/c.tsv"]);
    let missing = url_files(&[folder.path().join("nowhere.csv")]);
    assert!(matches!(
        missing,
        Err(laioncele_core::CoreError::Missing { .. })
    ));
}
