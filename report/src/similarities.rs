//! How alike faces are: of one person and of different people, portraits and photos.

use std::collections::BTreeMap;

use laioncele_core::table::{FaceVector, KnownName, PhotoFace, PortraitFace};
use laioncele_core::{NameId, TableId};

use crate::histogram::Histogram;
use crate::view::RunView;

/// Names and photos that are compared at most; the rest would not change the picture.
const MOST_NAMES: usize = 4000;
const MOST_PHOTOS: usize = 40_000;
/// Other names that each name or photo is compared with.
const OTHERS: usize = 4;

/// The similarities of one person's faces and of different people's.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Distributions {
    /// Of one name.
    pub same: Histogram,
    /// Of two names.
    pub different: Histogram,
    /// Whether some of the rows were left out, for there are too many.
    pub sampled: bool,
}

fn cosine(a: &FaceVector, b: &FaceVector) -> f32 {
    a.0.iter().zip(&b.0).map(|(x, y)| x * y).sum()
}

/// Portraits: all pairs of one name, and first portraits against those of other names.
pub(crate) fn portraits(view: &RunView) -> Distributions {
    let mut faces: BTreeMap<NameId, Vec<FaceVector>> = BTreeMap::new();
    let mut found = Distributions::default();
    for part in view.parts(TableId::PortraitFaces) {
        if faces.len() >= MOST_NAMES {
            found.sampled = true;
            break;
        }
        let rows = view.rows::<PortraitFace>(std::iter::once(part)).into_iter();
        for row in rows.filter(|row| row.faces == 1) {
            faces.entry(row.name_id).or_default().push(row.embedding);
        }
    }
    let names: Vec<&Vec<FaceVector>> = faces.values().collect();
    for (k, own) in names.iter().enumerate() {
        for (i, a) in own.iter().enumerate() {
            own[i + 1..]
                .iter()
                .for_each(|b| found.same.add(cosine(a, b)));
        }
        for other in others(k, names.len()) {
            if let (Some(a), Some(b)) = (own.first(), names[other].last()) {
                found.different.add(cosine(a, b));
            }
        }
    }
    found
}

/// Photos: the best face of each against its own name's portraits, as it was scored, and against other names' portraits.
pub(crate) fn photos(view: &RunView) -> Distributions {
    let mut known: Vec<KnownName> = Vec::new();
    for part in view.parts(TableId::KnownNames) {
        if known.len() >= MOST_NAMES {
            break;
        }
        known.extend(view.rows::<KnownName>(std::iter::once(part)));
    }
    known.sort_by_key(|name| name.name_id);
    let mut found = Distributions::default();
    let mut read = 0;
    for part in view.parts(TableId::PhotoFaces) {
        if read >= MOST_PHOTOS {
            found.sampled = true;
            break;
        }
        for face in view.rows::<PhotoFace>(std::iter::once(part)) {
            let Some(similarity) = face.similarity else {
                continue;
            };
            read += 1;
            found.same.add(similarity);
            let start = known.partition_point(|name| name.name_id < face.name_id);
            for other in others(start, known.len()) {
                let portraits = &known[other].faces.0;
                if known[other].name_id != face.name_id && !portraits.is_empty() {
                    let sum: f32 = portraits.iter().map(|p| cosine(p, &face.embedding)).sum();
                    found.different.add(sum / portraits.len() as f32);
                }
            }
        }
    }
    found
}

/// Some places other than `own` of `count`, the next ones: ids are hashes, so neighbours have nothing in common.
fn others(own: usize, count: usize) -> impl Iterator<Item = usize> {
    let most = OTHERS.min(count.saturating_sub(1));
    (1..=most).map(move |step| (own + step) % count)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn others_are_other_places_and_each_once() {
        assert_eq!(others(0, 0).count(), 0);
        assert_eq!(others(0, 1).count(), 0);
        assert_eq!(others(1, 3).collect::<Vec<_>>(), [2, 0]);
        assert_eq!(others(9, 10).collect::<Vec<_>>(), [0, 1, 2, 3]);
    }
}
