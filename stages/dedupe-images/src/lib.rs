//! Stage 7, dedupe-images: one copy of each image. Photos of one name with equal average hashes are
//! copies; the largest of them stays.

mod fingerprint;
mod groups;
mod hash;
mod settings;

use laioncele_core::table::{Photo, UniquePhoto};
use laioncele_core::{
    CoreError, DropReason, Manifest, Partitioning, Reads, StageError, StageName, Step, StepSpec,
    TableId, Task, Unit,
};

pub use hash::average_hash;
pub use settings::Settings;

use fingerprint::Fingerprint;

/// The steps of this stage.
pub fn steps() -> Vec<Box<dyn Step>> {
    vec![Box::new(DedupeImages)]
}

struct DedupeImages;

const SPEC: StepSpec = StepSpec {
    name: "dedupe-images",
    stage: StageName::DedupeImages,
    version: 1,
    partitioning: Partitioning::Buckets,
    reads: &[Reads::own(TableId::Photos)],
    writes: &[TableId::UniquePhotos],
};

impl Step for DedupeImages {
    fn spec(&self) -> &'static StepSpec {
        &SPEC
    }

    fn settings(&self, manifest: &Manifest) -> Result<serde_json::Value, CoreError> {
        let settings = Settings::from_manifest(manifest)?;
        serde_json::to_value(settings).map_err(|e| manifest.error(e.to_string()))
    }
    fn run(&self, task: &mut Task) -> Result<(), StageError> {
        let settings = Settings::from_manifest(task.manifest())?;
        let mut prints = fingerprints(task)?;
        prints.sort_by_key(|p| (p.name_id, p.image_id));
        let (mut kept, rows_in) = (Vec::new(), prints.len() as u64);
        for name in prints.chunk_by(|a, b| a.name_id == b.name_id) {
            for group in groups::groups(name, settings.max_distance) {
                kept.push(keep_largest(task, &group));
            }
        }
        task.metric(
            "equal_bytes_under_two_names",
            shared_between_names(&prints) as f64,
        );
        kept.sort_by_key(|p| (p.name_id, p.image_id));
        task.balance(Unit::Image, rows_in, kept.len() as u64);
        task.write(kept)
    }
}

/// Hashes the photos part by part, so that only one part's images are in memory.
fn fingerprints(task: &mut Task) -> Result<Vec<Fingerprint>, StageError> {
    let parts: Vec<_> = task.inputs(TableId::Photos).cloned().collect();
    let (total, mut prints) = (task.rows_in(TableId::Photos), Vec::new());
    for part in &parts {
        for photo in task.read_part::<Photo>(part)? {
            prints.push(Fingerprint::of(&photo)?);
            task.progress(prints.len() as u64, total, Unit::Image)?;
        }
    }
    Ok(prints)
}

/// Keeps the largest of a group (pixels, then bytes, then the smaller id) and drops the others as
/// its copies.
fn keep_largest(task: &mut Task, group: &[&Fingerprint]) -> UniquePhoto {
    let order = |p: &&&Fingerprint| (p.pixels, p.bytes, std::cmp::Reverse(p.image_id));
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
        average_hash: best.hash,
        copies: group.len() as u32 - 1,
    }
}

/// Files that stand under more than one name of the bucket: two people can share a photo.
fn shared_between_names(prints: &[Fingerprint]) -> usize {
    let mut owners: Vec<_> = prints.iter().map(|p| (&p.sha256, p.name_id)).collect();
    owners.sort();
    owners.dedup();
    owners
        .chunk_by(|a, b| a.0 == b.0)
        .filter(|names| names.len() > 1)
        .count()
}

#[cfg(test)]
mod tests;
