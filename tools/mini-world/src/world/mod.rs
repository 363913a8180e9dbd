//! A whole world in memory, as a pure function of seed, size and people: its captions, its web and
//! its truth.

mod builder;
mod names;
mod photos;
mod traps;

use std::path::Path;

use rand::seq::SliceRandom;

use crate::captions::CaptionRow;
use crate::error::WorldError;
use crate::options::{Counts, Size};
use crate::people::{People, Person};
use crate::random;
use crate::recipe::ImageRecipe;
use crate::render::Anatomy;
use crate::truth::{TRUTH_FORMAT, Truth};
use crate::web::Web;
use builder::{NameRef, WorldBuilder};
use names::WorldNames;

/// A world before it is written to files.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct World {
    pub(crate) web: Web,
    /// The rows of each caption file.
    pub(crate) shards: Vec<Vec<CaptionRow>>,
    /// People whom no model has seen.
    pub(crate) unseen: Vec<Anatomy>,
    /// A reference photo of each of them. Their recipes count through `unseen`.
    pub(crate) references: Vec<ImageRecipe>,
    pub(crate) truth: Truth,
}

/// The world of `seed`. Messages name `folder` as the place that the people come from.
///
/// # Errors
/// Too few people, an image that cannot be rendered (some rows have their image's hash).
pub(crate) fn create(
    seed: u64,
    size: Size,
    people: &People,
    folder: &Path,
) -> Result<World, WorldError> {
    let counts = size.counts();
    let names = WorldNames::choose(seed, &counts, people, folder)?;
    let mut builder = WorldBuilder::new(Truth {
        format: TRUTH_FORMAT,
        seed,
        size,
        names: Vec::new(),
        photos: Vec::new(),
        mentions: Vec::new(),
        filtered: Vec::new(),
        unseen: counts.unseen,
    });
    let mut add = |people: Vec<Person>, known: bool| -> Vec<NameRef> {
        let names = people.into_iter();
        names
            .map(|person| builder.add_name(person, known))
            .collect()
    };
    let frequent = add(names.frequent, true);
    let rare = add(names.rare, true);
    let unknown = add(names.unknown, false);
    builder.truth.names[frequent[0].name].excluded = true;
    photos::frequent(&mut builder, &frequent, &counts)?;
    photos::rare(&mut builder, &rare, &frequent);
    photos::unknown(&mut builder, &unknown);
    photos::pairs(&mut builder, &frequent, &counts);
    photos::landscapes(&mut builder, &frequent, &counts);
    traps::pages(&mut builder, &frequent, &counts)?;
    traps::rude_pages(&mut builder, &frequent);
    traps::exact_copies(&mut builder, &frequent, &counts);
    traps::placeholders(&mut builder, &frequent, &counts);
    traps::filtered_rows(&mut builder, &frequent, &counts);
    traps::captions_without_names(&mut builder, &counts);
    Ok(finish(builder, &counts, people))
}

/// The world with its rows in random order and spread over the shards, and with its reference
/// photos.
fn finish(builder: WorldBuilder, counts: &Counts, people: &People) -> World {
    let WorldBuilder {
        seed,
        web,
        mut rows,
        truth,
        ..
    } = builder;
    let mut rng = random::generator(seed, "order of rows", 0);
    rows.shuffle(&mut rng);
    // One row in thirty appears twice, mostly in two shards.
    let repeated: Vec<_> = rows.iter().step_by(30).cloned().collect();
    rows.extend(repeated);
    let mut shards = vec![Vec::new(); counts.shards];
    for (at, row) in rows.into_iter().enumerate() {
        shards[at % counts.shards].push(row);
    }
    let mut unseen = people.fresh.clone();
    unseen.shuffle(&mut rng);
    unseen.truncate(counts.unseen);
    let references = (0..unseen.len()).map(|at| reference(seed, at)).collect();
    World {
        web,
        shards,
        unseen,
        references,
        truth,
    }
}

/// The reference photo of unseen person `at`. A reference photo is chosen, not found, so the person
/// poses.
fn reference(seed: u64, at: usize) -> ImageRecipe {
    ImageRecipe {
        people: vec![at],
        seed: random::number(seed, "reference", at as u64) as u32,
        close_up: false,
        posed: true,
        height: 160,
        quality: 92,
    }
}
