//! `laioncele/` in the run's folder: the committed shards under stable names, the dataset card, the mean name; and
//! `sheets/`. `laioncele/shards.json` says what it was made from; where that is the same, nothing is touched.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use laioncele_core::ledger::Record;
use laioncele_core::store::Store;
use laioncele_core::{CoreError, Digest, KeyHasher, Manifest, Part, Partition, TableId};
use serde::{Deserialize, Serialize};

use crate::lineage::Lineage;
use crate::{Settings, card, mean, sheet};

/// Raise it when the same records are published otherwise.
const VERSION: u64 = 1;
const INDEX: &str = "laioncele/shards.json";
const CARD: &str = "laioncele/README.md";
const MEAN: &str = "laioncele/name_mean.safetensors";

/// What is published.
#[derive(Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Index {
    /// Digest of everything that the folder depends on.
    state: String,
    /// The shards, in order.
    pub shards: Vec<Shard>,
    /// The sheets, by bucket.
    sheets: BTreeMap<String, Sheets>,
}

/// A published shard.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Shard {
    /// `train-00000-of-00004.parquet`
    pub file: String,
    /// The part that it is.
    pub part: String,
    /// BLAKE3 of its bytes.
    pub digest: Digest,
    /// Examples.
    pub rows: u64,
    /// Size of the file.
    pub bytes: u64,
}

/// The sheets of a bucket.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Sheets {
    /// Digest of everything that they show.
    key: String,
    /// Their paths.
    paths: Vec<String>,
}

/// Publishes what `records`, the step's of all buckets, committed.
pub fn publish(store: &Store, manifest: &Manifest, records: &[Record]) -> Result<(), CoreError> {
    let settings = Settings::read(manifest)?;
    let lineage = Lineage::of(store, records)?;
    let state = state(&settings, &lineage);
    let old = old_index(store);
    if old.state == state && all_there(store, &old)? {
        return Ok(());
    }
    // First: while the folder changes, no index vouches for it.
    store.delete(INDEX)?;
    let shards = place_shards(store, records, &old)?;
    if let Some(bytes) = mean::file(store, &manifest.widths, records)? {
        store.put_changed(MEAN, bytes)?;
    }
    let sheets = draw_sheets(store, manifest, &settings, &lineage, records, &old)?;
    let index = Index {
        state,
        shards,
        sheets,
    };
    let card = card::card(store, manifest, &lineage, &index.shards)?;
    store.put_changed(CARD, card)?;
    remove_stale(store, &old, &index)?;
    let text = serde_json::to_vec_pretty(&index).map_err(|e| CoreError::parquet(INDEX, e))?;
    store.put(INDEX, text)
}

fn state(settings: &Settings, lineage: &Lineage) -> String {
    KeyHasher::new("published-laioncele")
        .number("version", VERSION)
        .number("sheets", u64::from(settings.sheets))
        .number("sheet_photos", settings.sheet_photos as u64)
        .digest("lineage", lineage.digest())
        .finish()
        .to_string()
}

/// An index that cannot be read is none: everything is published anew.
fn old_index(store: &Store) -> Index {
    let bytes = store.get(INDEX).ok();
    let index = bytes.and_then(|bytes| serde_json::from_slice(&bytes).ok());
    index.unwrap_or_default()
}

fn all_there(store: &Store, index: &Index) -> Result<bool, CoreError> {
    let sheets = index
        .sheets
        .values()
        .flat_map(|sheets| sheets.paths.iter().cloned());
    let shards = index.shards.iter().map(|shard| path(&shard.file));
    for path in sheets.chain(shards).chain([CARD.to_owned()]) {
        if !store.exists(&path)? {
            return Ok(false);
        }
    }
    Ok(true)
}

fn path(file: &str) -> String {
    format!("laioncele/{file}")
}

/// The shards with rows, numbered in the order of their partitions, each linked to its part.
fn place_shards(store: &Store, records: &[Record], old: &Index) -> Result<Vec<Shard>, CoreError> {
    let mut records: Vec<&Record> = records.iter().collect();
    records.sort_by(|a, b| a.partition.cmp(&b.partition));
    let parts = records
        .iter()
        .flat_map(|record| record.outputs_of(TableId::LaionCele));
    let parts: Vec<&Part> = parts.filter(|part| part.rows > 0).collect();
    let mut shards = Vec::with_capacity(parts.len());
    for (k, part) in parts.iter().enumerate() {
        let shard = Shard {
            file: format!("train-{k:05}-of-{:05}.parquet", parts.len()),
            part: part.path.clone(),
            digest: part.digest,
            rows: part.rows,
            bytes: part.bytes,
        };
        if !(old.shards.contains(&shard) && is_placed(store, &shard)) {
            place(store, &shard)?;
        }
        shards.push(shard);
    }
    Ok(shards)
}

fn is_placed(store: &Store, shard: &Shard) -> bool {
    let file = std::fs::metadata(store.local_path(&path(&shard.file)));
    file.is_ok_and(|file| file.len() == shard.bytes)
}

/// Links the part under its published name; copies it where the file system has no links.
fn place(store: &Store, shard: &Shard) -> Result<(), CoreError> {
    let target = path(&shard.file);
    if link(&store.local_path(&shard.part), &store.local_path(&target)).is_ok() {
        return Ok(());
    }
    store.put(&target, store.get(&shard.part)?)
}

fn link(from: &Path, to: &Path) -> std::io::Result<()> {
    let folder = to.parent().unwrap_or(Path::new(""));
    std::fs::create_dir_all(folder)?;
    let fresh = to.with_extension("new");
    match std::fs::remove_file(&fresh) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    std::fs::hard_link(from, &fresh)?;
    std::fs::rename(&fresh, to)?;
    // Renaming one link of a file to another leaves both.
    match std::fs::remove_file(&fresh) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

fn draw_sheets(
    store: &Store,
    manifest: &Manifest,
    settings: &Settings,
    lineage: &Lineage,
    records: &[Record],
    old: &Index,
) -> Result<BTreeMap<String, Sheets>, CoreError> {
    let mut sheets = BTreeMap::new();
    for record in records.iter().filter(|_| settings.sheets) {
        let shards: Vec<&Part> = record.outputs_of(TableId::LaionCele).collect();
        let key = sheets_key(settings, lineage, &record.partition, &shards);
        let bucket = record.partition.to_string();
        let kept = old.sheets.get(&bucket).filter(|old| old.key == key);
        let drawn = match kept {
            Some(kept) if exist(store, &kept.paths)? => kept.clone(),
            _ => {
                let most = settings.sheet_photos;
                let paths = sheet::draw(store, &manifest.widths, lineage, &shards, most)?;
                Sheets { key, paths }
            }
        };
        sheets.insert(bucket, drawn);
    }
    Ok(sheets)
}

fn exist(store: &Store, paths: &[String]) -> Result<bool, CoreError> {
    for path in paths {
        if !store.exists(path)? {
            return Ok(false);
        }
    }
    Ok(true)
}

fn sheets_key(
    settings: &Settings,
    lineage: &Lineage,
    bucket: &Partition,
    shards: &[&Part],
) -> String {
    let start = KeyHasher::new("sheets")
        .number("version", VERSION)
        .number("photos", settings.sheet_photos as u64);
    let portraits = lineage.parts(TableId::Portraits, Some(bucket));
    let parts = shards.iter().copied().chain(portraits);
    let add = |hasher: KeyHasher, part: &Part| hasher.digest(part.table.as_str(), part.digest);
    parts.fold(start, add).finish().to_string()
}

/// Deletes what was published before and is no more.
fn remove_stale(store: &Store, old: &Index, new: &Index) -> Result<(), CoreError> {
    let paths = |index: &Index| -> BTreeSet<String> {
        let sheets = index
            .sheets
            .values()
            .flat_map(|sheets| sheets.paths.iter().cloned());
        sheets
            .chain(index.shards.iter().map(|shard| path(&shard.file)))
            .collect()
    };
    let is_shard =
        |path: &String| path.starts_with("laioncele/train-") && path.ends_with(".parquet");
    let mut stale = paths(old);
    // Also those of an index that was lost.
    stale.extend(store.list("laioncele")?.into_iter().filter(is_shard));
    for path in stale.difference(&paths(new)) {
        store.delete(path)?;
    }
    if new.shards.is_empty() {
        store.delete(MEAN)?;
    }
    Ok(())
}
