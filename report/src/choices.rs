//! Who may be a reference and who may not, each photo beside what the base model draws of the name.

use std::collections::BTreeMap;

use laioncele_core::TableId;
use laioncele_core::table::{NamedFace, NamedImage, ReferenceVerdict};
use serde::Serialize;

use crate::pictures::{Picture, thumbnail};
use crate::samples::Person;
use crate::view::RunView;

/// People, and images of each, that are shown at most.
const MOST_PEOPLE: usize = 60;
const MOST_IMAGES: usize = 4;

/// A candidate.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct ChoiceRow {
    person: String,
    verdict: String,
    /// The numbers behind the verdict.
    why: String,
    reference: Option<Picture>,
    /// Images by name, each with its similarity.
    images: Vec<Picture>,
}

/// The candidates, by name; none in a run that chooses nobody.
pub(crate) fn read(view: &RunView, references: &[Person]) -> Vec<ChoiceRow> {
    let mut verdicts = view.table::<ReferenceVerdict>();
    verdicts.truncate(MOST_PEOPLE);
    let faces = view.table::<NamedFace>().into_iter();
    let similar: BTreeMap<(String, u32), Option<f64>> = faces
        .map(|face| ((face.person, face.index), face.similarity))
        .collect();
    let mut images: BTreeMap<String, Vec<Picture>> = BTreeMap::new();
    for part in view.parts(TableId::NamedImages) {
        for row in view.rows::<NamedImage>(std::iter::once(part)) {
            let of = images.entry(row.person.clone()).or_default();
            if of.len() < MOST_IMAGES {
                let found = similar.get(&(row.person.clone(), row.index));
                let caption = match found.copied().flatten() {
                    Some(similarity) => format!("{similarity:.3}"),
                    None => "no face to compare".to_owned(),
                };
                let alt = format!("What the base model draws of {}", row.person);
                of.push(thumbnail(&row.image.bytes, alt, caption));
            }
        }
    }
    let row = |row: ReferenceVerdict| ChoiceRow {
        why: match row.similarity {
            Some(similarity) => format!(
                "similarity {similarity:.3} of {} faces, threshold {}",
                row.faces, row.threshold
            ),
            None => format!("{} faces in {} images", row.faces, row.images),
        },
        reference: references.iter().find(|r| r.name == row.person).map(|r| {
            let alt = format!("Reference photo of {}", row.person);
            thumbnail(&r.photo, alt, "reference")
        }),
        images: images.remove(&row.person).unwrap_or_default(),
        verdict: row.verdict.replace('_', " "),
        person: row.person,
    };
    verdicts.into_iter().map(row).collect()
}
