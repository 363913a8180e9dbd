//! A photo's faces against its name's portraits.

use laioncele_core::table::{FaceBox, FaceVector, FaceVectors, Landmarks, Photo, PhotoFace};
use laioncele_face::{Face, cosine};

/// The row of a photo with these faces: its best match, and how similar the second-best face is.
pub(crate) fn best_face(photo: &Photo, faces: &[Face], portraits: &FaceVectors) -> PhotoFace {
    let similarities: Vec<f32> = faces
        .iter()
        .map(|face| similarity(&face.vector, portraits))
        .collect();
    let mut order: Vec<usize> = (0..faces.len()).collect();
    // Of equal similarities the more prominent face goes first: the sort is stable, and faces come in that order.
    order.sort_by(|a, b| similarities[*b].total_cmp(&similarities[*a]));
    let best = order.first().map(|best| &faces[*best]);
    let detection = best.map(|face| &face.detection);
    let width = portraits.0.first().map_or(0, |portrait| portrait.0.len());
    PhotoFace {
        name_id: photo.name_id,
        image_id: photo.image_id,
        faces: u32::try_from(faces.len()).unwrap_or(u32::MAX),
        similarity: order.first().map(|best| similarities[*best]),
        second: order.get(1).map(|second| similarities[*second]),
        score: detection.map_or(0.0, |d| d.score),
        face_box: FaceBox(detection.map_or_else(|| vec![0.0; 4], |d| d.bbox.to_vec())),
        landmarks: Landmarks(
            detection.map_or_else(|| vec![0.0; 10], |d| d.landmarks.as_flattened().to_vec()),
        ),
        embedding: FaceVector(best.map_or_else(|| vec![0.0; width], |face| face.vector.clone())),
    }
}

/// The mean cosine of a face to a name's portraits (of which there are four), in [-1, 1] but for rounding.
fn similarity(face: &[f32], portraits: &FaceVectors) -> f32 {
    let cosines = portraits.0.iter().map(|p| f64::from(cosine(face, &p.0)));
    (cosines.sum::<f64>() / portraits.0.len() as f64) as f32
}

#[cfg(test)]
mod tests {
    use laioncele_core::table::Image;
    use laioncele_core::{ImageId, NameId};
    use laioncele_face::Detection;
    use proptest::prelude::*;

    use super::*;

    fn photo() -> Photo {
        Photo {
            name_id: NameId(1),
            image_id: ImageId(2),
            url: String::new(),
            caption: String::new(),
            image: Image::default(),
            sha256: String::new(),
            width: 9,
            height: 9,
        }
    }

    fn direction(angle: f32) -> Vec<f32> {
        vec![angle.cos(), angle.sin()]
    }

    /// Faces that differ in where they are: the `k`th has `k` in its box.
    fn faces(angles: &[f32]) -> Vec<Face> {
        let face = |(k, angle): (usize, &f32)| Face {
            detection: Detection {
                bbox: [k as f32; 4],
                unclipped: [k as f32; 4],
                landmarks: [[k as f32; 2]; 5],
                score: 0.9,
            },
            vector: direction(*angle),
        };
        angles.iter().enumerate().map(face).collect()
    }

    proptest! {
        /// The best and the second-best face are those of all, and a single portrait's mean is its cosine.
        #[test]
        fn best_and_second_best_face_are_those_of_all(angles in prop::collection::vec(-3.0f32..3.0, 0..6), portraits in prop::collection::vec(-3.0f32..3.0, 1..5)) {
            let portraits = FaceVectors(portraits.iter().map(|a| FaceVector(direction(*a))).collect());
            let row = best_face(&photo(), &faces(&angles), &portraits);
            let mean = |angle: &f32| {
                let cosines = portraits.0.iter().map(|p| cosine(&direction(*angle), &p.0));
                cosines.sum::<f32>() / portraits.0.len() as f32
            };
            let mut all: Vec<f32> = angles.iter().map(mean).collect();
            all.sort_by(|a, b| b.total_cmp(a));
            let near = |found: Option<f32>, wanted: Option<&f32>| match (found, wanted) {
                (Some(found), Some(wanted)) => (found - wanted).abs() < 1e-5,
                (found, wanted) => found.is_none() && wanted.is_none(),
            };
            prop_assert_eq!(row.faces as usize, angles.len());
            prop_assert!(near(row.similarity, all.first()) && near(row.second, all.get(1)));
            if let Some(angle) = angles.get(row.face_box.0[0] as usize) {
                prop_assert!((mean(angle) - all[0]).abs() < 1e-5);
            }
        }
    }

    #[test]
    fn the_more_prominent_of_equal_faces_matches() {
        let portraits = FaceVectors(vec![FaceVector(direction(0.0)); 4]);
        let row = best_face(&photo(), &faces(&[1.0, 0.5, 0.5]), &portraits);
        assert_eq!((row.face_box.0[0], row.similarity), (1.0, row.second));
        assert_eq!(row.embedding.0, direction(0.5));
        assert_eq!(row.landmarks.0, [1.0; 10]);
    }

    #[test]
    fn a_photo_without_a_face_has_no_similarity() {
        let row = best_face(
            &photo(),
            &[],
            &FaceVectors(vec![FaceVector(direction(0.0)); 4]),
        );
        assert_eq!((row.faces, row.similarity, row.second), (0, None, None));
        assert_eq!((row.face_box.0.len(), row.landmarks.0.len()), (4, 10));
        assert_eq!(row.embedding.0, [0.0; 2]);
    }
}
