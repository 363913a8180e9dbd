//! The photos and captions of the cast: right and wrong ones, copies, spellings.

use rand::RngExt;
use rand_chacha::ChaCha8Rng;

use super::draft::{Draft, Filed, Naming, Player};
use crate::chance;
use crate::error::WorldError;
use crate::manner::Manner;
use crate::options::Counts;
use crate::picture::Picture;
use crate::render::Anatomy;
use crate::spelling::Spelling;
use crate::templates::{FOREIGN, PLAIN, POSSESSIVE, TWO, WILD};
use crate::truth::Shows;

/// Sides that a copy may have, in pixels.
const COPY_SIDES: [u32; 5] = [96, 112, 128, 160, 224];
/// Every so many names one has a misspelling. Those have twice the captions: a rare spelling is merged only into one
/// that is ten times as common.
const MISSPELT_EVERY: usize = 3;

/// One of `sentences` about `text`.
pub(super) fn sentence(sentences: &[&str], text: &str, rng: &mut ChaCha8Rng) -> String {
    sentences[rng.random_range(0..sentences.len())].replacen("{}", text, 1)
}

/// A photo in `manner` under a name, with a caption of `spelling` from `sentences`. Its url.
pub(super) struct Post<'a> {
    pub(super) player: &'a Player,
    pub(super) picture: Picture,
    pub(super) manner: Manner,
    pub(super) filed: Filed,
    pub(super) spelling: Spelling,
    pub(super) sentences: &'a [&'a str],
}

impl Post<'_> {
    pub(super) fn publish(self, draft: &mut Draft, rng: &mut ChaCha8Rng) -> String {
        let url = draft.page(&self.player.text, self.picture, self.manner);
        draft.file(self.player, &url, self.filed, self.manner);
        add_caption(draft, self.player, &url, self.spelling, self.sentences, rng);
        url
    }
}

fn add_caption(
    draft: &mut Draft,
    player: &Player,
    url: &str,
    spelling: Spelling,
    sentences: &[&str],
    rng: &mut ChaCha8Rng,
) {
    let text = spelling.write(&player.text, rng);
    let caption = sentence(sentences, &text, rng);
    let naming = Naming {
        player,
        spelling,
        text,
    };
    draft.caption(url, caption, &[naming]);
}

/// The names with plenty of photos.
pub(super) fn stocked(
    draft: &mut Draft,
    players: &[Player],
    counts: &Counts,
) -> Result<(), WorldError> {
    for (at, player) in players.iter().enumerate() {
        let mut rng = chance::generator(draft.seed, "stocked name", at as u64);
        let photos = rng.random_range(counts.photos.clone());
        for photo in 0..photos {
            let odd = Manner::ODD[at % Manner::ODD.len()];
            let manner = if photo == 0 { odd } else { Manner::Plain };
            eligible(draft, player, manner, at % MISSPELT_EVERY == 0, &mut rng);
            if photo == 1 && at % 8 == 1 {
                draft.note_hash(true)?;
            }
        }
        for spelling in spellings(at) {
            spelt(draft, player, spelling, &mut rng);
        }
        for _ in 0..rng.random_range(0..=3) {
            wrong(draft, player, players, &mut rng);
        }
    }
    Ok(())
}

/// A right photo with a plain caption, sometimes with further captions and with copies.
fn eligible(
    draft: &mut Draft,
    player: &Player,
    manner: Manner,
    two_captions: bool,
    rng: &mut ChaCha8Rng,
) {
    let picture = draft.picture(vec![player.person], rng);
    let filed = Filed {
        shows: Shows::Right,
        scene: draft.scene(),
        eligible: true,
    };
    let post = |picture, manner| Post {
        player,
        picture,
        manner,
        filed,
        spelling: Spelling::Plain,
        sentences: &PLAIN,
    };
    let copies = match rng.random_range(0..8) {
        0 if manner.is_plain() => 2,
        1 if manner.is_plain() => 1,
        _ => 0,
    };
    for _ in 0..copies {
        let side = COPY_SIDES[rng.random_range(0..COPY_SIDES.len())];
        let copy = Picture {
            side,
            quality: rng.random_range(70..=95),
            ..picture.clone()
        };
        post(copy, Manner::Plain).publish(draft, rng);
    }
    let url = post(picture, manner).publish(draft, rng);
    if two_captions {
        add_caption(draft, player, &url, Spelling::Plain, &PLAIN[..20], rng);
    } else if rng.random_ratio(1, 5) {
        add_caption(draft, player, &url, Spelling::Plain, &WILD, rng);
    }
}

/// The spellings that name number `at` has beside the plain one.
fn spellings(at: usize) -> Vec<Spelling> {
    let every = |n: usize, rest: usize, spelling| (at % n == rest).then_some(spelling);
    let all = [
        every(3, 1, Spelling::Upper),
        every(3, 2, Spelling::Lower),
        every(4, 0, Spelling::Reversed),
        every(2, 0, Spelling::Possessive),
        every(MISSPELT_EVERY, 0, Spelling::Misspelt),
        every(4, 1, Spelling::Accented),
        every(4, 3, Spelling::Foreign),
    ];
    all.into_iter().flatten().collect()
}

/// A right photo whose only caption has the name in another spelling.
fn spelt(draft: &mut Draft, player: &Player, spelling: Spelling, rng: &mut ChaCha8Rng) {
    let picture = draft.picture(vec![player.person], rng);
    let post = Post {
        player,
        picture,
        manner: Manner::Plain,
        filed: Filed {
            shows: Shows::Right,
            scene: draft.scene(),
            eligible: false,
        },
        spelling,
        sentences: match spelling {
            Spelling::Possessive => &POSSESSIVE,
            Spelling::Foreign => &FOREIGN,
            _ => &PLAIN,
        },
    };
    post.publish(draft, rng);
}

/// A photo of another member of the cast, or of a stranger.
fn wrong(draft: &mut Draft, player: &Player, players: &[Player], rng: &mut ChaCha8Rng) {
    let other = &players[rng.random_range(0..players.len())];
    let person = if other.name != player.name && rng.random_bool(0.5) {
        other.person
    } else {
        let number = draft.web.people.len() as u64;
        draft.face(Anatomy::stranger(chance::number(
            draft.seed, "stranger", number,
        )))
    };
    let picture = draft.picture(vec![person], rng);
    let post = Post {
        player,
        picture,
        manner: Manner::Plain,
        filed: Filed {
            shows: Shows::Wrong,
            scene: draft.scene(),
            eligible: false,
        },
        spelling: Spelling::Plain,
        sentences: &PLAIN,
    };
    post.publish(draft, rng);
}

/// Known names that must not become identities: half of them have too few images at all, the other half lose too many
/// on the way.
pub(super) fn scarce(draft: &mut Draft, players: &[Player], stocked: &[Player]) {
    for (at, player) in players.iter().enumerate() {
        let mut rng = chance::generator(draft.seed, "scarce name", at as u64);
        if at % 2 == 0 {
            for _ in 0..rng.random_range(2..=4) {
                eligible(draft, player, Manner::Plain, false, &mut rng);
            }
            continue;
        }
        for _ in 0..3 {
            eligible(draft, player, Manner::Plain, false, &mut rng);
        }
        for _ in 0..2 {
            eligible(draft, player, Manner::Missing, false, &mut rng);
            wrong(draft, player, stocked, &mut rng);
        }
    }
}

/// Names that the model does not know, with photos enough.
pub(super) fn unknown(draft: &mut Draft, players: &[Player]) {
    for (at, player) in players.iter().enumerate() {
        let mut rng = chance::generator(draft.seed, "unknown name", at as u64);
        for _ in 0..rng.random_range(7..=9) {
            let picture = draft.picture(vec![player.person], &mut rng);
            let post = Post {
                player,
                picture,
                manner: Manner::Plain,
                filed: Filed {
                    shows: Shows::Right,
                    scene: draft.scene(),
                    eligible: false,
                },
                spelling: Spelling::Plain,
                sentences: &PLAIN,
            };
            post.publish(draft, &mut rng);
        }
    }
}

/// Captions with two names, beside a photo of both or of the first one alone.
pub(super) fn pairs(draft: &mut Draft, players: &[Player], counts: &Counts) {
    for pair in 0..counts.pairs {
        let mut rng = chance::generator(draft.seed, "pair", pair as u64);
        let at = |k: usize| &players[(2 * pair + k) % players.len()];
        let (left, right) = (at(0), at(1));
        let both = pair % 2 == 0;
        let who = match both {
            true => vec![left.person, right.person],
            false => vec![left.person],
        };
        let picture = draft.picture(who, &mut rng);
        let url = draft.page("two stars", picture, Manner::Plain);
        for (player, shown) in [(left, true), (right, both)] {
            let filed = Filed {
                shows: if shown { Shows::Right } else { Shows::Wrong },
                scene: draft.scene(),
                eligible: false,
            };
            draft.file(player, &url, filed, Manner::Plain);
        }
        let text = sentence(&TWO, &left.text, &mut rng).replacen("{}", &right.text, 1);
        let naming = |player| Naming {
            player,
            spelling: Spelling::Plain,
            text: Player::clone(player).text,
        };
        draft.caption(&url, text, &[naming(left), naming(right)]);
    }
}

/// Pictures without anybody, filed under names.
pub(super) fn landscapes(draft: &mut Draft, players: &[Player], counts: &Counts) {
    for number in 0..counts.landscapes {
        let mut rng = chance::generator(draft.seed, "landscape", number as u64);
        let picture = draft.picture(Vec::new(), &mut rng);
        let post = Post {
            player: &players[(3 * number + 1) % players.len()],
            picture,
            manner: Manner::Plain,
            filed: Filed {
                shows: Shows::Nobody,
                scene: draft.scene(),
                eligible: false,
            },
            spelling: Spelling::Plain,
            sentences: &PLAIN,
        };
        post.publish(draft, &mut rng);
    }
}
