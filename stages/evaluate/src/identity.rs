//! Figures of faces: how alike one person's pictures are, and how like their reference.

use std::collections::BTreeMap;

use rayon::prelude::*;

use crate::random::SplitMix64;

/// Pairs of two people that are compared at most. If there are more, this many are sampled.
pub(crate) const MOST_PAIRS: u64 = 4_000_000;

/// The embedding of a picture's face with the number of its person.
#[derive(Clone, Debug, PartialEq)]
pub struct Face {
    /// The person.
    pub person: usize,
    /// Of unit length.
    pub vector: Vec<f64>,
}

impl Face {
    /// A face with its embedding brought to unit length.
    pub fn new(person: usize, embedding: &[f32]) -> Self {
        Self {
            person,
            vector: unit(embedding),
        }
    }
}

/// Which other pictures a picture is compared with for ID consistency. The paper's text, "another image from the
/// remaining 999", can be read both ways.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reading {
    /// A: those of the same person.
    SamePerson,
    /// B: those of everybody.
    AllPictures,
}

/// An embedding at unit length, in float64; zeros stay zeros.
pub fn unit(embedding: &[f32]) -> Vec<f64> {
    let wide: Vec<f64> = embedding.iter().map(|v| f64::from(*v)).collect();
    let length = dot(&wide, &wide).sqrt();
    if length > 0.0 {
        wide.iter().map(|v| v / length).collect()
    } else {
        wide
    }
}

/// Σ x · y, in order; of unit vectors their cosine.
pub(crate) fn dot(x: &[f64], y: &[f64]) -> f64 {
    x.iter().zip(y).map(|(x, y)| x * y).sum()
}

/// The cosine of two embeddings in float64; 0 where one of them is zero.
pub fn cosine(x: &[f32], y: &[f32]) -> f64 {
    dot(&unit(x), &unit(y))
}

/// For each face that has a partner its place and its mean cosine to all of them: what the draw of one partner has
/// for an expectation.
pub fn consistency(faces: &[Face], reading: Reading) -> Vec<(usize, f64)> {
    let mut sums: BTreeMap<usize, (Vec<f64>, usize)> = BTreeMap::new();
    let key = |face: &Face| match reading {
        Reading::SamePerson => face.person,
        Reading::AllPictures => 0,
    };
    for face in faces {
        let (sum, count) = sums
            .entry(key(face))
            .or_insert_with(|| (vec![0.0; face.vector.len()], 0));
        sum.iter_mut().zip(&face.vector).for_each(|(s, v)| *s += v);
        *count += 1;
    }
    let mean = |(place, face): (usize, &Face)| {
        let (sum, count) = &sums[&key(face)];
        let others = dot(&face.vector, sum) - dot(&face.vector, &face.vector);
        (*count > 1).then(|| (place, others / (*count - 1) as f64))
    };
    faces.iter().enumerate().filter_map(mean).collect()
}

/// One random partner of each face that has any, by a generator of its own with `seed`: (face, partner), as places.
pub fn partners(faces: &[Face], reading: Reading, seed: u64) -> Vec<(usize, usize)> {
    let mut of_person: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
    for (place, face) in faces.iter().enumerate() {
        of_person.entry(face.person).or_default().push(place);
    }
    let everybody: Vec<usize> = (0..faces.len()).collect();
    let mut random = SplitMix64::new(seed);
    let mut drawn = Vec::new();
    for (place, face) in faces.iter().enumerate() {
        let group = match reading {
            Reading::SamePerson => &of_person[&face.person],
            Reading::AllPictures => &everybody,
        };
        if group.len() > 1 {
            let at = random.below(group.len() - 1);
            // The places are in order; the face's own is passed over.
            let own = group.partition_point(|other| *other < place);
            drawn.push((place, group[at + usize::from(at >= own)]));
        }
    }
    drawn
}

/// Cosines of pairs of faces.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Pairs {
    /// Of one person.
    pub same: Vec<f64>,
    /// Of two people.
    pub different: Vec<f64>,
}

impl Pairs {
    /// All pairs of one person's faces, and those of two people's: all, or `most` sampled where there are more.
    pub fn of(faces: &[Face], most: u64, seed: u64) -> Self {
        let all = faces.len() as u64 * (faces.len() as u64).saturating_sub(1) / 2;
        let same = pairs(faces, |a, b| a.person == b.person);
        let different = if all - same.len() as u64 <= most {
            pairs(faces, |a, b| a.person != b.person)
        } else {
            random_pairs(faces, most, seed)
        };
        Self { same, different }
    }
}

/// The cosines of all pairs that `wanted` wants, in the faces' order.
fn pairs(faces: &[Face], wanted: impl Fn(&Face, &Face) -> bool + Sync) -> Vec<f64> {
    let of_one = |(k, a): (usize, &Face)| {
        let others = faces[k + 1..].iter().filter(|b| wanted(a, b));
        others.map(|b| dot(&a.vector, &b.vector)).collect()
    };
    let rows: Vec<Vec<f64>> = faces.par_iter().enumerate().map(of_one).collect();
    rows.concat()
}

fn random_pairs(faces: &[Face], count: u64, seed: u64) -> Vec<f64> {
    let mut random = SplitMix64::new(seed);
    let mut sampled = Vec::new();
    while (sampled.len() as u64) < count {
        let (a, b) = (random.below(faces.len()), random.below(faces.len()));
        if faces[a].person != faces[b].person {
            sampled.push((a, b));
        }
    }
    let compare = |(a, b): &(usize, usize)| dot(&faces[*a].vector, &faces[*b].vector);
    sampled.par_iter().map(compare).collect()
}

/// The area under the ROC curve: how often a value of `positive` is above one of `negative`, equal
/// ones counted by half. `None` where one of them is empty.
pub fn auc(positive: &[f64], negative: &[f64]) -> Option<f64> {
    if positive.is_empty() || negative.is_empty() {
        return None;
    }
    let mut sorted = negative.to_vec();
    sorted.par_sort_unstable_by(f64::total_cmp);
    let above = |value: &f64| {
        let below = sorted.partition_point(|n| n < value);
        let up_to = sorted.partition_point(|n| n <= value);
        (below + up_to) as u64
    };
    // Whole numbers, halves counted double: the sum is exact in any order.
    let twice: u64 = positive.par_iter().map(above).sum();
    Some(twice as f64 / 2.0 / (positive.len() as f64 * negative.len() as f64))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn brute_auc(positive: &[f64], negative: &[f64]) -> f64 {
        let mut won = 0.0;
        for p in positive {
            for n in negative {
                won += if p > n { 1.0 } else { 0.0 } + if p == n { 0.5 } else { 0.0 };
            }
        }
        won / (positive.len() * negative.len()) as f64
    }

    /// Faces at angles of twentieths.
    fn faces(people: &[u8]) -> Vec<Face> {
        let face = |(k, person): (usize, &u8)| {
            let angle = k as f64 / 20.0;
            Face {
                person: usize::from(*person),
                vector: vec![angle.cos(), angle.sin()],
            }
        };
        people.iter().enumerate().map(face).collect()
    }

    proptest! {
        /// Few distinct values, so that many are equal.
        #[test]
        fn auc_equals_counting_pairs(
            positive in prop::collection::vec(-4i8..5, 1..40),
            negative in prop::collection::vec(-4i8..5, 1..40),
        ) {
            let floats = |values: &[i8]| values.iter().map(|v| f64::from(*v)).collect::<Vec<_>>();
            let (p, n) = (floats(&positive), floats(&negative));
            let area = auc(&p, &n).expect("values");
            prop_assert!((area - brute_auc(&p, &n)).abs() < 1e-12);
            let other = auc(&n, &p).expect("values");
            prop_assert!((area + other - 1.0).abs() < 1e-12);
        }

        /// Means by sums are means over pairs, and partners are among those that may be.
        #[test]
        fn consistency_is_the_mean_over_all_partners(people in prop::collection::vec(0u8..4, 0..14), seed: u64) {
            let faces = faces(&people);
            for reading in [Reading::SamePerson, Reading::AllPictures] {
                let may_be = |a: usize, b: usize| a != b && (reading == Reading::AllPictures || people[a] == people[b]);
                let mut expected = Vec::new();
                for a in 0..faces.len() {
                    let others: Vec<f64> = (0..faces.len()).filter(|b| may_be(a, *b))
                        .map(|b| dot(&faces[a].vector, &faces[b].vector)).collect();
                    if !others.is_empty() {
                        expected.push((a, others.iter().sum::<f64>() / others.len() as f64));
                    }
                }
                let found = consistency(&faces, reading);
                prop_assert_eq!(found.len(), expected.len());
                for (found, expected) in found.iter().zip(&expected) {
                    prop_assert!(found.0 == expected.0 && (found.1 - expected.1).abs() < 1e-12);
                }
                let drawn = partners(&faces, reading, seed);
                prop_assert!(drawn.iter().all(|(a, b)| may_be(*a, *b)));
                prop_assert_eq!(drawn.len(), expected.len());
            }
        }

        #[test]
        fn pairs_are_split_by_person(people in prop::collection::vec(0u8..4, 0..12)) {
            let faces = faces(&people);
            let found = Pairs::of(&faces, MOST_PAIRS, 5);
            let mut expected = Pairs::default();
            for (i, a) in people.iter().enumerate() {
                for (j, b) in people.iter().enumerate().skip(i + 1) {
                    let list = if a == b { &mut expected.same } else { &mut expected.different };
                    list.push(((j - i) as f64 / 20.0).cos());
                }
            }
            prop_assert_eq!(found.same.len(), expected.same.len());
            let all = found.same.iter().chain(&found.different);
            let known = expected.same.iter().chain(&expected.different);
            for (found, known) in all.zip(known) {
                prop_assert!((found - known).abs() < 1e-12);
            }
        }
    }

    #[test]
    fn partners_reach_every_other_face() {
        let faces = faces(&[1, 1, 1]);
        let firsts = (0..200).map(|seed| partners(&faces, Reading::SamePerson, seed)[0].1);
        let second = firsts.filter(|partner| *partner == 1).count();
        assert!((60..140).contains(&second), "{second} of 200");
        assert!(partners(&faces[..1], Reading::AllPictures, 1).is_empty());
    }

    #[test]
    fn pairs_are_sampled_up_to_most() {
        let faces = faces(&[0, 0, 1]);
        let drawn = Pairs::of(&faces, 1, 9);
        assert_eq!((drawn.same.len(), drawn.different.len()), (1, 1));
        assert_eq!(drawn, Pairs::of(&faces, 1, 9));
    }

    #[test]
    fn nothing_has_no_area_and_no_direction() {
        assert_eq!(auc(&[1.0], &[]), None);
        assert_eq!(auc(&[], &[1.0]), None);
        assert_eq!(unit(&[0.0, 0.0]), [0.0, 0.0]);
        assert_eq!(cosine(&[0.0, 2.0], &[0.0, 5.0]), 1.0);
    }
}
