//! Portraits whose background and clothes have colours that prompts name: `render-people PEOPLE OUT words`.
//!
//! Everything else is as in the portraits of a series. A seed decides the colours, too: three of five images have a
//! background of a colour that is named, three of five such clothes.

use std::path::Path;
use std::{fs, io};

use image::RgbImage;
use serde_json::{Value, json};

use crate::people::People;
use crate::render::{self, Anatomy, Scene};
use crate::{Group, render_all, seed, write_npy};

type Colour = (&'static str, [f32; 3]);

const BACKGROUNDS: [Colour; 4] = [
    ("green", [0.15, 0.55, 0.22]),
    ("purple", [0.45, 0.18, 0.58]),
    ("red", [0.68, 0.12, 0.12]),
    ("blue", [0.12, 0.24, 0.66]),
];
const CLOTHES: [Colour; 4] = [
    ("red", [0.70, 0.08, 0.08]),
    ("blue", [0.10, 0.16, 0.70]),
    ("green", [0.10, 0.50, 0.18]),
    ("white", [0.92, 0.92, 0.90]),
];
/// Each channel of a colour differs by at most this.
const SPREAD: f32 = 0.06;
/// Strangers: the first of those that `others` are.
const STRANGERS: u64 = 700;

/// Writes `words-GROUP.json` (anatomies, and the colours of each image) and `words-GROUP.npy` for known people and for
/// strangers.
pub fn render(people: People, out: &Path) -> io::Result<()> {
    let groups = [
        Group {
            name: "known",
            number: 5,
            people: people.known.into_iter().map(|p| p.anatomy).collect(),
            portraits: 8,
            photos: 0,
        },
        Group {
            name: "others",
            number: 6,
            people: (0..STRANGERS).map(Anatomy::stranger).collect(),
            portraits: 2,
            photos: 0,
        },
    ];
    for group in &groups {
        let (people, count) = (group.people.len(), group.portraits);
        let images = render_all(group, count, 0, &|anatomy, seed, _| dressed(anatomy, seed));
        let name = format!("words-{}", group.name);
        write_npy(
            &out.join(format!("{name}.npy")),
            [people, count, render::SIDE, render::SIDE, 3],
            &images,
        )?;
        let colours = |pick: fn(u64) -> Option<Colour>| -> Vec<Vec<Option<&str>>> {
            let of =
                |k| (0..count).map(move |j| pick(seed(group.number, k, j)).map(|(name, _)| name));
            (0..people).map(|k| of(k).collect()).collect()
        };
        let said: Value = json!({ "people": group.people, "background": colours(background), "cloth": colours(cloth) });
        fs::write(out.join(format!("{name}.json")), serde_json::to_vec(&said)?)?;
    }
    Ok(())
}

fn dressed(anatomy: &Anatomy, seed: u64) -> RgbImage {
    let mut scene = Scene::studio(seed);
    for (at, colour, part) in [
        (2, background(seed), &mut scene.background),
        (5, cloth(seed), &mut scene.cloth),
    ] {
        if let Some((_, colour)) = colour {
            let near = |k: usize| colour[k] + SPREAD * (2.0 * unit(seed, at + k as u64) - 1.0);
            *part = [near(0), near(1), near(2)];
        }
    }
    render::person(anatomy, &scene, seed)
}

fn background(seed: u64) -> Option<Colour> {
    choose(&BACKGROUNDS, unit(seed, 0))
}

fn cloth(seed: u64) -> Option<Colour> {
    choose(&CLOTHES, unit(seed, 1))
}

/// Three of five numbers stand for a colour that is named, the others for the series' own.
fn choose(colours: &[Colour; 4], share: f32) -> Option<Colour> {
    colours.get((share * 20.0 / 3.0) as usize).copied()
}

/// SplitMix64's number `at` of a seed, in [0, 1).
fn unit(seed: u64, at: u64) -> f32 {
    let mut z = seed.wrapping_add((at + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15));
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    ((z ^ (z >> 31)) >> 40) as f32 / (1 << 24) as f32
}
