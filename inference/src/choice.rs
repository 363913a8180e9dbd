//! Who may be a reference: people whom the base model cannot draw by their names, as the paper chooses its twenty. Somebody
//! whom it can draw would be scored for what it knew before. The steps of generate-samples that choose and
//! `laioncele evaluate --choose` decide by this.

use std::collections::BTreeMap;

use image::RgbImage;
use laioncele_core::DropReason;
use laioncele_face::{FaceError, FaceNets, cosine};
use serde::Serialize;

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
    const ALL: [Self; 5] = [
        Self::Chosen,
        Self::DrawnByName,
        Self::NoFaceInPhotos,
        Self::NoImages,
        Self::NoFaceInImages,
    ];

    /// The verdict of a word; none of an unknown one.
    pub fn of_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|verdict| verdict.word() == word)
    }

    /// Its word in lists and tables.
    pub fn word(self) -> &'static str {
        match self {
            Self::Chosen => "chosen",
            Self::DrawnByName => "drawn_by_name",
            Self::NoFaceInPhotos => "no_face_in_photos",
            Self::NoImages => "no_images",
            Self::NoFaceInImages => "no_face_in_images",
        }
    }

    /// As what a person of this verdict is dropped; none for who is chosen.
    pub fn reason(self) -> Option<DropReason> {
        match self {
            Self::Chosen => None,
            Self::DrawnByName => Some(DropReason::DrawnByName),
            Self::NoImages => Some(DropReason::BadPortrait),
            Self::NoFaceInPhotos | Self::NoFaceInImages => Some(DropReason::NoFace),
        }
    }
}

/// What is known of somebody's photos and images by name.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Evidence {
    /// Whether a photo shows a face.
    pub photo_has_face: bool,
    /// Images by name, whether they decode or not.
    pub images: usize,
    /// Those with a face.
    pub faces: usize,
    /// The [`similarity`] of each of these to the photos.
    pub similarities: Vec<f64>,
}

/// Somebody, and what was decided.
#[derive(Clone, Debug, PartialEq, Serialize)]
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

impl Choice {
    /// Decides about `person`.
    pub fn of(person: &str, evidence: &Evidence, threshold: f64) -> Self {
        let (sum, count) = (
            evidence.similarities.iter().sum::<f64>(),
            evidence.similarities.len(),
        );
        let similarity = (count > 0).then(|| sum / count as f64);
        Self {
            person: person.to_owned(),
            verdict: verdict(evidence, similarity, threshold),
            similarity,
            threshold,
            images: evidence.images,
            faces: evidence.faces,
        }
    }
}

fn verdict(evidence: &Evidence, similarity: Option<f64>, threshold: f64) -> Verdict {
    match (evidence.photo_has_face, evidence.images, similarity) {
        (false, _, _) => Verdict::NoFaceInPhotos,
        (true, 0, _) => Verdict::NoImages,
        (true, _, None) => Verdict::NoFaceInImages,
        (true, _, Some(similarity)) if similarity >= threshold => Verdict::DrawnByName,
        (true, _, Some(_)) => Verdict::Chosen,
    }
}

/// The mean cosine of a face to those of a person's photos; none without any.
pub fn similarity(photos: &[Vec<f32>], face: &[f32]) -> Option<f64> {
    let sum: f64 = photos
        .iter()
        .map(|photo| f64::from(cosine(photo, face)))
        .sum();
    (!photos.is_empty()).then(|| sum / photos.len() as f64)
}

/// The faces of an image: how many, and the embedding of the most prominent one.
///
/// # Errors
/// A network's error.
pub fn main_face(
    nets: &FaceNets,
    image: &RgbImage,
) -> Result<(usize, Option<Vec<f32>>), FaceError> {
    // Only one of them is embedded, however many faces a crowd has.
    let found = nets.detect(image)?;
    let main = found.first();
    let face = main.map(|face| nets.embed_detection(image, face));
    Ok((found.len(), face.transpose()?))
}

/// How many people got each verdict.
pub fn verdicts(choices: &[Choice]) -> BTreeMap<&'static str, usize> {
    let mut counts = BTreeMap::new();
    for choice in choices {
        *counts.entry(choice.verdict.word()).or_default() += 1;
    }
    counts
}

/// `chosen: 3, drawn_by_name: 1`
pub fn told(counts: &BTreeMap<&'static str, usize>) -> String {
    let counts = counts
        .iter()
        .map(|(word, count)| format!("{word}: {count}"));
    counts.collect::<Vec<_>>().join(", ")
}

/// The choices as CSV. Its column `word` is for people to fill in: the list may then lie beside the photos.
pub fn csv(choices: &[Choice]) -> String {
    let mut text = "person,verdict,similarity,threshold,images,faces,word\n".to_owned();
    for choice in choices {
        let similarity = choice.similarity;
        let similarity = similarity.map_or(String::new(), |s| format!("{s:.6}"));
        let person = format!("\"{}\"", choice.person.replace('"', "\"\""));
        let (verdict, threshold) = (choice.verdict.word(), choice.threshold);
        let (images, faces) = (choice.images, choice.faces);
        text += &format!("{person},{verdict},{similarity},{threshold},{images},{faces},\n");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn evidence(photo_has_face: bool, images: usize, similarities: &[f64]) -> Evidence {
        Evidence {
            photo_has_face,
            images,
            faces: similarities.len(),
            similarities: similarities.to_vec(),
        }
    }

    #[test]
    fn who_is_like_the_images_by_name_is_no_reference() {
        let of = |evidence: &Evidence| Choice::of("ada", evidence, 0.5);
        let chosen = of(&evidence(true, 3, &[0.2, 0.6]));
        assert_eq!(chosen.verdict, Verdict::Chosen, "the mean decides");
        assert_eq!(chosen.similarity, Some(0.4));
        let at = of(&evidence(true, 1, &[0.5]));
        assert_eq!(at.verdict, Verdict::DrawnByName, "the threshold counts");
        for (found, expected) in [
            (evidence(true, 0, &[]), Verdict::NoImages),
            (evidence(false, 0, &[]), Verdict::NoFaceInPhotos),
            (evidence(false, 2, &[]), Verdict::NoFaceInPhotos),
            (evidence(true, 2, &[]), Verdict::NoFaceInImages),
        ] {
            let choice = of(&found);
            assert_eq!((choice.verdict, choice.similarity), (expected, None));
            assert!(choice.verdict.reason().is_some());
            assert_eq!(Verdict::of_word(choice.verdict.word()), Some(expected));
        }
        let all = [chosen, at.clone(), at];
        assert_eq!(told(&verdicts(&all)), "chosen: 1, drawn_by_name: 2");
    }

    #[test]
    fn a_face_is_compared_with_every_photo() {
        let photos = [vec![1.0, 0.0], vec![0.0, 1.0]];
        let found = similarity(&photos, &[0.6, 0.8]).expect("photos");
        assert!((found - 0.7).abs() < 1e-6, "{found}");
        assert_eq!(similarity(&[], &[1.0, 0.0]), None);
    }

    #[test]
    fn the_list_can_be_read_again() {
        let choice = Choice::of("a \"b\", c", &evidence(true, 1, &[0.25]), 0.5);
        let rows = crate::lists::named_fields(&csv(&[choice]), &["person", "word"]);
        let fields = &rows.expect("a list")[0].fields;
        let expected = [
            ("person", "a \"b\", c"),
            ("verdict", "chosen"),
            ("similarity", "0.250000"),
            ("word", ""),
        ];
        for (name, value) in expected {
            assert_eq!(fields[name], value);
        }
    }
}
