//! The worker's engine, and how a task's urls go through it.

use std::cell::RefCell;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use laioncele_core::table::Candidate;
use laioncele_core::{DropReason, ImageId, StageError, Task, Unit};
use laioncele_download::{Engine, Item, Outcome, check};
use laioncele_web::Failure;

use crate::candidates::candidates;
use crate::known::Images;
use crate::outcomes::{Entry, Outcomes};
use crate::settings::Settings;
use crate::stored;

/// Where workers tell each other how many requests to a host are under way, below the run's folder.
const HOSTS: &str = "cache/hosts";

/// Asks for the urls of the images in `wanted`, each once, and adds the outcomes as they come. Those that the source holds
/// are taken from there.
///
/// # Errors
/// Damaged parts, a full disk, a source that has changed, a run that is asked to stop.
pub(crate) fn download(
    task: &Task,
    settings: &Settings,
    wanted: &Images,
    outcomes: &mut Outcomes,
) -> Result<(), StageError> {
    let wanted = stored::take(task, settings, wanted, outcomes)?;
    ask(task, settings, &wanted, |_| true, outcomes)
}

/// Asks for the urls of those candidates of `wanted` images for which `chosen` holds.
///
/// # Errors
/// Damaged parts, a full disk, a run that is asked to stop.
pub(crate) fn ask(
    task: &Task,
    settings: &Settings,
    wanted: &Images,
    chosen: impl Fn(&Candidate) -> bool,
    outcomes: &mut Outcomes,
) -> Result<(), StageError> {
    if wanted.len() == 0 {
        return Ok(());
    }
    let engine = engine(task, settings)?;
    let damage = RefCell::new(None);
    let mut marks = wanted.marks();
    let items = candidates(task)?.map_while(|candidate| match candidate {
        Ok(candidate) => Some(candidate),
        Err(error) => {
            damage.replace(Some(error));
            None
        }
    });
    let items = items
        .filter(|c| chosen(c) && marks.first(c.image_id))
        .map(|c| Item {
            id: c.image_id.0,
            url: c.url,
        });
    let rules = settings.photo_rules();
    let total = (outcomes.len() + wanted.len()) as u64;
    let mut failed = None;
    let sink = |done| match added(task, outcomes, done, total) {
        Ok(()) => ControlFlow::Continue(()),
        Err(error) => {
            failed = Some(error);
            ControlFlow::Break(())
        }
    };
    let cancelled = task.cancelled();
    let looks = task.rows();
    let process = move |item: &Item, bytes| {
        let checked = looks.look(item.id, || check(bytes, &rules));
        checked.unwrap_or_else(|poison| Err(Failure::last(DropReason::Poison, poison.detail)))
    };
    engine.download(items, process, sink, &cancelled);
    match failed.or_else(|| damage.take()) {
        Some(error) => Err(error),
        None if cancelled.load(Ordering::Relaxed) => Err(StageError::Cancelled),
        None => Ok(()),
    }
}

fn added(
    task: &Task,
    outcomes: &mut Outcomes,
    done: laioncele_download::Done<laioncele_download::Checked>,
    total: u64,
) -> Result<(), StageError> {
    let image = ImageId(done.id);
    let (outcome, bytes) = Outcome::of(done);
    let entry = Entry {
        outcome,
        taken_over: false,
    };
    outcomes.add(image, &entry, &bytes)?;
    task.progress(outcomes.len() as u64, total, Unit::Image)
}

/// The engine that all tasks of this worker share.
fn engine(task: &Task, settings: &Settings) -> Result<Arc<Engine>, StageError> {
    let environment = task.runtime_environment();
    // One whose rows are looked at one by one has an engine of one thread.
    task.resource(
        &format!("download engine of {} threads", environment.threads),
        || {
            let several = environment.workers > 1;
            let shared = several.then(|| task.store().local_path(HOSTS));
            let settings = settings.engine(environment.threads.max(1), shared);
            Engine::new(settings, environment.host_map.clone())
        },
    )
}
