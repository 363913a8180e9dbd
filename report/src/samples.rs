//! Generated images of people that no network was trained on, beside their reference photos.

use std::collections::BTreeMap;

use laioncele_core::TableId;
use laioncele_core::table::Sample;
use serde::Serialize;

use crate::pictures::{Picture, thumbnail};
use crate::view::RunView;

/// People, and images of each, that are shown at most.
const MOST_PEOPLE: usize = 60;
const MOST_IMAGES: usize = 6;

/// Someone with a reference photo.
#[derive(Clone, Debug)]
pub struct Person {
    /// As the samples call them.
    pub name: String,
    /// The photo's file.
    pub photo: Vec<u8>,
}

/// A person with generated images.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct SampleRow {
    /// Who; the base model has no name.
    pub person: String,
    /// The reference photo.
    pub reference: Option<Picture>,
    /// Generated images, with their prompts.
    pub images: Vec<Picture>,
    /// Images that are not shown.
    pub more: usize,
}

/// The people and how many there are in all.
pub(crate) fn read(view: &RunView, references: &[Person]) -> (Vec<SampleRow>, usize) {
    let mut rows: BTreeMap<String, SampleRow> = BTreeMap::new();
    let parts = view.parts(TableId::Samples).filter(|p| p.is_parquet());
    let mut all = std::collections::BTreeSet::new();
    for part in parts {
        for sample in view.rows::<Sample>(std::iter::once(part)) {
            all.insert(sample.person.clone());
            if all.len() > MOST_PEOPLE {
                continue;
            }
            let row = rows
                .entry(sample.person.clone())
                .or_insert_with(|| SampleRow {
                    reference: reference(&sample.person, references),
                    person: sample.person.clone(),
                    images: Vec::new(),
                    more: 0,
                });
            if row.images.len() == MOST_IMAGES {
                row.more += 1;
                continue;
            }
            let of = match sample.person.as_str() {
                "" => "by the base model",
                person => person,
            };
            let alt = format!("Generated image, {of}: {}", sample.prompt);
            row.images
                .push(thumbnail(&sample.image.bytes, alt, sample.prompt));
        }
    }
    (rows.into_values().collect(), all.len())
}

fn reference(person: &str, references: &[Person]) -> Option<Picture> {
    let found = references.iter().find(|r| r.name == person)?;
    let alt = format!("Reference photo of {person}");
    Some(thumbnail(&found.photo, alt, "reference"))
}
