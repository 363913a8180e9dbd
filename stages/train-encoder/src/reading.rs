//! The dataset joined with its pictures' features. Features are read into one array, a row group at
//! a time: nothing holds them twice.

use std::collections::BTreeMap;

use half::f16;
use laioncele_core::table::{FeatureVector, LaionCele, NameVector, PhotoFeature};
use laioncele_core::{
    Digest, DropReason, EmbeddingDims, ImageId, NameId, StageError, TableId, Task, Unit,
};

use crate::choices::Images;
use crate::examples::{Examples, Joined, Person, Picture};
use crate::settings::Settings;

/// A picture of a name.
type Key = (NameId, ImageId);

/// Reads the dataset's people and joins them with the features of their pictures. Photos without
/// features are dropped, and so are training photos that show a validation person.
///
/// # Errors
/// Damaged parts; numbers that are not finite; a dataset without people.
pub(crate) fn examples(task: &mut Task, settings: &Settings) -> Result<Examples, StageError> {
    let dims = *task.embedding_dims();
    let (names, photos) = dataset(task, &dims)?;
    let (unit, pictures) = match settings.images {
        Images::Photos => (Unit::Image, photos),
        Images::Portraits => (Unit::Portrait, portraits(task, &names)?),
    };
    let keys: Vec<Key> = pictures.keys().copied().collect();
    let (features, there) = features(task, &keys, dims.features)?;
    for ((name_id, image_id), there) in keys.iter().zip(&there) {
        if !there {
            task.drop_row(unit, image_id.0, Some(*name_id), DropReason::NoFace, None);
        }
    }
    let joined = join(
        names,
        &keys,
        &there,
        features,
        pictures.into_values().collect(),
    );
    let seed = task.manifest().run.seed;
    let found = joined.rows.len();
    let (examples, left_out) = Examples::new(&dims, joined, settings.validation, seed);
    for (name_id, row, whose) in &left_out {
        let (image_id, reason) = (keys[*row as usize].1, DropReason::ValidationPhoto);
        let detail = Some(whose.to_string());
        task.drop_row(unit, image_id.0, Some(*name_id), reason, detail);
    }
    task.balance(unit, keys.len() as u64, (found - left_out.len()) as u64);
    examples.ok_or_else(|| {
        let text = match found {
            0 => "the dataset has no people to train on: see the rows dropped by filter-counts and verify-images",
            _ => "all photos of the training people also show people set apart: lower validation in [train_encoder]",
        };
        StageError::data(text)
    })
}

type Names = BTreeMap<NameId, Vec<f16>>;
type Pictures = BTreeMap<Key, Picture>;

/// The dataset's names and photos, read without its images.
fn dataset(task: &Task, dims: &EmbeddingDims) -> Result<(Names, Pictures), StageError> {
    const COLUMNS: [&str; 4] = ["name_id", "name_embedding", "image_id", "sha256"];
    let (mut people, mut photos) = (Names::new(), Pictures::new());
    for part in task.inputs(TableId::LaionCele) {
        for batch in task.read_columns::<LaionCele>(part, &COLUMNS)? {
            let batch = batch?;
            let names = task.column::<NameId>(&batch, COLUMNS[0])?.into_iter();
            let embeddings = task.column::<NameVector>(&batch, COLUMNS[1])?;
            let images = task.column::<ImageId>(&batch, COLUMNS[2])?.into_iter();
            let hashes = task.column::<String>(&batch, COLUMNS[3])?;
            let rows = names.zip(embeddings).zip(images.zip(hashes));
            for ((name_id, name), (image_id, sha256)) in rows {
                photos.insert((name_id, image_id), picture(image_id, &sha256));
                people.entry(name_id).or_insert(name.0);
            }
        }
    }
    let width = dims.name_tokens * dims.name_channels;
    for (name_id, name) in &people {
        if name.len() != width || !name.iter().all(|x| x.is_finite()) {
            let text = format!(
                "the name embedding of {name_id} in `laioncele` is not {width} finite numbers: run `laioncele verify`"
            );
            return Err(StageError::data(text));
        }
    }
    Ok((people, photos))
}

/// What tells that two photos are one. An empty hash tells nothing.
fn picture(image_id: ImageId, sha256: &str) -> Picture {
    match sha256 {
        "" => [image_id.0; 2],
        _ => [image_id.0, Digest::of(sha256.as_bytes()).low_u64()],
    }
}

/// The portraits of the dataset's people that have features. Each is its own picture: none is of
/// two names.
fn portraits(task: &Task, names: &Names) -> Result<Pictures, StageError> {
    const COLUMNS: [&str; 2] = ["name_id", "image_id"];
    let mut portraits = Pictures::new();
    for part in task.inputs(TableId::PhotoFeatures) {
        for batch in task.read_columns::<PhotoFeature>(part, &COLUMNS)? {
            let batch = batch?;
            let ids = task.column::<NameId>(&batch, COLUMNS[0])?.into_iter();
            let images = task.column::<ImageId>(&batch, COLUMNS[1])?;
            let keys = ids.zip(images).filter(|key| names.contains_key(&key.0));
            portraits.extend(keys.map(|key| {
                let own = format!("{} {}", key.0, key.1);
                (key, [Digest::of(own.as_bytes()).low_u64(); 2])
            }));
        }
    }
    Ok(portraits)
}

/// The features of `keys`, [keys × width] in their order, and which of them there are.
fn features(task: &Task, keys: &[Key], width: usize) -> Result<(Vec<f32>, Vec<bool>), StageError> {
    const COLUMNS: [&str; 3] = ["name_id", "image_id", "features"];
    let (mut all, mut there) = (vec![0f32; keys.len() * width], vec![false; keys.len()]);
    for part in task.inputs(TableId::PhotoFeatures) {
        for batch in task.read_columns::<PhotoFeature>(part, &COLUMNS)? {
            let batch = batch?;
            let ids = task.column::<NameId>(&batch, COLUMNS[0])?.into_iter();
            let images = task.column::<ImageId>(&batch, COLUMNS[1])?;
            let rows = task.column::<FeatureVector>(&batch, COLUMNS[2])?;
            for (key, row) in ids.zip(images).zip(rows) {
                let Ok(place) = keys.binary_search(&key) else {
                    continue;
                };
                if row.0.len() != width || !row.0.iter().all(|x| x.is_finite()) {
                    return Err(bad_features(key, width));
                }
                all[place * width..][..width].copy_from_slice(&row.0);
                there[place] = true;
            }
        }
    }
    Ok((all, there))
}

fn bad_features((name_id, image_id): Key, width: usize) -> StageError {
    StageError::data(format!(
        "the features of picture {image_id} of name {name_id} in `photo_features` are not {width} finite numbers: \
         check the weights of [models.image_encoders] with `laioncele doctor`, then the run's tables with `laioncele verify`"
    ))
}

/// People with their rows of features.
fn join(
    mut names: Names,
    keys: &[Key],
    there: &[bool],
    features: Vec<f32>,
    pictures: Vec<Picture>,
) -> Joined {
    let (mut rows, mut people) = (Vec::with_capacity(keys.len()), Vec::new());
    let mut first = 0;
    for group in keys.chunk_by(|a, b| a.0 == b.0) {
        let (start, name_id) = (rows.len(), group[0].0);
        let of_group = first..first + group.len();
        rows.extend(of_group.filter(|row| there[*row]).map(|row| row as u32));
        first += group.len();
        let name = names.remove(&name_id);
        if let (Some(name), false) = (name, start == rows.len()) {
            people.push(Person {
                name_id,
                name,
                photos: start..rows.len(),
            });
        }
    }
    Joined {
        features,
        rows,
        pictures,
        people,
    }
}
