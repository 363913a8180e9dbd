//! Step dedupe-images: which photos of a bucket stay.

use std::collections::HashMap;

use laioncele_core::table::{PhotoPrint, Placeholder, UniquePhoto};
use laioncele_core::{
    CoreError, DropReason, Manifest, Partitioning, Reads, StageError, StageName, Step, StepSpec,
    TableId, Task, Unit,
};
use serde_json::json;

use crate::groups::groups;
use crate::settings::Settings;

pub(crate) struct DedupeImages;

const SPEC: StepSpec = StepSpec {
    name: "dedupe-images",
    stage: StageName::DedupeImages,
    version: 2,
    partitioning: Partitioning::Buckets,
    reads: &[
        Reads::own(TableId::PhotoPrints),
        Reads::all(TableId::Placeholders),
    ],
    writes: &[TableId::UniquePhotos],
};

impl Step for DedupeImages {
    fn spec(&self) -> &'static StepSpec {
        &SPEC
    }

    fn settings(&self, manifest: &Manifest) -> Result<serde_json::Value, CoreError> {
        let settings = Settings::from_manifest(manifest)?;
        Ok(json!({ "max_distance": settings.max_distance }))
    }

    fn run(&self, task: &mut Task) -> Result<(), StageError> {
        let settings = Settings::from_manifest(task.manifest())?;
        let placeholders = Placeholders::new(task.read::<Placeholder>()?);
        let mut prints = task.read::<PhotoPrint>()?;
        let rows_in = prints.len() as u64;
        prints.sort_by_key(|p| (p.name_id, p.image_id));
        let shared = shared_between_names(&prints);
        task.metric("equal_bytes_under_two_names", shared as f64);
        prints.retain(|print| !drop_placeholder(task, &placeholders, print));
        let mut kept = Vec::new();
        for name in prints.chunk_by(|a, b| a.name_id == b.name_id) {
            for group in groups(name, settings.max_distance) {
                kept.push(keep_largest(task, &group));
            }
        }
        kept.sort_by_key(|p| (p.name_id, p.image_id));
        task.balance(Unit::Image, rows_in, kept.len() as u64);
        task.write(kept)
    }
}

/// The run's placeholders, with the names that each is filed under.
struct Placeholders {
    by_bytes: HashMap<String, u64>,
    by_look: HashMap<u64, HashMap<String, u64>>,
}

impl Placeholders {
    fn new(rows: Vec<Placeholder>) -> Self {
        let (mut by_bytes, mut by_look) = (HashMap::new(), HashMap::<_, HashMap<_, _>>::new());
        for row in rows {
            match (row.sha256, row.host) {
                (Some(sha256), _) => drop(by_bytes.insert(sha256, row.names)),
                (None, Some(host)) => {
                    let of_hash = by_look.entry(row.average_hash).or_default();
                    of_hash.insert(host, row.names);
                }
                (None, None) => {}
            }
        }
        Self { by_bytes, by_look }
    }

    fn names_of(&self, print: &PhotoPrint) -> Option<u64> {
        let by_look = || self.by_look.get(&print.average_hash)?.get(&print.host);
        self.by_bytes.get(&print.sha256).or_else(by_look).copied()
    }
}

fn drop_placeholder(task: &mut Task, placeholders: &Placeholders, print: &PhotoPrint) -> bool {
    let Some(names) = placeholders.names_of(print) else {
        return false;
    };
    let (id, name) = (print.image_id.0, Some(print.name_id));
    let detail = Some(format!("{names} names"));
    task.drop_row(Unit::Image, id, name, DropReason::Placeholder, detail);
    true
}

/// Keeps the largest of a group (pixels, then bytes, then the smaller id) and drops the others as
/// its copies.
fn keep_largest(task: &mut Task, group: &[&PhotoPrint]) -> UniquePhoto {
    let order = |p: &&&PhotoPrint| (p.pixels, p.bytes, std::cmp::Reverse(p.image_id));
    let best = group.iter().max_by_key(order).copied().unwrap_or(group[0]);
    for copy in group.iter().filter(|p| p.image_id != best.image_id) {
        task.drop_row(
            Unit::Image,
            copy.image_id.0,
            Some(copy.name_id),
            DropReason::DuplicateOf,
            Some(best.image_id.to_string()),
        );
    }
    UniquePhoto {
        name_id: best.name_id,
        image_id: best.image_id,
        average_hash: best.average_hash,
        copies: group.len() as u32 - 1,
    }
}

/// Files that stand under more than one name of the bucket: two people can share a photo.
fn shared_between_names(prints: &[PhotoPrint]) -> usize {
    let mut owners: Vec<_> = prints.iter().map(|p| (&p.sha256, p.name_id)).collect();
    owners.sort();
    owners.dedup();
    owners
        .chunk_by(|a, b| a.0 == b.0)
        .filter(|names| names.len() > 1)
        .count()
}
