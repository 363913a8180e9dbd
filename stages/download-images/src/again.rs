//! Asks again for what a committed result dropped, and makes a new result of it. Photos that are there stay in their
//! parts, unread.

use std::collections::{HashMap, HashSet};

use laioncele_core::ledger::Record;
use laioncele_core::spec::Again;
use laioncele_core::table::{Candidate, Dropped, Reachability};
use laioncele_core::{DropReason, ImageId, NameId, Row, StageError, TableId, Task, Unit};
use laioncele_download::End;

use crate::attempts::{self, Attempts};
use crate::candidates::candidates;
use crate::engine;
use crate::known::Images;
use crate::outcomes::Outcomes;
use crate::reachability::{Counts, host};
use crate::settings::Settings;
use crate::write::{Photos, Turn, photo, reason};

/// A dropped row: image and name.
type Pair = (u64, NameId);

/// Asks again and writes the new result.
///
/// # Errors
/// Damaged parts, a full disk, a run that is asked to stop.
pub(crate) fn run(task: &mut Task, settings: &Settings, old: &Record) -> Result<(), StageError> {
    let again = task.again().cloned();
    let again = again.ok_or_else(|| StageError::data("nothing to try again"))?;
    let mut outcomes = Outcomes::open(task, &again.replaces)?;
    let there = outcomes.images();
    let chosen = Chosen::find(task, &again, old, &there)?;
    let missing = chosen.images.filter(|id| !there.contains(ImageId(id)));
    let of_host = |c: &Candidate| again.hosts.is_empty() || is_of(&c.url, &again.hosts);
    engine::ask(task, settings, &missing, of_host, &mut outcomes)?;
    let _turn = Turn::take(task)?;
    let change = recovered(task, settings, &chosen, old, &mut outcomes)?;
    write_drops(task, old, &change)?;
    keep_rest(task, old, &change);
    task.after_commit(move || outcomes.delete());
    Ok(())
}

fn is_of(url: &str, hosts: &[String]) -> bool {
    host(url).is_some_and(|host| hosts.contains(&host))
}

/// Dropped rows that are tried again, or were by an interrupted attempt.
struct Chosen {
    rows: HashMap<Pair, DropReason>,
    /// The images to ask for.
    images: Images,
}

impl Chosen {
    fn find(task: &Task, again: &Again, old: &Record, there: &Images) -> Result<Self, StageError> {
        let (mut rows, mut images) = (HashMap::new(), Vec::new());
        let dims = *task.embedding_dims();
        for part in old.outputs_of(TableId::Dropped) {
            for batch in task.stream::<Dropped>(part)? {
                for row in Dropped::from_batch(&batch?, &dims, &part.path)? {
                    let tried = again.reasons.contains(&row.reason);
                    if let Some(name) = row.name_id
                        && (tried || there.contains(ImageId(row.id)))
                    {
                        rows.insert((row.id, name), row.reason);
                        images.extend(tried.then_some(row.id));
                    }
                }
            }
        }
        let images = Images::new(images);
        let images = match again.before {
            None => images,
            Some(before) => {
                let last = attempts::last_asked(task, &images)?;
                let started = old.started.duration_since(std::time::UNIX_EPOCH);
                let started = started.map_or(0, |d| d.as_secs() * 1000);
                images.filter(|id| *last.get(&id).unwrap_or(&started) < before)
            }
        };
        Ok(Self { rows, images })
    }
}

/// What asking again has changed.
#[derive(Default)]
struct Changes {
    photos: HashSet<Pair>,
    dropped: HashMap<Pair, (DropReason, Option<String>)>,
}

/// Writes the photos that are new, the counts by host and the attempts.
fn recovered(
    task: &mut Task,
    settings: &Settings,
    chosen: &Chosen,
    old: &Record,
    outcomes: &mut Outcomes,
) -> Result<Changes, StageError> {
    let mut counted = Vec::new();
    for part in old.outputs_of(TableId::Reachability) {
        counted.extend(task.read_part::<Reachability>(part)?);
    }
    let (mut counts, mut attempts) = (Counts::of(counted), Attempts::new(task)?);
    let forgotten = task.forgotten()?;
    let (mut photos, mut changes) = (Photos::new(task)?, Changes::default());
    // Outcomes that an interrupted attempt got under other classes count as well.
    let asked = outcomes.images();
    let mut marks = asked.marks();
    for candidate in candidates(task)? {
        let candidate = candidate?;
        let pair = (candidate.image_id.0, candidate.name_id);
        let Some(before) = chosen.rows.get(&pair) else {
            continue;
        };
        let Some((entry, place)) = outcomes.find(candidate.image_id)? else {
            continue;
        };
        if marks.first(candidate.image_id) {
            attempts.add(task, &candidate, &entry)?;
            counts.change(&candidate.url, *before, reason(&entry.outcome.end));
        }
        let new = match &entry.outcome.end {
            End::Dropped { reason, detail } => Err((*reason, detail.clone())),
            end @ End::Photo { .. } => photo(
                &candidate,
                end,
                outcomes.bytes(&place)?,
                settings,
                forgotten.as_ref(),
            ),
        };
        match new {
            Ok(photo) => {
                photos.add(task, photo)?;
                changes.photos.insert(pair);
            }
            Err(why) => {
                changes.dropped.insert(pair, why);
            }
        }
    }
    let kept: Vec<_> = old.outputs_of(TableId::Photos).cloned().collect();
    for part in kept {
        task.keep(part);
    }
    photos.finish(task, false)?;
    counts.write(task)?;
    attempts.finish(task)?;
    Ok(changes)
}

/// Drops again what is still no photo.
fn write_drops(task: &mut Task, old: &Record, changes: &Changes) -> Result<(), StageError> {
    let dims = *task.embedding_dims();
    for part in old.outputs_of(TableId::Dropped) {
        for batch in task.stream::<Dropped>(part)? {
            for row in Dropped::from_batch(&batch?, &dims, &part.path)? {
                let pair = row.name_id.map(|name| (row.id, name));
                if pair.is_some_and(|pair| changes.photos.contains(&pair)) {
                    continue;
                }
                let now = pair.and_then(|pair| changes.dropped.get(&pair)).cloned();
                let (reason, detail) = now.unwrap_or((row.reason, row.detail));
                task.drop_row(row.unit, row.id, row.name_id, reason, detail);
            }
        }
    }
    Ok(())
}

/// The balances and metrics of the new result.
fn keep_rest(task: &mut Task, old: &Record, changes: &Changes) {
    for balance in &old.balances {
        let new = match balance.unit {
            Unit::Image => changes.photos.len() as u64,
            _ => 0,
        };
        task.balance(balance.unit, balance.rows_in, balance.rows_out + new);
    }
    for (name, value) in &old.metrics {
        task.metric(name, *value);
    }
}
