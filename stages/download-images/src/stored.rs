//! Images that the source itself holds: what img2dataset downloaded before.

use std::collections::HashMap;

use laioncele_core::table::Candidate;
use laioncele_core::{DropReason, ImageId, StageError, Task};
use laioncele_source::{ImageError, SourceImages};

use crate::failure::Failure;
use crate::settings::Settings;

/// The bytes of images, or why they are none. What is not here is to be downloaded.
pub(crate) type StoredImages = HashMap<ImageId, Result<Vec<u8>, Failure>>;

/// The images of `batch` that the source holds. They get the checks of a download, but for those of
/// the answer: there is none, so no opt-out either.
///
/// # Errors
/// A source that is not what it was when its captions were read.
pub(crate) fn images(
    task: &Task,
    batch: &[Candidate],
    settings: &Settings,
) -> Result<StoredImages, StageError> {
    let same_image = batch.chunk_by(|a, b| a.image_id == b.image_id);
    let addresses = same_image.filter_map(|same| {
        let address = same.iter().find_map(|c| c.image_at.as_deref())?;
        Some((same[0].image_id, address))
    });
    let (ids, addresses): (Vec<ImageId>, Vec<&str>) = addresses.unzip();
    if ids.is_empty() {
        return Ok(StoredImages::new());
    }
    let source = task.resource("images of the source", || {
        Ok(SourceImages::open(task.manifest())?)
    })?;
    let found = source.read(&addresses, settings.max_bytes);
    ids.into_iter()
        .zip(found)
        .map(|(id, found)| Ok((id, outcome(found)?)))
        .collect()
}

fn outcome(found: Result<Vec<u8>, ImageError>) -> Result<Result<Vec<u8>, Failure>, StageError> {
    let error = match found {
        Ok(bytes) => return Ok(Ok(bytes)),
        Err(error) => error,
    };
    let reason = match error {
        ImageError::TooLarge { .. } => DropReason::TooLarge,
        ImageError::None => DropReason::NotAnImage,
        ImageError::Changed { .. } => return Err(StageError::environment(error)),
    };
    Ok(Err(Failure::last(reason, error.to_string())))
}
