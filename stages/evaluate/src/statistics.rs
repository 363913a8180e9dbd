//! Statistics of plain numbers: means, the area under the ROC curve, cosines of pairs of faces.

use laioncele_face::cosine;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::Rng;
use rayon::prelude::*;

/// Pairs of two people that are compared at most. If there are more, this many are sampled.
pub(crate) const MOST_PAIRS: u64 = 4_000_000;

/// The mean; `None` of nothing.
pub(crate) fn mean(values: &[f32]) -> Option<f64> {
    let sum: f64 = values.iter().map(|v| f64::from(*v)).sum();
    (!values.is_empty()).then(|| sum / values.len() as f64)
}

/// The area under the ROC curve: how often a value of `positive` is above one of `negative`, equal
/// ones counted by half. `None` where one of them is empty.
pub(crate) fn auc(positive: &[f32], negative: &[f32]) -> Option<f64> {
    if positive.is_empty() || negative.is_empty() {
        return None;
    }
    let mut sorted = negative.to_vec();
    sorted.par_sort_unstable_by(f32::total_cmp);
    let above = |value: &f32| {
        let below = sorted.partition_point(|n| n < value);
        let up_to = sorted.partition_point(|n| n <= value);
        (below + up_to) as u64
    };
    // Whole numbers, halves counted double: the sum is exact in any order.
    let twice: u64 = positive.par_iter().map(above).sum();
    Some(twice as f64 / 2.0 / (positive.len() as f64 * negative.len() as f64))
}

/// A face and the name of its person.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Face<'a> {
    /// The person's name.
    pub person: &'a str,
    /// Of unit length.
    pub vector: &'a [f32],
}

/// Cosines of pairs of faces.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Pairs {
    /// Of one person.
    pub same: Vec<f32>,
    /// Of two people.
    pub different: Vec<f32>,
}

impl Pairs {
    /// All pairs of one person's faces, and those of two people's: all, or `most` sampled with
    /// `rng` where there are more.
    pub(crate) fn of(faces: &[Face<'_>], most: u64, rng: &mut ChaCha8Rng) -> Self {
        let all = faces.len() as u64 * (faces.len() as u64).saturating_sub(1) / 2;
        let same = pairs(faces, |a, b| a.person == b.person);
        let different = if all - same.len() as u64 <= most {
            pairs(faces, |a, b| a.person != b.person)
        } else {
            random_pairs(faces, most, rng)
        };
        Self { same, different }
    }
}

/// The cosines of all pairs that `wanted` wants, in the faces' order.
fn pairs(faces: &[Face<'_>], wanted: impl Fn(&Face<'_>, &Face<'_>) -> bool + Sync) -> Vec<f32> {
    let of_one = |(k, a): (usize, &Face<'_>)| {
        let others = faces[k + 1..].iter().filter(|b| wanted(a, b));
        others.map(|b| cosine(a.vector, b.vector)).collect()
    };
    let rows: Vec<Vec<f32>> = faces.par_iter().enumerate().map(of_one).collect();
    rows.concat()
}

fn random_pairs(faces: &[Face<'_>], count: u64, rng: &mut ChaCha8Rng) -> Vec<f32> {
    let mut sampled = Vec::new();
    while (sampled.len() as u64) < count {
        let (a, b) = (below(rng, faces.len()), below(rng, faces.len()));
        if faces[a].person != faces[b].person {
            sampled.push((a, b));
        }
    }
    let compare = |(a, b): &(usize, usize)| cosine(faces[*a].vector, faces[*b].vector);
    sampled.par_iter().map(compare).collect()
}

/// For each face the cosine to one other, drawn with `rng` from all, or from the same person's
/// faces only. A face that has no other is skipped.
pub(crate) fn random_partners(
    faces: &[Face<'_>],
    same_person: bool,
    rng: &mut ChaCha8Rng,
) -> Vec<f32> {
    let mut found = Vec::new();
    for (k, face) in faces.iter().enumerate() {
        let may_be =
            |other: &usize| *other != k && (!same_person || faces[*other].person == face.person);
        let others: Vec<usize> = (0..faces.len()).filter(may_be).collect();
        if !others.is_empty() {
            let other = others[below(rng, others.len())];
            found.push(cosine(face.vector, faces[other].vector));
        }
    }
    found
}

/// A number from 0 to `count` − 1; the unevenness is below `count` / 2³².
fn below(rng: &mut ChaCha8Rng, count: usize) -> usize {
    ((u64::from(rng.next_u32()) * count as u64) >> 32) as usize
}

/// The mean absolute difference of two images of one size over the whole range of a pixel, in [0,
/// 1].
pub(crate) fn pixel_difference(a: &[u8], b: &[u8]) -> f32 {
    let differences = a.iter().zip(b).map(|(x, y)| u64::from(x.abs_diff(*y)));
    (differences.sum::<u64>() as f64 / 255.0 / a.len().max(1) as f64) as f32
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rand_chacha::rand_core::SeedableRng;

    use super::*;

    fn brute_auc(positive: &[f32], negative: &[f32]) -> f64 {
        let mut won = 0.0;
        for p in positive {
            for n in negative {
                won += if p > n { 1.0 } else { 0.0 } + if p == n { 0.5 } else { 0.0 };
            }
        }
        won / (positive.len() * negative.len()) as f64
    }

    fn rng() -> ChaCha8Rng {
        ChaCha8Rng::seed_from_u64(5)
    }

    proptest! {
        /// Few distinct values, so that many are equal.
        #[test]
        fn auc_equals_counting_pairs(
            positive in prop::collection::vec(-4i8..5, 1..40),
            negative in prop::collection::vec(-4i8..5, 1..40),
        ) {
            let floats = |values: &[i8]| values.iter().map(|v| f32::from(*v)).collect::<Vec<_>>();
            let (p, n) = (floats(&positive), floats(&negative));
            let area = auc(&p, &n).expect("values");
            prop_assert!((area - brute_auc(&p, &n)).abs() < 1e-12);
            let other = auc(&n, &p).expect("values");
            prop_assert!((area + other - 1.0).abs() < 1e-12);
        }

        /// Directions at angles of whole degrees: the cosine is known, whoever the faces belong to.
        #[test]
        fn pairs_are_split_by_person(people in prop::collection::vec(0u8..4, 0..12)) {
            let names: Vec<String> = people.iter().map(u8::to_string).collect();
            let vectors: Vec<[f32; 2]> = (0..people.len())
                .map(|k| { let angle = k as f32 / 20.0; [angle.cos(), angle.sin()] })
                .collect();
            let faces: Vec<Face<'_>> = names.iter().zip(&vectors)
                .map(|(person, vector)| Face { person, vector }).collect();
            let found = Pairs::of(&faces, MOST_PAIRS, &mut rng());
            let mut expected = Pairs::default();
            for (i, a) in people.iter().enumerate() {
                for (j, b) in people.iter().enumerate().skip(i + 1) {
                    let list = if a == b { &mut expected.same } else { &mut expected.different };
                    list.push(((j - i) as f32 / 20.0).cos());
                }
            }
            prop_assert_eq!(found.same.len(), expected.same.len());
            prop_assert_eq!(found.different.len(), expected.different.len());
            let all = found.same.iter().chain(&found.different);
            let known = expected.same.iter().chain(&expected.different);
            for (found, known) in all.zip(known) {
                prop_assert!((found - known).abs() < 1e-5);
            }
        }
    }

    #[test]
    fn mean_and_auc_of_nothing_are_none() {
        assert_eq!(mean(&[]), None);
        assert_eq!(mean(&[1.0, 2.0, 6.0]), Some(3.0));
        assert_eq!(auc(&[1.0], &[]), None);
        assert_eq!(auc(&[], &[1.0]), None);
    }

    const UNITS: [[f32; 2]; 3] = [[1.0, 0.0], [0.0, 1.0], [-1.0, 0.0]];

    fn three(people: [&'static str; 3]) -> Vec<Face<'static>> {
        let face = |(person, vector)| Face { person, vector };
        let pairs = people.into_iter().zip(UNITS.iter().map(|v| &v[..]));
        pairs.map(face).collect()
    }

    #[test]
    fn pairs_are_sampled_up_to_most() {
        let faces = three(["a", "a", "b"]);
        let drawn = Pairs::of(&faces, 1, &mut rng());
        assert_eq!(drawn.same, [0.0]);
        assert_eq!(drawn.different.len(), 1);
        assert!([-1.0, 0.0].contains(&drawn.different[0]));
        assert_eq!(drawn, Pairs::of(&faces, 1, &mut rng()));
    }

    #[test]
    fn random_partners_are_other_faces() {
        let faces = three(["a", "a", "b"]);
        // The third face is alone with its name.
        assert_eq!(random_partners(&faces, true, &mut rng()), [0.0, 0.0]);
        let of_all = random_partners(&faces, false, &mut rng());
        assert_eq!(of_all.len(), 3);
        assert!(
            of_all.iter().all(|c| *c < 0.5),
            "nobody is their own partner"
        );
        assert!(random_partners(&faces[..1], false, &mut rng()).is_empty());
    }

    #[test]
    fn random_partners_reach_every_other_face() {
        let (faces, mut rng) = (three(["a", "a", "a"]), rng());
        let firsts = (0..200).map(|_| random_partners(&faces, true, &mut rng)[0]);
        let opposite = firsts.filter(|c| *c < -0.5).count();
        assert!((60..140).contains(&opposite), "{opposite} of 200");
    }

    #[test]
    fn pixel_difference_is_a_fraction_of_the_range() {
        assert_eq!(pixel_difference(&[0, 255], &[255, 255]), 0.5);
        assert_eq!(pixel_difference(&[7, 9], &[7, 9]), 0.0);
        assert_eq!(pixel_difference(&[], &[]), 0.0);
    }
}
