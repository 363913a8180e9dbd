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
    /// The word for them in prompts and where it comes from; empty where nothing was asked.
    pub called: String,
    /// The reference photo.
    pub reference: Option<Picture>,
    /// Generated images, with their prompts.
    pub images: Vec<Picture>,
    /// Images that are not shown.
    pub more: usize,
}

/// The samples as the page shows them.
pub(crate) struct Samples {
    /// Some people, by name.
    pub rows: Vec<SampleRow>,
    /// How many there are in all.
    pub all: usize,
    /// Of all people, those whose word is an unsure guess, with it.
    pub unsure: Vec<(String, String)>,
}

/// The people. A guess at a word is unsure below the probability `unsure_below`.
pub(crate) fn read(view: &RunView, references: &[Person], unsure_below: f32) -> Samples {
    let mut rows: BTreeMap<String, SampleRow> = BTreeMap::new();
    let mut unsure: BTreeMap<String, String> = BTreeMap::new();
    let parts = view.parts(TableId::Samples).filter(|p| p.is_parquet());
    let mut all = std::collections::BTreeSet::new();
    for part in parts {
        for sample in view.rows::<Sample>(std::iter::once(part)) {
            all.insert(sample.person.clone());
            if !sample.word_given && sample.gender_probability.is_some_and(|p| p < unsure_below) {
                unsure.insert(sample.person.clone(), called(&sample));
            }
            if all.len() > MOST_PEOPLE {
                continue;
            }
            let row = rows
                .entry(sample.person.clone())
                .or_insert_with(|| SampleRow {
                    reference: reference(&sample.person, references),
                    called: called(&sample),
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
    Samples {
        rows: rows.into_values().collect(),
        all: all.len(),
        unsure: unsure.into_iter().collect(),
    }
}

/// The word for a sample's person, and where it comes from.
fn called(sample: &Sample) -> String {
    match sample.gender_probability {
        _ if sample.word_given => format!("{}, by references.csv", sample.word),
        Some(p) => format!("{}, guessed with {:.0} %", sample.word, 100.0 * p),
        None => String::new(),
    }
}

/// The photo of `person` among `references`.
pub(crate) fn reference(person: &str, references: &[Person]) -> Option<Picture> {
    let found = references.iter().find(|r| r.name == person)?;
    let alt = format!("Reference photo of {person}");
    Some(thumbnail(&found.photo, alt, "reference"))
}
