//! Step count-images: the names of a bucket with enough images, and one mention of each image under
//! them.
//!
//! A task reads of every part the row groups of its bucket, twice: first the ids, to count, then the rows
//! of what stays. Memory holds a row group of each part, and the bucket's names.

use std::collections::HashMap;

use arrow::array::RecordBatch;
use laioncele_core::table::{Candidate, FiledMention, MergedName, Name};
use laioncele_core::{
    CaptionId, CoreError, DropReason, ImageId, Manifest, NameId, PartWriter, Partition,
    Partitioning, Reads, Row, StageError, StageName, Step, StepSpec, TableId, Task, Unit,
};
use serde_json::json;

use crate::rows::{self, GROUP, Merger, Place};
use crate::settings::Settings;

/// Rows of a row group of `candidates`.
const CANDIDATES_GROUP: usize = 16_384;
/// Mentions between two reports of progress.
const PROGRESS: u64 = 4096;

pub(crate) struct CountImages;

const SPEC: StepSpec = StepSpec {
    name: "count-images",
    stage: StageName::MergeNames,
    version: 1,
    partitioning: Partitioning::Buckets,
    reads: &[
        Reads::slice(TableId::FiledMentions),
        Reads::slice(TableId::MergedNames),
    ],
    writes: &[TableId::Names, TableId::Candidates],
};

impl Step for CountImages {
    fn spec(&self) -> &'static StepSpec {
        &SPEC
    }

    fn settings(&self, manifest: &Manifest) -> Result<serde_json::Value, CoreError> {
        let settings = Settings::from_manifest(manifest)?;
        Ok(json!({
            "min_images": settings.min_images,
            "run": { "buckets": manifest.run.buckets },
        }))
    }

    fn run(&self, task: &mut Task) -> Result<(), StageError> {
        let settings = Settings::from_manifest(task.manifest())?;
        let counts = Counts::of(task, u64::from(settings.min_images))?;
        write_candidates(task, &counts)?;
        write_names(task, &counts)
    }
}

fn bucket(task: &Task) -> Option<u32> {
    match task.partition() {
        Partition::Bucket(bucket) => Some(*bucket),
        _ => None,
    }
}

/// Distinct images of the names of a bucket that have enough of them.
struct Counts {
    images: HashMap<NameId, u64>,
    /// Mentions of the bucket.
    mentions: u64,
}

impl Counts {
    fn of(task: &Task, min_images: u64) -> Result<Self, StageError> {
        let ids = ["bucket", "name_id", "image_id"];
        let slices = task.slices::<FiledMention>()?.into_iter();
        let mut merger = Merger::new(slices.map(|slice| slice.columns(&ids)).collect())?;
        let own = bucket(task);
        let (mut images, mut mentions) = (HashMap::new(), 0);
        let mut last: Option<(u64, u64)> = None;
        let mut open: Option<(NameId, u64)> = None;
        let mut end = |open: Option<(NameId, u64)>| {
            if let Some((name, count)) = open.filter(|(_, count)| *count >= min_images) {
                images.insert(name, count);
            }
        };
        while let Some(row) = merger.next()? {
            if Some(row.key.bucket) != own {
                continue;
            }
            mentions += 1;
            let (name, pair) = (NameId(row.key.name), (row.key.name, row.key.image));
            let new = u64::from(last != Some(pair));
            last = Some(pair);
            match &mut open {
                Some((of, count)) if *of == name => *count += new,
                _ => end(open.replace((name, new))),
            }
        }
        end(open);
        Ok(Self { images, mentions })
    }
}

/// Writes one mention of each image of names that have enough: the first by caption id. The others are
/// dropped.
fn write_candidates(task: &mut Task, counts: &Counts) -> Result<(), StageError> {
    let mut candidates = Candidates {
        merger: Merger::new(task.slices::<FiledMention>()?)?,
        writer: task.part_writer::<Candidate>(CANDIDATES_GROUP)?,
        held: Vec::new(),
        open: None,
    };
    let (own, mut done) = (bucket(task), 0);
    while let Some(row) = candidates.merger.next()? {
        if Some(row.key.bucket) != own {
            continue;
        }
        done += 1;
        if done % PROGRESS == 0 {
            task.progress(done, counts.mentions, Unit::Mention)?;
        }
        let (name, image) = (NameId(row.key.name), ImageId(row.key.image));
        let (reason, detail) = if !counts.images.contains_key(&name) {
            (DropReason::TooFewImages, None)
        } else if candidates.add(task, &row)? {
            continue;
        } else {
            (DropReason::RepeatedImage, Some(image.to_string()))
        };
        task.drop_row(Unit::Mention, row.key.caption, Some(name), reason, detail);
    }
    candidates.flush(task, false)?;
    let writer = candidates.writer;
    task.balance(Unit::Mention, counts.mentions, writer.rows());
    let own = task.partition().clone();
    task.write_part::<Candidate>(&own, writer)
}

/// Mentions on their way to `candidates`.
struct Candidates {
    merger: Merger,
    writer: PartWriter,
    /// Rows that are written next. The last one may still give way to another of its image.
    held: Vec<Place>,
    /// Name, image and caption of the last one.
    open: Option<(u64, u64, CaptionId)>,
}

impl Candidates {
    /// Takes the row given last; `false` where its image has one already. Of mentions in one caption
    /// that differ in their texts, one stays whatever the order of the parts.
    fn add(&mut self, task: &Task, row: &rows::Row) -> Result<bool, StageError> {
        let (name, image, caption) = (row.key.name, row.key.image, CaptionId(row.key.caption));
        match self.open {
            Some((of, at, first)) if (of, at) == (name, image) => {
                if first == caption {
                    self.choose(task, row)?;
                }
                Ok(false)
            }
            _ => {
                if self.held.len() == GROUP || self.merger.is_full() {
                    self.flush(task, false)?;
                }
                self.held.push(self.merger.place(row));
                self.open = Some((name, image, caption));
                Ok(true)
            }
        }
    }

    fn choose(&mut self, task: &Task, row: &rows::Row) -> Result<(), StageError> {
        if self.merger.is_full() {
            self.flush(task, true)?;
        }
        let other = self.merger.place(row);
        if let Some(held) = self.held.last_mut()
            && self.merger.compare_texts(other, *held).is_lt()
        {
            *held = other;
        }
        Ok(())
    }

    /// Writes what is held, but for the last row where that is kept.
    fn flush(&mut self, task: &Task, keep_last: bool) -> Result<(), StageError> {
        let last = if keep_last { self.held.pop() } else { None };
        if !self.held.is_empty() {
            let rows = self.merger.rows(&self.held)?;
            let schema = Candidate::schema(task.embedding_dims());
            let column = |name: &String| rows.column_by_name(name).cloned();
            let columns: Option<_> = schema.fields().iter().map(|f| column(f.name())).collect();
            let missing = || CoreError::parquet("filed mentions", "a column is missing");
            let batch = RecordBatch::try_new(schema.clone(), columns.ok_or_else(missing)?);
            self.writer
                .add(&batch.map_err(|e| CoreError::parquet("candidates", e))?)?;
        }
        self.held.clear();
        self.held.extend(self.merger.release(last));
        Ok(())
    }
}

/// Writes the names that have enough images and drops the others.
fn write_names(task: &mut Task, counts: &Counts) -> Result<(), StageError> {
    let own = bucket(task);
    let (mut names, mut total, mut merged) = (Vec::new(), 0, 0);
    for slice in task.slices::<MergedName>()? {
        let path = slice.path().to_owned();
        for batch in slice {
            let rows = MergedName::from_batch(&batch?, task.embedding_dims(), &path)?;
            for row in rows.into_iter().filter(|row| Some(row.bucket) == own) {
                total += 1;
                let Some(images) = counts.images.get(&row.name_id) else {
                    let (id, reason) = (row.name_id, DropReason::TooFewImages);
                    task.drop_row(Unit::Name, id.0, Some(id), reason, Some(row.name));
                    continue;
                };
                merged += row.aliases.len().saturating_sub(1);
                names.push(Name {
                    name_id: row.name_id,
                    name: row.name,
                    aliases: row.aliases,
                    mentions: row.mentions,
                    images: *images,
                });
            }
        }
    }
    task.balance(Unit::Name, total, names.len() as u64);
    task.metric("spellings_merged_into_kept_names", merged as f64);
    names.sort_by_key(|name| name.name_id);
    task.write(names)
}
