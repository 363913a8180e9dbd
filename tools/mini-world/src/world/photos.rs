//! The photos and captions of the world's names: right and wrong people, copies, spellings.

use laioncele_core::DropReason;
use rand::RngExt;
use rand_chacha::ChaCha8Rng;

use super::builder::{NameInCaption, NameRef, PhotoTruth, WorldBuilder};
use crate::behaviour::PageBehaviour;
use crate::error::WorldError;
use crate::options::Counts;
use crate::random;
use crate::recipe::ImageRecipe;
use crate::render::Anatomy;
use crate::spelling::Spelling;
use crate::templates::{FOREIGN, PLAIN, POSSESSIVE, TWO_NAMES, WILD};
use crate::truth::PhotoContent;

/// Heights that a copy may have, in pixels.
const COPY_HEIGHTS: [u32; 5] = [96, 112, 128, 160, 224];
/// One in so many names has a misspelling. Such a name gets two captions per photo: merge-names
/// merges a rare spelling only into one that is ten times as common.
const MISSPELT_EVERY: usize = 3;

/// A random one of `templates` with `text` in it.
pub(super) fn sentence(templates: &[&str], text: &str, rng: &mut ChaCha8Rng) -> String {
    templates[rng.random_range(0..templates.len())].replacen("{}", text, 1)
}

/// A photo under a name, with one caption.
pub(super) struct NewPhoto<'a> {
    name: &'a NameRef,
    image: ImageRecipe,
    truth: PhotoTruth,
    behaviour: PageBehaviour,
    spelling: Spelling,
    /// Templates of the caption.
    templates: &'a [&'a str],
    /// The reason for which dedupe-images must drop it.
    later_drop: Option<DropReason>,
}

impl<'a> NewPhoto<'a> {
    /// A photo that a normal page gives, with a plain caption.
    pub(super) fn plain(name: &'a NameRef, image: ImageRecipe, truth: PhotoTruth) -> Self {
        Self {
            name,
            image,
            truth,
            behaviour: PageBehaviour::Normal,
            spelling: Spelling::Plain,
            templates: &PLAIN,
            later_drop: None,
        }
    }

    /// The same on a page with another behaviour.
    pub(super) fn behaving(self, behaviour: PageBehaviour) -> Self {
        Self { behaviour, ..self }
    }

    /// The same, which dedupe-images must drop for `reason`.
    pub(super) fn dropped_later(self, reason: DropReason) -> Self {
        let later_drop = Some(reason);
        Self { later_drop, ..self }
    }

    /// Adds it to the world and returns its url.
    pub(super) fn add_to(self, builder: &mut WorldBuilder, rng: &mut ChaCha8Rng) -> String {
        let url = builder.add_page(&self.name.text, self.image, self.behaviour);
        let expected_drop = self.behaviour.expected_drop().or(self.later_drop);
        builder.add_photo(self.name, &url, self.truth, expected_drop);
        add_caption(builder, self.name, &url, self.spelling, self.templates, rng);
        url
    }
}

fn add_caption(
    builder: &mut WorldBuilder,
    name: &NameRef,
    url: &str,
    spelling: Spelling,
    templates: &[&str],
    rng: &mut ChaCha8Rng,
) {
    let text = spelling.write(&name.text, rng);
    let caption = sentence(templates, &text, rng);
    let written = NameInCaption {
        name,
        spelling,
        text,
    };
    builder.add_caption(url, caption, &[written]);
}

/// Adds the photos of known names that must become identities.
pub(super) fn frequent(
    builder: &mut WorldBuilder,
    names: &[NameRef],
    counts: &Counts,
) -> Result<(), WorldError> {
    for (at, name) in names.iter().enumerate() {
        let mut rng = random::generator(builder.seed, "stocked name", at as u64);
        let photos = rng.random_range(counts.photos.clone());
        for photo in 0..photos {
            let unusual = PageBehaviour::UNUSUAL[at % PageBehaviour::UNUSUAL.len()];
            let behaviour = match photo {
                0 => unusual,
                _ => PageBehaviour::Normal,
            };
            let two_captions = at.is_multiple_of(MISSPELT_EVERY);
            add_eligible(builder, name, behaviour, two_captions, &mut rng);
            if photo == 1 && at % 8 == 1 {
                builder.add_hash_to_last_row(true)?;
            }
        }
        for spelling in spellings(at) {
            add_spelling(builder, name, spelling, &mut rng);
        }
        for _ in 0..rng.random_range(0..=3) {
            add_wrong_person(builder, name, names, &mut rng);
        }
    }
    Ok(())
}

/// Adds a photo of the right person with a plain caption, sometimes with more captions and with
/// copies.
fn add_eligible(
    builder: &mut WorldBuilder,
    name: &NameRef,
    behaviour: PageBehaviour,
    two_captions: bool,
    rng: &mut ChaCha8Rng,
) {
    let image = builder.new_image(vec![name.person], rng);
    let truth = builder.new_truth(PhotoContent::RightPerson, true);
    let copies = match rng.random_range(0..8) {
        0 if behaviour.is_normal() => 2,
        1 if behaviour.is_normal() => 1,
        _ => 0,
    };
    for _ in 0..copies {
        let height = COPY_HEIGHTS[rng.random_range(0..COPY_HEIGHTS.len())];
        let copy = ImageRecipe {
            height,
            quality: rng.random_range(70..=95),
            ..image.clone()
        };
        NewPhoto::plain(name, copy, truth).add_to(builder, rng);
    }
    let photo = NewPhoto::plain(name, image, truth).behaving(behaviour);
    let url = photo.add_to(builder, rng);
    if two_captions {
        add_caption(builder, name, &url, Spelling::Plain, &PLAIN[..20], rng);
    } else if rng.random_ratio(1, 5) {
        add_caption(builder, name, &url, Spelling::Plain, &WILD, rng);
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

/// Adds a photo of the right person whose only caption has the name in `spelling`.
fn add_spelling(
    builder: &mut WorldBuilder,
    name: &NameRef,
    spelling: Spelling,
    rng: &mut ChaCha8Rng,
) {
    let image = builder.new_image(vec![name.person], rng);
    let truth = builder.new_truth(PhotoContent::RightPerson, false);
    let photo = NewPhoto {
        spelling,
        templates: match spelling {
            Spelling::Possessive => &POSSESSIVE,
            Spelling::Foreign => &FOREIGN,
            _ => &PLAIN,
        },
        ..NewPhoto::plain(name, image, truth)
    };
    photo.add_to(builder, rng);
}

/// Adds a photo of another person: the one with another of `names`, or a stranger.
fn add_wrong_person(
    builder: &mut WorldBuilder,
    name: &NameRef,
    names: &[NameRef],
    rng: &mut ChaCha8Rng,
) {
    let other = &names[rng.random_range(0..names.len())];
    let person = if other.name != name.name && rng.random_bool(0.5) {
        other.person
    } else {
        let number = builder.web.people.len() as u64;
        let seed = random::number(builder.seed, "stranger", number);
        builder.add_person(Anatomy::stranger(seed))
    };
    let image = builder.new_image(vec![person], rng);
    let truth = builder.new_truth(PhotoContent::WrongPerson, false);
    NewPhoto::plain(name, image, truth).add_to(builder, rng);
}

/// Adds the photos of known names that must not become identities: every other one has too few
/// photos, the rest lose too many on the way.
pub(super) fn rare(builder: &mut WorldBuilder, names: &[NameRef], frequent: &[NameRef]) {
    let (normal, missing) = (PageBehaviour::Normal, PageBehaviour::NotFound);
    for (at, name) in names.iter().enumerate() {
        let mut rng = random::generator(builder.seed, "scarce name", at as u64);
        if at.is_multiple_of(2) {
            for _ in 0..rng.random_range(2..=4) {
                add_eligible(builder, name, normal, false, &mut rng);
            }
            continue;
        }
        for _ in 0..3 {
            add_eligible(builder, name, normal, false, &mut rng);
        }
        for _ in 0..2 {
            add_eligible(builder, name, missing, false, &mut rng);
            add_wrong_person(builder, name, frequent, &mut rng);
        }
    }
}

/// Adds the photos of names that the model does not know. There are enough of them for an identity.
pub(super) fn unknown(builder: &mut WorldBuilder, names: &[NameRef]) {
    for (at, name) in names.iter().enumerate() {
        let mut rng = random::generator(builder.seed, "unknown name", at as u64);
        for _ in 0..rng.random_range(7..=9) {
            let image = builder.new_image(vec![name.person], &mut rng);
            let truth = builder.new_truth(PhotoContent::RightPerson, false);
            NewPhoto::plain(name, image, truth).add_to(builder, &mut rng);
        }
    }
}

/// Adds captions with two names, each beside a photo of both people or of the first one only.
pub(super) fn pairs(builder: &mut WorldBuilder, names: &[NameRef], counts: &Counts) {
    for pair in 0..counts.pairs {
        let mut rng = random::generator(builder.seed, "pair", pair as u64);
        let at = |k: usize| &names[(2 * pair + k) % names.len()];
        let (first, second) = (at(0), at(1));
        let both = pair.is_multiple_of(2);
        let people = match both {
            true => vec![first.person, second.person],
            false => vec![first.person],
        };
        let image = builder.new_image(people, &mut rng);
        let url = builder.add_page("two stars", image, PageBehaviour::Normal);
        for (name, shown) in [(first, true), (second, both)] {
            let content = match shown {
                true => PhotoContent::RightPerson,
                false => PhotoContent::WrongPerson,
            };
            let truth = builder.new_truth(content, false);
            builder.add_photo(name, &url, truth, None);
        }
        let text = sentence(&TWO_NAMES, &first.text, &mut rng).replacen("{}", &second.text, 1);
        let names = [first, second].map(|name| NameInCaption {
            name,
            spelling: Spelling::Plain,
            text: name.text.clone(),
        });
        builder.add_caption(&url, text, &names);
    }
}

/// Adds images without people under names.
pub(super) fn landscapes(builder: &mut WorldBuilder, names: &[NameRef], counts: &Counts) {
    for number in 0..counts.landscapes {
        let mut rng = random::generator(builder.seed, "landscape", number as u64);
        let image = builder.new_image(Vec::new(), &mut rng);
        let truth = builder.new_truth(PhotoContent::Nobody, false);
        let name = &names[(3 * number + 1) % names.len()];
        NewPhoto::plain(name, image, truth).add_to(builder, &mut rng);
    }
}
