//! Metrics of photos: traps, copies, right and wrong people, and the identities that reach the
//! shards.

use std::collections::{HashMap, HashSet};

use laioncele_core::{DropReason, NameId};

use super::metric::{Metric, Target, count};
use super::tables::{PhotoKey, RunTables};
use crate::truth::{PhotoContent, TruePhoto, Truth};

/// Photos that an identity must have.
const MIN_IMAGES: usize = 5;

pub(super) fn metrics(truth: &Truth, tables: &RunTables, metrics: &mut Vec<Metric>) {
    let photos = KeyedPhotos::of(truth);
    let traps = |reason| !DEDUPE_REASONS.contains(&reason);
    let step = "download-images";
    metrics.push(dropped_as_expected(
        "traps_classed",
        &photos,
        tables,
        step,
        traps,
    ));
    metrics.push(reachable_photos_downloaded(&photos, tables));
    for (name, expected) in [
        ("exact_copies_dropped", DropReason::DuplicateOf),
        ("placeholders_dropped", DropReason::Placeholder),
    ] {
        let is_it = |reason| reason == expected;
        metrics.push(dropped_as_expected(
            name,
            &photos,
            tables,
            "dedupe-images",
            is_it,
        ));
    }
    copies(&photos, tables, metrics);
    people_kept(&photos, tables, metrics);
    shards(&photos, tables, metrics);
}

/// The truth's photos with the keys that they have in tables.
struct KeyedPhotos<'a> {
    truth: &'a Truth,
    all: Vec<(PhotoKey, &'a TruePhoto)>,
}

impl<'a> KeyedPhotos<'a> {
    fn of(truth: &'a Truth) -> Self {
        let key = |photo: &TruePhoto| {
            let name = &truth.names[photo.name].name;
            (NameId::of(name), photo.image())
        };
        let all = truth.photos.iter().map(|photo| (key(photo), photo));
        Self {
            truth,
            all: all.collect(),
        }
    }

    /// Those under names that the model knows.
    fn of_known_names(&self) -> impl Iterator<Item = &(PhotoKey, &'a TruePhoto)> {
        let known = |photo: &TruePhoto| self.truth.names[photo.name].known;
        self.all.iter().filter(move |(_, photo)| known(photo))
    }
}

/// Reasons for which dedupe-images drops photos; the others are download-images'.
const DEDUPE_REASONS: [DropReason; 2] = [DropReason::DuplicateOf, DropReason::Placeholder];

impl<'a> KeyedPhotos<'a> {
    /// Those that the run had to download: of names that it kept.
    fn requested(&self, tables: &RunTables) -> impl Iterator<Item = &(PhotoKey, &'a TruePhoto)> {
        let known = tables.known_names.as_ref();
        let candidates = tables.candidates.as_ref();
        self.all.iter().filter(move |(key, _)| {
            known.is_some_and(|known| known.contains(&key.0))
                && candidates.is_some_and(|candidates| candidates.contains(key))
        })
    }
}

/// Of the photos that the run requested and that `step` must drop for one of the `reasons`, those that it dropped for
/// the expected one.
fn dropped_as_expected(
    name: &str,
    photos: &KeyedPhotos<'_>,
    tables: &RunTables,
    step: &str,
    reasons: impl Fn(DropReason) -> bool,
) -> Metric {
    let target = Some(Target::AtLeast(1.0));
    let done = match DEDUPE_REASONS.into_iter().any(&reasons) {
        true => tables.unique_photos.is_some(),
        false => tables.photos.is_some(),
    };
    let (true, Some(found)) = (done, &tables.drop_reasons) else {
        return Metric::missing(name, target);
    };
    let expected = photos
        .requested(tables)
        .filter(|(_, photo)| photo.expected_drop.is_some_and(&reasons));
    let right = count(expected, |((name, image), photo)| {
        let key = (step.to_owned(), image.0, Some(*name));
        found.get(&key).copied() == photo.expected_drop
    });
    Metric::share(name, right, target)
}

/// Of the photos that the run requested and that download-images must not drop, those that it has, however rudely
/// they were served.
fn reachable_photos_downloaded(photos: &KeyedPhotos<'_>, tables: &RunTables) -> Metric {
    let (name, target) = ("reachable_photos_downloaded", Some(Target::AtLeast(1.0)));
    let Some(downloaded) = &tables.photos else {
        return Metric::missing(name, target);
    };
    let reachable = photos.requested(tables).filter(|(_, photo)| {
        let drop = photo.expected_drop;
        drop.is_none_or(|reason| DEDUPE_REASONS.contains(&reason))
    });
    let found = count(reachable, |(key, _)| downloaded.contains(key));
    Metric::share(name, found, target)
}

/// Copies that dedupe-images removed, and images of which it left no copy.
fn copies(photos: &KeyedPhotos<'_>, tables: &RunTables, metrics: &mut Vec<Metric>) {
    let removed = ("planted_copies_removed", Some(Target::AtLeast(0.95)));
    let lost = ("distinct_photos_lost", Some(Target::AtMost(0.005)));
    let (Some(downloaded), Some(unique)) = (&tables.photos, &tables.unique_photos) else {
        metrics.extend([removed, lost].map(|(name, target)| Metric::missing(name, target)));
        return;
    };
    // For each original image under a name: the files that were downloaded, and those that are
    // left.
    let mut originals: HashMap<(usize, usize), (u64, u64)> = HashMap::new();
    let downloaded = photos
        .all
        .iter()
        .filter(|(_, photo)| photo.expected_drop != Some(DropReason::Placeholder))
        .filter(|(key, _)| downloaded.contains(key));
    for (key, photo) in downloaded {
        let files = originals.entry((photo.name, photo.original)).or_default();
        files.0 += 1;
        files.1 += u64::from(unique.contains(key));
    }
    let files = originals.values();
    let planted: u64 = files.clone().map(|(all, _)| all - 1).sum();
    let left: u64 = files.clone().map(|(_, left)| left.saturating_sub(1)).sum();
    let share = (planted - left, planted);
    metrics.push(Metric::share(removed.0, share, removed.1));
    let share = count(files, |(_, left)| *left == 0);
    metrics.push(Metric::share(lost.0, share, lost.1));
}

/// Of the photos under known names, those that verify-images kept: of the right person, of a wrong
/// person, of nobody.
fn people_kept(photos: &KeyedPhotos<'_>, tables: &RunTables, metrics: &mut Vec<Metric>) {
    let at_least = |share| Some(Target::AtLeast(share));
    let at_most = |share| Some(Target::AtMost(share));
    for (name, content, target) in [
        (
            "right_photos_kept",
            PhotoContent::RightPerson,
            at_least(0.9),
        ),
        (
            "wrong_photos_kept",
            PhotoContent::WrongPerson,
            at_most(0.03),
        ),
        ("landscapes_kept", PhotoContent::Nobody, None),
    ] {
        let (Some(unique), Some(matches)) = (&tables.unique_photos, &tables.matches) else {
            metrics.push(Metric::missing(name, target));
            continue;
        };
        let verified = photos
            .of_known_names()
            .filter(|(key, photo)| photo.content == content && unique.contains(key));
        let kept = count(verified, |(key, _)| matches.contains(key));
        metrics.push(Metric::share(name, kept, target));
    }
}

/// Which people reach the shards, and with which photos.
fn shards(photos: &KeyedPhotos<'_>, tables: &RunTables, metrics: &mut Vec<Metric>) {
    let people = ("known_people_in_shards", Some(Target::AtLeast(0.85)));
    let theirs = ("their_photos_in_shards", Some(Target::AtLeast(0.85)));
    let all = ("all_eligible_photos_in_shards", None);
    let small = ("identities_below_five", Some(Target::AtMost(0.0)));
    let Some(rows) = &tables.shards else {
        let missing = |(name, target)| Metric::missing(name, target);
        metrics.extend([people, theirs, all, small].map(missing));
        return;
    };
    let packed: HashSet<PhotoKey> = rows.iter().copied().collect();
    let mut sizes: HashMap<NameId, usize> = HashMap::new();
    for (name, _) in &packed {
        *sizes.entry(*name).or_default() += 1;
    }
    let truth = photos.truth;
    let reached = |at: usize| sizes.contains_key(&NameId::of(&truth.names[at].name));
    let eligible = eligible_names(truth);
    let share = count(&eligible, |at| reached(**at));
    metrics.push(Metric::share(people.0, share, people.1));
    let originals = packed_originals(photos, &eligible, &packed);
    let of_reached = originals.iter().filter(|((name, _), _)| reached(*name));
    let share = count(of_reached, |(_, packed)| **packed);
    metrics.push(Metric::share(theirs.0, share, theirs.1));
    let share = count(&originals, |(_, packed)| **packed);
    metrics.push(Metric::share(all.0, share, all.1));
    let (below, of) = count(sizes.values(), |size| **size < MIN_IMAGES);
    metrics.push(Metric::number(small.0, below, of, small.1));
}

/// Positions of the names that a perfect run makes identities.
fn eligible_names(truth: &Truth) -> Vec<usize> {
    let images = truth.eligible().into_iter();
    let names = truth.names.iter().zip(images).enumerate();
    names
        .filter(|(_, (name, images))| *images >= MIN_IMAGES && name.known && !name.excluded)
        .map(|(at, _)| at)
        .collect()
}

/// For each eligible original image (name, original) of `names`, whether a file of it is packed.
/// One file is enough, whichever of the copies was kept.
fn packed_originals(
    photos: &KeyedPhotos<'_>,
    names: &[usize],
    packed: &HashSet<PhotoKey>,
) -> HashMap<(usize, usize), bool> {
    let mut originals = HashMap::new();
    for (key, photo) in &photos.all {
        if photo.eligible && names.contains(&photo.name) {
            let original = (photo.name, photo.original);
            *originals.entry(original).or_default() |= packed.contains(key);
        }
    }
    originals
}
