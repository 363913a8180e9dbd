//! How much of a locked dataset another one equals.

use std::collections::BTreeMap;

use laioncele_core::numbers::setting_text;
use serde::Serialize;

use super::file::{LockFile, Photo};
use crate::words::{count, grouped, headed_table};

/// Most differences that are printed of a kind; the JSON has them all.
const SHOWN: usize = 10;

/// How two things by the same names compare.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub(crate) struct Share {
    /// In the lock.
    pub locked: usize,
    /// In both, and equal.
    pub equal: usize,
    /// In both, and not equal.
    pub other: Vec<String>,
    /// In the lock alone.
    pub missing: Vec<String>,
    /// In the run alone.
    pub more: usize,
}

/// How a run compares with a lock.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Comparison {
    /// Whether everything that makes the dataset is equal: its people and photos.
    pub equal: bool,
    /// The people: equal if name and photos are.
    pub people: Share,
    /// The photos, by their bytes.
    pub photos: Share,
    /// The digests of the tables.
    pub tables: Share,
    /// The files of the source.
    pub source: Share,
    /// The models.
    pub models: Share,
    /// The settings, `STEP: SETTING THEIRS → OURS`.
    pub settings: Share,
}

/// Compares `ours` with `theirs`.
pub(crate) fn compare(theirs: &LockFile, ours: &LockFile) -> Comparison {
    let people = Share::of(&theirs.people, &ours.people, |id, them, _| {
        format!("{} ({id})", them.name)
    });
    let photos = Share::of(&photos(theirs), &photos(ours), |_, photo, _| {
        photo.url.clone()
    });
    let digest = |name: &String| name.clone();
    let tables = |lock: &LockFile| -> BTreeMap<String, _> {
        let tables = lock.tables.iter();
        tables
            .map(|(table, digest)| (table.to_string(), *digest))
            .collect()
    };
    Comparison {
        equal: people.is_all() && photos.is_all(),
        people,
        photos,
        tables: Share::of(&tables(theirs), &tables(ours), |name, _, _| digest(name)),
        source: Share::of(&theirs.source, &ours.source, |name, _, _| digest(name)),
        models: Share::of(&theirs.models, &ours.models, |name, _, _| digest(name)),
        settings: Share::of(&settings(theirs), &settings(ours), |name, from, to| {
            let to = to.map_or_else(|| "none".to_owned(), |to| setting_text(to));
            format!("{name} {} → {to}", setting_text(from))
        }),
    }
}

/// The photos by name and image: one photo may be of two people.
fn photos(lock: &LockFile) -> BTreeMap<String, Photo> {
    let photos = lock.people.iter().flat_map(|(name, person)| {
        let photos = person.photos.iter();
        photos.map(move |(image, photo)| (format!("{name}/{image}"), photo.clone()))
    });
    photos.collect()
}

fn settings(lock: &LockFile) -> BTreeMap<String, String> {
    let versions = lock.versions.iter();
    let versions =
        versions.map(|(step, version)| (format!("{step}: version"), version.to_string()));
    let settings = lock.settings.iter().flat_map(|(step, settings)| {
        let named = settings.iter();
        named.map(move |(name, value)| (format!("{step}: {name}"), value.clone()))
    });
    settings.chain(versions).collect()
}

impl Share {
    fn of<T: PartialEq>(
        theirs: &BTreeMap<String, T>,
        ours: &BTreeMap<String, T>,
        words: impl Fn(&String, &T, Option<&T>) -> String,
    ) -> Self {
        let mut share = Self {
            locked: theirs.len(),
            more: ours
                .keys()
                .filter(|name| !theirs.contains_key(*name))
                .count(),
            ..Self::default()
        };
        for (name, their) in theirs {
            match ours.get(name) {
                Some(our) if our == their => share.equal += 1,
                Some(our) => share.other.push(words(name, their, Some(our))),
                None => share.missing.push(words(name, their, None)),
            }
        }
        share
    }

    fn is_all(&self) -> bool {
        self.equal == self.locked && self.more == 0
    }

    fn row(&self, what: &str) -> Vec<String> {
        let number = |n: usize| grouped(n as u64);
        let share = match self.locked {
            0 => String::new(),
            all => format!("{:.1} %", self.equal as f64 * 100.0 / all as f64),
        };
        vec![
            what.to_owned(),
            number(self.locked),
            number(self.equal),
            share,
            number(self.other.len()),
            number(self.missing.len()),
            number(self.more),
        ]
    }
}

impl Comparison {
    /// A table, and the first differences of each kind.
    pub(crate) fn render(&self) -> String {
        let heading = ["", "locked", "equal", "", "other", "missing", "more"];
        let kinds = [
            ("people", &self.people),
            ("photos", &self.photos),
            ("tables", &self.tables),
            ("source files", &self.source),
            ("models", &self.models),
            ("settings", &self.settings),
        ];
        let mut rows = vec![heading.map(str::to_owned).to_vec()];
        rows.extend(kinds.iter().map(|(what, share)| share.row(what)));
        let mut text = headed_table(&rows, &[1, 2, 3, 4, 5, 6]);
        for (what, share) in kinds {
            for (how, all) in [("other", &share.other), ("missing", &share.missing)] {
                for one in all.iter().take(SHOWN) {
                    text.push_str(&format!("\n{what}, {how}: {one}"));
                }
                if all.len() > SHOWN {
                    let more = count(all.len() - SHOWN, "more difference");
                    text.push_str(&format!("\n{what}, {how}: {more}"));
                }
            }
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use laioncele_core::{Digest, TableId};

    use super::super::file::Person;
    use super::*;

    fn lock() -> LockFile {
        let photo = |url: &str, sha256: &str| Photo {
            url: url.to_owned(),
            sha256: sha256.to_owned(),
        };
        let photos = [
            ("a", photo("http://x/a", "1")),
            ("b", photo("http://x/b", "2")),
        ];
        let photos = photos.map(|(id, photo)| (id.to_owned(), photo));
        let person = Person {
            name: "Ada".to_owned(),
            photos: photos.into(),
        };
        let settings = BTreeMap::from([("s.threshold".to_owned(), "0.4".to_owned())]);
        LockFile {
            format: 1,
            program: "laioncele".to_owned(),
            manifest: Digest::of(b"manifest"),
            seed: 1,
            settings: BTreeMap::from([("verify-images".to_owned(), settings)]),
            versions: BTreeMap::from([("verify-images".to_owned(), 2)]),
            models: BTreeMap::from([("models.face".to_owned(), Digest::of(b"face"))]),
            source: BTreeMap::from([("shard-a".to_owned(), Digest::of(b"captions"))]),
            tables: BTreeMap::from([(TableId::LaionCele, Digest::of(b"rows"))]),
            people: BTreeMap::from([("1".to_owned(), person)]),
        }
    }

    #[test]
    fn a_dataset_equals_itself() {
        let found = compare(&lock(), &lock());
        assert!(found.equal);
        assert_eq!((found.photos.equal, found.settings.equal), (2, 2));
        assert!(found.render().contains("100.0 %"), "{}", found.render());
    }

    #[test]
    fn what_differs_is_named_and_counted() {
        let mut ours = lock();
        let settings = ours.settings.get_mut("verify-images").expect("a step");
        settings.insert("s.threshold".to_owned(), "0.5".to_owned());
        let person = ours.people.get_mut("1").expect("a person");
        person.photos.get_mut("a").expect("a photo").sha256 = "3".to_owned();
        let photo = person.photos.remove("b").expect("a photo");
        person.photos.insert("c".to_owned(), photo);
        let found = compare(&lock(), &ours);
        assert!(!found.equal);
        assert_eq!(found.photos.other, ["http://x/a"]);
        assert_eq!(found.photos.missing, ["http://x/b"]);
        assert_eq!((found.photos.equal, found.photos.more), (0, 1));
        assert_eq!(
            found.settings.other,
            ["verify-images: s.threshold 0.4 → 0.5"]
        );
        assert_eq!(found.people.other, ["Ada (1)"]);
        assert!(found.render().contains("photos, missing: http://x/b"));
    }
}
