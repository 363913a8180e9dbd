//! `train`, `validation` and `test`: people apart, and no photo on two sides.
//!
//! A photo of two people stands under both names, so names that share photos stay together. Who goes
//! apart is drawn among groups of such names by a hash of seed and name, so that it hardly depends on
//! who else is in the dataset. A group that is larger than what is still wanted stays in `train`:
//! people who are photographed with many others are there.

use std::collections::{BTreeMap, HashMap};

use laioncele_core::{Digest, KeyHasher, NameId};

use crate::census::Census;

/// A split of the dataset.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Split {
    Train,
    Validation,
    Test,
}

impl Split {
    pub(crate) const ALL: [Self; 3] = [Self::Train, Self::Validation, Self::Test];

    /// What the hub and `datasets` call it.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Train => "train",
            Self::Validation => "validation",
            Self::Test => "test",
        }
    }
}

/// Who is not in `train`.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Splits(HashMap<NameId, Split>);

impl Splits {
    /// Sets fractions of the people apart, rounded to whole people.
    pub(crate) fn draw(census: &Census, seed: u64, validation: f64, test: f64) -> Self {
        let mut apart = HashMap::new();
        let people = census.names.len();
        let mut groups = ranked(census, seed);
        for (split, share) in [(Split::Test, test), (Split::Validation, validation)] {
            let wanted = (people as f64 * share).round() as usize;
            // Somebody is always left to train on.
            let mut left = wanted.min((people - apart.len()).saturating_sub(1));
            groups.retain(|group| {
                let taken = group.len() <= left;
                if taken {
                    left -= group.len();
                    apart.extend(group.iter().map(|name| (*name, split)));
                }
                !taken
            });
        }
        Self(apart)
    }

    /// Where a person is.
    pub(crate) fn of(&self, name: NameId) -> Split {
        self.0.get(&name).copied().unwrap_or(Split::Train)
    }
}

/// The groups of names that photos tie together, in the order in which they are drawn.
fn ranked(census: &Census, seed: u64) -> Vec<Vec<NameId>> {
    let mut first: HashMap<NameId, NameId> = HashMap::new();
    for names in census.shared.values() {
        for name in names {
            let (a, b) = (root(&mut first, names[0]), root(&mut first, *name));
            first.insert(a.max(b), a.min(b));
        }
    }
    let mut groups: BTreeMap<NameId, Vec<NameId>> = BTreeMap::new();
    for name in census.names.keys() {
        groups
            .entry(root(&mut first, *name))
            .or_default()
            .push(*name);
    }
    let rank = |name: NameId| -> Digest {
        let hasher = KeyHasher::new("published-split").number("seed", seed);
        hasher.number("name", name.0).finish()
    };
    let mut ranked: Vec<_> = groups
        .into_iter()
        .map(|(n, group)| (rank(n), group))
        .collect();
    ranked.sort_unstable();
    ranked.into_iter().map(|(_, group)| group).collect()
}

/// The smallest name of the group so far. Names point at smaller ones of their group; those on the way
/// point at the smallest from then on.
fn root(first: &mut HashMap<NameId, NameId>, name: NameId) -> NameId {
    let (mut root, mut way) = (name, Vec::new());
    while let Some(next) = first.get(&root).filter(|next| **next != root) {
        way.push(root);
        root = *next;
    }
    first.extend(way.into_iter().map(|name| (name, root)));
    root
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use laioncele_core::ImageId;

    use super::*;

    fn census(people: u64, shared: &[&[u64]]) -> Census {
        let shared = shared.iter().enumerate().map(|(image, names)| {
            let names = names.iter().map(|name| NameId(*name)).collect();
            (ImageId(image as u64), names)
        });
        Census {
            names: (0..people).map(|k| (NameId(k), k.to_string())).collect(),
            runs: Vec::new(),
            shared: shared.collect(),
        }
    }

    fn members(splits: &Splits, people: u64, split: Split) -> BTreeSet<u64> {
        let of = |name: &u64| splits.of(NameId(*name)) == split;
        (0..people).filter(of).collect()
    }

    #[test]
    fn shares_are_of_people_and_stable() {
        let splits = Splits::draw(&census(100, &[]), 7, 0.1, 0.05);
        let count = |split| members(&splits, 100, split).len();
        assert_eq!(Split::ALL.map(count), [85, 10, 5]);
        assert_eq!(splits, Splits::draw(&census(100, &[]), 7, 0.1, 0.05));
        assert_ne!(splits, Splits::draw(&census(100, &[]), 8, 0.1, 0.05));
        let fewer = Splits::draw(&census(90, &[]), 7, 0.1, 0.05);
        let (a, b) = (
            members(&splits, 90, Split::Test),
            members(&fewer, 90, Split::Test),
        );
        assert!(a.intersection(&b).count() >= 3, "{a:?} {b:?}");
    }

    #[test]
    fn people_of_one_photo_stay_together() {
        let shared: [&[u64]; 4] = [&[1, 2], &[2, 3], &[7, 9], &[3, 8]];
        for seed in 0..40 {
            let splits = Splits::draw(&census(12, &shared), seed, 0.25, 0.25);
            for group in [&[1, 2, 3, 8][..], &[7, 9]] {
                let sides: BTreeSet<_> = group.iter().map(|n| splits.of(NameId(*n))).collect();
                assert_eq!(sides.len(), 1, "{group:?}");
            }
            assert!(members(&splits, 12, Split::Test).len() <= 3);
        }
    }

    #[test]
    fn a_group_larger_than_the_share_is_trained_on() {
        let all: Vec<u64> = (0..10).collect();
        let splits = Splits::draw(&census(10, &[&all]), 1, 0.5, 0.2);
        assert_eq!(members(&splits, 10, Split::Train).len(), 10);
        assert_eq!(
            Splits::draw(&census(0, &[]), 1, 0.5, 0.5),
            Splits::default()
        );
        let two = Splits::draw(&census(2, &[]), 1, 0.5, 0.5);
        assert_eq!(members(&two, 2, Split::Train).len(), 1);
    }
}
