//! What a world has to stumble over: pages that misbehave, rows that the source's filters must drop, captions without
//! names.

use laioncele_core::DropReason;
use rand::RngExt;

use super::CaptionRow;
use super::draft::{Draft, Filed, Player};
use super::photos::{Post, sentence};
use crate::chance;
use crate::error::WorldError;
use crate::manner::Manner;
use crate::options::Counts;
use crate::spelling::Spelling;
use crate::templates::{NOBODY, PLAIN};
use crate::truth::Shows;

/// Somebody with one name, whom nobody else in the world is called.
const MONONYM: &str = "Ottoline";

/// Lays every trap under names with plenty of photos, a few beside each other under one name.
pub(super) fn lay(
    draft: &mut Draft,
    players: &[Player],
    counts: &Counts,
) -> Result<(), WorldError> {
    // The excluded name comes first, and is never downloaded.
    let players = &players[1..];
    for round in 0..counts.traps {
        let each = (Manner::TRAPS.len() * counts.traps)
            .div_ceil(players.len())
            .max(2);
        let start = round * Manner::TRAPS.len().div_ceil(each);
        for (at, trap) in Manner::TRAPS.into_iter().enumerate() {
            let number = (round * Manner::TRAPS.len() + at) as u64;
            let mut rng = chance::generator(draft.seed, "trap", number);
            let player = &players[(start + at / each) % players.len()];
            let picture = draft.picture(vec![player.person], &mut rng);
            let post = Post {
                player,
                picture,
                manner: trap,
                filed: Filed {
                    shows: Shows::Right,
                    scene: draft.scene(),
                    eligible: false,
                },
                spelling: Spelling::Plain,
                sentences: &PLAIN,
            };
            post.publish(draft, &mut rng);
            if trap == Manner::OtherHash {
                draft.note_hash(false)?;
            }
        }
    }
    Ok(())
}

/// How a row is made to fail each filter of the source.
const SPOILERS: [(DropReason, fn(&mut CaptionRow)); 4] = [
    (DropReason::Unsafe, |row| row.punsafe = Some(0.97)),
    (DropReason::Watermarked, |row| row.pwatermark = Some(0.99)),
    (DropReason::LowSimilarity, |row| row.similarity = Some(0.08)),
    (DropReason::TooSmall, |row| row.height = Some(40)),
];

/// Rows that name somebody but must not pass the source's filters, and urls that are none.
pub(super) fn filtered(draft: &mut Draft, players: &[Player], counts: &Counts) {
    for number in 0..counts.filtered {
        for (kind, (reason, spoil)) in SPOILERS.into_iter().enumerate() {
            let index = (number * SPOILERS.len() + kind) as u64;
            let mut rng = chance::generator(draft.seed, "filtered row", index);
            let player = &players[rng.random_range(0..players.len())];
            let picture = draft.picture(vec![player.person], &mut rng);
            let url = draft.page(&player.text, picture, Manner::Plain);
            let text = sentence(&PLAIN, &player.text, &mut rng);
            draft.filtered_caption(&url, text, reason, spoil);
        }
    }
    for (url, at) in ["ftp://files.example/photo.jpg", "photo.jpg"]
        .into_iter()
        .zip(0..)
    {
        let mut rng = chance::generator(draft.seed, "no url", at);
        let player = &players[rng.random_range(0..players.len())];
        let text = sentence(&PLAIN, &player.text, &mut rng);
        draft.filtered_caption(url, text, DropReason::BadUrl, |_| {});
    }
}

/// Captions that lead to no name.
pub(super) fn noise(draft: &mut Draft, counts: &Counts) {
    for number in 0..counts.nobody {
        let mut rng = chance::generator(draft.seed, "nobody", number as u64);
        let text = NOBODY[rng.random_range(0..NOBODY.len())].to_owned();
        let url = format!("http://shop.catalogue.example/item/{number:04}.jpg");
        // Metadata are missing here and there.
        let forget = rng.random_ratio(1, 10);
        draft.row(&url, Some(text), |row| {
            if forget {
                (row.width, row.height, row.punsafe) = (None, None, None);
            }
        });
    }
    let long = "very long caption about nothing in particular, ".repeat(400);
    let odd = [
        None,
        Some(String::new()),
        Some(" \t\n ".to_owned()),
        Some("\u{0}\u{7}\u{1b}[31m\u{202e}\u{feff}".to_owned()),
        Some("😀👍🏽🎉".to_owned()),
        Some(long),
        Some("Summer sale in August 2015 www.shop.example".to_owned()),
    ];
    for (text, number) in odd.into_iter().zip(0..) {
        let url = format!("http://odd.catalogue.example/{number}.jpg");
        draft.row(&url, text, |_| {});
    }
    for number in 0..6 {
        let mut rng = chance::generator(draft.seed, "mononym", number);
        let url = format!("http://www.cityherald.example/one-name-{number}.jpg");
        draft.row(&url, Some(sentence(&PLAIN, MONONYM, &mut rng)), |_| {});
    }
}
