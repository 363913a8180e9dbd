//! Stage 6, download-images: the photos of known names only, as they came, each failure with its
//! class. Images that the source itself holds are taken from there, and nobody is asked for them.

mod address;
mod failure;
mod fetch;
mod opt_out;
mod photo;
mod settings;
mod stored;

use std::collections::HashSet;

use futures::StreamExt;
use laioncele_core::table::{Candidate, KnownName, Photo};
use laioncele_core::{
    CoreError, DropReason, Manifest, Partitioning, Reads, StageError, StageName, Step, StepSpec,
    TableId, Task, Unit,
};

use crate::failure::Failure;
use crate::fetch::Fetcher;
use crate::photo::Checked;
pub use crate::settings::{OnHashMismatch, Settings};
use crate::stored::StoredImages;

/// The steps of this stage.
pub fn steps() -> Vec<Box<dyn Step>> {
    vec![Box::new(DownloadImages)]
}

struct DownloadImages;

/// Photo bytes in a part at most (one batch of urls more, to be exact): what the task holds in
/// memory.
const PART_BYTES: usize = 128 << 20;
/// Urls asked for before the next look at the memory held.
const BATCH: usize = 512;

const SPEC: StepSpec = StepSpec {
    name: "download-images",
    stage: StageName::DownloadImages,
    version: 1,
    partitioning: Partitioning::Buckets,
    reads: &[
        Reads::own(TableId::Candidates),
        Reads::own(TableId::KnownNames),
    ],
    writes: &[TableId::Photos],
};

impl Step for DownloadImages {
    fn spec(&self) -> &'static StepSpec {
        &SPEC
    }

    fn settings(&self, manifest: &Manifest) -> Result<serde_json::Value, CoreError> {
        serde_json::to_value(Settings::from_manifest(manifest)?)
            .map_err(|e| manifest.error(e.to_string()))
    }
    fn run(&self, task: &mut Task) -> Result<(), StageError> {
        let settings = Settings::from_manifest(task.manifest())?;
        let fetcher = Fetcher::new(
            settings.clone(),
            task.runtime_environment().host_map.clone(),
        )?;
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(task.runtime_environment().threads.max(1))
            .enable_all()
            .build()
            .map_err(StageError::environment)?;
        let (candidates, rows_in) = wanted(task)?;
        let total = candidates.len() as u64;
        let (mut photos, mut held, mut done, mut written) = (Vec::new(), 0, 0, 0);
        for batch in batches(&candidates) {
            let stored = stored::images(task, batch, &settings)?;
            let outcomes = runtime.block_on(download(&fetcher, &settings, batch, stored));
            held += sort_out(task, batch, outcomes, &settings, &mut photos);
            done += batch.len() as u64;
            task.progress(done, total, Unit::Image)?;
            if held >= PART_BYTES {
                written += photos.len() as u64;
                task.write(std::mem::take(&mut photos))?;
                held = 0;
            }
        }
        task.balance(Unit::Image, rows_in, written + photos.len() as u64);
        task.write::<Photo>(photos)
    }
}

/// The candidates of known names, equal urls beside each other; the others are dropped. And how
/// many came in.
fn wanted(task: &mut Task) -> Result<(Vec<Candidate>, u64), StageError> {
    let known: HashSet<_> = task
        .read::<KnownName>()?
        .into_iter()
        .map(|n| n.name_id)
        .collect();
    let (mut candidates, others): (Vec<_>, Vec<_>) = task
        .read::<Candidate>()?
        .into_iter()
        .partition(|c| known.contains(&c.name_id));
    let rows_in = (candidates.len() + others.len()) as u64;
    for other in others {
        task.drop_row(
            Unit::Image,
            other.image_id.0,
            Some(other.name_id),
            DropReason::UnknownName,
            None,
        );
    }
    candidates.sort_by_key(|c| (c.image_id, c.name_id));
    Ok((candidates, rows_in))
}

/// Batches of about [`BATCH`] rows that do not cut through rows of one url.
fn batches(candidates: &[Candidate]) -> impl Iterator<Item = &[Candidate]> {
    let mut rest = candidates;
    std::iter::from_fn(move || {
        let mut end = rest.len().min(BATCH);
        while end > 0 && end < rest.len() && rest[end].image_id == rest[end - 1].image_id {
            end += 1;
        }
        let (batch, after) = rest.split_at(end);
        rest = after;
        (!batch.is_empty()).then_some(batch)
    })
}

/// One outcome per url of the batch, in its order, whatever the order of arrival.
async fn download(
    fetcher: &Fetcher,
    settings: &Settings,
    batch: &[Candidate],
    mut stored: StoredImages,
) -> Vec<Result<Checked, Failure>> {
    let urls = batch
        .chunk_by(|a, b| a.image_id == b.image_id)
        .map(|same| &same[0]);
    let fetches = urls.map(|c| {
        let stored = stored.remove(&c.image_id);
        async move {
            let bytes = match stored {
                Some(found) => found?,
                None => fetcher.fetch(c.image_id, &c.url).await?,
            };
            photo::check(bytes, settings)
        }
    });
    futures::stream::iter(fetches)
        .buffered(settings.concurrency)
        .collect()
        .await
}

/// Files the outcomes as photos and dropped rows; returns the bytes of the new photos.
fn sort_out(
    task: &mut Task,
    batch: &[Candidate],
    outcomes: Vec<Result<Checked, Failure>>,
    settings: &Settings,
    photos: &mut Vec<Photo>,
) -> usize {
    let mut bytes = 0;
    for (same, outcome) in batch
        .chunk_by(|a, b| a.image_id == b.image_id)
        .zip(outcomes)
    {
        for candidate in same {
            match outcome
                .as_ref()
                .map_err(Clone::clone)
                .and_then(|checked| photo::photo(candidate, checked, settings.on_hash_mismatch))
            {
                Ok(photo) => {
                    bytes += photo.image.bytes.len();
                    photos.push(photo);
                }
                Err(failure) => task.drop_row(
                    Unit::Image,
                    candidate.image_id.0,
                    Some(candidate.name_id),
                    failure.reason,
                    failure.detail,
                ),
            }
        }
    }
    bytes
}
