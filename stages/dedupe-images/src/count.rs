//! Step count-placeholders: pictures that stand for many images, over all buckets.
//!
//! The fingerprints are read twice. First every picture is counted in a table of fixed size, in which some share a
//! place; then those that reach a threshold there are counted exactly. Memory holds that table and, of each picture that
//! comes often, a few ids, however many photos there are.

use std::collections::HashMap;
use std::hash::{BuildHasher, Hash};

use foldhash::fast::FixedState;
use laioncele_core::table::{PhotoPrint, Placeholder};
use laioncele_core::{
    CoreError, ImageId, Manifest, NameId, Partitioning, Reads, StageError, StageName, Step,
    StepSpec, TableId, Task, Unit,
};
use serde_json::json;

use crate::key_counts::KeyCounts;
use crate::settings::Settings;

pub(crate) struct CountPlaceholders;

const SPEC: StepSpec = StepSpec {
    name: "count-placeholders",
    stage: StageName::DedupeImages,
    version: 1,
    partitioning: Partitioning::Once,
    reads: &[Reads::all(TableId::PhotoPrints)],
    writes: &[TableId::Placeholders],
};

impl Step for CountPlaceholders {
    fn spec(&self) -> &'static StepSpec {
        &SPEC
    }

    fn settings(&self, manifest: &Manifest) -> Result<serde_json::Value, CoreError> {
        let settings = Settings::from_manifest(manifest)?;
        Ok(json!({
            "placeholder_names": settings.placeholder_names,
            "placeholder_host_names": settings.placeholder_host_names,
        }))
    }

    fn run(&self, task: &mut Task) -> Result<(), StageError> {
        let settings = Settings::from_manifest(task.manifest())?;
        let thresholds = Thresholds {
            bytes: u64::from(settings.placeholder_names),
            look: u64::from(settings.placeholder_host_names),
        };
        let total = task.rows_in(TableId::PhotoPrints);
        let mut counts = KeyCounts::new(2 * total);
        each_print(task, [0, 2 * total], |print| {
            for (key, _) in thresholds.keys(&print) {
                counts.add(hash_of(&key));
            }
        })?;
        let mut often: HashMap<Key, Often> = HashMap::new();
        each_print(task, [total, 2 * total], |print| {
            for (key, least) in thresholds.keys(&print) {
                if counts.may_reach(hash_of(&key), least) {
                    often.entry(key).or_default().add(&print, least);
                }
            }
        })?;
        let found = placeholders(often, &thresholds);
        task.metric("placeholders", found.len() as f64);
        task.balance(Unit::Image, total, total);
        task.write(found)
    }
}

/// Reads the fingerprints, a batch at a time.
fn each_print(
    task: &Task,
    [before, of]: [u64; 2],
    mut each: impl FnMut(Print),
) -> Result<(), StageError> {
    let columns = ["name_id", "image_id", "host", "sha256", "average_hash"];
    let mut done = before;
    for part in task.inputs(TableId::PhotoPrints) {
        for batch in task.read_columns::<PhotoPrint>(part, &columns)? {
            let batch = batch?;
            let names = task.column::<NameId>(&batch, "name_id")?;
            let images = task.column::<ImageId>(&batch, "image_id")?;
            let hosts = task.column::<String>(&batch, "host")?;
            let digests = task.column::<String>(&batch, "sha256")?;
            let hashes = task.column::<u64>(&batch, "average_hash")?;
            done += names.len() as u64;
            let ids = names.into_iter().zip(images);
            let looks = hosts.into_iter().zip(hashes);
            for (((name, image), (host, hash)), sha256) in ids.zip(looks).zip(digests) {
                each(Print {
                    name,
                    image,
                    host,
                    sha256,
                    hash,
                });
            }
            task.progress(done, of, Unit::Image)?;
        }
    }
    Ok(())
}

/// What is read of a fingerprint.
struct Print {
    name: NameId,
    image: ImageId,
    host: String,
    sha256: String,
    hash: u64,
}

/// What a picture is recognized by.
#[derive(Clone, PartialEq, Eq, Hash)]
enum Key {
    /// Its bytes.
    Bytes(String),
    /// Its look, at one host.
    Look(String, u64),
}

/// Not random: which keys share a place must not change from run to run.
fn hash_of(key: &Key) -> u64 {
    FixedState::with_seed(0).hash_one(key)
}

struct Thresholds {
    bytes: u64,
    look: u64,
}

impl Thresholds {
    /// The keys of a photo that are counted, each with its threshold.
    fn keys(&self, print: &Print) -> impl Iterator<Item = (Key, u64)> {
        let bytes = (self.bytes > 0).then(|| (Key::Bytes(print.sha256.clone()), self.bytes));
        let has_host = !print.host.is_empty();
        let look = (self.look > 0 && has_host)
            .then(|| (Key::Look(print.host.clone(), print.hash), self.look));
        bytes.into_iter().chain(look)
    }
}

/// A picture that comes often.
#[derive(Default)]
struct Often {
    /// Distinct names: those of a bucket come in order, and no two buckets share one.
    names: u64,
    last: Option<NameId>,
    /// Distinct images, up to the threshold.
    images: Vec<ImageId>,
    hash: u64,
}

impl Often {
    fn add(&mut self, print: &Print, least: u64) {
        self.hash = print.hash;
        if self.last.replace(print.name) != Some(print.name) {
            self.names += 1;
        }
        if (self.images.len() as u64) < least && !self.images.contains(&print.image) {
            self.images.push(print.image);
        }
    }
}

/// Those that reach their thresholds, in an order of their own.
fn placeholders(often: HashMap<Key, Often>, thresholds: &Thresholds) -> Vec<Placeholder> {
    let found = often.into_iter().filter_map(|(key, count)| {
        let (sha256, host, least) = match key {
            Key::Bytes(sha256) => (Some(sha256), None, thresholds.bytes),
            Key::Look(host, _) => (None, Some(host), thresholds.look),
        };
        let is_one = count.names >= least && count.images.len() as u64 >= least;
        is_one.then_some(Placeholder {
            sha256,
            host,
            average_hash: count.hash,
            names: count.names,
        })
    });
    let mut found: Vec<Placeholder> = found.collect();
    found.sort_by(|a, b| {
        (&a.sha256, &a.host, a.average_hash).cmp(&(&b.sha256, &b.host, b.average_hash))
    });
    found
}
