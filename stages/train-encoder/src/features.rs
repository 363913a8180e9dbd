//! Step `photo-features`: both CLIP image encoders on every photo of the dataset's identities, or on their portraits. Features of earlier runs
//! are taken over where photo, crop, models and settings are the same, so that another threshold encodes only the photos
//! that come in by it.

use std::collections::HashMap;

use laioncele_core::key::KeyParts;
use laioncele_core::ledger::Record;
use laioncele_core::table::{Identity, Photo, PhotoFeature};
use laioncele_core::{
    CoreError, Digest, Manifest, ModelFiles, Part, Partitioning, Reads, Row, StageError, StageName,
    Step, StepSpec, TableId, Task, Unit,
};
use laioncele_encoder::Crop;
use laioncele_inference::ImageEncoderSection;
use serde_json::json;

use crate::choices::Images;
use crate::looking::{FaceBoxes, Key, Look, PICTURES_AT_ONCE};
use crate::portraits;
use crate::settings::Settings;

/// Step `photo-features`.
pub(crate) struct PhotoFeatures;

const SPEC: StepSpec = StepSpec {
    name: "photo-features",
    stage: StageName::TrainEncoder,
    version: 3,
    partitioning: Partitioning::Buckets,
    reads: &[Reads::own(TableId::Identities), Reads::own(TableId::Photos)],
    writes: &[TableId::PhotoFeatures],
};

impl Step for PhotoFeatures {
    fn spec(&self) -> &'static StepSpec {
        &SPEC
    }

    /// Those of the pictures that the manifest chooses.
    fn reads(&self, manifest: &Manifest) -> Vec<Reads> {
        match Settings::from_manifest(manifest).map(|settings| settings.images) {
            Ok(Images::Portraits) => portraits::READS.to_vec(),
            _ => SPEC.reads.to_vec(),
        }
    }

    fn settings(&self, manifest: &Manifest) -> Result<serde_json::Value, CoreError> {
        let Settings { crop, images, .. } = Settings::from_manifest(manifest)?;
        let mut settings = json!({
            "crop": crop,
            "models": { "image_encoders": { "precision": ImageEncoderSection::from_manifest(manifest)?.precision } },
        });
        if images != Images::Photos {
            settings["images"] = json!(images);
        }
        Ok(settings)
    }

    fn models(&self, manifest: &Manifest) -> Result<Vec<ModelFiles>, CoreError> {
        Ok(ImageEncoderSection::from_manifest(manifest)?.model_files())
    }

    fn run(&self, task: &mut Task) -> Result<(), StageError> {
        let Settings { crop, images, .. } = Settings::from_manifest(task.manifest())?;
        if images == Images::Portraits {
            return portraits::run(task, crop);
        }
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

/// Encodes the photos that have no features yet: what is in memory is a row group's images, and those that wait until they are enough to
/// be looked at together. Returns how many cannot be digested.
fn encode_missing(
    task: &mut Task,
    crop: Crop,
    boxes: &FaceBoxes,
    rows: &mut HashMap<Key, PhotoFeature>,
) -> Result<usize, StageError> {
    let look = Look::new(task, crop, Unit::Image)?;
    let (total, mut poisoned) = (boxes.len() as u64, 0);
    let parts = task.inputs(TableId::Photos).cloned();
    for part in parts.collect::<Vec<_>>() {
        let mut waiting = Vec::new();
        for batch in task.stream::<Photo>(&part)? {
            let mut photos = Photo::from_batch(&batch?, task.embedding_dims(), &part.path)?;
            photos.retain(|photo| {
                let key = (photo.name_id, photo.image_id);
                boxes.contains_key(&key) && !rows.contains_key(&key)
            });
            waiting.extend(photos);
            while waiting.len() >= PICTURES_AT_ONCE {
                let block: Vec<Photo> = waiting.drain(..PICTURES_AT_ONCE).collect();
                poisoned += add_features(task, &look, &block, boxes, rows)?;
                task.progress((rows.len() + poisoned) as u64, total, Unit::Image)?;
            }
        }
        poisoned += add_features(task, &look, &waiting, boxes, rows)?;
        task.progress((rows.len() + poisoned) as u64, total, Unit::Image)?;
    }
    Ok(poisoned)
}

/// Adds the features of `photos` to `rows`. Returns how many cannot be digested.
fn add_features(
    task: &mut Task,
    look: &Look,
    photos: &[Photo],
    boxes: &FaceBoxes,
    rows: &mut HashMap<Key, PhotoFeature>,
) -> Result<usize, StageError> {
    if photos.is_empty() {
        return Ok(0);
    }
    let found = look.at(task, photos, boxes)?;
    let poisoned = found.iter().filter(|row| row.is_none()).count();
    let found = found.into_iter().flatten();
    rows.extend(found.map(|row| ((row.name_id, row.image_id), row)));
    Ok(poisoned)
}
