//! Step `score-portraits`: the face of each portrait. It depends on no threshold.

use laioncele_core::ModelFiles;
use laioncele_core::error::Context;
use laioncele_core::table::{FaceBox, FaceVector, Landmarks, Portrait, PortraitFace};
use laioncele_core::{
    CoreError, Manifest, Partitioning, Reads, StageError, StageName, Step, StepSpec, TableId, Task,
    Unit,
};
use laioncele_face::FaceNets;
use laioncele_image::{Limits, Orientation, decode};
use laioncele_inference::{FaceSection, ModelLoader, thread_pool};
use rayon::prelude::*;
use serde_json::Value;

/// Portraits that are looked at before progress is told.
const PORTRAITS_AT_ONCE: usize = 64;

/// The step.
pub(crate) struct ScorePortraits;

const SPEC: StepSpec = StepSpec {
    name: "score-portraits",
    stage: StageName::VerifyPortraits,
    version: 4,
    partitioning: Partitioning::Buckets,
    reads: &[Reads::own(TableId::Portraits)],
    writes: &[TableId::PortraitFaces],
};

impl Step for ScorePortraits {
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
        let total = task.rows_in(TableId::Portraits);
        let mut rows = if total > 0 {
            score_all(task, total)?
        } else {
            Vec::new()
        };
        rows.sort_by_key(|row| (row.name_id, row.index));
        task.balance(Unit::Portrait, total, rows.len() as u64);
        task.write(rows)
    }
}

/// The networks that compare faces.
fn faces(manifest: &Manifest) -> Result<FaceSection, CoreError> {
    Ok(FaceSection::from_manifest(manifest)?.without_gender())
}

/// Scores the portraits a block at a time: what is in memory is a part's file and the images of a block.
fn score_all(task: &mut Task, total: u64) -> Result<Vec<PortraitFace>, StageError> {
    let nets = ModelLoader::of_task(task).face_nets(&faces(task.manifest())?.files)?;
    let pool = thread_pool(task)?;
    let (mut scored, mut done) = (Vec::new(), 0);
    let (rows, parts) = (task.rows(), task.inputs(TableId::Portraits).cloned());
    for part in parts.collect::<Vec<_>>() {
        for block in task.read_blocks::<Portrait>(&part, PORTRAITS_AT_ONCE)? {
            let block = block?;
            let look = |p: &Portrait| rows.look(p.name_id.0, || score(&nets, p));
            let looked: Vec<_> = pool.install(|| block.par_iter().map(look).collect());
            for (portrait, row) in block.iter().zip(looked) {
                match row {
                    Ok(row) => scored.push(row?),
                    Err(poison) => {
                        let name = portrait.name_id;
                        task.drop_poison(Unit::Portrait, name.0, Some(name), poison);
                    }
                }
            }
            done += block.len() as u64;
            task.progress(done, total, Unit::Portrait)?;
        }
    }
    Ok(scored)
}

fn score(nets: &FaceNets, portrait: &Portrait) -> Result<PortraitFace, StageError> {
    let which = || format!("portrait {} of name {}", portrait.index, portrait.name_id);
    let image = decode(
        &portrait.image.bytes,
        &Limits::default(),
        Orientation::Upright,
    );
    // generate-portraits encoded it, so this is a damaged table, not a bad portrait.
    let image = image.map_err(|error| {
        StageError::data(Context::new(
            format!("{} no longer decodes", which()),
            error,
        ))
    })?;
    let found = nets.faces(&image);
    let found = found.map_err(|error| StageError::environment(Context::new(which(), error)))?;
    let mut row = PortraitFace {
        name_id: portrait.name_id,
        index: portrait.index,
        faces: u32::try_from(found.len()).unwrap_or(u32::MAX),
        score: 0.0,
        face_box: FaceBox(vec![0.0; 4]),
        landmarks: Landmarks(vec![0.0; 10]),
        embedding: FaceVector(vec![0.0; nets.width()]),
    };
    if let Some(best) = found.into_iter().next() {
        row.score = best.detection.score;
        row.face_box = FaceBox(best.detection.bbox.to_vec());
        row.landmarks = Landmarks(best.detection.landmarks.as_flattened().to_vec());
        row.embedding = FaceVector(best.vector);
    }
    Ok(row)
}
