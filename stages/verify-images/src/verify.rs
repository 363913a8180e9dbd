//! Step `verify-images`: which photos show their name's person, by the stored similarities. No network runs here.

use std::collections::BTreeMap;

use laioncele_core::table::{Match, NamePeople, PhotoFace};
use laioncele_core::{
    CoreError, DropReason, Manifest, NameId, Partitioning, Reads, StageError, StageName, Step,
    StepSpec, TableId, Task, Unit,
};
use serde_json::Value;

use crate::homonyms::NameFaces;
use crate::settings::Settings;

/// The step.
pub(crate) struct VerifyImages;

const SPEC: StepSpec = StepSpec {
    name: "verify-images",
    stage: StageName::VerifyImages,
    version: 2,
    partitioning: Partitioning::Buckets,
    reads: &[Reads::own(TableId::PhotoFaces)],
    writes: &[TableId::Matches, TableId::NamePeople],
};

impl Step for VerifyImages {
    fn spec(&self) -> &'static StepSpec {
        &SPEC
    }

    fn settings(&self, manifest: &Manifest) -> Result<Value, CoreError> {
        let settings = Settings::from_manifest(manifest)?;
        serde_json::to_value(settings).map_err(|e| manifest.error(e.to_string()))
    }
    fn run(&self, task: &mut Task) -> Result<(), StageError> {
        let settings = Settings::from_manifest(task.manifest())?;
        let (mut matches, mut rows_in) = (Vec::new(), 0);
        let mut names: BTreeMap<NameId, NameFaces> = BTreeMap::new();
        for row in task.read::<PhotoFace>()? {
            rows_in += 1;
            let faces = names.entry(row.name_id);
            let faces = faces.or_insert_with(|| NameFaces::new(row.name_id));
            match decide(&row, &settings) {
                Ok(similarity) => {
                    faces.add_match();
                    matches.push(Match {
                        name_id: row.name_id,
                        image_id: row.image_id,
                        similarity,
                        faces: row.faces,
                        face_box: row.face_box,
                        landmarks: row.landmarks,
                    });
                }
                Err((reason, detail)) => {
                    let name_id = Some(row.name_id);
                    task.drop_row(Unit::Image, row.image_id.0, name_id, reason, detail);
                    if reason == DropReason::OtherPerson {
                        faces.add_other(row.image_id, row.embedding.0);
                    }
                }
            }
        }
        matches.sort_by_key(|row| (row.name_id, row.image_id));
        task.balance(Unit::Image, rows_in, matches.len() as u64);
        task.write(matches)?;
        let same_person = settings.same_person_photo;
        let people: Vec<NamePeople> = (names.into_values())
            .map(|faces| faces.people(same_person))
            .collect();
        let homonyms: u32 = people.iter().map(|people| people.homonym).sum();
        task.metric("homonyms", f64::from(homonyms));
        task.write(people)
    }
}

/// The similarity of a photo that shows its name's person, or why it does not, with the scores.
pub(crate) fn decide(
    row: &PhotoFace,
    settings: &Settings,
) -> Result<f32, (DropReason, Option<String>)> {
    let Some(similarity) = row.similarity else {
        return Err((DropReason::NoFace, None));
    };
    let second = (row.second).map_or_else(String::new, |second| format!(", second {second:.4}"));
    let scores = format!("similarity {similarity:.4}{second}, faces {}", row.faces);
    let best = f64::from(similarity);
    let lead = row.second.map(|second| best - f64::from(second));
    let clear = match (settings.margin, lead) {
        (Some(margin), Some(lead)) => lead >= margin,
        _ => true,
    };
    // Not `best < same_person_photo`: a similarity that is no number must not count as a match.
    if !(best >= settings.same_person_photo && clear) {
        return Err((DropReason::OtherPerson, Some(scores)));
    }
    let width = row.face_box.0[2] - row.face_box.0[0];
    if f64::from(width) < f64::from(settings.min_face) {
        let detail = format!("{width:.0} pixels wide, {scores}");
        return Err((DropReason::FaceTooSmall, Some(detail)));
    }
    Ok(similarity)
}
