//! Which files are read, and what they are called.

use laioncele_core::error::chain;

use super::*;

fn names(source: &Source) -> Vec<String> {
    let shards = source.shards().into_iter();
    shards.map(|shard| shard.partition.to_string()).collect()
}

fn put(source: &Source, name: &str) {
    source.parquet(name, &[("url", url_column(1)), ("caption", texts(&["x"]))]);
}

#[test]
fn hidden_files_markers_and_other_formats_are_passed_over() {
    let source = Source::new();
    put(&source, "part-000.parquet");
    for name in [
        "._part-000.parquet",
        "_tmp.parquet",
        "_SUCCESS",
        ".part-000.parquet.crc",
        "part-000.parquet.crc",
        "README.md",
        "info.json",
        "_temporary/0.parquet",
        ".cache/0.parquet",
    ] {
        source.write(name, b"no data of ours");
    }
    assert_eq!(names(&source), ["shard-part-000"]);
    assert_eq!(source.summary().files, 1);
}

#[test]
fn sub_folders_are_read_whatever_they_are_called_and_names_stay() {
    let source = Source::new();
    put(&source, "part-001.parquet/00000.parquet");
    put(&source, "en/2020/00000.parquet");
    let before = names(&source);
    assert!(before[0].starts_with("shard-en.2020.00000-"), "{before:?}");
    assert!(
        before[1].starts_with("shard-part-001.parquet.00000-"),
        "{before:?}"
    );
    put(&source, "00000.parquet");
    put(&source, "en.2020.00000.parquet");
    let after = names(&source);
    assert!(before.iter().all(|name| after.contains(name)), "{after:?}");
    assert!(after.contains(&"shard-00000".to_owned()), "{after:?}");
    assert_eq!(after.len(), 4);
}

#[test]
fn several_roots_keep_the_names_of_the_first() {
    let one = Source::with("path = \"captions\"");
    put(&one, "a/00000.parquet");
    put(&one, "00000.parquet");
    put(&one, "../more/00000.parquet");
    let before = names(&one);
    let both = Source {
        settings: "path = [\"captions\", \"more\", \"captions/a\"]".to_owned(),
        ..one
    };
    let after = names(&both);
    assert_eq!(after[..2], before);
    assert!(after[2].starts_with("shard-00000-"), "{after:?}");
    // What the third entry holds is read already.
    assert_eq!(after.len(), 3);
}

#[test]
fn a_pattern_and_a_file_name_their_matches() {
    let source = Source::with("path = [\"captions/*/x-*.parquet\", \"captions/one.parquet\"]");
    put(&source, "a/x-0.parquet");
    put(&source, "b/x-0.parquet");
    put(&source, "b/y-0.parquet");
    put(&source, "_temporary/x-0.parquet");
    put(&source, "b/x-folder.parquet/0.parquet");
    put(&source, "one.parquet");
    let found = names(&source);
    assert_eq!(found.len(), 4, "{found:?}");
    assert!(found[0].starts_with("shard-a.x-0-"), "{found:?}");
    assert!(
        source
            .shards()
            .iter()
            .all(|s| is_below(&s.path, &source.join("captions")))
    );
    let none = Source::with("path = \"captions/*.csv\"");
    assert!(none.error().contains("holds no file of a known format"));
}

#[test]
fn other_formats_keep_their_ends_in_their_names() {
    let source = Source::new();
    source.write("a.csv", b"url,caption\n");
    source.write("a.tsv", b"url\tcaption\n");
    source.write_gzip("a.csv.gz", b"url,caption\n");
    assert_eq!(
        names(&source),
        ["shard-a.csv", "shard-a.csv.gz", "shard-a.tsv"]
    );
}

#[cfg(unix)]
#[test]
fn circles_of_links_end() {
    let source = Source::new();
    put(&source, "a/0.parquet");
    std::os::unix::fs::symlink(source.join("captions"), source.join("captions/a/up"))
        .expect("linked");
    assert_eq!(names(&source).len(), 1);
}

#[cfg(unix)]
#[test]
fn a_file_of_two_paths_is_read_once() {
    let source = Source::with("path = [\"captions\", \"./captions/../captions/a\", \"link\"]");
    put(&source, "a/0.parquet");
    put(&source, "1.parquet");
    std::os::unix::fs::symlink(source.join("captions"), source.join("link")).expect("linked");
    std::os::unix::fs::symlink(
        source.join("captions/1.parquet"),
        source.join("captions/2.parquet"),
    )
    .expect("linked");
    assert_eq!(names(&source).len(), 2);
    assert_eq!(source.summary().found_before, 5);
}

#[cfg(unix)]
#[test]
fn pipes_and_sockets_are_named_and_not_opened() {
    use std::os::unix::net::UnixListener;
    let source = Source::new();
    put(&source, "0.parquet");
    let _socket = UnixListener::bind(source.join("captions/1.parquet")).expect("a socket");
    let error = chain(&shards(&source.manifest()).expect_err("no file"));
    assert!(
        error.contains("1.parquet") && error.contains("only regular files"),
        "{error}"
    );
    let named = Source {
        settings: "path = \"captions/1.parquet\"".to_owned(),
        ..source
    };
    let error = chain(&shards(&named.manifest()).expect_err("no file"));
    assert!(error.contains("only regular files"), "{error}");
}

#[test]
fn names_that_differ_in_case_only_are_refused() {
    let source = Source::new();
    put(&source, "A.parquet");
    put(&source, "a.parquet");
    if source
        .join("captions")
        .read_dir()
        .expect("a folder")
        .count()
        == 2
    {
        assert!(source.error().contains("make the same partition"));
    }
}
