//! Figures about photos: traps, copies, right and wrong people, the identities that reach the shards.

use std::collections::{HashMap, HashSet};

use laioncele_core::NameId;

use super::found::{Found, Key};
use super::{Figure, Target, count};
use crate::truth::{Filing, Shows, Truth};

/// Photos that an identity must have.
const MIN_IMAGES: usize = 5;

pub(super) fn figures(truth: &Truth, found: &Found, figures: &mut Vec<Figure>) {
    let filings = Filings::of(truth);
    traps(&filings, found, figures);
    copies(&filings, found, figures);
    people(&filings, found, figures);
    shards(&filings, found, figures);
}

/// The truth's filings with their tables' keys.
struct Filings<'a> {
    truth: &'a Truth,
    all: Vec<(Key, &'a Filing)>,
}

impl<'a> Filings<'a> {
    fn of(truth: &'a Truth) -> Self {
        let key = |f: &Filing| (NameId::of(&truth.names[f.name].name), f.image());
        let all = truth.filings.iter().map(|f| (key(f), f)).collect();
        Self { truth, all }
    }

    /// Those of names that the model knows.
    fn of_known(&self) -> impl Iterator<Item = &(Key, &'a Filing)> {
        self.all
            .iter()
            .filter(|(_, f)| self.truth.names[f.name].known)
    }
}

/// Of the traps under names whose photos were asked for, those that have their reason.
fn traps(filings: &Filings<'_>, found: &Found, figures: &mut Vec<Figure>) {
    let (name, target) = ("traps_classed", Some(Target::AtLeast(1.0)));
    let (Some(_), Some(dropped)) = (&found.photos, &found.dropped) else {
        figures.push(Figure::missing(name, target));
        return;
    };
    let known = found.known_names.as_ref();
    let candidates = found.candidates.as_ref();
    let asked = filings.all.iter().filter(|(key, filing)| {
        filing.trap.is_some()
            && known.is_some_and(|known| known.contains(&key.0))
            && candidates.is_some_and(|candidates| candidates.contains(key))
    });
    let classed = count(asked, |((name, image), filing)| {
        let key = ("download-images".to_owned(), image.0, Some(name.0));
        dropped.get(&key).map(String::as_str) == filing.trap.map(|t| t.as_str())
    });
    figures.push(Figure::share(name, classed, target));
}

/// Copies that dedupe-images removed, and distinct pictures that it lost.
fn copies(filings: &Filings<'_>, found: &Found, figures: &mut Vec<Figure>) {
    let removed = ("planted_copies_removed", Some(Target::AtLeast(0.95)));
    let lost = ("distinct_photos_lost", Some(Target::AtMost(0.005)));
    let (Some(photos), Some(unique)) = (&found.photos, &found.unique_photos) else {
        figures.extend([removed, lost].map(|(name, target)| Figure::missing(name, target)));
        return;
    };
    // Of each scene under a name: files that arrived, and files that are left.
    let mut scenes: HashMap<(usize, usize), (u64, u64)> = HashMap::new();
    for (key, filing) in filings.all.iter().filter(|(key, _)| photos.contains(key)) {
        let files = scenes.entry((filing.name, filing.scene)).or_default();
        files.0 += 1;
        files.1 += u64::from(unique.contains(key));
    }
    let planted: u64 = scenes.values().map(|(came, _)| came - 1).sum();
    let left: u64 = scenes
        .values()
        .map(|(_, left)| left.saturating_sub(1))
        .sum();
    figures.push(Figure::share(
        removed.0,
        (planted - left, planted),
        removed.1,
    ));
    let gone = count(scenes.values(), |(_, left)| *left == 0);
    figures.push(Figure::share(lost.0, gone, lost.1));
}

/// Photos of the right and of the wrong person that verify-images kept, under known names.
fn people(filings: &Filings<'_>, found: &Found, figures: &mut Vec<Figure>) {
    for (name, shows, target) in [
        (
            "right_photos_kept",
            Shows::Right,
            Some(Target::AtLeast(0.9)),
        ),
        (
            "wrong_photos_kept",
            Shows::Wrong,
            Some(Target::AtMost(0.03)),
        ),
        ("landscapes_kept", Shows::Nobody, None),
    ] {
        let (Some(unique), Some(matches)) = (&found.unique_photos, &found.matches) else {
            figures.push(Figure::missing(name, target));
            continue;
        };
        let looked_at = filings
            .of_known()
            .filter(|(key, f)| f.shows == shows && unique.contains(key));
        let kept = count(looked_at, |(key, _)| matches.contains(key));
        figures.push(Figure::share(name, kept, target));
    }
}

/// Who reaches the shards, and with which photos.
fn shards(filings: &Filings<'_>, found: &Found, figures: &mut Vec<Figure>) {
    let people = ("known_people_in_shards", Some(Target::AtLeast(0.85)));
    let photos = ("their_photos_in_shards", Some(Target::AtLeast(0.85)));
    let few = ("identities_below_five", Some(Target::AtMost(0.0)));
    let told = "all_eligible_photos_in_shards";
    let Some(rows) = &found.shards else {
        let all = [people, photos, (told, None), few];
        figures.extend(all.map(|(name, target)| Figure::missing(name, target)));
        return;
    };
    let packed: HashSet<Key> = rows.iter().copied().collect();
    let mut sizes: HashMap<NameId, usize> = HashMap::new();
    for (name, _) in &packed {
        *sizes.entry(*name).or_default() += 1;
    }
    let truth = filings.truth;
    let id = |at: usize| NameId::of(&truth.names[at].name);
    let eligible: Vec<usize> = (truth.eligible().into_iter().enumerate())
        .filter(|(at, n)| *n >= MIN_IMAGES && truth.names[*at].known && !truth.names[*at].excluded)
        .map(|(at, _)| at)
        .collect();
    let reached = |at: usize| sizes.contains_key(&id(at));
    figures.push(Figure::share(
        people.0,
        count(&eligible, |at| reached(**at)),
        people.1,
    ));
    // Of each eligible scene one file is enough, whichever of the copies was kept.
    let mut scenes: HashMap<(usize, usize), bool> = HashMap::new();
    for (key, f) in filings
        .all
        .iter()
        .filter(|(_, f)| f.eligible && eligible.contains(&f.name))
    {
        *scenes.entry((f.name, f.scene)).or_default() |= packed.contains(key);
    }
    let theirs = scenes.iter().filter(|((name, _), _)| reached(*name));
    figures.push(Figure::share(
        photos.0,
        count(theirs, |(_, packed)| **packed),
        photos.1,
    ));
    figures.push(Figure::share(
        told,
        count(&scenes, |(_, packed)| **packed),
        None,
    ));
    let below = sizes.values().filter(|n| **n < MIN_IMAGES).count();
    figures.push(Figure::number(
        few.0,
        below as u64,
        sizes.len() as u64,
        few.1,
    ));
}
