//! What a run must cope with: pages that misbehave, rows that the source's filters must drop,
//! captions without names.

use laioncele_core::DropReason;
use rand::RngExt;

use super::builder::{NameRef, WorldBuilder};
use super::photos::{NewPhoto, sentence};
use crate::behaviour::PageBehaviour;
use crate::captions::CaptionRow;
use crate::error::WorldError;
use crate::options::Counts;
use crate::random;
use crate::templates::{NOBODY, PLAIN};
use crate::truth::PhotoContent;

/// A person with a single name, which nobody else in the world has.
const MONONYM: &str = "Ottoline";

/// Adds every trap under names with many photos, a few beside each other under one name.
pub(super) fn pages(
    builder: &mut WorldBuilder,
    names: &[NameRef],
    counts: &Counts,
) -> Result<(), WorldError> {
    // The first name is excluded: its photos are never downloaded.
    let names = &names[1..];
    let traps = PageBehaviour::TRAPS;
    let per_name = (traps.len() * counts.traps).div_ceil(names.len()).max(2);
    for round in 0..counts.traps {
        let start = round * traps.len().div_ceil(per_name);
        for (at, trap) in traps.into_iter().enumerate() {
            let number = (round * traps.len() + at) as u64;
            let mut rng = random::generator(builder.seed, "trap", number);
            let name = &names[(start + at / per_name) % names.len()];
            let image = builder.new_image(vec![name.person], &mut rng);
            let truth = builder.new_truth(PhotoContent::RightPerson, false);
            let photo = NewPhoto::plain(name, image, truth).behaving(trap);
            photo.add_to(builder, &mut rng);
            if trap == PageBehaviour::HashMismatch {
                builder.add_hash_to_last_row(false)?;
            }
        }
    }
    Ok(())
}

/// A filter of the source, and how to make a row fail it.
type Spoiler = (DropReason, fn(&mut CaptionRow));

const SPOILERS: [Spoiler; 4] = [
    (DropReason::Unsafe, |row| row.punsafe = Some(0.97)),
    (DropReason::Watermarked, |row| row.pwatermark = Some(0.99)),
    (DropReason::LowSimilarity, |row| row.similarity = Some(0.08)),
    (DropReason::TooSmall, |row| row.height = Some(40)),
];

/// Texts in the place of a url that are no web url.
const BAD_URLS: [&str; 2] = ["ftp://files.example/photo.jpg", "photo.jpg"];

/// Adds rows with a name that must not pass the source's filters, and rows without a web url.
pub(super) fn filtered_rows(builder: &mut WorldBuilder, names: &[NameRef], counts: &Counts) {
    for number in 0..counts.filtered {
        for (kind, (reason, spoil)) in SPOILERS.into_iter().enumerate() {
            let index = (number * SPOILERS.len() + kind) as u64;
            let mut rng = random::generator(builder.seed, "filtered row", index);
            let name = &names[rng.random_range(0..names.len())];
            let image = builder.new_image(vec![name.person], &mut rng);
            let url = builder.add_page(&name.text, image, PageBehaviour::Normal);
            let text = sentence(&PLAIN, &name.text, &mut rng);
            builder.add_filtered_caption(&url, text, reason, spoil);
        }
    }
    for (url, index) in BAD_URLS.into_iter().zip(0..) {
        let mut rng = random::generator(builder.seed, "no url", index);
        let name = &names[rng.random_range(0..names.len())];
        let text = sentence(&PLAIN, &name.text, &mut rng);
        builder.add_filtered_caption(url, text, DropReason::BadUrl, |_| {});
    }
}

/// Adds captions that lead to no name.
pub(super) fn captions_without_names(builder: &mut WorldBuilder, counts: &Counts) {
    for number in 0..counts.nobody {
        let mut rng = random::generator(builder.seed, "nobody", number as u64);
        let text = NOBODY[rng.random_range(0..NOBODY.len())].to_owned();
        let url = format!("http://shop.catalogue.example/item/{number:04}.jpg");
        let without_metadata = rng.random_ratio(1, 10);
        builder.add_row(&url, Some(text), |row| {
            if without_metadata {
                (row.width, row.height, row.punsafe) = (None, None, None);
            }
        });
    }
    for (text, number) in unusual_captions().into_iter().zip(0..) {
        let url = format!("http://odd.catalogue.example/{number}.jpg");
        builder.add_row(&url, text, |_| {});
    }
    for number in 0..6 {
        let mut rng = random::generator(builder.seed, "mononym", number);
        let url = format!("http://www.cityherald.example/one-name-{number}.jpg");
        let text = sentence(&PLAIN, MONONYM, &mut rng);
        builder.add_row(&url, Some(text), |_| {});
    }
}

/// Captions that are missing, empty, very long or full of unusual characters.
fn unusual_captions() -> [Option<String>; 7] {
    [
        None,
        Some(String::new()),
        Some(" \t\n ".to_owned()),
        Some("\u{0}\u{7}\u{1b}[31m\u{202e}\u{feff}".to_owned()),
        Some("😀👍🏽🎉".to_owned()),
        Some("very long caption about nothing in particular, ".repeat(400)),
        Some("Summer sale in August 2015 www.shop.example".to_owned()),
    ]
}
