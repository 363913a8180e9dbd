//! Images that the source itself holds: what img2dataset downloaded before.

use laioncele_core::table::Candidate;
use laioncele_core::{DropReason, ImageId, StageError, Task, Unit};
use laioncele_download::{Done, Outcome, check};
use laioncele_source::{ImageError, SourceImages};
use laioncele_web::Failure;
use rayon::prelude::*;

use crate::candidates::candidates;
use crate::known::Images;
use crate::outcomes::{Entry, Outcomes};
use crate::settings::Settings;

/// Images read at once.
const BATCH: usize = 64;

/// Takes the `wanted` images that the source holds from there, and gives back the others. They get the checks of a
/// download, but for those of the answer: there is none, so no opt-out either.
///
/// # Errors
/// A source that is not what it was when its captions were read; a full disk.
pub(crate) fn take(
    task: &Task,
    settings: &Settings,
    wanted: &Images,
    outcomes: &mut Outcomes,
) -> Result<Images, StageError> {
    let mut marks = wanted.marks();
    let (mut batch, mut taken) = (Vec::new(), Vec::new());
    for candidate in candidates(task)? {
        let candidate = candidate?;
        if candidate.image_at.is_some() && marks.first(candidate.image_id) {
            taken.push(candidate.image_id.0);
            batch.push(candidate);
            if batch.len() == BATCH {
                take_batch(task, settings, &std::mem::take(&mut batch), outcomes)?;
                task.progress(outcomes.len() as u64, wanted.len() as u64, Unit::Image)?;
            }
        }
    }
    take_batch(task, settings, &batch, outcomes)?;
    let taken = Images::new(taken);
    Ok(wanted.filter(|id| !taken.contains(ImageId(id))))
}

fn take_batch(
    task: &Task,
    settings: &Settings,
    batch: &[Candidate],
    outcomes: &mut Outcomes,
) -> Result<(), StageError> {
    if batch.is_empty() {
        return Ok(());
    }
    let source = task.resource("images of the source", || {
        Ok(SourceImages::open(task.manifest())?)
    })?;
    let addresses: Vec<&str> = batch.iter().filter_map(|c| c.image_at.as_deref()).collect();
    let found = source.read(&addresses, settings.max_bytes);
    let found: Vec<_> = found.into_iter().map(outcome).collect::<Result<_, _>>()?;
    let rules = settings.photo_rules();
    let checked: Vec<_> = found
        .into_par_iter()
        .map(|bytes| bytes.and_then(|bytes| check(bytes, &rules)))
        .collect();
    for (candidate, result) in batch.iter().zip(checked) {
        let (id, attempts, redirected_to) = (candidate.image_id.0, Vec::new(), None);
        let (outcome, bytes) = Outcome::of(Done {
            id,
            result,
            attempts,
            redirected_to,
        });
        let entry = Entry {
            outcome,
            taken_over: true,
        };
        outcomes.add(candidate.image_id, &entry, &bytes)?;
    }
    Ok(())
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
