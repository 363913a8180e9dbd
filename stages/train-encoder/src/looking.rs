//! What the image encoders make of pictures: the part that they see, and their features.

use std::collections::HashMap;

use image::RgbImage;
use laioncele_clip::ImageEncoders;
use laioncele_core::error::Context;
use laioncele_core::table::{FeatureVector, Photo, PhotoFeature};
use laioncele_core::task::{Poison, Rows};
use laioncele_core::{ImageId, NameId, StageError, Task, Unit};
use laioncele_encoder::Crop;
use laioncele_image::{Limits, Orientation, decode};
use laioncele_inference::{ImageEncoderSection, ModelError, ModelLoader, thread_pool};
use rayon::ThreadPool;
use rayon::prelude::*;

/// Pictures whose pixels are in memory at once, and after which progress is told.
pub(crate) const PICTURES_AT_ONCE: usize = 64;

/// A picture of a name.
pub(crate) type Key = (NameId, ImageId);

/// Where the face of each picture is: left, top, right, bottom in pixels.
pub(crate) type FaceBoxes = HashMap<Key, [f32; 4]>;

/// The loaded encoders and how they look.
pub(crate) struct Look {
    encoders: std::sync::Arc<ImageEncoders>,
    pool: ThreadPool,
    crop: Crop,
    looks: Rows,
    unit: Unit,
}

impl Look {
    /// Loads the encoders of `task`'s manifest; `unit` is what a picture is.
    ///
    /// # Errors
    /// A model that does not load, threads that do not start.
    pub(crate) fn new(task: &Task, crop: Crop, unit: Unit) -> Result<Self, StageError> {
        let section = ImageEncoderSection::from_manifest(task.manifest())?;
        Ok(Self {
            encoders: ModelLoader::of_task(task).image_encoders(&section)?,
            pool: thread_pool(task)?,
            crop,
            looks: task.rows(),
            unit,
        })
    }

    /// The features of some pictures; those that cannot be digested are dropped, and `None` here.
    ///
    /// # Errors
    /// A picture that does not decode, a failure of the encoders.
    pub(crate) fn at(
        &self,
        task: &mut Task,
        photos: &[Photo],
        boxes: &FaceBoxes,
    ) -> Result<Vec<Option<PhotoFeature>>, StageError> {
        let encode = || encode(&self.encoders, self.crop, photos, boxes, &self.looks);
        let features = self.pool.install(encode)?;
        let mut rows = Vec::with_capacity(photos.len());
        for (photo, features) in photos.iter().zip(features) {
            let (name_id, image_id) = (photo.name_id, photo.image_id);
            rows.push(match features {
                Ok(features) => Some(PhotoFeature {
                    name_id,
                    image_id,
                    features: FeatureVector(features),
                }),
                Err(poison) => {
                    task.drop_poison(self.unit, image_id.0, Some(name_id), poison);
                    None
                }
            });
        }
        Ok(rows)
    }
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
