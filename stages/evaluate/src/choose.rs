//! Which people may be references: those whom the base model cannot draw by their names, as the paper chooses its twenty.
//! Somebody whom it can draw would be scored for what it knew before.

use std::collections::BTreeMap;
use std::path::Path;

use laioncele_core::Manifest;
use laioncele_face::Thresholds;
use laioncele_inference::pool_of;
use rayon::prelude::*;
use serde::Serialize;

use crate::error::Result;
use crate::folders::image_files;
use crate::identity::{dot, unit};
use crate::networks::Networks;
use crate::people::{decoded, people_by_name, references_of};
use crate::settings::StageConfig;

/// Why somebody may be a reference, or not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// The images by name show somebody else: chosen.
    Chosen,
    /// They show this person.
    DrawnByName,
    /// No photo shows a face.
    NoFaceInPhotos,
    /// There is no image by name.
    NoImages,
    /// No image by name shows a face: nothing is known.
    NoFaceInImages,
}

impl Verdict {
    /// Its word in lists.
    pub fn word(self) -> &'static str {
        match self {
            Self::Chosen => "chosen",
            Self::DrawnByName => "drawn_by_name",
            Self::NoFaceInPhotos => "no_face_in_photos",
            Self::NoImages => "no_images",
            Self::NoFaceInImages => "no_face_in_images",
        }
    }
}

/// A candidate.
#[derive(Clone, Debug, Serialize)]
pub struct Choice {
    /// Who.
    pub person: String,
    /// What was decided.
    pub verdict: Verdict,
    /// The mean cosine of the faces of the images by name to the photos'; none without faces.
    pub similarity: Option<f64>,
    /// From which on the images would show this person.
    pub threshold: f64,
    /// Images by name, whether they decode or not.
    pub images: usize,
    /// Those with a face.
    pub faces: usize,
}

/// Decides about everybody with photos in `references`, by the images in the sub-folder of `images` that has their name. The threshold is that of
/// a photo and portraits, as the recognizer is calibrated, where it is not given.
///
/// # Errors
/// Folders that cannot be read, missing or wrong models.
pub fn choose_people(
    manifest: &Manifest,
    images: &Path,
    references: &Path,
    threshold: Option<f64>,
    threads: usize,
) -> Result<Vec<Choice>> {
    let config = StageConfig::from_manifest(manifest)?;
    let threshold = match threshold {
        Some(threshold) => threshold,
        None => Thresholds::of(&config.face)?.same_person_photo,
    };
    let people = people_by_name(references)?;
    let networks = Networks::load(&config)?;
    let pool = pool_of(threads)?;
    let names = people.keys().map(String::as_str).collect();
    let known = pool.install(|| references_of(&people, &names, &networks))?;
    let mut choices = Vec::with_capacity(known.len());
    for (person, reference) in &known {
        let folder = images.join(person);
        let files = match folder.is_dir() {
            true => image_files(&folder)?,
            false => Vec::new(),
        };
        let face = |path: &std::path::PathBuf| match decoded(path) {
            Some(image) => networks.face(&image),
            None => Ok(None),
        };
        let found: Result<Vec<_>> = pool.install(|| files.par_iter().map(face).collect());
        let found: Vec<Vec<f32>> = found?.into_iter().flatten().collect();
        let similarity = reference.face.as_ref().and_then(|reference| {
            let sum: f64 = found.iter().map(|face| dot(&unit(face), reference)).sum();
            (!found.is_empty()).then(|| sum / found.len() as f64)
        });
        choices.push(Choice {
            person: person.clone(),
            verdict: verdict(reference.face.is_some(), files.len(), similarity, threshold),
            similarity,
            threshold,
            images: files.len(),
            faces: found.len(),
        });
    }
    Ok(choices)
}

fn verdict(has_photo: bool, images: usize, similarity: Option<f64>, threshold: f64) -> Verdict {
    match (has_photo, images, similarity) {
        (false, _, _) => Verdict::NoFaceInPhotos,
        (true, 0, _) => Verdict::NoImages,
        (true, _, None) => Verdict::NoFaceInImages,
        (true, _, Some(similarity)) if similarity >= threshold => Verdict::DrawnByName,
        (true, _, Some(_)) => Verdict::Chosen,
    }
}

/// How many people got each verdict.
pub fn verdicts(choices: &[Choice]) -> BTreeMap<&'static str, usize> {
    let mut counts = BTreeMap::new();
    for choice in choices {
        *counts.entry(choice.verdict.word()).or_default() += 1;
    }
    counts
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tests::{fixture, manifest};

    #[test]
    fn who_is_drawn_by_name_is_no_reference() {
        let folder = tempfile::tempdir().expect("a folder");
        let root = folder.path();
        for (from, to) in [
            ("first-photo.png", "photos/ada.png"),
            ("second-photo.png", "photos/bea.png"),
            ("nobody.png", "photos/cyd.png"),
            ("first-photo.png", "photos/dan.png"),
            ("first-photo.png", "photos/eve.png"),
            ("first-a.png", "named/ada/1.png"),
            ("first-b.png", "named/ada/2.png"),
            ("first-a.png", "named/bea/1.png"),
            ("nobody.png", "named/eve/1.png"),
        ] {
            let to = root.join(to);
            std::fs::create_dir_all(to.parent().expect("a folder")).expect("folders");
            std::fs::copy(fixture(from), to).expect("copied");
        }
        let (images, photos) = (root.join("named"), root.join("photos"));
        let choices = choose_people(&manifest(root, ""), &images, &photos, None, 0);
        let choices = choices.expect("choices");
        let words: Vec<_> = (choices.iter())
            .map(|c| (c.person.as_str(), c.verdict))
            .collect();
        let expected = [
            ("ada", Verdict::DrawnByName),
            ("bea", Verdict::Chosen),
            ("cyd", Verdict::NoFaceInPhotos),
            ("dan", Verdict::NoImages),
            ("eve", Verdict::NoFaceInImages),
        ];
        assert_eq!(words, expected);
        assert_eq!((choices[0].images, choices[0].faces), (2, 2));
        assert!(choices[0].similarity > choices[1].similarity);
        let strict = choose_people(&manifest(root, ""), &images, &photos, Some(-1.0), 1);
        let strict = strict.expect("choices");
        assert_eq!(strict[1].verdict, Verdict::DrawnByName);
        assert_eq!(verdicts(&strict)["drawn_by_name"], 2);
    }
}
