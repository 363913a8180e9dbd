//! Stage 9, filter-counts: names with enough matching photos become identities.

mod rank;
mod settings;

use std::collections::{HashMap, HashSet};

use laioncele_core::decisions::Rulings;
use laioncele_core::table::{Identity, Match};
use laioncele_core::{
    CoreError, DropReason, ImageId, Manifest, NameId, Part, Partitioning, Reads, StageError,
    StageName, Step, StepSpec, TableId, Task, Unit,
};

use rank::{Counted, Ranked};
pub use settings::Settings;

/// The steps of this stage.
pub fn steps() -> Vec<Box<dyn Step>> {
    vec![Box::new(FilterCounts)]
}

struct FilterCounts;

const SPEC: StepSpec = StepSpec {
    name: "filter-counts",
    stage: StageName::FilterCounts,
    version: 1,
    partitioning: Partitioning::Buckets,
    reads: &[
        Reads::own(TableId::Matches),
        Reads::own(TableId::KnownNames),
    ],
    writes: &[TableId::Identities],
};

impl Step for FilterCounts {
    fn spec(&self) -> &'static StepSpec {
        &SPEC
    }

    fn settings(&self, manifest: &Manifest) -> Result<serde_json::Value, CoreError> {
        let settings = Settings::from_manifest(manifest)?;
        serde_json::to_value(settings).map_err(|e| manifest.error(e.to_string()))
    }
    fn run(&self, task: &mut Task) -> Result<(), StageError> {
        let settings = Settings::from_manifest(task.manifest())?;
        let parts = |table| task.inputs(table).cloned().collect::<Vec<Part>>();
        let (names, matches) = (parts(TableId::KnownNames), parts(TableId::Matches));
        let rulings = task.rulings()?;
        let names = rank::count(task, &names, &matches, &rulings)?;
        let photos = rank::rank(task, &matches, &rulings)?;
        drop_names(task, &names, &settings, &rulings);
        let kept = drop_photos(task, &photos, &settings, &rulings);
        let identities = identities(task, &matches, &kept, names)?;
        task.write(identities)
    }
}

/// Drops the names with too few photos, also those with none.
fn drop_names(task: &mut Task, names: &[Counted], settings: &Settings, rulings: &Rulings) {
    let mut kept = 0;
    for name in names {
        if rulings.strikes_identity(name.name_id) {
            let id = name.name_id;
            task.drop_row(Unit::Name, id.0, Some(id), DropReason::Rejected, None);
            continue;
        }
        if name.photos >= u64::from(settings.min_images) {
            kept += 1;
            continue;
        }
        let (id, detail) = (name.name_id, Some(name.photos.to_string()));
        task.drop_row(Unit::Name, id.0, Some(id), DropReason::TooFewImages, detail);
    }
    task.balance(Unit::Name, names.len() as u64, kept);
}

/// Drops the photos that stay with no identity; returns the others.
fn drop_photos(
    task: &mut Task,
    photos: &[Ranked],
    settings: &Settings,
    rulings: &Rulings,
) -> HashSet<(NameId, ImageId)> {
    let mut kept = HashSet::new();
    for photo in photos {
        let struck = rulings.strikes_identity(photo.name_id)
            || rulings.strikes_photo(photo.name_id, photo.image_id);
        let reason = if struck {
            DropReason::Rejected
        } else if photo.photos < u64::from(settings.min_images) {
            DropReason::TooFewImages
        } else if settings
            .max_images
            .is_some_and(|cap| photo.better >= u64::from(cap))
        {
            DropReason::AboveCap
        } else {
            kept.insert((photo.name_id, photo.image_id));
            continue;
        };
        let (name_id, detail) = (Some(photo.name_id), Some(photo.photos.to_string()));
        task.drop_row(Unit::Image, photo.image_id.0, name_id, reason, detail);
    }
    task.balance(Unit::Image, photos.len() as u64, kept.len() as u64);
    kept
}

/// The kept photos under their names' texts, sorted by name and image id.
fn identities(
    task: &Task,
    matches: &[Part],
    kept: &HashSet<(NameId, ImageId)>,
    names: Vec<Counted>,
) -> Result<Vec<Identity>, StageError> {
    let texts: HashMap<_, _> = (names.into_iter())
        .map(|name| (name.name_id, name.name))
        .collect();
    let mut identities = Vec::with_capacity(kept.len());
    for part in matches {
        let mut rows: Vec<Match> = task.read_part(part)?;
        rows.retain(|row| kept.contains(&(row.name_id, row.image_id)));
        for row in rows {
            let name = texts.get(&row.name_id).ok_or_else(|| nameless(&row))?;
            identities.push(Identity {
                name_id: row.name_id,
                name: name.clone(),
                image_id: row.image_id,
                similarity: row.similarity,
                face_box: row.face_box,
            });
        }
        task.progress(identities.len() as u64, kept.len() as u64, Unit::Image)?;
    }
    identities.sort_by_key(|row| (row.name_id, row.image_id));
    Ok(identities)
}

/// Only photos of known names were scored, so a table below was changed by another hand.
fn nameless(row: &Match) -> StageError {
    StageError::data(format!(
        "image {} matches name {}, but `known_names` does not hold it",
        row.image_id, row.name_id
    ))
}

#[cfg(test)]
mod tests;
