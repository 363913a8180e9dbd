//! Who appears in a world: names drawn from the known and the unknown, each with a face.

use std::collections::HashSet;

use rand::RngExt;
use rand::seq::SliceRandom;

use crate::chance;
use crate::error::WorldError;
use crate::options::Counts;
use crate::people::People;
use crate::render::Anatomy;
use crate::spelling::misspelt;

/// A name and the face that belongs to it.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Member {
    pub(super) name: String,
    pub(super) anatomy: Anatomy,
}

/// All who have a name in a world.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Cast {
    /// Known, with plenty of photos.
    pub(super) stocked: Vec<Member>,
    /// Known, with too few.
    pub(super) scarce: Vec<Member>,
    /// Unknown.
    pub(super) unknown: Vec<Member>,
}

/// Draws the cast. Two thirds of the unknown names were never used in training.
pub(super) fn choose(seed: u64, counts: &Counts, people: &People) -> Option<Cast> {
    let mut rng = chance::generator(seed, "cast", 0);
    let mut known: Vec<_> = people.known.iter().collect();
    known.shuffle(&mut rng);
    if known.len() < counts.stocked + counts.scarce {
        return None;
    }
    let mut members = known.into_iter().map(|person| Member {
        name: person.name.clone(),
        anatomy: person.anatomy.clone(),
    });
    let stocked = members.by_ref().take(counts.stocked).collect();
    let scarce = members.by_ref().take(counts.scarce).collect();

    let never_trained = (counts.unknown * 2).div_ceil(3);
    let (mut new, mut old) = (people.never_trained.clone(), people.unknown.clone());
    new.shuffle(&mut rng);
    old.shuffle(&mut rng);
    new.truncate(never_trained);
    old.truncate(counts.unknown - never_trained);
    let mut names: Vec<String> = new.into_iter().chain(old).collect();
    if names.len() < counts.unknown {
        return None;
    }
    add_namesakes(&mut names, counts.namesakes, people, &mut rng);
    let stranger = |(at, name): (usize, String)| Member {
        name,
        anatomy: Anatomy::stranger(chance::number(seed, "unknown face", at as u64)),
    };
    let unknown = names.into_iter().enumerate().map(stranger).collect();
    Some(Cast {
        stocked,
        scarce,
        unknown,
    })
}

/// Puts names of other people one letter away from the first ones in the place of the last ones: both are common, so
/// they must not be merged.
fn add_namesakes(
    names: &mut [String],
    count: usize,
    people: &People,
    rng: &mut rand_chacha::ChaCha8Rng,
) {
    let taken: HashSet<_> = (people.known.iter().map(|p| p.name.as_str()))
        .chain(
            people
                .unknown
                .iter()
                .chain(&people.never_trained)
                .map(String::as_str),
        )
        .collect();
    for at in 0..count.min(names.len() / 2) {
        let mut namesake = misspelt(&names[at], rng);
        while taken.contains(namesake.as_str()) || rng.random_ratio(1, 1000) {
            namesake = misspelt(&names[at], rng);
        }
        let last = names.len() - 1 - at;
        names[last] = namesake;
    }
}

/// The cast, or who is missing.
pub(super) fn cast(
    seed: u64,
    counts: &Counts,
    people: &People,
    folder: &std::path::Path,
) -> Result<Cast, WorldError> {
    let few = |what| WorldError::TooFewPeople {
        folder: folder.to_owned(),
        what,
    };
    if people.fresh.len() < counts.unseen {
        return Err(few("fresh people"));
    }
    choose(seed, counts, people).ok_or_else(|| few("known or unknown names"))
}
