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

/// The most images that are read at once.
const MOST: usize = 64;
/// Images that are read at once before any size is known.
const FIRST: usize = 8;

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
    let (mut batch, mut taken, mut at_once) = (Vec::new(), Vec::new(), FIRST);
    for candidate in candidates(task)? {
        let candidate = candidate?;
        if candidate.image_at.is_some() && marks.first(candidate.image_id) {
            taken.push(candidate.image_id.0);
            batch.push(candidate);
            if batch.len() >= at_once {
                let largest = take_batch(task, settings, &std::mem::take(&mut batch), outcomes)?;
                at_once = batch_for(settings.memory, largest);
                task.progress(outcomes.len() as u64, wanted.len() as u64, Unit::Image)?;
            }
        }
    }
    take_batch(task, settings, &batch, outcomes)?;
    let taken = Images::new(taken);
    Ok(wanted.filter(|id| !taken.contains(ImageId(id))))
}

/// How many images are read at once after some of which the largest had so many bytes: a quarter of the memory for bodies, since
/// readers hold some twice.
fn batch_for(memory: u64, largest: usize) -> usize {
    let fit = memory / 4 / (largest as u64).max(1);
    usize::try_from(fit).unwrap_or(MOST).clamp(1, MOST)
}

/// Takes the images of `batch`; the bytes of the largest.
fn take_batch(
    task: &Task,
    settings: &Settings,
    batch: &[Candidate],
    outcomes: &mut Outcomes,
) -> Result<usize, StageError> {
    if batch.is_empty() {
        return Ok(0);
    }
    let source = task.resource("images of the source", || {
        Ok(SourceImages::open(task.manifest())?)
    })?;
    let addresses: Vec<&str> = batch.iter().filter_map(|c| c.image_at.as_deref()).collect();
    let found = source.read(&addresses, settings.max_bytes);
    let found: Vec<_> = found.into_iter().map(outcome).collect::<Result<_, _>>()?;
    let sizes = found.iter().flatten().map(Vec::len);
    let largest = sizes.max().unwrap_or(0);
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
    Ok(largest)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn large_images_are_read_a_few_at_a_time() {
        assert_eq!(batch_for(200_000_000, 0), MOST);
        assert_eq!(batch_for(200_000_000, 100_000), MOST);
        assert_eq!(batch_for(200_000_000, 20 << 20), 2);
        assert_eq!(batch_for(1 << 20, 20 << 20), 1);
    }
}
