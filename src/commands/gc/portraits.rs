//! Portraits that `[generate_portraits] keep_portraits` does not keep: their images are pruned, the rows and all that was found in
//! them stay.

use std::collections::HashSet;
use std::sync::Arc;

use laioncele_core::footer::Footer;
use laioncele_core::ledger::{Ledger, PrunedPart, RECORD_FORMAT, Record};
use laioncele_core::part::read_batches;
use laioncele_core::part_rows::read_columns;
use laioncele_core::store::Store;
use laioncele_core::table::{Cell, Portrait, RowsDigest};
use laioncele_core::{
    CoreError, EmbeddingDims, NameId, Part, PartReader, PartWriter, Partition, Row, TableId,
};
use laioncele_generate_portraits::{KeepPortraits, Settings};

use crate::failure::Failure;
use crate::plan::{Plan, State, StepPlan};
use crate::session::Session;

/// The step that says which names are known.
const VERIFY: &str = "verify-portraits";

/// Rows of a row group: a portrait's image is large.
const ROW_GROUP: usize = 1024;

/// Parts of one result from whose files images are to be taken.
#[derive(Debug)]
pub(super) struct Pruning {
    record: Arc<Record>,
    /// The parts, as places among the record's outputs.
    parts: Vec<usize>,
    /// The names whose portraits stay.
    kept: HashSet<NameId>,
}

/// What is to be done, and by path about how much smaller each part gets.
type Found = (Vec<Pruning>, Vec<(String, u64)>);

/// The present portraits whose images are not kept, of buckets that no step has still to look at.
///
/// # Errors
/// Damaged parts, wrong settings.
pub(super) fn find(session: &Session) -> Result<Found, Failure> {
    let (mut prunings, mut images) = (Vec::new(), Vec::new());
    let settings: Settings = session.manifest.section("generate_portraits")?;
    if settings.keep_portraits == KeepPortraits::All {
        return Ok((prunings, images));
    }
    let (store, dims) = (session.store()?, &session.manifest.embedding_dims);
    let plan = session.plan()?;
    let drawn = plan.step(laioncele_generate_portraits::STEP);
    for record in drawn.into_iter().flat_map(StepPlan::records) {
        let Some(verified) = looked_at(session, &plan, &record.partition) else {
            continue;
        };
        let kept = match settings.keep_portraits {
            KeepPortraits::Known => known(store, verified)?,
            KeepPortraits::All | KeepPortraits::None => HashSet::new(),
        };
        let mut parts = Vec::new();
        for (number, part) in record.outputs.iter().enumerate() {
            if part.table != TableId::Portraits {
                continue;
            }
            if let Some(bytes) = bytes_pruned(store, dims, part, &kept)? {
                parts.push(number);
                images.push((part.path.clone(), bytes));
            }
        }
        if !parts.is_empty() {
            let record = record.clone();
            prunings.push(Pruning {
                record,
                parts,
                kept,
            });
        }
    }
    Ok((prunings, images))
}

/// The record of verify-portraits on `partition`, where it and all steps that read portraits there are done.
fn looked_at<'a>(
    session: &Session,
    plan: &'a Plan,
    partition: &Partition,
) -> Option<&'a Arc<Record>> {
    let done = |step: &str| {
        let mut tasks = plan.step(step)?.tasks.iter();
        match &tasks.find(|task| task.partition == *partition)?.state {
            State::Done(record) => Some(record),
            State::Missing { .. } | State::Waiting { .. } => None,
        }
    };
    let steps = session.inputs.steps.iter();
    let mut readers = steps.filter(|step| {
        let mut reads = step.reads.iter();
        reads.any(|read| read.table == TableId::Portraits)
    });
    let all = readers.all(|step| done(&step.name).is_some());
    done(VERIFY).filter(|_| all)
}

/// The names that verify-portraits kept.
fn known(store: &Store, verified: &Record) -> Result<HashSet<NameId>, CoreError> {
    let mut names = HashSet::new();
    for part in verified.outputs_of(TableId::KnownNames) {
        let footer = Arc::new(Footer::of_any(store, part)?);
        for ids in PartReader::new(store.clone(), part, footer).numbers("name_id")? {
            names.extend(ids?.into_iter().map(NameId));
        }
    }
    Ok(names)
}

/// About how many bytes the images of a part take that are not kept; none where no such image is there. Images are not read.
fn bytes_pruned(
    store: &Store,
    dims: &EmbeddingDims,
    part: &Part,
    kept: &HashSet<NameId>,
) -> Result<Option<u64>, CoreError> {
    const COLUMNS: [&str; 2] = ["name_id", "settings"];
    let fail = |cause: String| CoreError::parquet(&part.path, cause);
    let (mut images, mut pruned) = (0_u64, 0_u64);
    for batch in read_columns::<Portrait>(store, part, dims, &COLUMNS)? {
        let batch = batch?;
        let column = |name: &str| {
            let column = batch.column_by_name(name);
            column.ok_or_else(|| fail(format!("no column `{name}`")))
        };
        let names = NameId::read(column(COLUMNS[0])?, dims).map_err(fail)?;
        let settings = String::read(column(COLUMNS[1])?, dims).map_err(fail)?;
        for (name, settings) in names.iter().zip(settings) {
            if !settings.is_empty() {
                images += 1;
                pruned += u64::from(!kept.contains(name));
            }
        }
    }
    let share = |pruned: u64| (part.bytes as f64 * pruned as f64 / images as f64) as u64;
    Ok((pruned > 0).then(|| share(pruned)))
}

impl Pruning {
    /// Takes the images out of the files. The smaller files are on the disk before the record names them, and the larger ones go
    /// after that: a crash leaves one or the other, and parts that no record names.
    ///
    /// # Errors
    /// Damaged parts, a full disk.
    pub(super) fn carry_out(&self, store: &Store, dims: &EmbeddingDims) -> Result<(), CoreError> {
        let mut new = Record {
            format: RECORD_FORMAT,
            ..(*self.record).clone()
        };
        let mut gone = Vec::new();
        for &number in &self.parts {
            let whole = &self.record.outputs[number];
            let (part, pruned) = self.without_images(store, dims, whole)?;
            new.pruned.retain(|pruned| pruned.path != whole.path);
            new.pruned.push(pruned);
            new.outputs[number] = part;
            gone.push(&whole.path);
        }
        Ledger::new(store.clone()).replace(&new, &self.record.attempt)?;
        gone.into_iter().try_for_each(|path| store.delete(path))
    }

    /// Writes the file of `part` without the images that are not kept, beside it.
    fn without_images(
        &self,
        store: &Store,
        dims: &EmbeddingDims,
        part: &Part,
    ) -> Result<(Part, PrunedPart), CoreError> {
        let mut writer = PartWriter::create(store, Portrait::schema(dims), ROW_GROUP)?;
        let before = self.record.pruned_part(&part.path);
        let mut rows = RowsDigest::default();
        for batch in read_batches(store.get(&part.path)?, &part.path)? {
            let batch = batch?;
            rows.add(&batch)?;
            let mut portraits = Portrait::from_batch(&batch, dims, &part.path)?;
            let not_kept = |row: &&mut Portrait| !self.kept.contains(&row.name_id);
            let not_kept = portraits.iter_mut().filter(not_kept);
            not_kept.for_each(Portrait::prune);
            writer.add(&Portrait::to_batch(portraits, dims)?)?;
        }
        let written = writer.finish()?;
        let stem = part.path.trim_end_matches(".parquet");
        let path = format!("{stem}-pruned.parquet");
        store.adopt(written.file.path(), &path)?;
        let pruned = PrunedPart {
            path: path.clone(),
            digest: written.digest,
            // Of a part that lacks images already, what was known of it when it was whole.
            rows: before.map_or(rows, |before| before.rows.clone()),
        };
        let part = Part {
            path,
            bytes: written.bytes,
            ..part.clone()
        };
        Ok((part, pruned))
    }
}
