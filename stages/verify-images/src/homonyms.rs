//! Names that stand for two people: photos of a name that do not show the person of its portraits, but one other person
//! again and again.
//!
//! The rule: of a name's photos that were rejected as another person's, the central face is the one that agrees with most
//! others (cosine of `same_person_photo` or more); it and those are the second person. The name is a homonym where the
//! second person has at least [`LEAST_PHOTOS`] photos and a fifth as many as the first.

use laioncele_core::table::NamePeople;
use laioncele_core::{ImageId, NameId};
use laioncele_face::cosine;

/// Photos that the second person has at least: as many as an identity of the paper.
pub(crate) const LEAST_PHOTOS: u32 = 5;
/// The first person's photos, at most so many times the second's.
const LARGEST_RATIO: u32 = 5;
/// Rejected faces of a name that are compared with each other, the first by image id: the time grows with the square.
const MOST_FACES: usize = 1000;

/// The faces of one name.
#[derive(Debug)]
pub(crate) struct NameFaces {
    name_id: NameId,
    matches: u32,
    /// Embeddings of the faces that another person's photos show.
    others: Vec<(ImageId, Vec<f32>)>,
}

impl NameFaces {
    pub(crate) fn new(name_id: NameId) -> Self {
        Self {
            name_id,
            matches: 0,
            others: Vec::new(),
        }
    }

    pub(crate) fn add_match(&mut self) {
        self.matches += 1;
    }

    pub(crate) fn add_other(&mut self, image_id: ImageId, face: Vec<f32>) {
        self.others.push((image_id, face));
    }

    /// How many photos show the first person, and the second.
    pub(crate) fn people(mut self, same_person: f64) -> NamePeople {
        self.others.sort_by_key(|(image_id, _)| *image_id);
        self.others.truncate(MOST_FACES);
        let agree = |a: &[f32], b: &[f32]| f64::from(cosine(a, b)) >= same_person;
        let like = |face: &[f32]| {
            let same = self.others.iter().filter(|(_, other)| agree(face, other));
            u32::try_from(same.count()).unwrap_or(u32::MAX)
        };
        let second = self.others.iter().map(|(_, face)| like(face)).max();
        let second = second.unwrap_or(0);
        let many = second >= LEAST_PHOTOS && second.saturating_mul(LARGEST_RATIO) >= self.matches;
        NamePeople {
            name_id: self.name_id,
            first: self.matches,
            second,
            homonym: u32::from(many && self.matches > 0),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn people(matches: u32, angles: &[f32]) -> NamePeople {
        let mut faces = NameFaces::new(NameId(1));
        (0..matches).for_each(|_| faces.add_match());
        for (image, angle) in (0..).zip(angles) {
            faces.add_other(ImageId(image), vec![angle.cos(), angle.sin()]);
        }
        faces.people(0.9)
    }

    #[test]
    fn a_second_person_is_one_who_is_there_again_and_again() {
        // Within 0.45 of each other, whose cosine is 0.9.
        let same = [0.0, 0.1, -0.1, 0.2, -0.2, 0.15];
        let found = people(20, &same);
        assert_eq!((found.first, found.second, found.homonym), (20, 6, 1));
        let strangers: Vec<f32> = (0..6).map(|k| k as f32).collect();
        let found = people(20, &strangers);
        assert_eq!((found.second, found.homonym), (1, 0), "six people");
        assert_eq!(people(20, &same[..4]).homonym, 0, "too few photos");
        assert_eq!(people(31, &same).homonym, 0, "too small a share");
        assert_eq!(people(0, &same).homonym, 0, "nobody to tell apart from");
        assert_eq!(people(3, &[]).second, 0);
    }

    proptest! {
        #[test]
        fn the_order_of_photos_does_not_matter(angles in prop::collection::vec(-3.0f32..3.0, 0..30), matches in 0u32..40) {
            let found = people(matches, &angles);
            let mut faces = NameFaces::new(NameId(1));
            for (image, angle) in (0..).zip(&angles).collect::<Vec<_>>().into_iter().rev() {
                faces.add_other(ImageId(image), vec![angle.cos(), angle.sin()]);
            }
            (0..matches).for_each(|_| faces.add_match());
            prop_assert_eq!(&faces.people(0.9), &found);
            prop_assert!(found.second as usize <= angles.len());
            prop_assert!(found.homonym == 0 || found.second >= LEAST_PHOTOS);
        }
    }
}
