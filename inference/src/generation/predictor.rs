//! From photos to a name: the trained encoder with the networks in front of it, of a run or of a published folder.

use std::sync::Arc;

use image::RgbImage;
use laioncele_clip::ImageEncoders;
use laioncele_core::{EmbeddingDims, TableId};
use laioncele_encoder::{CONFIG_FILE, Crop, Encoder, WEIGHTS_FILE};
use laioncele_face::FaceNets;
use laioncele_sdxl::NameTensor;

use super::config::GenerationConfig;
use super::error::{GenerationError, Result};
use super::folder::EncoderFolder;
use super::name::PersonName;
use super::statistics::NameStatistics;
use super::tables::RunTables;
use crate::{ImageEncoderSection, ModelLoader};

/// What turns photos into names.
pub struct NamePredictor {
    image_encoders: Arc<ImageEncoders>,
    encoder: Arc<Encoder>,
    statistics: Arc<NameStatistics>,
    faces: Option<Arc<FaceNets>>,
    crop: Crop,
}

impl NamePredictor {
    /// The encoder of the run, if there is one yet, with what it needs.
    pub(super) fn of_run(
        config: &GenerationConfig,
        tables: &RunTables<'_>,
        faces: Option<Arc<FaceNets>>,
    ) -> Result<Option<Self>> {
        let parts = tables.parts(TableId::Encoder);
        let find = |name: &str| parts.iter().find(|part| part.path.ends_with(name));
        let (Some(shape), Some(weights)) = (find(CONFIG_FILE), find(WEIGHTS_FILE)) else {
            return Ok(None);
        };
        let key = format!("{} {}", shape.digest, weights.digest);
        let loader = tables.loader();
        let encoder =
            loader.encoder(&key, || Ok([tables.bytes(shape)?, tables.bytes(weights)?]))?;
        let image_encoders = loader.image_encoders(&config.image_encoders)?;
        check(&encoder, &image_encoders, tables.embedding_dims())?;
        Ok(Some(Self {
            statistics: NameStatistics::kept(tables)?,
            crop: config.crop,
            image_encoders,
            encoder,
            faces,
        }))
    }

    /// The encoder of a published folder.
    ///
    /// # Errors
    /// Image encoders that are missing or make other features; [`GenerationError::NoFaceNetworks`] for an encoder of faces
    /// without `faces`.
    pub fn of_folder(
        folder: &EncoderFolder,
        image_encoders: &ImageEncoderSection,
        faces: Option<Arc<FaceNets>>,
    ) -> Result<Self> {
        if folder.crop == Crop::Face && faces.is_none() {
            return Err(GenerationError::NoFaceNetworks);
        }
        let dims = folder.dims();
        let image_encoders = ModelLoader::without_task(&dims).image_encoders(image_encoders)?;
        check(&folder.encoder, &image_encoders, &dims)?;
        Ok(Self {
            image_encoders,
            encoder: folder.encoder.clone(),
            statistics: folder.statistics.clone(),
            crop: folder.crop,
            faces,
        })
    }

    /// What Equations 4 and 5 need to know of names.
    pub fn statistics(&self) -> &NameStatistics {
        &self.statistics
    }

    /// The name of one person in several photos: the mean of each photo's. Photos without a face are passed over where faces
    /// are looked at.
    ///
    /// # Errors
    /// [`GenerationError::NoFace`] if no photo shows one, [`GenerationError::NoPhoto`], or a network's error.
    pub fn name_from_photos(&self, photos: &[RgbImage]) -> Result<PersonName> {
        if photos.is_empty() {
            return Err(GenerationError::NoPhoto);
        }
        let mut names = Vec::with_capacity(photos.len());
        for photo in photos {
            let Some(face_box) = self.face_box(photo)? else {
                continue;
            };
            let seen = self.crop.apply(photo, face_box);
            let feature = self.image_encoders.feature(&seen)?;
            let width = self.encoder.config.output_channels;
            names.push(NameTensor::new(self.encoder.predict(&feature)?, width)?);
        }
        if names.is_empty() {
            return Err(GenerationError::NoFace);
        }
        Ok(PersonName {
            embedding: NameTensor::mean(&names)?,
            predicted: true,
        })
    }

    /// The box that is cropped to: the most prominent face's, anything for a crop that needs none.
    fn face_box(&self, photo: &RgbImage) -> Result<Option<[f32; 4]>> {
        match (self.crop, &self.faces) {
            (Crop::Whole, _) => Ok(Some([0.0; 4])),
            (Crop::Face, Some(nets)) => Ok(nets.detect(photo)?.first().map(|face| face.bbox)),
            (Crop::Face, None) => Ok(None),
        }
    }
}

/// Whether both ends of the encoder fit their neighbours.
fn check(encoder: &Encoder, image_encoders: &ImageEncoders, dims: &EmbeddingDims) -> Result<()> {
    let config = &encoder.config;
    fit("the encoder's input", config.input, image_encoders.width())?;
    let name = dims.name_tokens * dims.name_channels;
    fit("the encoder's output", config.output(), name)
}

fn fit(what: &'static str, found: usize, expected: usize) -> Result<()> {
    if found == expected {
        return Ok(());
    }
    Err(GenerationError::Dims {
        what,
        found,
        expected,
    })
}
