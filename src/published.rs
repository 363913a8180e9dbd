//! What a run publishes outside its tables, and from which manifest: `results.json`.
//!
//! The folders of a step's results ([`FOLDERS`]) are those of one manifest. Where another manifest
//! gives other results, the earlier ones are moved to `earlier/MANIFEST/`, with a `results.json` of
//! their own, and come back when that manifest is run again. Written by `laioncele run` after a
//! step has published, with the digests of all files, which `verify` compares. A crash while a step
//! publishes leaves no entry for it: the next run publishes again, and takes the files as it finds
//! them. `laioncele gc --superseded` deletes what was published earlier.

use std::collections::{BTreeMap, HashMap};

use laioncele_core::file_digests::FileDigests;
use laioncele_core::ledger::Record;
use laioncele_core::store::Store;
use laioncele_core::{CoreError, Digest, KeyHasher};
use serde::{Deserialize, Serialize};

/// The steps that publish, in data order, and the folders that are theirs.
pub(crate) const FOLDERS: [(&str, &[&str]); 5] = [
    ("pack-shards", &["laioncele", "sheets"]),
    ("train-encoder", &["encoder"]),
    ("choose-references", &["references"]),
    ("generate-samples", &["samples"]),
    ("evaluate", &["evaluation"]),
];

pub(crate) const RESULTS: &str = "results.json";
/// Where results of earlier manifests are.
pub(crate) const EARLIER: &str = "earlier";
/// What pack-shards says of its shards, with their digests.
pub(crate) const SHARDS: &str = "laioncele/shards.json";

/// The newest form of `results.json` that this program reads, and the one it writes.
const FORMAT: u32 = 1;

/// `results.json`: what is published below a folder.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Results {
    format: u32,
    /// By step.
    pub steps: BTreeMap<String, Published>,
}

/// What a step published.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Published {
    /// The digest of the manifest that the results belong to.
    pub manifest: Digest,
    /// A digest over the records that they were made from.
    pub made_from: Digest,
    /// All files, by their paths.
    pub files: BTreeMap<String, PublishedFile>,
}

/// A published file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct PublishedFile {
    /// Its size.
    pub bytes: u64,
    /// BLAKE3 of its bytes.
    pub digest: Digest,
}

impl Default for Results {
    fn default() -> Self {
        Self {
            format: FORMAT,
            steps: BTreeMap::new(),
        }
    }
}

/// The folders of `step`, none where it publishes nothing.
fn folders(step: &str) -> &'static [&'static str] {
    let found = FOLDERS.iter().find(|(name, _)| *name == step);
    found.map_or(&[], |(_, folders)| folders)
}

/// The folder of what was published from `manifest` before another one.
fn earlier(manifest: Digest) -> String {
    format!("{EARLIER}/{}", manifest.short())
}

fn made_from(records: &[Record]) -> Digest {
    let mut records: Vec<&Record> = records.iter().collect();
    records.sort_by(|a, b| a.partition.cmp(&b.partition));
    let start = KeyHasher::new("published-results")
        .text("program", env!("CARGO_PKG_VERSION"))
        .number("records", records.len() as u64);
    let add = |hasher: KeyHasher, record: &&Record| {
        let hasher = hasher.digest("key", record.key);
        let outputs = record.outputs.iter();
        outputs.fold(hasher, |hasher, part| hasher.digest("part", part.digest))
    };
    records.iter().fold(start, add).finish()
}

impl Results {
    /// What is published in the run's folder. A file that cannot be read counts as empty:
    /// everything is published anew.
    ///
    /// # Errors
    /// Store errors; a file of a newer program.
    pub(crate) fn load(store: &Store) -> Result<Self, CoreError> {
        Self::load_from(store, RESULTS)
    }

    fn load_from(store: &Store, path: &str) -> Result<Self, CoreError> {
        let bytes = match store.get(path) {
            Ok(bytes) => bytes,
            Err(CoreError::Missing { .. }) => return Ok(Self::default()),
            Err(error) => return Err(error),
        };
        let Ok(results) = serde_json::from_slice::<Self>(&bytes) else {
            return Ok(Self::default());
        };
        if results.format > FORMAT {
            return Err(CoreError::Newer {
                path: path.to_owned(),
                what: "published results".to_owned(),
                found: results.format,
                known: FORMAT,
            });
        }
        Ok(results)
    }

    /// Whether there is a file that says what is published.
    ///
    /// # Errors
    /// Store errors.
    pub(crate) fn is_readable(store: &Store) -> Result<bool, CoreError> {
        match store.get(RESULTS) {
            Ok(bytes) => Ok(serde_json::from_slice::<Self>(&bytes).is_ok()),
            Err(CoreError::Missing { .. }) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Takes away the entries of earlier results that name one of `files`.
    ///
    /// # Errors
    /// Store errors.
    pub(crate) fn forget_earlier(store: &Store, files: &[&str]) -> Result<(), CoreError> {
        for (folder, mut results) in Self::earlier(store)? {
            let below = files.iter().filter_map(|path| path.strip_prefix(&folder));
            let below: Vec<&str> = below.collect();
            let damaged = |found: &Published| below.iter().any(|f| found.files.contains_key(*f));
            let before = results.steps.len();
            results.steps.retain(|_, found| !damaged(found));
            if results.steps.len() < before {
                results.save(store, &format!("{folder}{RESULTS}"))?;
            }
        }
        Ok(())
    }

    /// What was published before, by the folder it lies in now, such as `earlier/12ab…/`.
    ///
    /// # Errors
    /// As [`Results::load`].
    pub(crate) fn earlier(store: &Store) -> Result<BTreeMap<String, Self>, CoreError> {
        let mut all = BTreeMap::new();
        for path in store.list(EARLIER)? {
            // `earlier/DIGEST/results.json`, not one below a published folder.
            if let Some(folder) = path.strip_suffix(RESULTS)
                && folder.matches('/').count() == 2
            {
                all.insert(folder.to_owned(), Self::load_from(store, &path)?);
            }
        }
        Ok(all)
    }

    fn save(&self, store: &Store, path: &str) -> Result<(), CoreError> {
        let text = serde_json::to_vec_pretty(self).map_err(|e| CoreError::record(path, e))?;
        store.put_changed(path, text).map(drop)
    }

    /// Takes the entry of `step` away, so that the next run publishes again.
    ///
    /// # Errors
    /// Store errors.
    pub(crate) fn forget(&mut self, store: &Store, step: &str) -> Result<(), CoreError> {
        match self.steps.remove(step) {
            Some(_) => self.save(store, RESULTS),
            None => Ok(()),
        }
    }
}

/// One step's publication.
pub(crate) struct Publication<'a> {
    store: &'a Store,
    step: &'a str,
    manifest: Digest,
    made_from: Digest,
    results: Results,
    /// The step's entry before it publishes.
    before: Option<Published>,
    /// The versions of the step's files before it publishes.
    versions: HashMap<String, String>,
}

impl<'a> Publication<'a> {
    /// Prepares the folders of `step` for what `records` gave under `manifest`: results of another
    /// manifest that are not the same are moved aside, with those of the steps after it; those of
    /// this one that were moved aside come back. None for a step that publishes nothing.
    ///
    /// # Errors
    /// Store errors.
    pub(crate) fn begin(
        store: &'a Store,
        step: &'a str,
        manifest: Digest,
        records: &[Record],
    ) -> Result<Option<Self>, CoreError> {
        if folders(step).is_empty() {
            return Ok(None);
        }
        let mut this = Self {
            store,
            step,
            manifest,
            made_from: made_from(records),
            results: Results::load(store)?,
            before: None,
            versions: HashMap::new(),
        };
        match this.results.steps.get(step) {
            Some(found) if found.made_from == this.made_from || found.manifest == manifest => {}
            Some(_) => {
                this.move_aside()?;
                this.bring_back()?;
            }
            None => this.bring_back()?,
        }
        this.versions = versions(store, step)?;
        // A crash from here on leaves no entry, and the next run takes the files as it finds them.
        this.before = this.results.steps.get(step).cloned();
        this.results.forget(store, step)?;
        Ok(Some(this))
    }

    /// Moves what this step and those after it have published from other manifests.
    fn move_aside(&mut self) -> Result<(), CoreError> {
        let from_here = FOLDERS.iter().skip_while(|(name, _)| *name != self.step);
        for (step, folders) in from_here {
            let other = |found: &Published| found.manifest != self.manifest;
            let Some(found) = self.results.steps.get(*step).filter(|found| other(found)) else {
                continue;
            };
            let found = found.clone();
            // First: what is half moved belongs to no entry.
            self.results.forget(self.store, step)?;
            let place = earlier(found.manifest);
            for folder in *folders {
                self.store
                    .move_folder(folder, &format!("{place}/{folder}"))?;
            }
            let path = format!("{place}/{RESULTS}");
            let mut there = Results::load_from(self.store, &path)?;
            there.steps.insert((*step).to_owned(), found);
            there.save(self.store, &path)?;
        }
        Ok(())
    }

    /// Moves back what this step published from this manifest.
    fn bring_back(&mut self) -> Result<(), CoreError> {
        let place = earlier(self.manifest);
        let path = format!("{place}/{RESULTS}");
        let mut there = Results::load_from(self.store, &path)?;
        let Some(found) = there.steps.remove(self.step) else {
            return Ok(());
        };
        there.save(self.store, &path)?;
        for folder in folders(self.step) {
            self.store
                .move_folder(&format!("{place}/{folder}"), folder)?;
        }
        if there.steps.is_empty() {
            self.store.delete(&path)?;
        }
        if found.made_from == self.made_from {
            self.results.steps.insert(self.step.to_owned(), found);
            self.results.save(self.store, RESULTS)?;
        }
        Ok(())
    }

    /// Writes down what was published. Files that publishing did not touch keep the digests that
    /// they had: what happened to them since is not taken for what was published. Digests of shards
    /// are those of the shards' own index; `digests` remembers the others.
    ///
    /// # Errors
    /// Store errors.
    pub(crate) fn end(mut self, digests: &FileDigests) -> Result<(), CoreError> {
        let before = self.before.take().map(|before| before.files);
        let before = before.unwrap_or_default();
        let known = shard_digests(self.store);
        let sizes = sizes(self.store, self.step)?;
        let mut files = BTreeMap::new();
        for (path, version) in versions(self.store, self.step)? {
            let untouched = self.versions.get(&path) == Some(&version);
            let file = match before.get(&path).filter(|_| untouched) {
                Some(file) => *file,
                None => PublishedFile {
                    bytes: sizes.get(&path).copied().unwrap_or_default(),
                    digest: match known.get(&path) {
                        Some(digest) => *digest,
                        None if self.store.bucket().is_some() => self.store.digest(&path)?,
                        None => digests.of(&self.store.local_path(&path))?,
                    },
                },
            };
            files.insert(path, file);
        }
        let entry = Published {
            manifest: self.manifest,
            made_from: self.made_from,
            files,
        };
        self.results.steps.insert(self.step.to_owned(), entry);
        self.results.save(self.store, RESULTS)
    }
}

/// The files of a step's folders, with their sizes.
fn sizes(store: &Store, step: &str) -> Result<HashMap<String, u64>, CoreError> {
    let mut files = HashMap::new();
    for folder in folders(step) {
        files.extend(store.sizes(folder)?);
    }
    Ok(files)
}

fn versions(store: &Store, step: &str) -> Result<HashMap<String, String>, CoreError> {
    let mut files = HashMap::new();
    for folder in folders(step) {
        files.extend(store.versions(folder)?);
    }
    Ok(files)
}

/// Files beside the published shards that a reader of all shards would take for some.
///
/// # Errors
/// Store errors.
pub(crate) fn stray_shards(store: &Store, results: &Results) -> Result<Vec<String>, CoreError> {
    let Some(published) = results.steps.get("pack-shards") else {
        return Ok(Vec::new());
    };
    let mut found = store.list("laioncele")?;
    found.retain(|path| path.ends_with(".parquet") && !published.files.contains_key(path));
    Ok(found)
}

/// The digests of the published shards, as pack-shards took them from their parts' records.
fn shard_digests(store: &Store) -> HashMap<String, Digest> {
    #[derive(Deserialize)]
    struct Index {
        shards: Vec<Shard>,
    }
    #[derive(Deserialize)]
    struct Shard {
        file: String,
        digest: Digest,
    }
    let index = store.get(SHARDS).ok();
    let index: Option<Index> = index.and_then(|bytes| serde_json::from_slice(&bytes).ok());
    let shards = index.into_iter().flat_map(|index| index.shards);
    let entry = |shard: Shard| (format!("laioncele/{}", shard.file), shard.digest);
    shards.map(entry).collect()
}

#[cfg(test)]
mod tests;
