//! Row balances, recomputed: rows in = rows out + rows dropped, from the Parquet files alone.
//! Neither the ledger nor our own readers are used.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use crate::tables::Table;
use crate::test_run::TestRun;

/// Name and image, name and portrait, or name and name.
type Pair = (u64, u64);

/// The Parquet files of a finished run that was never interrupted: every file on disk counts.
struct Tables {
    folder: PathBuf,
}

impl Tables {
    fn files(&self, table: &str) -> Vec<PathBuf> {
        let mut files = Vec::new();
        parquet_below(&self.folder.join("tables").join(table), &mut files);
        assert!(!files.is_empty(), "table `{table}` was never written");
        files
    }

    /// `name_id` and `second` of every row.
    fn pairs(&self, table: &str, second: &str) -> Vec<Pair> {
        let mut pairs = Vec::new();
        for file in self.files(table) {
            let names = numbers(&file, "name_id");
            pairs.extend(names.into_iter().zip(numbers(&file, second)));
        }
        pairs
    }

    fn names(&self, table: &str) -> BTreeSet<u64> {
        let files = self.files(table);
        files.iter().flat_map(|f| numbers(f, "name_id")).collect()
    }

    fn rows(&self, table: &str) -> usize {
        self.pairs(table, "name_id").len()
    }

    /// How often `step` dropped a row of `unit`.
    fn dropped(&self, step: &str, unit: &str) -> usize {
        let mut count = 0;
        for file in self.files("dropped") {
            let table = Table::read(&file, &["step", "unit", "reason"]);
            let rows = table.texts("step").into_iter().zip(table.texts("unit"));
            count += rows.filter(|(s, u)| s == step && u == unit).count();
        }
        count
    }
}

fn parquet_below(folder: &Path, files: &mut Vec<PathBuf>) {
    let Ok(entries) = std::fs::read_dir(folder) else {
        return;
    };
    for path in entries.flatten().map(|e| e.path()) {
        if path.is_dir() {
            parquet_below(&path, files);
        } else if path.extension().is_some_and(|e| e == "parquet") {
            files.push(path);
        }
    }
}

fn numbers(file: &Path, column: &str) -> Vec<u64> {
    Table::read(file, &[column]).numbers(column)
}

/// Mentions, and the captions that they are in.
fn mentions_and_captions(tables: &Tables) -> (usize, usize) {
    let files = tables.files("mentions");
    let mentions = files.iter().map(|f| numbers(f, "caption_id").len());
    // A caption's mentions lie in one part; the same caption in another source file is another row.
    let distinct = |f: &PathBuf| BTreeSet::from_iter(numbers(f, "caption_id")).len();
    (mentions.sum(), files.iter().map(distinct).sum())
}

/// Every stage's balance, over the whole run.
#[test]
fn rows_in_equal_rows_out_plus_rows_dropped_in_every_stage() {
    let world = TestRun::finished(1);
    let folder = world.join("output");
    let tables = Tables { folder };
    let of_names = |table| tables.names(table).len();
    let rows = |table| tables.rows(table);
    let dropped = |step, unit| tables.dropped(step, unit);

    let captions = caption_rows(&world);
    let (mentions, with_person) = mentions_and_captions(&tables);
    let balances = [
        (
            "file-mentions: mentions",
            mentions,
            rows("filed_mentions"),
            dropped("file-mentions", "mention"),
        ),
        (
            "count-images: filed mentions",
            rows("filed_mentions"),
            rows("candidates"),
            dropped("count-images", "mention"),
        ),
        (
            "count-images: names",
            rows("merged_names"),
            rows("names"),
            dropped("count-images", "name"),
        ),
        (
            "extract-names: captions",
            captions,
            with_person,
            dropped("extract-names", "caption"),
        ),
        (
            "encode-names: names",
            of_names("names"),
            of_names("name_embeddings"),
            dropped("encode-names", "name"),
        ),
        (
            "generate-portraits: names",
            of_names("name_embeddings"),
            of_names("portraits"),
            dropped("generate-portraits", "name"),
        ),
        (
            "score-portraits and verify-portraits: names",
            of_names("portraits"),
            of_names("known_names"),
            dropped("score-portraits", "name") + dropped("verify-portraits", "name"),
        ),
        (
            "download-images: candidates",
            rows("candidates"),
            rows("photos"),
            dropped("download-images", "image"),
        ),
        (
            "dedupe-images: photos",
            rows("photos"),
            rows("unique_photos"),
            dropped("dedupe-images", "image"),
        ),
        (
            "score-photos: unique photos",
            rows("unique_photos"),
            rows("photo_faces"),
            dropped("score-photos", "image"),
        ),
        (
            "verify-images: scored photos",
            rows("photo_faces"),
            rows("matches"),
            dropped("verify-images", "image"),
        ),
        (
            "filter-counts: matches",
            rows("matches"),
            rows("identities"),
            dropped("filter-counts", "image"),
        ),
        (
            "pack-shards: identities' photos",
            rows("identities"),
            rows("laioncele"),
            dropped("pack-shards", "image"),
        ),
    ];
    for (what, rows_in, rows_out, dropped) in balances {
        assert_eq!(
            rows_in,
            rows_out + dropped,
            "{what}: {rows_out} + {dropped}"
        );
        assert!(rows_in > 0, "{what}: nothing came in");
    }
}

fn caption_rows(world: &TestRun) -> usize {
    let mut files = Vec::new();
    parquet_below(&world.join("mini/captions"), &mut files);
    files.iter().map(|file| Table::read(file, &[]).rows()).sum()
}

/// A photo passes through the tables once: no stage writes a row twice or invents one.
#[test]
fn photos_only_become_fewer() {
    let world = TestRun::finished(1);
    let tables = Tables {
        folder: world.join("output"),
    };
    let chain = [
        "candidates",
        "photos",
        "unique_photos",
        "photo_faces",
        "matches",
        "identities",
        "laioncele",
    ];
    let mut before: Option<(&str, BTreeSet<Pair>)> = None;
    for table in chain {
        let rows = tables.pairs(table, "image_id");
        let distinct: BTreeSet<Pair> = rows.iter().copied().collect();
        assert_eq!(rows.len(), distinct.len(), "`{table}` holds a row twice");
        if let Some((name, earlier)) = &before {
            let new = distinct.difference(earlier).count();
            assert_eq!(new, 0, "`{table}` has rows that `{name}` has not");
        }
        before = Some((table, distinct));
    }
}

/// Every identity of the dataset has four portraits and five photos.
#[test]
fn identities_have_four_portraits_and_five_photos() {
    let world = TestRun::finished(1);
    let tables = Tables {
        folder: world.join("output"),
    };
    let count = |pairs: Vec<Pair>| {
        let mut counts = BTreeMap::<u64, usize>::new();
        for (name, _) in pairs {
            *counts.entry(name).or_default() += 1;
        }
        counts
    };
    let portraits = count(tables.pairs("portraits", "index"));
    let photos = count(tables.pairs("laioncele", "image_id"));
    assert!(!photos.is_empty());
    for (name, photos) in photos {
        assert!(photos >= 5, "name {name:016x} has {photos} photos");
        assert_eq!(portraits.get(&name), Some(&4), "name {name:016x}");
    }
}
