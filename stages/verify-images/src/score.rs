//! Step `score-photos`: the face of each unique photo that is most like its name's portraits. It depends on no
//! threshold.

use std::collections::{BTreeSet, HashMap};

use laioncele_core::ModelFiles;
use laioncele_core::error::Context;
use laioncele_core::table::{FaceVectors, KnownName, Photo, PhotoFace, UniquePhoto};
use laioncele_core::{
    CoreError, DropReason, ImageId, Manifest, NameId, Partitioning, Reads, Row, StageError,
    StageName, Step, StepSpec, TableId, Task, Unit,
};
use laioncele_face::{FaceNets, FileError};
use laioncele_image::Limits;
use laioncele_inference::{FaceSection, ModelLoader, thread_pool};
use rayon::prelude::*;
use serde_json::Value;

use crate::matching;

/// Photos that are looked at before progress is told.
const PHOTOS_AT_ONCE: usize = 64;

type Key = (NameId, ImageId);

/// The step.
pub(crate) struct ScorePhotos;

const SPEC: StepSpec = StepSpec {
    name: "score-photos",
    stage: StageName::VerifyImages,
    version: 6,
    partitioning: Partitioning::Buckets,
    reads: &[
        Reads::own(TableId::UniquePhotos),
        Reads::own(TableId::Photos),
        Reads::own(TableId::KnownNames),
    ],
    writes: &[TableId::PhotoFaces],
};

impl Step for ScorePhotos {
    fn spec(&self) -> &'static StepSpec {
        &SPEC
    }

    fn settings(&self, _: &Manifest) -> Result<Value, CoreError> {
        Ok(Value::Null)
    }
    fn models(&self, manifest: &Manifest) -> Result<Vec<ModelFiles>, CoreError> {
        Ok(faces(manifest)?.model_files())
    }

    fn run(&self, task: &mut Task) -> Result<(), StageError> {
        let known: HashMap<NameId, FaceVectors> = task
            .read::<KnownName>()?
            .into_iter()
            .map(|name| (name.name_id, name.faces))
            .collect();
        let rows_in = task.rows_in(TableId::UniquePhotos);
        let wanted = wanted(task, &known)?;
        let mut rows = if wanted.is_empty() {
            Vec::new()
        } else {
            score_all(task, &known, wanted)?
        };
        rows.sort_by_key(|row| (row.name_id, row.image_id));
        task.balance(Unit::Image, rows_in, rows.len() as u64);
        task.write(rows)
    }
}

/// The networks that compare faces.
fn faces(manifest: &Manifest) -> Result<FaceSection, CoreError> {
    Ok(FaceSection::from_manifest(manifest)?.without_gender())
}

/// The unique photos of known names; the others are dropped.
fn wanted(
    task: &mut Task,
    known: &HashMap<NameId, FaceVectors>,
) -> Result<BTreeSet<Key>, StageError> {
    let (wanted, others): (BTreeSet<Key>, BTreeSet<Key>) = task
        .read::<UniquePhoto>()?
        .into_iter()
        .map(|photo| (photo.name_id, photo.image_id))
        .partition(|(name_id, _)| known.contains_key(name_id));
    for (name_id, image_id) in others {
        let reason = DropReason::UnknownName;
        task.drop_row(Unit::Image, image_id.0, Some(name_id), reason, None);
    }
    Ok(wanted)
}

/// Scores the wanted photos a row group at a time, so that one's images are in memory.
fn score_all(
    task: &mut Task,
    known: &HashMap<NameId, FaceVectors>,
    mut wanted: BTreeSet<Key>,
) -> Result<Vec<PhotoFace>, StageError> {
    let nets = ModelLoader::of_task(task).face_nets(&faces(task.manifest())?.files)?;
    let pool = thread_pool(task)?;
    let (total, mut done, mut scored) = (wanted.len() as u64, 0, Vec::new());
    let (rows, parts) = (task.rows(), task.inputs(TableId::Photos).cloned());
    for part in parts.collect::<Vec<_>>() {
        for batch in task.stream::<Photo>(&part)? {
            let mut photos = Photo::from_batch(&batch?, task.embedding_dims(), &part.path)?;
            photos.retain(|photo| wanted.remove(&(photo.name_id, photo.image_id)));
            for block in photos.chunks(PHOTOS_AT_ONCE) {
                let look =
                    |photo: &Photo| rows.look(photo.image_id.0, || score(&nets, photo, known));
                // One photo at a time: some take ten times as long as others.
                let photos = block.par_iter().with_max_len(1);
                let looked: Vec<_> = pool.install(|| photos.map(look).collect());
                for (photo, row) in block.iter().zip(looked) {
                    match row {
                        Ok(row) => scored.extend(row?),
                        Err(poison) => {
                            let (id, name) = (photo.image_id.0, Some(photo.name_id));
                            task.drop_poison(Unit::Image, id, name, poison);
                        }
                    }
                }
                done += block.len() as u64;
                task.progress(done, total, Unit::Image)?;
            }
        }
    }
    match wanted.first() {
        Some((name_id, image_id)) => Err(StageError::data(format!(
            "name {name_id} has the unique photo {image_id}, but `photos` does not hold it"
        ))),
        None => Ok(scored),
    }
}

/// The row of one photo; `None` where its name is not known, which no wanted photo's is.
fn score(
    nets: &FaceNets,
    photo: &Photo,
    known: &HashMap<NameId, FaceVectors>,
) -> Result<Option<PhotoFace>, StageError> {
    let Some(portraits) = known.get(&photo.name_id) else {
        return Ok(None);
    };
    let which = || format!("photo {} of {}", photo.image_id, photo.url);
    let found = nets.faces_in_file(&photo.image.bytes, &Limits::default());
    let found = found.map_err(|error| match error {
        // download-images stores only what it has decoded, so this is a damaged table, not a bad photo.
        FileError::Image(error) => StageError::data(Context::new(
            format!("{} no longer decodes", which()),
            error,
        )),
        FileError::Networks(error) => StageError::environment(Context::new(which(), error)),
    })?;
    Ok(Some(matching::best_face(photo, &found, portraits)))
}
