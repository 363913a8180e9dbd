//! `laioncele/` in the run's folder: the committed shards under stable names, the dataset card, the
//! mean name embedding; and `sheets/`. The index says what the folder was made from; where that is
//! the same, nothing is touched.

use std::collections::BTreeMap;

use laioncele_core::forgotten::Forgotten;
use laioncele_core::ledger::Record;
use laioncele_core::store::Store;
use laioncele_core::{CoreError, KeyHasher, Manifest, Part, Partition, TableId};

use crate::index::{BucketSheets, CARD, Index, MEAN, Shard, all_exist};
use crate::lineage::Lineage;
use crate::settings::Settings;
use crate::{card, mean, sheet};

/// Raise it when the same records are published otherwise.
const VERSION: u64 = 5;
/// Raise it when the same rows give other sheets.
const SHEETS_VERSION: u64 = 1;

/// Publishes what `records`, the step's of all buckets, committed.
///
/// # Errors
/// Damaged parts, store errors.
pub(crate) fn publish(
    store: &Store,
    manifest: &Manifest,
    records: &[Record],
) -> Result<(), CoreError> {
    let publication = Publication {
        store,
        manifest,
        settings: Settings::from_manifest(manifest)?,
        lineage: Lineage::of(store, manifest, records)?,
        records,
        published: Index::load(store),
    };
    publication.publish()
}

/// The dataset to publish, and what is published so far.
struct Publication<'a> {
    store: &'a Store,
    manifest: &'a Manifest,
    settings: Settings,
    lineage: Lineage,
    records: &'a [Record],
    published: Index,
}

impl Publication<'_> {
    fn publish(&self) -> Result<(), CoreError> {
        let state = self.state()?;
        if self.published.state == state && self.published.is_complete(self.store)? {
            return Ok(());
        }
        // First: while the folder changes, no index vouches for it.
        Index::delete(self.store)?;
        let shards = self.place_shards()?;
        if let Some(bytes) = mean::encode(self.store, &self.manifest.embedding_dims, self.records)?
        {
            self.store.put_changed(MEAN, bytes)?;
        }
        let sheets = self.render_sheets()?;
        let index = Index {
            state,
            manifest: Some(self.manifest.digest()),
            shards,
            sheets,
        };
        let card = card::card(self.store, self.manifest, &self.lineage, &index.shards)?;
        self.store.put_changed(CARD, card)?;
        self.remove_stale(&index)?;
        index.save(self.store)
    }

    fn state(&self) -> Result<String, CoreError> {
        let state = KeyHasher::new("published-laioncele")
            .number("version", VERSION)
            .number("sheets", u64::from(self.settings.sheets))
            .number("sheet_photos", self.settings.sheet_photos as u64)
            .digest("lineage", self.lineage.digest())
            .digest("manifest", self.manifest.digest());
        // The card counts them.
        let state = match Forgotten::load(self.store)? {
            Some(stones) => state
                .number("people", stones.people())
                .number("images", stones.images()),
            None => state,
        };
        Ok(state.finish().to_string())
    }

    /// The shards with rows, numbered in the order of their partitions, each linked to its part.
    fn place_shards(&self) -> Result<Vec<Shard>, CoreError> {
        let mut records: Vec<&Record> = self.records.iter().collect();
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
            if !(self.published.shards.contains(&shard) && is_linked(self.store, &shard)) {
                link_part(self.store, &shard)?;
            }
            shards.push(shard);
        }
        Ok(shards)
    }

    /// The sheets of each bucket; those that would show the same as before stay.
    fn render_sheets(&self) -> Result<BTreeMap<String, BucketSheets>, CoreError> {
        let mut sheets = BTreeMap::new();
        for record in self.records.iter().filter(|_| self.settings.sheets) {
            let shards: Vec<&Part> = record.outputs_of(TableId::LaionCele).collect();
            let key = self.sheets_key(&record.partition, &shards);
            let bucket = record.partition.to_string();
            let before = self.published.sheets.get(&bucket);
            let rendered = match before.filter(|before| before.key == key) {
                Some(same) if all_exist(self.store, same.paths.iter().map(String::as_str))? => {
                    same.clone()
                }
                _ => BucketSheets {
                    key,
                    paths: sheet::render(
                        self.store,
                        &self.manifest.embedding_dims,
                        &self.lineage,
                        &shards,
                        self.settings.sheet_photos,
                    )?,
                },
            };
            sheets.insert(bucket, rendered);
        }
        Ok(sheets)
    }

    fn sheets_key(&self, bucket: &Partition, shards: &[&Part]) -> String {
        let start = KeyHasher::new("sheets")
            .number("version", SHEETS_VERSION)
            .number("photos", self.settings.sheet_photos as u64);
        let portraits = self.lineage.parts(TableId::Portraits, Some(bucket));
        let parts = shards.iter().copied().chain(portraits);
        let add = |hasher: KeyHasher, part: &Part| hasher.digest(part.table.as_str(), part.digest);
        parts.fold(start, add).finish().to_string()
    }

    /// Deletes what was published before and is not in `new`.
    fn remove_stale(&self, new: &Index) -> Result<(), CoreError> {
        let is_shard =
            |path: &String| path.starts_with("laioncele/train-") && path.ends_with(".parquet");
        let mut stale = self.published.paths();
        // Also those of an index that was lost.
        stale.extend(self.store.list("laioncele")?.into_iter().filter(is_shard));
        for path in stale.difference(&new.paths()) {
            self.store.delete(path)?;
        }
        if new.shards.is_empty() {
            self.store.delete(MEAN)?;
        }
        Ok(())
    }
}

fn is_linked(store: &Store, shard: &Shard) -> bool {
    let file = std::fs::metadata(store.local_path(&shard.path()));
    file.is_ok_and(|file| file.len() == shard.bytes)
}

/// Links the part under its published name; copies it where the file system has no links.
fn link_part(store: &Store, shard: &Shard) -> Result<(), CoreError> {
    let target = shard.path();
    if store.link(&shard.part, &target).is_ok() {
        return Ok(());
    }
    store.put(&target, store.get(&shard.part)?)
}
