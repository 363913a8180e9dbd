//! Step `photo-features`: both CLIP image encoders on every photo of the dataset's identities. Features of earlier runs
//! are taken over where photo, crop, models and settings are the same, so that another threshold encodes only the photos
//! that come in by it.

use std::collections::HashMap;

use image::RgbImage;
use laioncele_clip::ImageEncoders;
use laioncele_core::ModelFiles;
use laioncele_core::error::Context;
use laioncele_core::key::KeyParts;
use laioncele_core::ledger::Record;
use laioncele_core::table::{FeatureVector, Identity, Photo, PhotoFeature};
use laioncele_core::task::{Poison, Rows};
use laioncele_core::{
    CoreError, Digest, ImageId, Manifest, NameId, Part, Partitioning, Reads, StageError, StageName,
    Step, StepSpec, TableId, Task, Unit,
};
use laioncele_encoder::Crop;
use laioncele_image::{Limits, Orientation, decode};
use laioncele_inference::{ImageEncoderSection, ModelError, ModelLoader, thread_pool};
use rayon::prelude::*;
use serde_json::json;

use crate::settings::Settings;

/// Photos whose pixels are in memory at once, and after which progress is told.
const PHOTOS_AT_ONCE: usize = 64;

/// Step `photo-features`.
pub(crate) struct PhotoFeatures;

/// A photo of a name.
type Key = (NameId, ImageId);

/// Where the face of each photo is: left, top, right, bottom in pixels.
type FaceBoxes = HashMap<Key, [f32; 4]>;

const SPEC: StepSpec = StepSpec {
    name: "photo-features",
    stage: StageName::TrainEncoder,
    version: 2,
    partitioning: Partitioning::Buckets,
    reads: &[Reads::own(TableId::Identities), Reads::own(TableId::Photos)],
    writes: &[TableId::PhotoFeatures],
};

impl Step for PhotoFeatures {
    fn spec(&self) -> &'static StepSpec {
        &SPEC
    }

    fn settings(&self, manifest: &Manifest) -> Result<serde_json::Value, CoreError> {
        Ok(json!({
            "crop": Settings::from_manifest(manifest)?.crop,
            "models": { "image_encoders": { "precision": ImageEncoderSection::from_manifest(manifest)?.precision } },
        }))
    }
    fn models(&self, manifest: &Manifest) -> Result<Vec<ModelFiles>, CoreError> {
        Ok(ImageEncoderSection::from_manifest(manifest)?.model_files())
    }

    fn run(&self, task: &mut Task) -> Result<(), StageError> {
        let crop = Settings::from_manifest(task.manifest())?.crop;
        let parts: Vec<Part> = task.inputs(TableId::Identities).cloned().collect();
        let boxes = face_boxes(task, &parts)?;
        let mut rows = earlier(task, crop, &boxes)?;
        task.metric("photos_reused", rows.len() as f64);
        let mut poisoned = 0;
        if rows.len() < boxes.len() {
            poisoned = encode_missing(task, crop, &boxes, &mut rows)?;
        }
        let mut rows: Vec<PhotoFeature> = rows.into_values().collect();
        rows.sort_by_key(|row| (row.name_id, row.image_id));
        let (found, encoded) = (boxes.len(), rows.len());
        if encoded + poisoned != found {
            return Err(StageError::data(format!(
                "`identities` has {found} photos, but `photos` holds only {} of them",
                encoded + poisoned
            )));
        }
        task.balance(Unit::Image, found as u64, encoded as u64);
        task.write(rows)
    }
}

fn face_boxes(task: &Task, parts: &[Part]) -> Result<FaceBoxes, StageError> {
    let mut boxes = HashMap::new();
    for part in parts {
        for row in task.read_part::<Identity>(part)? {
            let four = <[f32; 4]>::try_from(row.face_box.0);
            let four = four.map_err(|_| StageError::data("a box of other than four numbers"))?;
            boxes.insert((row.name_id, row.image_id), four);
        }
    }
    Ok(boxes)
}

/// The features that earlier tasks of this bucket made of the same photos and crops with the same models and settings.
fn earlier(
    task: &Task,
    crop: Crop,
    boxes: &FaceBoxes,
) -> Result<HashMap<Key, PhotoFeature>, StageError> {
    let mut rows = HashMap::new();
    for record in task.earlier()? {
        if !made_alike(&record.key_parts, task.key_parts()) {
            continue;
        }
        // Parts that are gone or damaged are passed over: their photos are encoded again.
        let Ok((before, made)) = read_record(task, &record) else {
            continue;
        };
        for row in made {
            let key = (row.name_id, row.image_id);
            let same = match (crop, boxes.get(&key), before.get(&key)) {
                (_, None, _) => false,
                (Crop::Whole, Some(_), _) => true,
                (Crop::Face, Some(now), before) => Some(now) == before,
            };
            if same {
                rows.entry(key).or_insert(row);
            }
        }
    }
    Ok(rows)
}

fn read_record(task: &Task, record: &Record) -> Result<(FaceBoxes, Vec<PhotoFeature>), StageError> {
    let identities = record.inputs.iter();
    let identities: Vec<Part> = identities
        .filter(|part| part.table == TableId::Identities)
        .cloned()
        .collect();
    let mut rows = Vec::new();
    for part in record.outputs_of(TableId::PhotoFeatures) {
        rows.extend(task.read_part::<PhotoFeature>(part)?);
    }
    Ok((face_boxes(task, &identities)?, rows))
}

/// Whether two tasks differ at most in their identities.
fn made_alike(a: &KeyParts, b: &KeyParts) -> bool {
    fn photos(parts: &KeyParts) -> Vec<(&String, &Digest)> {
        let inputs = parts.inputs.iter();
        inputs
            .filter(|(name, _)| name.starts_with(TableId::Photos.as_str()))
            .collect()
    }
    a.version == b.version
        && a.settings == b.settings
        && a.models == b.models
        && photos(a) == photos(b)
}

/// Encodes the photos that have no features yet part by part, so that one part's images are in memory. Returns how many
/// cannot be digested.
fn encode_missing(
    task: &mut Task,
    crop: Crop,
    boxes: &FaceBoxes,
    rows: &mut HashMap<Key, PhotoFeature>,
) -> Result<usize, StageError> {
    let section = ImageEncoderSection::from_manifest(task.manifest())?;
    let encoders = ModelLoader::of_task(task).image_encoders(&section)?;
    let pool = thread_pool(task)?;
    let (total, mut poisoned) = (boxes.len() as u64, 0);
    let (looks, parts) = (task.rows(), task.inputs(TableId::Photos).cloned());
    for part in parts.collect::<Vec<_>>() {
        let mut photos: Vec<Photo> = task.read_part(&part)?;
        photos.retain(|photo| {
            let key = (photo.name_id, photo.image_id);
            boxes.contains_key(&key) && !rows.contains_key(&key)
        });
        for photos in photos.chunks(PHOTOS_AT_ONCE) {
            let features = pool.install(|| encode(&encoders, crop, photos, boxes, &looks))?;
            for (photo, features) in photos.iter().zip(features) {
                let (name_id, image_id) = (photo.name_id, photo.image_id);
                let features = match features {
                    Ok(features) => FeatureVector(features),
                    Err(poison) => {
                        poisoned += 1;
                        task.drop_poison(Unit::Image, image_id.0, Some(name_id), poison);
                        continue;
                    }
                };
                let row = PhotoFeature {
                    name_id,
                    image_id,
                    features,
                };
                rows.insert((name_id, image_id), row);
            }
            task.progress((rows.len() + poisoned) as u64, total, Unit::Image)?;
        }
    }
    Ok(poisoned)
}

/// The features of some photos: on the processor one photo a thread, on a GPU in batches, of photos that all decode.
fn encode(
    encoders: &ImageEncoders,
    crop: Crop,
    photos: &[Photo],
    boxes: &FaceBoxes,
    looks: &Rows,
) -> Result<Vec<Result<Vec<f32>, Poison>>, StageError> {
    let seen = |photo: &Photo| {
        let face_box = boxes.get(&(photo.name_id, photo.image_id));
        visible(crop, photo, face_box.copied().unwrap_or_default())
    };
    if encoders.batch() == 1 || looks.one_by_one() {
        let feature =
            |photo: &Photo| Ok(encoders.feature(&seen(photo)?).map_err(ModelError::from)?);
        let one = |photo: &Photo| looks.look(photo.image_id.0, || feature(photo));
        return photos.par_iter().map(|p| one(p).transposed()).collect();
    }
    let one = |photo: &Photo| looks.look(photo.image_id.0, || seen(photo));
    let decoded = photos.par_iter().map(|p| one(p).transposed());
    let decoded: Vec<Result<RgbImage, Poison>> = decoded.collect::<Result<_, StageError>>()?;
    let images: Vec<RgbImage> = decoded.iter().flatten().cloned().collect();
    let mut features = encoders
        .features(&images)
        .map_err(ModelError::from)?
        .into_iter();
    let of = |image: Result<_, _>| image.map(|_| features.next().unwrap_or_default());
    Ok(decoded.into_iter().map(of).collect())
}

/// What a look at a row gives, with the failures of the whole task outside.
trait Transposed<T> {
    fn transposed(self) -> Result<Result<T, Poison>, StageError>;
}

impl<T> Transposed<T> for Result<Result<T, StageError>, Poison> {
    fn transposed(self) -> Result<Result<T, Poison>, StageError> {
        match self {
            Ok(row) => row.map(Ok),
            Err(poison) => Ok(Err(poison)),
        }
    }
}

/// What the encoders see of a photo.
fn visible(crop: Crop, photo: &Photo, face_box: [f32; 4]) -> Result<RgbImage, StageError> {
    let image = decode(&photo.image.bytes, &Limits::default(), Orientation::Upright);
    // download-images stores only what it has decoded, so this is a damaged table, not a bad photo.
    let image = image.map_err(|error| {
        StageError::data(Context::new(
            format!(
                "photo {} of {} no longer decodes",
                photo.image_id, photo.url
            ),
            error,
        ))
    })?;
    Ok(crop.apply(&image, face_box))
}
