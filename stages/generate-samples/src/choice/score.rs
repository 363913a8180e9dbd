//! Step score-by-name: how like a candidate's photos the faces of the images by name are.

use image::RgbImage;
use laioncele_core::error::Context;
use laioncele_core::table::{NamedFace, NamedImage};
use laioncele_core::{
    CoreError, Manifest, ModelFiles, Partitioning, Reads, StageError, StageName, Step, StepSpec,
    TableId, Task, Unit,
};
use laioncele_face::FaceNets;
use laioncele_image::{Limits, Orientation, decode};
use laioncele_inference::choice::{main_face, similarity};
use laioncele_inference::references::{self, Person};
use laioncele_inference::{ModelError, ModelLoader, thread_pool};
use rayon::prelude::*;
use serde_json::{Value, json};

use super::{ChoiceConfig, partitioning};
use crate::{MOST_CHUNKS, chunk_number};

/// The step.
pub(super) struct ScoreByName;

const SPEC: StepSpec = StepSpec {
    name: "score-by-name",
    stage: StageName::GenerateSamples,
    version: 1,
    partitioning: Partitioning::Chunks(MOST_CHUNKS as u32),
    reads: &[Reads::own(TableId::NamedImages)],
    writes: &[TableId::NamedFaces],
};

impl Step for ScoreByName {
    fn spec(&self) -> &'static StepSpec {
        &SPEC
    }

    fn partitioning(&self, manifest: &Manifest) -> Result<Partitioning, CoreError> {
        partitioning(manifest)
    }

    fn settings(&self, manifest: &Manifest) -> Result<Value, CoreError> {
        Ok(match ChoiceConfig::from_manifest(manifest)? {
            Some(config) => json!({ "photos": config.stage.settings.photos }),
            None => Value::Null,
        })
    }

    fn models(&self, manifest: &Manifest) -> Result<Vec<ModelFiles>, CoreError> {
        let Some(config) = ChoiceConfig::from_manifest(manifest)? else {
            return Ok(Vec::new());
        };
        let references = config.stage.references(manifest)?.to_owned();
        let mut files = vec![references::model_files(references)];
        files.extend(config.face.model_files());
        Ok(files)
    }

    fn run(&self, task: &mut Task) -> Result<(), StageError> {
        let config = ChoiceConfig::of_task(task)?;
        let nets = ModelLoader::of_task(task).face_nets(&config.face.files)?;
        let pool = thread_pool(task)?;
        let images: Vec<NamedImage> = task.read()?;
        let total = images.len() as u64;
        let mut rows = Vec::with_capacity(images.len());
        for person in config.of_chunk(chunk_number(task)?) {
            let of_person: Vec<_> = images.iter().filter(|i| i.person == person.name).collect();
            rows.extend(pool.install(|| score(person, &of_person, &nets))?);
            task.progress(rows.len() as u64, total, Unit::Sample)?;
        }
        task.balance(Unit::Sample, total, rows.len() as u64);
        task.write(rows)
    }
}

/// The images of a person beside the photos.
fn score(
    person: &Person,
    images: &[&NamedImage],
    nets: &FaceNets,
) -> Result<Vec<NamedFace>, StageError> {
    let look = |image: &RgbImage| main_face(nets, image).map_err(ModelError::from);
    let photos = person.usable_photos();
    let faces: Result<Vec<_>, _> = photos.par_iter().map(look).collect();
    let photos: Vec<Vec<f32>> = faces?.into_iter().filter_map(|(_, face)| face).collect();
    let row = |named: &&NamedImage| {
        let image = decode(
            &named.image.bytes,
            &Limits::default(),
            Orientation::AsStored,
        );
        // draw-by-name encoded it, so this is a damaged table.
        let image = image.map_err(|error| {
            let which = format!("image {} of {} no longer decodes", named.index, person.name);
            StageError::data(Context::new(which, error))
        })?;
        let (faces, face) = look(&image)?;
        Ok(NamedFace {
            person: named.person.clone(),
            index: named.index,
            faces: u32::try_from(faces).unwrap_or(u32::MAX),
            photo_faces: u32::try_from(photos.len()).unwrap_or(u32::MAX),
            similarity: face.and_then(|face| similarity(&photos, &face)),
        })
    };
    images.par_iter().map(row).collect()
}
