//! `laioncele/` in the run's folder: the committed shards under stable names or shards of another form,
//! tar files of them, the dataset card, `croissant.json`, the mean name embedding; and `sheets/`. The index says what the folder was made from; where that is
//! the same, nothing is touched.

use std::collections::BTreeMap;

use laioncele_core::forgotten::Forgotten;
use laioncele_core::ledger::Record;
use laioncele_core::store::Store;
use laioncele_core::{CoreError, Digest, KeyHasher, Manifest, Part, Partition, TableId};

use crate::card::{self, Published};
use crate::card_head::{LICENCE_FILE, LICENCE_TEXT};
use crate::census::Census;
use crate::columns::{self, Columns};
use crate::index::{BucketSheets, CARD, CROISSANT, Index, LICENCE, MEAN, Shard, Tar, all_exist};
use crate::lineage::Lineage;
use crate::rewrite::{self, Rewrite, hashes};
use crate::settings::Settings;
use crate::split::{Split, Splits};
use crate::{croissant, mean, sheet, tar_file};

/// Raise it when the same records are published otherwise.
const VERSION: u64 = 6;
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
        let parts = self.parts();
        let census = Census::take(self.store, &parts)?;
        let splits = Splits::draw(
            &census,
            self.manifest.run.seed,
            self.settings.validation,
            self.settings.test,
        );
        let (form, shards) = self.shards(&parts, &census, &splits)?;
        let index = Index {
            state,
            manifest: Some(self.manifest.digest()),
            form,
            tars: self.tars(&shards)?,
            shards,
            sheets: self.render_sheets()?,
        };
        self.describe(&index, &census, &splits)?;
        self.remove_stale(&index)?;
        index.save(self.store)
    }

    /// The card, the description in Croissant, the licence, the mean name.
    fn describe(&self, index: &Index, census: &Census, splits: &Splits) -> Result<(), CoreError> {
        let mut people: BTreeMap<&'static str, usize> = BTreeMap::new();
        for name in census.names.keys() {
            *people.entry(splits.of(*name).as_str()).or_default() += 1;
        }
        let (store, dims) = (self.store, &self.manifest.embedding_dims);
        let schema = columns::schema(dims, &self.settings);
        let published = Published {
            settings: &self.settings,
            schema: &schema,
            shards: &index.shards,
            shared: census.shared.len(),
            people: &people,
        };
        let card = card::card(store, self.manifest, &self.lineage, &published)?;
        store.put_changed(CARD, card)?;
        let count = census.names.len() as u64;
        let croissant = croissant::croissant(&self.settings, &schema, &index.shards, count);
        store.put_changed(CROISSANT, croissant)?;
        if self.settings.licence_link == LICENCE_FILE {
            store.put_changed(LICENCE, LICENCE_TEXT)?;
        } else {
            store.delete(LICENCE)?;
        }
        if let Some(bytes) = mean::encode(store, dims, self.records)? {
            store.put_changed(MEAN, bytes)?;
        }
        Ok(())
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

    /// The table's parts with rows, in the order of their partitions.
    fn parts(&self) -> Vec<&Part> {
        let mut records: Vec<&Record> = self.records.iter().collect();
        records.sort_by(|a, b| a.partition.cmp(&b.partition));
        let parts = records
            .iter()
            .flat_map(|record| record.outputs_of(TableId::LaionCele));
        parts.filter(|part| part.rows > 0).collect()
    }

    /// The published shards, and what they are made from where they are files of their own.
    fn shards(
        &self,
        parts: &[&Part],
        census: &Census,
        splits: &Splits,
    ) -> Result<(Option<Digest>, Vec<Shard>), CoreError> {
        let (store, dims) = (self.store, &self.manifest.embedding_dims);
        if self.settings.is_linked() {
            return Ok((None, self.link_shards(parts)?));
        }
        let faces = self.lineage.parts(TableId::PhotoFaces, None);
        let faces = faces.filter(|_| !self.settings.columns.is_empty());
        let all = parts.iter().copied().chain(faces);
        let form = Some(rewrite::key(&self.settings, self.manifest.run.seed, all));
        let before = &self.published;
        let mut there = before.shards.iter().map(|shard| is_there(store, shard));
        if before.form == form && there.try_fold(true, |all, one| one.map(|one| all && one))? {
            return Ok((form, before.shards.clone()));
        }
        let columns = Columns::new(store, dims, &self.lineage, &self.settings, census)?;
        let rewrite = Rewrite {
            store,
            dims,
            settings: &self.settings,
            columns: &columns,
            census,
            splits,
            parts,
        };
        Ok((form, rewrite.write()?))
    }

    /// Each part, linked under its number.
    fn link_shards(&self, parts: &[&Part]) -> Result<Vec<Shard>, CoreError> {
        let mut shards = Vec::with_capacity(parts.len());
        for (k, part) in parts.iter().enumerate() {
            let mut shard = Shard {
                file: format!("train-{k:05}-of-{:05}.parquet", parts.len()),
                digest: part.digest,
                sha256: String::new(),
                rows: part.rows,
                bytes: part.bytes,
            };
            let before = self.published.shards.iter();
            let same = before
                .clone()
                .filter(|before| before.digest == shard.digest);
            let known = same
                .map(|before| &before.sha256)
                .find(|sha256| !sha256.is_empty());
            let mut same = before.filter(|before| before.digest == shard.digest);
            let is_linked = same.any(|before| before.file == shard.file);
            if !(is_linked && is_there(self.store, &shard)?) {
                link_part(self.store, part, &shard)?;
            }
            shard.sha256 = match known {
                Some(known) => known.clone(),
                None => self.sha256(&shard)?,
            };
            shards.push(shard);
        }
        Ok(shards)
    }

    fn sha256(&self, shard: &Shard) -> Result<String, CoreError> {
        let path = shard.path();
        let hashed = hashes(&*self.store.get(&path)?);
        Ok(hashed
            .map_err(|e| CoreError::from_io(path.as_ref(), e))?
            .sha256)
    }

    /// The tar files; those of the same shards stay.
    fn tars(&self, shards: &[Shard]) -> Result<Vec<Tar>, CoreError> {
        let (store, dims) = (self.store, &self.manifest.embedding_dims);
        let mut tars = Vec::new();
        for shard in shards.iter().filter(|_| self.settings.webdataset) {
            let key = tar_file::key(shard);
            let stem = shard.file.trim_end_matches(".parquet");
            let before = self.published.tars.iter();
            let same = |tar: &&Tar| tar.key == key && tar.file.trim_end_matches(".tar") == stem;
            let same = before.clone().find(same);
            match same {
                Some(tar) if has_size(store, &tar.path(), tar.bytes)? => tars.push(tar.clone()),
                _ => tars.push(tar_file::write(store, dims, shard)?),
            }
        }
        Ok(tars)
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
        let is_shard = |path: &String| {
            let of_split = |split: &Split| {
                let name = path.strip_prefix("laioncele/").unwrap_or_default();
                name.strip_prefix(split.as_str())
                    .is_some_and(|rest| rest.starts_with('-'))
            };
            let ending = path.rsplit('.').next();
            matches!(ending, Some("parquet" | "tar")) && Split::ALL.iter().any(of_split)
        };
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

fn is_there(store: &Store, shard: &Shard) -> Result<bool, CoreError> {
    has_size(store, &shard.path(), shard.bytes)
}

fn has_size(store: &Store, path: &str, bytes: u64) -> Result<bool, CoreError> {
    Ok(store.size(path)? == Some(bytes))
}

/// Links the part under its published name; copies it where the file system has no links.
fn link_part(store: &Store, part: &Part, shard: &Shard) -> Result<(), CoreError> {
    let target = shard.path();
    if store.link(&part.path, &target).is_ok() {
        return Ok(());
    }
    store.put(&target, store.get(&part.path)?)
}
