//! Do a name's portraits show one person? The one decision of generate-portraits (whether to draw on) and of
//! verify-portraits (whether to keep the name), so that the two never differ.

use crate::{Face, cosine};

/// What the decision needs to know of one portrait.
pub trait Sighting {
    /// Faces found.
    fn faces(&self) -> usize;
    /// The embedding of the first one; unit length, empty without a face.
    fn vector(&self) -> &[f32];
}

impl Sighting for Vec<Face> {
    fn faces(&self) -> usize {
        self.len()
    }
    fn vector(&self) -> &[f32] {
        self.first().map_or(&[], |face| &face.vector)
    }
}

/// The decision on a name.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Verdict {
    /// Each portrait has one face, and all pairs agree.
    Same {
        /// Lowest cosine among the pairs.
        min: f32,
        /// Mean cosine of the pairs.
        mean: f32,
    },
    /// A portrait has no face, or there is no pair of portraits.
    NoFace,
    /// A portrait has more than one face, and none has no face.
    SeveralFaces,
    /// Each portrait has one face, and a pair disagrees.
    Different {
        /// Lowest cosine among the pairs.
        min: f32,
    },
}

/// Whether all pairs of `portraits` (two to four) have a cosine of at least `same_person`. An agreeing set's subsets
/// agree, so that portraits need not be drawn after a pair that does not.
pub fn decide<P: Sighting>(portraits: &[P], same_person: f32) -> Verdict {
    if portraits.len() < 2 || portraits.iter().any(|p| p.faces() == 0) {
        return Verdict::NoFace;
    }
    if portraits.iter().any(|p| p.faces() > 1) {
        return Verdict::SeveralFaces;
    }
    let (min, mean) = pair_similarity(portraits);
    // Not `min < same_person`: a similarity that is no number must not count as agreement.
    if min >= same_person {
        Verdict::Same { min, mean }
    } else {
        Verdict::Different { min }
    }
}

/// Lowest and mean cosine of all pairs, of which there is at least one; a pair without a number makes both so.
fn pair_similarity<P: Sighting>(portraits: &[P]) -> (f32, f32) {
    let (mut min, mut sum, mut pairs) = (f32::INFINITY, 0.0, 0);
    for (i, a) in portraits.iter().enumerate() {
        for b in &portraits[..i] {
            let similarity = cosine(a.vector(), b.vector());
            min = if similarity.is_nan() {
                similarity
            } else {
                min.min(similarity)
            };
            sum += f64::from(similarity);
            pairs += 1;
        }
    }
    let mean = (sum / f64::from(pairs)) as f32;
    (if mean.is_nan() { mean } else { min }, mean)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::Detection;

    fn face(vector: Vec<f32>) -> Face {
        Face {
            detection: Detection {
                bbox: [0.0, 0.0, 9.0, 9.0],
                unclipped: [0.0, 0.0, 9.0, 9.0],
                landmarks: [[0.0; 2]; 5],
                score: 0.9,
            },
            vector,
        }
    }

    fn direction(angle: f32) -> Vec<f32> {
        vec![angle.cos(), angle.sin()]
    }

    fn portraits() -> impl Strategy<Value = Vec<Vec<Face>>> {
        let portrait = prop::collection::vec(-3.0f32..3.0, 0..4);
        prop::collection::vec(portrait, 0..5).prop_map(|all| {
            all.into_iter()
                .map(|angles| angles.into_iter().map(|a| face(direction(a))).collect())
                .collect()
        })
    }

    fn single_faces() -> impl Strategy<Value = Vec<Vec<Face>>> {
        prop::collection::vec(-1.5f32..1.5, 2..5)
            .prop_map(|all| all.into_iter().map(|a| vec![face(direction(a))]).collect())
    }

    fn same(verdict: Verdict) -> bool {
        matches!(verdict, Verdict::Same { .. })
    }

    proptest! {
        /// The order of the portraits does not matter but for rounding.
        #[test]
        fn order_does_not_matter(mut all in portraits(), limit in -1.0f32..1.0) {
            let forward = decide(&all, limit);
            all.reverse();
            match (forward, decide(&all, limit)) {
                (Verdict::Same { min: a, mean: x }, Verdict::Same { min: b, mean: y }) => prop_assert!(a == b && (x - y).abs() < 1e-6),
                (a, b) => prop_assert_eq!(a, b),
            }
        }

        /// A name that passes also passes with fewer portraits and with a lower threshold.
        #[test]
        fn passing_is_monotone(all in single_faces(), limit in -1.0f32..1.0, lower in 0.0f32..0.5) {
            if same(decide(&all, limit)) {
                prop_assert!(same(decide(&all[..2], limit)));
                prop_assert!(same(decide(&all, limit - lower)));
            }
        }

        /// Same exactly where every pair agrees; the figures are the pairs'.
        #[test]
        fn all_pairs_decide(all in single_faces(), limit in -1.0f32..1.0) {
            let mut pairs = Vec::new();
            for (i, a) in all.iter().enumerate() {
                pairs.extend(all[..i].iter().map(|b| cosine(&a[0].vector, &b[0].vector)));
            }
            let lowest = pairs.iter().copied().fold(f32::INFINITY, f32::min);
            match decide(&all, limit) {
                Verdict::Same { min, mean } => prop_assert!(lowest >= limit && min == lowest && mean >= min - 1e-6),
                Verdict::Different { min } => prop_assert!(lowest < limit && min == lowest),
                other => prop_assert!(false, "{other:?}"),
            }
        }

        /// Faces that are missing or too many are never the same person.
        #[test]
        fn counts_go_before_cosines(all in portraits()) {
            let counts: Vec<_> = all.iter().map(Vec::len).collect();
            let verdict = decide(&all, -2.0);
            if counts.len() < 2 || counts.contains(&0) {
                prop_assert_eq!(verdict, Verdict::NoFace);
            } else if counts.iter().any(|n| *n > 1) {
                prop_assert_eq!(verdict, Verdict::SeveralFaces);
            } else {
                prop_assert!(same(verdict));
            }
        }
    }

    #[test]
    fn numbers_that_are_none_disagree() {
        let all = [
            vec![face(vec![f32::NAN, 0.0])],
            vec![face(direction(0.0))],
            vec![face(direction(0.0))],
        ];
        assert!(matches!(decide(&all, -1.0), Verdict::Different { min } if min.is_nan()));
        assert!(matches!(
            decide(&all[1..], f32::NAN),
            Verdict::Different { .. }
        ));
    }
}
