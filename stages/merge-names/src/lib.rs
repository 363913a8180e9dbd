//! Stage 2, merge-names: mentions become canonical names, and every image is filed under its name.
//!
//! The one shuffle of the system. Mentions are read part by part, three times: for their spellings,
//! for their ids, and for the texts of those that go on. What is held meanwhile are the distinct
//! spellings, and a few numbers per mention.

mod decide;
pub mod evidence;
pub mod fold;
mod frames;
pub mod merge;
mod name_status;
pub mod normalize;
pub mod second_opinion;
mod settings;

use laioncele_core::table::{Candidate, Name};
use laioncele_core::{
    CoreError, DropReason, Manifest, NameId, Part, Partition, Partitioning, Reads, StageError,
    StageName, Step, StepSpec, TableId, Task, Unit,
};

pub use settings::Settings;

use decide::Decisions;
use frames::{ImageCounts, Kept, Pairs};
use merge::MergedName;
use name_status::NameStatus;

/// The steps of this stage.
pub fn steps() -> Vec<Box<dyn Step>> {
    vec![Box::new(MergeNames)]
}

struct MergeNames;

const SPEC: StepSpec = StepSpec {
    name: "merge-names",
    stage: StageName::MergeNames,
    version: 2,
    partitioning: Partitioning::Once,
    reads: &[Reads::all(TableId::Mentions)],
    writes: &[TableId::Names, TableId::Candidates],
};

impl Step for MergeNames {
    fn spec(&self) -> &'static StepSpec {
        &SPEC
    }

    fn settings(&self, manifest: &Manifest) -> Result<serde_json::Value, CoreError> {
        let settings = Settings::from_manifest(manifest)?;
        // The buckets are where the rows go, so they are part of the result.
        let mut value =
            serde_json::to_value(settings).map_err(|e| manifest.error(e.to_string()))?;
        value["run"] = serde_json::json!({ "buckets": manifest.run.buckets });
        Ok(value)
    }
    fn run(&self, task: &mut Task) -> Result<(), StageError> {
        let settings = Settings::from_manifest(task.manifest())?;
        let parts: Vec<Part> = task.inputs(TableId::Mentions).cloned().collect();
        let decisions = Decisions::take(frames::count_spellings(task, &parts)?, &settings)?;
        let pairs = file_mentions(task, &parts, &decisions)?;
        let images = pairs.images_by_name(u64::from(settings.min_images))?;
        let kept = drop_mentions(task, &pairs, &images)?;
        write_names(task, &decisions, &images)?;
        write_candidates(task, &parts, &kept)
    }
}

/// Files each mention under its name, part by part, and drops those that have none.
fn file_mentions(
    task: &mut Task,
    parts: &[Part],
    decisions: &Decisions,
) -> Result<Pairs, StageError> {
    let (total, mut done, mut pairs) = (task.rows_in(TableId::Mentions), 0, Pairs::default());
    let by_id = |(written, name, status): (_, Option<&MergedName>, _)| {
        (written, name.map(|name| NameId::of(&name.name)), status)
    };
    let decided = frames::DecisionFrame::new(decisions.spellings().map(by_id))?;
    for (number, part) in parts.iter().enumerate() {
        let filed = decided.file(task, part, number)?;
        for dropped in filed.dropped()? {
            let (reason, detail) = match dropped.status {
                NameStatus::NotAName => (DropReason::NotAName, Some(dropped.spelling)),
                NameStatus::Mononym => (DropReason::Mononym, None),
                // No text of people who asked not to be in it.
                NameStatus::Excluded => (DropReason::Excluded, None),
                NameStatus::Accepted => continue,
            };
            task.drop_row(
                Unit::Mention,
                dropped.caption_id,
                dropped.name_id,
                reason,
                detail,
            );
        }
        pairs.add(filed)?;
        done += part.rows;
        task.progress(done, total, Unit::Mention)?;
    }
    Ok(pairs)
}

/// Drops the mentions of names with too few images, and all but one mention of each (name, image).
fn drop_mentions(task: &mut Task, pairs: &Pairs, images: &ImageCounts) -> Result<Kept, StageError> {
    let sorted = pairs.sorted(images)?;
    for (caption, name) in sorted.too_few()? {
        task.drop_row(
            Unit::Mention,
            caption,
            Some(name),
            DropReason::TooFewImages,
            None,
        );
    }
    for (caption, name, image) in sorted.repeated()? {
        task.drop_row(
            Unit::Mention,
            caption,
            Some(name),
            DropReason::RepeatedImage,
            Some(image.to_string()),
        );
    }
    let kept = sorted.kept()?;
    task.balance(Unit::Mention, task.rows_in(TableId::Mentions), kept.rows());
    Ok(kept)
}

/// Writes the names that stay to their buckets and drops the others.
fn write_names(
    task: &mut Task,
    decisions: &Decisions,
    images: &ImageCounts,
) -> Result<(), StageError> {
    let buckets = task.manifest().run.buckets;
    let mut rows: Vec<Vec<Name>> = (0..buckets).map(|_| Vec::new()).collect();
    let (mut count, mut merged) = (0, 0);
    for (name, status) in decisions.names() {
        let name_id = NameId::of(&name.name);
        let found = images.of(name_id);
        let reason = match status {
            NameStatus::Excluded => Some((DropReason::Excluded, None)),
            NameStatus::Mononym => Some((DropReason::Mononym, Some(name.name.clone()))),
            _ if found.is_none() => Some((DropReason::TooFewImages, Some(name.name.clone()))),
            _ => None,
        };
        if let Some((reason, detail)) = reason {
            task.drop_row(Unit::Name, name_id.0, Some(name_id), reason, detail);
            continue;
        }
        count += 1;
        merged += name.aliases.len() - 1;
        let (aliases, mentions) = (name.aliases.clone(), name.mentions);
        rows[name_id.bucket(buckets) as usize].push(Name {
            name_id,
            name: name.name.clone(),
            aliases,
            mentions,
            images: found.unwrap_or(0),
        });
    }
    task.balance(Unit::Name, decisions.names().count() as u64, count);
    task.metric("spellings_merged_into_kept_names", merged as f64);
    for (bucket, mut names) in (0..buckets).zip(rows) {
        names.sort_by_key(|n| n.name_id);
        task.write_to(&Partition::Bucket(bucket), names)?;
    }
    Ok(())
}

/// Candidates that are routed at a time: bounds memory, and the number of small parts.
const ROUTED_TOGETHER: usize = 1 << 20;

/// Routes the kept mentions to the buckets of their names.
fn write_candidates(task: &mut Task, parts: &[Part], kept: &Kept) -> Result<(), StageError> {
    let buckets = task.manifest().run.buckets;
    let mut rows: Vec<Vec<Candidate>> = (0..buckets).map(|_| Vec::new()).collect();
    let (mut waiting, mut written) = (0, vec![false; buckets as usize]);
    for (number, part) in parts.iter().enumerate() {
        for candidate in kept.candidates(task, part, number)? {
            rows[candidate.name_id.bucket(buckets) as usize].push(candidate);
            waiting += 1;
        }
        let last = number + 1 == parts.len();
        if waiting >= ROUTED_TOGETHER || last {
            flush(task, &mut rows, &mut written, last)?;
            waiting = 0;
        }
    }
    if parts.is_empty() {
        flush(task, &mut rows, &mut written, true)
    } else {
        Ok(())
    }
}

/// Writes what waits for each bucket; in the end also the empty parts of buckets that got nothing.
fn flush(
    task: &mut Task,
    rows: &mut [Vec<Candidate>],
    written: &mut [bool],
    last: bool,
) -> Result<(), StageError> {
    for (bucket, (rows, written)) in (0u32..).zip(rows.iter_mut().zip(written)) {
        if rows.is_empty() && (*written || !last) {
            continue;
        }
        let mut rows = std::mem::take(rows);
        rows.sort_by_key(|c| (c.name_id, c.image_id));
        task.write_to(&Partition::Bucket(bucket), rows)?;
        *written = true;
    }
    Ok(())
}

#[cfg(test)]
mod tests;
