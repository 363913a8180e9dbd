//! What is trained on: the dataset's people with the features of their pictures, people apart for
//! training and for validation.

use std::collections::HashSet;
use std::ops::Range;

use half::f16;
use laioncele_core::{EmbeddingDims, NameId};
use laioncele_encoder::standardized;

use crate::choices::Targets;
use crate::split::{of_names, set_apart, statistics};

/// A person: a name embedding and where the photos' features are.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Person {
    /// Id of the name.
    pub name_id: NameId,
    /// The name embedding, [tokens × channels] in one row.
    pub name: Vec<f16>,
    /// The photos' places in [`Examples::rows`].
    pub photos: Range<usize>,
}

/// All examples in memory: 8 kB a photo and 32 kB a person with SDXL's dims.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Examples {
    /// Features of a photo.
    pub width: usize,
    /// Numbers of a name embedding.
    pub output: usize,
    /// [photos × width], the one copy of them.
    pub features: Vec<f32>,
    /// Rows of `features`, person by person.
    rows: Vec<u32>,
    /// People to train on, by id.
    pub training: Vec<Person>,
    /// People whose photos are never trained on, by id.
    pub validation: Vec<Person>,
    /// How many photos the training people before each have.
    before: Vec<usize>,
    /// Mean of each feature over the training photos.
    pub input_mean: Vec<f32>,
    /// Deviation of each feature over them; 1 where it never varies.
    pub input_std: Vec<f32>,
    /// The training people's mean name.
    pub name_mean: Vec<f32>,
    /// The deviation of each number of their names.
    pub name_std: Vec<f32>,
}

/// The dataset's people and pictures before the split.
pub(crate) struct Joined {
    /// [pictures × width]
    pub features: Vec<f32>,
    /// Rows of `features`, person by person.
    pub rows: Vec<u32>,
    /// What a picture shows: equal for one picture under two names. One of each row.
    pub pictures: Vec<Picture>,
    /// People by id, who have at least one picture.
    pub people: Vec<Person>,
}

/// A photo of a person: whose, and its row of [`Examples::features`].
pub(crate) type Pick<'a> = (&'a Person, usize);

/// What tells that two photos are one: the id of their url, the bytes' hash.
pub(crate) type Picture = [u64; 2];

/// A photo that is left out of the training: whose, its row, whose validation photo it is.
pub(crate) type LeftOut = (NameId, u32, NameId);

impl Examples {
    /// Splits the people, leaves out photos that show both a training and a validation person, and
    /// takes the statistics. `None` for the examples without people to train on.
    pub(crate) fn new(
        dims: &EmbeddingDims,
        joined: Joined,
        validation: f64,
        seed: u64,
    ) -> (Option<Self>, Vec<LeftOut>) {
        let Joined {
            features,
            rows,
            pictures,
            people,
        } = joined;
        let apart = set_apart(people.iter().map(|p| p.name_id), validation, seed);
        let is_apart = |person: &Person| apart.contains(&person.name_id);
        let (validation, training): (Vec<_>, Vec<_>) = people.into_iter().partition(is_apart);
        let mut all = Rows::default();
        let shown = shown(&validation, &rows, &pictures);
        let mut left_out = Vec::new();
        let keep = |person: &Person, row: u32| {
            let of = |picture: &u64| shown.binary_search_by_key(picture, |(p, _)| *p).ok();
            let found = pictures[row as usize].iter().find_map(of);
            if let Some(at) = found {
                left_out.push((person.name_id, row, shown[at].1));
            }
            found.is_none()
        };
        let training = all.add(training, &rows, keep);
        let validation = all.add(validation, &rows, |_, _| true);
        let examples =
            (!training.is_empty()).then(|| Self::of(dims, features, all.0, training, validation));
        (examples, left_out)
    }

    fn of(
        dims: &EmbeddingDims,
        features: Vec<f32>,
        rows: Vec<u32>,
        training: Vec<Person>,
        validation: Vec<Person>,
    ) -> Self {
        let (width, output) = (dims.features, dims.name_tokens * dims.name_channels);
        let (input_mean, input_std) = statistics(width, || {
            let photos = training.iter().flat_map(|person| person.photos.clone());
            photos.map(|photo| &features[rows[photo] as usize * width..][..width])
        });
        let names = training.iter().map(|person| &person.name[..]);
        let (name_mean, name_std) = of_names(output, names);
        let mut total = 0;
        let before = training.iter().map(|person| {
            total += person.photos.len();
            total - person.photos.len()
        });
        Self {
            before: before.collect(),
            width,
            output,
            features,
            rows,
            training,
            validation,
            input_mean,
            input_std,
            name_mean,
            name_std,
        }
    }

    /// The row of [`Examples::features`] of a place of a person's photos.
    pub(crate) fn row(&self, photo: usize) -> usize {
        self.rows[photo] as usize
    }

    /// How many photos are trained on.
    pub(crate) fn training_photos(&self) -> usize {
        count(&self.training)
    }

    /// The training photo of a number below [`Examples::training_photos`].
    pub(crate) fn training_photo(&self, number: usize) -> Pick<'_> {
        let person = self.before.partition_point(|before| *before <= number) - 1;
        let (before, person) = (self.before[person], &self.training[person]);
        (person, self.row(person.photos.start + number - before))
    }

    /// At most `limit` photos of the validation people, evenly taken from all of them.
    pub(crate) fn validation_photos(&self, limit: usize) -> Vec<Pick<'_>> {
        let rows = |person: &Person| person.photos.clone();
        let all = self.validation.iter();
        let all = all.flat_map(|p| rows(p).map(move |photo| (p, self.row(photo))));
        let stride = count(&self.validation).div_ceil(limit).max(1);
        all.step_by(stride).collect()
    }

    /// The standardized features of `photos`, [width × photos], into `inputs`.
    pub(crate) fn fill_inputs(&self, photos: &[Pick<'_>], inputs: &mut Vec<f32>) {
        let (size, width) = (photos.len(), self.width);
        inputs.resize(width * size, 0.0);
        for (column, (_, row)) in photos.iter().enumerate() {
            let features = &self.features[row * width..][..width];
            let constants = self.input_mean.iter().zip(&self.input_std);
            for (k, (value, (mean, std))) in features.iter().zip(constants).enumerate() {
                inputs[k * size + column] = standardized(*value, *mean, *std);
            }
        }
    }

    /// What targets are standardized by, if they are.
    pub(crate) fn target_scale(&self, targets: Targets) -> Option<(&[f32], &[f32])> {
        match targets {
            Targets::Raw => None,
            Targets::Standardized => Some((&self.name_mean, &self.name_std)),
        }
    }
}

/// Photos of all of `people`.
pub(crate) fn count(people: &[Person]) -> usize {
    people.iter().map(|person| person.photos.len()).sum()
}

/// Rows of features, person by person.
#[derive(Default)]
struct Rows(Vec<u32>);

impl Rows {
    /// Adds the photos of `people` that `keep` keeps; people without any are gone.
    fn add(
        &mut self,
        people: Vec<Person>,
        rows: &[u32],
        mut keep: impl FnMut(&Person, u32) -> bool,
    ) -> Vec<Person> {
        let mut kept = Vec::with_capacity(people.len());
        for mut person in people {
            let start = self.0.len();
            let photos = rows[person.photos.clone()].iter().copied();
            self.0.extend(photos.filter(|row| keep(&person, *row)));
            person.photos = start..self.0.len();
            if !person.photos.is_empty() {
                kept.push(person);
            }
        }
        kept
    }
}

/// What is on the validation people's photos, sorted, and whose each is.
fn shown(validation: &[Person], rows: &[u32], pictures: &[Picture]) -> Vec<(u64, NameId)> {
    let mut found = HashSet::new();
    for person in validation {
        for row in &rows[person.photos.clone()] {
            let both = pictures[*row as usize].into_iter();
            found.extend(both.map(|picture| (picture, person.name_id)));
        }
    }
    let mut found: Vec<_> = found.into_iter().collect();
    found.sort_unstable();
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    const DIMS: EmbeddingDims = EmbeddingDims {
        name_tokens: 1,
        name_channels: 2,
        face: 1,
        features: 1,
    };

    /// People with two photos each. Photo 2k + 1 of person k is the first of person k + 1, by its
    /// bytes.
    fn chain(count: u64) -> Joined {
        let person = |k: u64| Person {
            name_id: NameId(k),
            name: vec![f16::from_f32(k as f32), f16::ONE],
            photos: 2 * k as usize..2 * k as usize + 2,
        };
        Joined {
            features: (0..2 * count).map(|row| row as f32).collect(),
            rows: (0..2 * count as u32).collect(),
            pictures: (0..2 * count)
                .map(|row| [1000 + row, row.div_ceil(2)])
                .collect(),
            people: (0..count).map(person).collect(),
        }
    }

    #[test]
    fn no_photo_is_on_both_sides() {
        let (examples, left_out) = Examples::new(&DIMS, chain(20), 0.1, 5);
        let examples = examples.expect("people");
        assert_eq!(examples.validation.len(), 2);
        assert!((2..=4).contains(&left_out.len()), "{left_out:?}");
        let shown = |people: &[Person]| -> HashSet<usize> {
            let photos = people.iter().flat_map(|p| p.photos.clone());
            photos.map(|p| examples.row(p).div_ceil(2)).collect()
        };
        let (training, validation) = (shown(&examples.training), shown(&examples.validation));
        assert_eq!(training.intersection(&validation).count(), 0);
        let photos = examples.training_photos() + count(&examples.validation);
        assert_eq!(photos + left_out.len(), 40);
        for (_, _, whose) in left_out {
            assert!(examples.validation.iter().any(|p| p.name_id == whose));
        }
    }

    #[test]
    fn each_training_photo_has_one_number() {
        let (examples, _) = Examples::new(&DIMS, chain(20), 0.1, 5);
        let examples = examples.expect("people");
        let all = (0..examples.training_photos()).map(|k| examples.training_photo(k));
        let mut rows = HashSet::new();
        for (person, row) in all {
            assert!(rows.insert(row));
            assert_eq!(row as u64 / 2, person.name_id.0);
        }
        assert_eq!(rows.len(), examples.training_photos());
    }

    #[test]
    fn statistics_are_of_training_people_only() {
        let (examples, _) = Examples::new(&DIMS, chain(2), 0.5, 1);
        let examples = examples.expect("people");
        let person = &examples.training[0];
        assert_eq!(examples.name_mean[0], person.name[0].to_f32());
        assert_eq!(examples.name_std, [1.0, 1.0]);
        let row = examples.row(person.photos.start) as f32;
        assert_eq!((person.photos.len(), examples.input_mean[0]), (1, row));
    }

    #[test]
    fn nobody_to_train_on_is_no_examples() {
        assert!(Examples::new(&DIMS, chain(0), 0.5, 1).0.is_none());
        assert_eq!(Examples::new(&DIMS, chain(1), 0.5, 1).1, []);
    }
}
