//! The names of a world, chosen from those that the mini SDXL knows and those that it does not,
//! each with a person.

use std::collections::HashSet;
use std::path::Path;

use rand::RngExt;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;

use crate::error::WorldError;
use crate::options::Counts;
use crate::people::{People, Person};
use crate::random;
use crate::render::Anatomy;
use crate::spelling::misspelt;

/// All names of a world.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct WorldNames {
    /// Known names with many photos.
    pub(super) frequent: Vec<Person>,
    /// Known names with too few photos.
    pub(super) rare: Vec<Person>,
    /// Unknown names. Two thirds of them were not used in training at all.
    pub(super) unknown: Vec<Person>,
}

impl WorldNames {
    /// A random choice from `people`. Messages name `folder` as the place that they come from.
    ///
    /// # Errors
    /// [`WorldError::TooFewPeople`].
    pub(super) fn choose(
        seed: u64,
        counts: &Counts,
        people: &People,
        folder: &Path,
    ) -> Result<Self, WorldError> {
        let too_few = |what| WorldError::TooFewPeople {
            folder: folder.to_owned(),
            what,
        };
        if people.fresh.len() < counts.unseen {
            return Err(too_few("fresh people"));
        }
        let mut rng = random::generator(seed, "cast", 0);
        let mut known = people.known.clone();
        known.shuffle(&mut rng);
        if known.len() < counts.frequent + counts.rare {
            return Err(too_few("known names"));
        }
        known.truncate(counts.frequent + counts.rare);
        let rare = known.split_off(counts.frequent);
        let unknown = unknown_names(counts, people, &mut rng);
        let unknown = unknown.ok_or_else(|| too_few("unknown names"))?;
        let stranger = |(at, name): (usize, String)| Person {
            name,
            anatomy: Anatomy::stranger(random::number(seed, "unknown face", at as u64)),
        };
        Ok(Self {
            frequent: known,
            rare,
            unknown: unknown.into_iter().enumerate().map(stranger).collect(),
        })
    }
}

/// A random choice of unknown names; `None` if there are too few.
fn unknown_names(counts: &Counts, people: &People, rng: &mut ChaCha8Rng) -> Option<Vec<String>> {
    let never_trained = (counts.unknown * 2).div_ceil(3);
    let (mut new, mut trained) = (people.never_trained.clone(), people.unknown.clone());
    new.shuffle(rng);
    trained.shuffle(rng);
    new.truncate(never_trained);
    trained.truncate(counts.unknown - never_trained);
    let mut names: Vec<String> = new.into_iter().chain(trained).collect();
    if names.len() < counts.unknown {
        return None;
    }
    add_similar_names(&mut names, counts.similar_names, people, rng);
    Some(names)
}

/// Replaces the last names by names of other people that are one letter away from the first names.
/// Both have many photos, so they must not be merged.
fn add_similar_names(names: &mut [String], count: usize, people: &People, rng: &mut ChaCha8Rng) {
    let known = people.known.iter().map(|person| &person.name);
    let unknown = people.unknown.iter().chain(&people.never_trained);
    let taken: HashSet<&String> = known.chain(unknown).collect();
    for at in 0..count.min(names.len() / 2) {
        let mut similar = misspelt(&names[at], rng);
        // The random number keeps the random stream of earlier versions, and so the worlds of all seeds.
        while taken.contains(&similar) || rng.random_ratio(1, 1000) {
            similar = misspelt(&names[at], rng);
        }
        let last = names.len() - 1 - at;
        names[last] = similar;
    }
}
