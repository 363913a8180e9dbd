//! What is trained on: the dataset's (name embedding, photo) pairs with the photos' features,
//! people apart for training and for validation.

use std::collections::{BTreeMap, HashMap};
use std::ops::Range;

use half::f16;
use laioncele_core::table::{LaionCele, NameVector, PhotoFeature};
use laioncele_core::{
    DropReason, EmbeddingDims, ImageId, KeyHasher, NameId, StageError, TableId, Task, Unit,
};

/// A person: a name embedding and where the photos' features are.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Person {
    /// Id of the name.
    pub name_id: NameId,
    /// The name embedding, [tokens × channels] in one row.
    pub name: Vec<f16>,
    /// The photos' rows of [`Examples::features`].
    pub photos: Range<usize>,
}

/// All examples in memory: 8 kB a photo and 32 kB a person with SDXL's dims.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Examples {
    /// Features of a photo.
    pub width: usize,
    /// Numbers of a name embedding.
    pub output: usize,
    /// [photos × width], people by id, their photos by id.
    pub features: Vec<f32>,
    /// People to train on, by id.
    pub training: Vec<Person>,
    /// People whose photos are never trained on, by id.
    pub validation: Vec<Person>,
    /// Mean and deviation of each feature over the training photos.
    pub statistics: Vec<(f32, f32)>,
    /// (1 / deviation, −mean / deviation): what standardizing multiplies by and adds.
    pub scale: Vec<(f32, f32)>,
}

impl Examples {
    /// Reads the dataset's names and joins them with the photos' features. Photos without features
    /// are dropped.
    ///
    /// # Errors
    /// Damaged parts; a dataset without people.
    pub(crate) fn read(task: &mut Task, validation: f64) -> Result<Self, StageError> {
        let people = dataset(task)?;
        let mut rows = HashMap::new();
        for row in task.read::<PhotoFeature>()? {
            rows.insert((row.name_id, row.image_id), row.features.0);
        }
        let dims = *task.embedding_dims();
        let (mut features, mut joined, mut photos_in) = (Vec::new(), Vec::new(), 0);
        for (name_id, (name, images)) in people {
            let start = features.len() / dims.features;
            photos_in += images.len();
            for image_id in images {
                match rows.get(&(name_id, image_id)) {
                    Some(row) => features.extend_from_slice(row),
                    None => {
                        let reason = DropReason::NoFace;
                        task.drop_row(Unit::Image, image_id.0, Some(name_id), reason, None);
                    }
                }
            }
            let photos = start..features.len() / dims.features;
            if !photos.is_empty() {
                joined.push(Person {
                    name_id,
                    name,
                    photos,
                });
            }
        }
        let photos = (features.len() / dims.features) as u64;
        task.balance(Unit::Image, photos_in as u64, photos);
        let seed = task.manifest().run.seed;
        Self::new(&dims, features, joined, validation, seed).ok_or_else(|| {
            let text = "the dataset has no people to train on: see the rows dropped by filter-counts and verify-images";
            StageError::data(text)
        })
    }

    /// Splits the people and takes the statistics; `None` without people to train on.
    pub(crate) fn new(
        dims: &EmbeddingDims,
        features: Vec<f32>,
        people: Vec<Person>,
        validation: f64,
        seed: u64,
    ) -> Option<Self> {
        let (training, validation) = split(people, validation, seed);
        if training.is_empty() {
            return None;
        }
        let statistics = statistics(&features, dims.features, &training);
        let scale = |&(mean, deviation): &(f32, f32)| (1.0 / deviation, -mean / deviation);
        Some(Self {
            width: dims.features,
            output: dims.name_tokens * dims.name_channels,
            features,
            training,
            validation,
            scale: statistics.iter().map(scale).collect(),
            statistics,
        })
    }

    /// The mean name embedding of the training people.
    pub(crate) fn mean_name(&self) -> Vec<f32> {
        let mut sums = vec![0f64; self.output];
        for person in &self.training {
            sums.iter_mut()
                .zip(&person.name)
                .for_each(|(sum, v)| *sum += v.to_f64());
        }
        let count = self.training.len() as f64;
        sums.into_iter().map(|sum| (sum / count) as f32).collect()
    }
}

/// Name → (embedding, its photos by id), read from the dataset without its images.
fn dataset(task: &Task) -> Result<BTreeMap<NameId, (Vec<f16>, Vec<ImageId>)>, StageError> {
    const COLUMNS: [&str; 3] = ["name_id", "name_embedding", "image_id"];
    let mut people: BTreeMap<NameId, (Vec<f16>, Vec<ImageId>)> = BTreeMap::new();
    for part in task.inputs(TableId::LaionCele) {
        for batch in task.read_columns::<LaionCele>(part, &COLUMNS)? {
            let batch = batch?;
            let names = task.column::<NameId>(&batch, COLUMNS[0])?.into_iter();
            let embeddings = task.column::<NameVector>(&batch, COLUMNS[1])?;
            let images = task.column::<ImageId>(&batch, COLUMNS[2])?;
            for ((name_id, name), image_id) in names.zip(embeddings).zip(images) {
                let person = people.entry(name_id);
                let person = person.or_insert_with(|| (name.0, Vec::new()));
                person.1.push(image_id);
            }
        }
    }
    people
        .values_mut()
        .for_each(|(_, images)| images.sort_unstable());
    Ok(people)
}

/// Sets the fraction `share` of the people apart (one at least, if there are two and `share` is not
/// 0), by a hash of seed and name: who is set apart hardly depends on who else is in the dataset.
fn split(people: Vec<Person>, share: f64, seed: u64) -> (Vec<Person>, Vec<Person>) {
    let wanted = (people.len() as f64 * share).round() as usize;
    let count = match people.len() {
        0 | 1 => 0,
        all => wanted.clamp(usize::from(share > 0.0), all - 1),
    };
    let rank = |name: NameId| {
        let hasher = KeyHasher::new("validation-split").number("seed", seed);
        (hasher.number("name", name.0).finish(), name)
    };
    let mut ranks: Vec<_> = people.iter().map(|person| rank(person.name_id)).collect();
    ranks.sort_unstable();
    let apart: std::collections::HashSet<_> = ranks
        .into_iter()
        .take(count)
        .map(|(_, name)| name)
        .collect();
    people
        .into_iter()
        .partition(|person| !apart.contains(&person.name_id))
}

/// Mean and deviation of each feature; a feature that never varies gets the deviation 1.
fn statistics(features: &[f32], width: usize, people: &[Person]) -> Vec<(f32, f32)> {
    let rows = || {
        let photos = people.iter().flat_map(|person| person.photos.clone());
        photos.map(|row| &features[row * width..][..width])
    };
    let count = rows().count().max(1) as f64;
    let mut means = vec![0f64; width];
    for row in rows() {
        means
            .iter_mut()
            .zip(row)
            .for_each(|(mean, x)| *mean += f64::from(*x) / count);
    }
    let mut squares = vec![0f64; width];
    for row in rows() {
        let pairs = squares.iter_mut().zip(row.iter().zip(&means));
        pairs.for_each(|(square, (x, mean))| *square += (f64::from(*x) - mean).powi(2) / count);
    }
    let deviation = |square: &f64| {
        let deviation = square.sqrt() as f32;
        if deviation > 1e-12 { deviation } else { 1.0 }
    };
    let pairs = means.iter().zip(&squares);
    pairs
        .map(|(mean, square)| (*mean as f32, deviation(square)))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn people(count: u64) -> Vec<Person> {
        let person = |k: u64| Person {
            name_id: NameId(k),
            name: vec![f16::from_f32(k as f32)],
            photos: k as usize..k as usize + 1,
        };
        (0..count).map(person).collect()
    }

    #[test]
    fn split_is_by_person_and_stable() {
        let (training, validation) = split(people(100), 0.1, 7);
        assert_eq!((training.len(), validation.len()), (90, 10));
        assert!(
            validation
                .iter()
                .all(|v| training.iter().all(|t| t.name_id != v.name_id))
        );
        let (_, fewer) = split(people(60), 0.1, 7);
        assert!(
            fewer
                .iter()
                .filter(|f| validation.iter().any(|v| v.name_id == f.name_id))
                .count()
                >= 3
        );
        assert_ne!(split(people(100), 0.1, 8).1, validation);
        assert_eq!(split(people(2), 0.001, 1).1.len(), 1);
        assert_eq!(split(people(1), 0.5, 1).0.len(), 1);
        assert_eq!(split(people(9), 0.0, 1).1.len(), 0);
    }

    #[test]
    fn statistics_are_of_training_people_only() {
        let features = [0.0, 5.0, 2.0, 5.0, 100.0, 100.0];
        let found = statistics(&features, 2, &people(2));
        assert_eq!(found, [(1.0, 1.0), (5.0, 1.0)]);
    }
}
