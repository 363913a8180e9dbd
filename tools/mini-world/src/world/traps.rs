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
    let traps = PageBehaviour::traps();
    let per_name = (traps.len() * counts.traps).div_ceil(names.len()).max(2);
    for round in 0..counts.traps {
        let start = round * traps.len().div_ceil(per_name);
        for (at, trap) in traps.iter().copied().enumerate() {
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

/// Adds a page of each rude behaviour, one after the other under each name. A perfect run downloads all of them.
pub(super) fn rude_pages(builder: &mut WorldBuilder, names: &[NameRef]) {
    let names = &names[1..];
    for (at, behaviour) in PageBehaviour::RUDE.into_iter().enumerate() {
        let mut rng = random::generator(builder.seed, "rude page", at as u64);
        let name = &names[at % names.len()];
        let (people, content) = match behaviour.has_its_own_file() {
            true => (Vec::new(), PhotoContent::Nobody),
            false => (vec![name.person], PhotoContent::RightPerson),
        };
        let image = builder.new_image(people, &mut rng);
        let truth = builder.new_truth(content, false);
        let photo = NewPhoto::plain(name, image, truth).behaving(behaviour);
        photo.add_to(builder, &mut rng);
    }
}

/// Adds a file under two urls beside one name, for some names. Of two equal files the one with the smaller id stays.
pub(super) fn exact_copies(builder: &mut WorldBuilder, names: &[NameRef], counts: &Counts) {
    for number in 0..counts.exact_copies {
        let mut rng = random::generator(builder.seed, "exact copy", number as u64);
        let name = &names[1 + number % (names.len() - 1)];
        let image = builder.new_image(vec![name.person], &mut rng);
        let truth = builder.new_truth(PhotoContent::RightPerson, false);
        let first = builder.truth.photos.len();
        for _ in 0..2 {
            NewPhoto::plain(name, image.clone(), truth).add_to(builder, &mut rng);
        }
        let copies = &mut builder.truth.photos[first..];
        if let Some(copy) = copies.iter_mut().max_by_key(|photo| photo.image()) {
            copy.expected_drop = Some(DropReason::DuplicateOf);
        }
    }
}

/// Adds two pictures that stand for many images: one whose file is the same at many hosts, and one whose look is the
/// same at one host. Each is under as many names as dedupe-images wants to see, and a few more.
pub(super) fn placeholders(builder: &mut WorldBuilder, names: &[NameRef], counts: &Counts) {
    let kinds = [
        (PageBehaviour::Normal, counts.same_file),
        (PageBehaviour::Stamped, counts.same_look),
    ];
    for (kind, (behaviour, count)) in kinds.into_iter().enumerate() {
        let mut rng = random::generator(builder.seed, "placeholder", kind as u64);
        let image = builder.new_image(Vec::new(), &mut rng);
        let truth = builder.new_truth(PhotoContent::Nobody, false);
        // The first name is excluded.
        for name in names.iter().skip(1).take(count) {
            let photo = NewPhoto::plain(name, image.clone(), truth).behaving(behaviour);
            let photo = photo.dropped_later(DropReason::Placeholder);
            photo.add_to(builder, &mut rng);
        }
    }
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
const BAD_URLS: [&str; 7] = [
    "ftp://files.example/photo.jpg",
    "photo.jpg",
    "file:///etc/passwd",
    "data:image/gif;base64,R0lGODlhAQABAAAAACwAAAAAAQABAAA=",
    "javascript:history.back()",
    "gopher://files.example/photo.jpg",
    "mailto:photos@files.example",
];

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
