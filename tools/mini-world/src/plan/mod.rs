//! The plan of a world: a pure function of seed and size that writes its captions, its web and its truth.

mod cast;
mod draft;
mod photos;
mod traps;

use std::path::Path;

use rand::seq::SliceRandom;

use crate::chance;
use crate::error::WorldError;
use crate::options::{Counts, Size};
use crate::people::People;
use crate::picture::Picture;
use crate::render::Anatomy;
use crate::truth::{TRUTH_FORMAT, Truth};
use crate::web::Web;
use draft::{Draft, Player};

/// A row of the source, as LAION's metadata has it.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct CaptionRow {
    pub(crate) url: String,
    pub(crate) text: Option<String>,
    /// Pixels.
    pub(crate) width: Option<i64>,
    /// Pixels.
    pub(crate) height: Option<i64>,
    /// Of picture and caption, as CLIP sees it.
    pub(crate) similarity: Option<f64>,
    /// Probability of being unsafe.
    pub(crate) punsafe: Option<f32>,
    /// Probability of having a watermark.
    pub(crate) pwatermark: Option<f32>,
    /// Of the file's bytes, hexadecimal.
    pub(crate) md5: Option<String>,
}

/// A world before it is written to files.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct World {
    pub(crate) web: Web,
    /// The source's files.
    pub(crate) shards: Vec<Vec<CaptionRow>>,
    /// A reference photo of each unseen person.
    pub(crate) references: Vec<Picture>,
    /// The unseen people, whom the references' pictures count through.
    pub(crate) unseen: Vec<Anatomy>,
    pub(crate) truth: Truth,
}

/// Plans the world of `seed`; `folder` is where the people come from, for messages.
///
/// # Errors
/// Too few people, a picture that cannot be drawn (some rows have their picture's hash).
pub(crate) fn plan(
    seed: u64,
    size: Size,
    people: &People,
    folder: &Path,
) -> Result<World, WorldError> {
    let counts = size.counts();
    let cast = cast::cast(seed, &counts, people, folder)?;
    let mut draft = Draft::new(Truth {
        format: TRUTH_FORMAT,
        seed,
        size,
        names: Vec::new(),
        filings: Vec::new(),
        mentions: Vec::new(),
        filtered: Vec::new(),
        unseen: counts.unseen,
    });
    let mut players = |members: Vec<cast::Member>, known: bool| -> Vec<Player> {
        let player = |m: cast::Member| draft.player(m.name, m.anatomy, known);
        members.into_iter().map(player).collect()
    };
    let stocked = players(cast.stocked, true);
    let scarce = players(cast.scarce, true);
    let unknown = players(cast.unknown, false);
    draft.truth.names[stocked[0].name].excluded = true;
    photos::stocked(&mut draft, &stocked, &counts)?;
    photos::scarce(&mut draft, &scarce, &stocked);
    photos::unknown(&mut draft, &unknown);
    photos::pairs(&mut draft, &stocked, &counts);
    photos::landscapes(&mut draft, &stocked, &counts);
    traps::lay(&mut draft, &stocked, &counts)?;
    traps::filtered(&mut draft, &stocked, &counts);
    traps::noise(&mut draft, &counts);
    Ok(finish(draft, &counts, people))
}

fn finish(draft: Draft, counts: &Counts, people: &People) -> World {
    let Draft {
        seed,
        web,
        mut rows,
        truth,
        ..
    } = draft;
    let mut rng = chance::generator(seed, "order of rows", 0);
    rows.shuffle(&mut rng);
    // One row in thirty stands there again, mostly in another shard.
    let again: Vec<_> = rows.iter().step_by(30).cloned().collect();
    rows.extend(again);
    let mut shards = vec![Vec::new(); counts.shards];
    for (at, row) in rows.into_iter().enumerate() {
        shards[at % counts.shards].push(row);
    }
    let mut unseen = people.fresh.clone();
    unseen.shuffle(&mut rng);
    unseen.truncate(counts.unseen);
    let reference = |at: usize| Picture {
        who: vec![at],
        seed: chance::number(seed, "reference", at as u64) as u32,
        close_up: false,
        // A reference photo is chosen, not found.
        posed: true,
        side: 160,
        quality: 92,
    };
    World {
        web,
        shards,
        references: (0..unseen.len()).map(reference).collect(),
        unseen,
        truth,
    }
}
