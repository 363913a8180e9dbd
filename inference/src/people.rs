//! How many people the photos of a folder show, by their faces.

use image::RgbImage;
use laioncele_face::{FaceNets, cosine};

use crate::ModelError;

/// The photos of each person, as indices: photos whose main faces are alike, directly or through other photos. Largest group
/// first; photos without a face are in none. `same_person` is the lowest cosine of two faces of one person.
///
/// # Errors
/// A network's error.
pub fn people(
    nets: &FaceNets,
    photos: &[RgbImage],
    same_person: f32,
) -> Result<Vec<Vec<usize>>, ModelError> {
    let mut vectors = Vec::with_capacity(photos.len());
    for photo in photos {
        vectors.push(
            nets.faces(photo)?
                .into_iter()
                .next()
                .map(|face| face.vector),
        );
    }
    Ok(groups(&vectors, same_person))
}

fn groups(vectors: &[Option<Vec<f32>>], same_person: f32) -> Vec<Vec<usize>> {
    let mut groups: Vec<Vec<usize>> = Vec::new();
    for (at, vector) in vectors.iter().enumerate() {
        let Some(vector) = vector else { continue };
        let alike = |group: &mut Vec<usize>| {
            let mut others = group.iter().filter_map(|other| vectors[*other].as_ref());
            others.any(|other| cosine(vector, other) >= same_person)
        };
        let mut joined: Vec<usize> = groups.extract_if(.., alike).flatten().collect();
        joined.push(at);
        joined.sort_unstable();
        groups.push(joined);
    }
    groups.sort_by_key(|group| (std::cmp::Reverse(group.len()), group[0]));
    groups
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn people_are_joined_through_photos_between_them() {
        let at = |degrees: f32| {
            let radians = degrees.to_radians();
            Some(vec![radians.cos(), radians.sin()])
        };
        // 0° and 60° are joined by 30°; 170° is another person, and nobody is in the third.
        let vectors = [at(0.0), at(170.0), None, at(60.0), at(30.0)];
        let same = 40f32.to_radians().cos();
        assert_eq!(groups(&vectors, same), [vec![0, 3, 4], vec![1]]);
        assert_eq!(groups(&vectors[..4], same), [vec![0], vec![1], vec![3]]);
        assert!(groups(&[None], same).is_empty());
    }
}
