//! Step `photo-features`: both CLIP image encoders on every unique photo, whether or not it shows
//! its person. It depends on no similarity, so that another threshold trains again without running
//! an image encoder.

use std::collections::{HashMap, HashSet};

use laioncele_clip::ImageEncoders;
use laioncele_core::ModelFiles;
use laioncele_core::error::Context;
use laioncele_core::table::{FeatureVector, Photo, PhotoFace, PhotoFeature, UniquePhoto};
use laioncele_core::{
    CoreError, DropReason, ImageId, Manifest, NameId, Partitioning, Reads, StageError, StageName,
    Step, StepSpec, TableId, Task, Unit,
};
use laioncele_encoder::Crop;
use laioncele_image::{Limits, Orientation, decode};
use laioncele_inference::{ImageEncoderSection, ModelError, ModelLoader, thread_pool};
use rayon::prelude::*;
use serde_json::json;

use crate::settings::Settings;

/// Photos that are encoded before progress is told.
const PHOTOS_AT_ONCE: usize = 64;

/// Step `photo-features`.
pub(crate) struct PhotoFeatures;

/// Where each photo's best-matching face is.
type FaceBoxes = HashMap<(NameId, ImageId), [f32; 4]>;

const SPEC: StepSpec = StepSpec {
    name: "photo-features",
    stage: StageName::TrainEncoder,
    version: 1,
    partitioning: Partitioning::Buckets,
    reads: &[
        Reads::own(TableId::UniquePhotos),
        Reads::own(TableId::Photos),
    ],
    writes: &[TableId::PhotoFeatures],
};

impl Step for PhotoFeatures {
    fn spec(&self) -> &'static StepSpec {
        &SPEC
    }

    fn reads(&self, manifest: &Manifest) -> Vec<Reads> {
        let mut reads = SPEC.reads.to_vec();
        // A wrong section is reported by `settings`.
        if Settings::from_manifest(manifest).unwrap_or_default().crop == Crop::Face {
            reads.push(Reads::own(TableId::PhotoFaces));
        }
        reads
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
        let unique: HashSet<_> = task
            .read::<UniquePhoto>()?
            .iter()
            .map(|photo| (photo.name_id, photo.image_id))
            .collect();
        let boxes = face_boxes(task)?;
        let mut rows = Vec::with_capacity(unique.len());
        if !unique.is_empty() {
            encode_all(task, crop, &unique, &boxes, &mut rows)?;
        }
        rows.sort_by_key(|row| (row.name_id, row.image_id));
        task.balance(Unit::Image, unique.len() as u64, rows.len() as u64);
        task.write(rows)
    }
}

fn face_boxes(task: &Task) -> Result<FaceBoxes, StageError> {
    let mut boxes = HashMap::new();
    for face in task.read::<PhotoFace>()? {
        if let (true, &[x0, y0, x1, y1]) = (face.faces > 0, face.face_box.0.as_slice()) {
            boxes.insert((face.name_id, face.image_id), [x0, y0, x1, y1]);
        }
    }
    Ok(boxes)
}

/// Encodes the unique photos part by part, so that one part's images are in memory.
fn encode_all(
    task: &mut Task,
    crop: Crop,
    unique: &HashSet<(NameId, ImageId)>,
    boxes: &FaceBoxes,
    rows: &mut Vec<PhotoFeature>,
) -> Result<(), StageError> {
    let section = ImageEncoderSection::from_manifest(task.manifest())?;
    let encoders = ModelLoader::of_task(task).image_encoders(&section)?;
    let pool = thread_pool(task)?;
    let parts: Vec<_> = task.inputs(TableId::Photos).cloned().collect();
    let (mut done, total) = (0, unique.len() as u64);
    for part in &parts {
        let mut photos: Vec<Photo> = task.read_part(part)?;
        photos.retain(|photo| unique.contains(&(photo.name_id, photo.image_id)));
        for photos in photos.chunks(PHOTOS_AT_ONCE) {
            let encode = |photo| encode(&encoders, crop, photo, boxes);
            let encoded: Vec<_> = pool.install(|| photos.par_iter().map(encode).collect());
            for (photo, row) in photos.iter().zip(encoded) {
                match row? {
                    Some(row) => rows.push(row),
                    None => task.drop_row(
                        Unit::Image,
                        photo.image_id.0,
                        Some(photo.name_id),
                        DropReason::NoFace,
                        None,
                    ),
                }
            }
            done += photos.len() as u64;
            task.progress(done, total, Unit::Image)?;
        }
    }
    Ok(())
}

/// The features of one photo; `None` where its face was wanted and there is none.
fn encode(
    encoders: &ImageEncoders,
    crop: Crop,
    photo: &Photo,
    boxes: &FaceBoxes,
) -> Result<Option<PhotoFeature>, StageError> {
    let face_box = match (crop, boxes.get(&(photo.name_id, photo.image_id))) {
        (_, Some(face_box)) => *face_box,
        (Crop::Whole, None) => [0.0; 4],
        (Crop::Face, None) => return Ok(None),
    };
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
    let features = encoders
        .feature(&crop.apply(&image, face_box))
        .map_err(ModelError::from)?;
    Ok(Some(PhotoFeature {
        name_id: photo.name_id,
        image_id: photo.image_id,
        features: FeatureVector(features),
    }))
}
