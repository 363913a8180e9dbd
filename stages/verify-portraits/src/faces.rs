//! The face networks of the manifest, and the threads that they run on.

use std::sync::Arc;

use laioncele_core::{CoreError, Manifest, StageError, Task};
use laioncele_face::{FaceFiles, FaceNets, FaceOptions};
use rayon::{ThreadPool, ThreadPoolBuilder};

/// `[models.face]` without the gender network, paths resolved.
pub fn files(manifest: &Manifest) -> Result<FaceFiles, CoreError> {
    let files: FaceFiles = manifest.model("face")?;
    Ok(files
        .without_gender()
        .resolved(|path| manifest.resolve(path)))
}

/// Loads the networks, once per worker.
pub fn load(task: &Task) -> Result<Arc<FaceNets>, StageError> {
    let files = files(task.manifest())?;
    let nets = task.resource(&files.resource_key(), || {
        FaceNets::load(&files, &FaceOptions::default()).map_err(StageError::environment)
    })?;
    let (found, expected) = (nets.width(), task.embedding_dims().face);
    if found == expected {
        return Ok(nets);
    }
    Err(StageError::Environment(format!(
        "[embedding_dims] has face = {expected}, but the recognizer of [models.face] gives {found} numbers"
    )))
}

/// The threads that the worker gives to this task.
pub fn thread_pool(task: &Task) -> Result<ThreadPool, StageError> {
    let builder = ThreadPoolBuilder::new().num_threads(task.runtime_environment().threads);
    builder.build().map_err(StageError::environment)
}
