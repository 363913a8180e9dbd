//! The identities: all of them as lines, some of them with their portraits beside their photos.

use std::collections::{BTreeMap, HashMap};

use laioncele_core::table::{Identity, Photo, Portrait};
use laioncele_core::{NameId, TableId};
use serde::Serialize;

use crate::pictures::{Picture, thumbnail};
use crate::view::{RunView, bucket_of};

/// Identities that are listed at most.
const MOST_LINES: usize = 10_000;
/// Identities that are shown with pictures at most.
const MOST_CARDS: usize = 400;
/// Photos of an identity that are shown at most: the least similar and the most similar ones.
const MOST_PHOTOS: usize = 6;
/// Bytes of pictures and their texts in the page at most.
const MOST_PICTURES: usize = 12 << 20;
/// Characters of a caption that are shown at most; some are as long as books.
const MOST_CAPTION: usize = 200;

/// A line of the list.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct IdentityLine {
    /// The name.
    pub name: String,
    /// Its id.
    pub name_id: String,
    /// Photos kept.
    pub photos: usize,
    /// The least of their similarities.
    pub lowest: String,
    /// Their mean.
    pub mean: String,
}

/// An identity with pictures.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct IdentityCard {
    /// As in the list.
    pub line: IdentityLine,
    /// Its generated portraits.
    pub portraits: Vec<Picture>,
    /// Some of its photos, the most similar first.
    pub photos: Vec<Picture>,
    /// Photos that are not shown.
    pub more: usize,
}

/// What the page has of the identities.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Identities {
    /// All identities.
    pub people: usize,
    /// All of their photos.
    pub photos: usize,
    /// Lines, by name.
    pub lines: Vec<IdentityLine>,
    /// With pictures, by name.
    pub cards: Vec<IdentityCard>,
}

struct Found {
    name: String,
    /// Similarity and image, the most similar first.
    photos: Vec<(f32, u64)>,
}

/// Reads the identities; with more than can be shown, a sample that is the same for the same run.
pub(crate) fn read(view: &RunView) -> Identities {
    let mut found: BTreeMap<NameId, Found> = BTreeMap::new();
    for part in view.parts(TableId::Identities) {
        for row in view.rows::<Identity>(std::iter::once(part)) {
            let of = found.entry(row.name_id).or_insert_with(|| Found {
                name: row.name.clone(),
                photos: Vec::new(),
            });
            of.photos.push((row.similarity, row.image_id.0));
        }
    }
    for of in found.values_mut() {
        of.photos
            .sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));
    }
    let shown: Vec<NameId> = spread(found.keys().copied().collect(), MOST_CARDS);
    let mut cards = cards(view, &found, &shown);
    cards.sort_by(|a, b| a.line.name.cmp(&b.line.name));
    let listed = spread(found.keys().copied().collect(), MOST_LINES);
    let mut lines: Vec<_> = listed.iter().map(|id| line(*id, &found[id])).collect();
    lines.sort_by(|a, b| a.name.cmp(&b.name));
    Identities {
        people: found.len(),
        photos: found.values().map(|of| of.photos.len()).sum(),
        lines,
        cards,
    }
}

/// `most` of all, evenly spread. They are sorted by a hash, so that this is as good as chance and the same each time.
fn spread<T: Copy>(all: Vec<T>, most: usize) -> Vec<T> {
    if all.len() <= most {
        return all;
    }
    (0..most).map(|k| all[k * all.len() / most]).collect()
}

fn line(name_id: NameId, of: &Found) -> IdentityLine {
    let sum: f64 = of.photos.iter().map(|(s, _)| f64::from(*s)).sum();
    let lowest = of.photos.last().map_or(0.0, |(s, _)| *s);
    IdentityLine {
        name: of.name.clone(),
        name_id: name_id.to_string(),
        photos: of.photos.len(),
        lowest: format!("{lowest:.3}"),
        mean: format!("{:.3}", sum / of.photos.len().max(1) as f64),
    }
}

/// Of the photos the first ones, and the last one, which is the most doubtful.
fn shown_photos(photos: &[(f32, u64)]) -> Vec<(f32, u64)> {
    if photos.len() <= MOST_PHOTOS {
        return photos.to_vec();
    }
    let mut shown = photos[..MOST_PHOTOS / 2].to_vec();
    shown.extend_from_slice(&photos[photos.len() - MOST_PHOTOS / 2..]);
    shown
}

fn cards(view: &RunView, found: &BTreeMap<NameId, Found>, shown: &[NameId]) -> Vec<IdentityCard> {
    let mut by_bucket: BTreeMap<_, Vec<NameId>> = BTreeMap::new();
    for id in shown {
        let bucket = bucket_of(&view.manifest, *id);
        by_bucket.entry(bucket).or_default().push(*id);
    }
    let (mut cards, mut left) = (Vec::new(), MOST_PICTURES);
    for (bucket, names) in by_bucket {
        let mut portraits = HashMap::<u64, Vec<(u32, Picture)>>::new();
        for part in view.parts_in(TableId::Portraits, &bucket) {
            let wanted = |name, _| names.contains(&NameId(name));
            let rows = view.select::<Portrait>(part, None, wanted).into_iter();
            for row in rows.filter(|row| !row.is_pruned()) {
                let name = &found[&row.name_id].name;
                let alt = format!("Generated portrait {} of {name}", row.index + 1);
                let picture = thumbnail(&row.image.bytes, alt, "");
                let of = portraits.entry(row.name_id.0).or_default();
                of.push((row.index, picture));
            }
        }
        let mut photos = photos(view, found, &names, &bucket);
        for id in names {
            let mut own = portraits.remove(&id.0).unwrap_or_default();
            own.sort_by_key(|(index, _)| *index);
            let photos = photos.remove(&id.0).unwrap_or_default();
            let card = IdentityCard {
                line: line(id, &found[&id]),
                portraits: own.into_iter().map(|(_, picture)| picture).collect(),
                more: found[&id].photos.len() - photos.len(),
                photos,
            };
            let pictures = card.portraits.iter().chain(&card.photos);
            let size: usize = pictures.map(|p| p.data.len() + p.alt.len()).sum();
            if size > left {
                continue;
            }
            left -= size;
            cards.push(card);
        }
    }
    cards
}

fn photos(
    view: &RunView,
    found: &BTreeMap<NameId, Found>,
    names: &[NameId],
    bucket: &laioncele_core::Partition,
) -> HashMap<u64, Vec<Picture>> {
    let mut wanted = HashMap::new();
    for id in names {
        for (similarity, image) in shown_photos(&found[id].photos) {
            wanted.insert((id.0, image), similarity);
        }
    }
    let mut pictures = HashMap::<u64, Vec<(f32, Picture)>>::new();
    for part in view.parts_in(TableId::Photos, bucket) {
        let choose = |name, image| wanted.contains_key(&(name, image));
        for row in view.select::<Photo>(part, Some("image_id"), choose) {
            let key = (row.name_id.0, row.image_id.0);
            let similarity = wanted.get(&key).copied().unwrap_or(0.0);
            let name = &found[&row.name_id].name;
            let caption = clipped(&row.caption);
            let alt = format!("Photo of {name}, similarity {similarity:.3}: {caption}");
            let picture = thumbnail(&row.image.bytes, alt, format!("{similarity:.3}"));
            pictures
                .entry(key.0)
                .or_default()
                .push((similarity, picture));
        }
    }
    let sorted = |mut of: Vec<(f32, Picture)>| {
        of.sort_by(|a, b| b.0.total_cmp(&a.0));
        of.into_iter().map(|(_, picture)| picture).collect()
    };
    (pictures.into_iter())
        .map(|(id, of)| (id, sorted(of)))
        .collect()
}

/// The beginning of a caption.
fn clipped(caption: &str) -> String {
    match caption.char_indices().nth(MOST_CAPTION) {
        Some((end, _)) => format!("{}…", &caption[..end]),
        None => caption.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sample_is_spread_over_all() {
        assert_eq!(spread(vec![1, 2, 3], 5), [1, 2, 3]);
        assert_eq!(spread((0..100).collect(), 4), [0, 25, 50, 75]);
    }

    #[test]
    fn long_captions_are_cut() {
        assert_eq!(clipped("Mira"), "Mira");
        let long = "é".repeat(MOST_CAPTION + 1);
        assert_eq!(clipped(&long), "é".repeat(MOST_CAPTION) + "…");
    }

    #[test]
    fn the_most_and_the_least_similar_photos_are_shown() {
        let photos: Vec<_> = (0..10).map(|k| (1.0 - k as f32 / 10.0, k)).collect();
        let shown: Vec<u64> = shown_photos(&photos).iter().map(|p| p.1).collect();
        assert_eq!(shown, [0, 1, 2, 7, 8, 9]);
        assert_eq!(shown_photos(&photos[..3]).len(), 3);
    }
}
