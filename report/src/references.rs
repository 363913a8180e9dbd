//! Who may be a reference and why others may not: the base model's images by name beside the photos.

use std::collections::BTreeMap;

use laioncele_core::TableId;
use laioncele_core::table::{NamedImage, ReferenceVerdict};
use serde::Serialize;

use crate::pictures::{Picture, thumbnail};
use crate::samples::{Person, reference};
use crate::view::RunView;

/// People, and images of each, that are shown at most.
const MOST_PEOPLE: usize = 60;
const MOST_IMAGES: usize = 4;

/// A candidate.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct CandidateRow {
    /// Who.
    pub person: String,
    /// The verdict's word.
    pub verdict: String,
    /// The verdict with its numbers, as a sentence.
    pub told: String,
    /// The reference photo.
    pub reference: Option<Picture>,
    /// What the base model draws by name.
    pub images: Vec<Picture>,
}

/// Some of the candidates, by name, and how many there are in all; none where nobody was chosen by a step.
pub(crate) fn read(view: &RunView, references: &[Person]) -> (Vec<CandidateRow>, usize) {
    let verdicts = view.parts(TableId::ReferenceVerdicts);
    let mut verdicts: Vec<ReferenceVerdict> = view.rows(verdicts);
    verdicts.sort_by(|a, b| a.person.cmp(&b.person));
    let all = verdicts.len();
    verdicts.truncate(MOST_PEOPLE);
    let mut rows: BTreeMap<String, CandidateRow> = verdicts
        .into_iter()
        .map(|verdict| (verdict.person.clone(), row(verdict, references)))
        .collect();
    for part in view.parts(TableId::NamedImages) {
        for image in view.rows::<NamedImage>(std::iter::once(part)) {
            let Some(row) = rows.get_mut(&image.person) else {
                continue;
            };
            if row.images.len() < MOST_IMAGES {
                let alt = format!("By the name of {}: {}", image.person, image.prompt);
                let picture = thumbnail(&image.image.bytes, alt, "by name".to_owned());
                row.images.push(picture);
            }
        }
    }
    (rows.into_values().collect(), all)
}

fn row(verdict: ReferenceVerdict, references: &[Person]) -> CandidateRow {
    let (faces, images, threshold) = (verdict.faces, verdict.images, verdict.threshold);
    let told = match (verdict.verdict.as_str(), verdict.similarity) {
        ("chosen", Some(similarity)) => {
            format!(
                "chosen: mean cosine of the images by name to the photos {similarity:.3}, below {threshold:.3}"
            )
        }
        ("drawn_by_name", Some(similarity)) => {
            format!(
                "not chosen: the base model draws this person by name; mean cosine to the photos {similarity:.3}, threshold {threshold:.3}"
            )
        }
        (word, _) => format!("not chosen: {word}, {faces} faces in {images} images by name"),
    };
    CandidateRow {
        reference: reference(&verdict.person, references),
        person: verdict.person,
        verdict: verdict.verdict,
        told,
        images: Vec::new(),
    }
}
