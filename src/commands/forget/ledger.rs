//! The results of the run without who was taken down: every part of every record that counts is written anew where it has such rows,
//! and its record follows. Records whose inputs changed get the key that the planner gives them now, so that nothing runs again.

use std::collections::BTreeMap;
use std::sync::Arc;

use laioncele_core::decisions::Decisions;
use laioncele_core::forgotten::{Forgotten, Removed, without};
use laioncele_core::ledger::{Ledger, Record};
use laioncele_core::spec::TaskSpec;
use laioncele_core::store::Store;
use laioncele_core::{CoreError, Digest, EmbeddingDims, Part, TableId};

use super::{KeptRows, Taken, balance, derived};
use crate::commands::run::run_name;
use crate::failure::Failure;
use crate::plan::{State, StepPlan};
use crate::published::Publication;
use crate::session::Session;

/// Counts the rows that would go.
///
/// # Errors
/// Damaged parts.
pub(super) fn count(
    session: &Session,
    stones: &Forgotten,
    taken: &mut Taken,
) -> Result<(), Failure> {
    let store = session.store()?;
    for record in session.current_records()? {
        for part in record.outputs.iter().filter(|part| part.is_parquet()) {
            if let Some(new) = without(store, part, stones)? {
                *taken.rows.entry(part.table.to_string()).or_default() += new.removed.rows;
            }
        }
    }
    Ok(())
}

/// Writes all results that count without who was taken down, and takes the old records away.
///
/// # Errors
/// Damaged parts, store errors.
pub(super) fn rewrite(
    session: &mut Session,
    stones: &mut Forgotten,
    taken: &mut Taken,
) -> Result<(), Failure> {
    let store = session.store()?.clone();
    let old = session.plan()?;
    let mut planner = session.planner()?;
    let mut walk = Walk {
        ledger: Ledger::new(store.clone()),
        store,
        dims: session.manifest.embedding_dims,
        kept: KeptRows::new(),
        attempt: format!("forget-{}", run_name()),
        row_group: laioncele_pack_shards::Settings::from_manifest(&session.manifest)?.row_group,
    };
    // The review's lines on them say nothing any more.
    Decisions::load(&walk.store)?.forget(&walk.store, stones)?;
    let steps = session.inputs.steps.clone().into_iter();
    let steps: Vec<_> = steps
        .map(|step| session.decided(step))
        .collect::<Result<_, _>>()?;
    session.inputs.steps.clone_from(&steps);
    for info in steps {
        let planned = planner.plan_step(&info, &session.records);
        for list in &planned.lists {
            list.restore(&walk.store)?;
        }
        let before = old.step(&info.name);
        let before = before.into_iter().flat_map(StepPlan::records);
        let before: BTreeMap<_, &Arc<Record>> = before.map(|r| (&r.partition, r)).collect();
        for task in &planned.tasks {
            let Some(record) = before.get(&task.partition) else {
                continue;
            };
            match &task.state {
                State::Waiting { .. } => {}
                State::Done(_) => {
                    if let Some(new) = walk.rewritten(record, None, stones, taken)? {
                        walk.ledger.replace(&new, &record.attempt)?;
                        session.records.add(new);
                    }
                }
                State::Missing { spec, .. } => {
                    if let Some(new) = walk.rewritten(record, Some(spec), stones, taken)? {
                        walk.ledger.commit(&new)?;
                        session.records.add(new);
                        walk.ledger
                            .remove(&record.step, &record.partition, record.key)?;
                    }
                }
            }
        }
        let planned = planner.plan_step(&info, &session.records);
        planner.add(&info, &planned);
    }
    Ok(())
}

struct Walk {
    store: Store,
    ledger: Ledger,
    dims: EmbeddingDims,
    kept: KeptRows,
    attempt: String,
    /// Rows of a shard's row groups.
    row_group: usize,
}

impl Walk {
    /// The record without who was taken down, as the task `spec`; none where it stays what it is.
    fn rewritten(
        &mut self,
        record: &Record,
        spec: Option<&TaskSpec>,
        stones: &mut Forgotten,
        taken: &mut Taken,
    ) -> Result<Option<Record>, CoreError> {
        let mut new = record.clone();
        if let Some(spec) = spec {
            new.key = spec.key;
            new.key_parts = spec.key_parts.clone();
            new.inputs.clone_from(&spec.inputs);
            new.lists.clone_from(&spec.lists);
        }
        new.attempt.clone_from(&self.attempt);
        let mut removed = BTreeMap::<TableId, Removed>::new();
        for (number, part) in new.outputs.iter_mut().enumerate() {
            let (old, before) = (part.path.clone(), part.digest);
            let suffix = suffix(&part.path);
            let path = format!(
                "tables/{}/{}/{}-{}-{number}{suffix}",
                part.table,
                part.partition,
                new.key.short(),
                self.attempt
            );
            let of = removed.entry(part.table).or_default();
            self.part(record, part, (path, spec.is_some()), stones, of)?;
            if let Some(pruned) = new.pruned.iter_mut().find(|pruned| pruned.path == old) {
                derived::pruned(&self.store, pruned, part, before)?;
            }
        }
        derived::name_sums(&self.store, &self.dims, &mut new, &removed)?;
        let rows: u64 = removed.values().map(|r| r.rows).sum();
        if rows == 0 && spec.is_none() && new.outputs == record.outputs {
            return Ok(None);
        }
        for (table, removed) in &removed {
            if removed.rows > 0 {
                *taken.rows.entry(table.to_string()).or_default() += removed.rows;
            }
        }
        if record.step == "train-encoder" && spec.is_some() {
            let weights = new.outputs_of(TableId::Encoder);
            for part in weights.filter(|part| part.path.ends_with(".safetensors")) {
                stones.add_encoder(part.digest);
                taken.trained_before = true;
            }
        }
        balance::follow(&mut new, &removed, stones);
        Ok(Some(new))
    }

    /// A part without the rows of who was taken down, under the name `path`; one that has no such rows keeps its name unless it `moves`.
    fn part(
        &mut self,
        record: &Record,
        part: &mut Part,
        (path, moves): (String, bool),
        stones: &Forgotten,
        removed: &mut Removed,
    ) -> Result<(), CoreError> {
        let before = part.digest;
        let new = match part.table {
            TableId::Verdicts => {
                derived::verdicts(&self.store, &self.dims, record, part, &self.kept, stones)?
            }
            _ if part.is_parquet() => without(&self.store, part, stones)?,
            _ => None,
        };
        let Some(new) = new else {
            // A part is named after its task's key.
            if moves {
                if self.store.link(&part.path, &path).is_err() {
                    self.store.put(&path, self.store.get(&part.path)?)?;
                }
                part.path = path;
            }
            return Ok(());
        };
        match part.table {
            // Shards are written as others read them.
            TableId::LaionCele => {
                let bytes =
                    derived::shard(&self.store, &self.dims, part, &new.kept, self.row_group)?;
                part.rows = new.written.rows;
                part.bytes = bytes.len() as u64;
                part.digest = Digest::of(&bytes);
                self.store.put(&path, bytes)?;
            }
            _ => {
                self.store.adopt(new.written.file.path(), &path)?;
                part.rows = new.written.rows;
                part.bytes = new.written.bytes;
                part.digest = new.written.digest;
            }
        }
        part.path = path;
        if part.table == TableId::Spellings {
            self.kept.insert(before, new.kept);
        }
        removed.absorb(new.removed);
        Ok(())
    }
}

/// What a part's name ends with: `.parquet`, `.loss.csv`.
fn suffix(path: &str) -> &str {
    let name = path.rsplit('/').next().unwrap_or(path);
    name.find('.').map_or("", |at| &name[at..])
}

/// Publishes what every step that publishes has now.
///
/// # Errors
/// Store errors, damaged parts.
pub(super) fn publish(session: &Session) -> Result<(), Failure> {
    let (store, manifest) = (session.store()?, &session.manifest);
    let plan = session.plan()?;
    for planned in plan.steps.iter().filter(|step| step.complete()) {
        let records: Vec<Record> = planned.records().map(|r| (**r).clone()).collect();
        let begun = Publication::begin(store, &planned.name, manifest.digest(), &records)?;
        let (Some(publication), Some(step)) = (begun, session.step(&planned.name)) else {
            continue;
        };
        step.publish(store, manifest, &records)?;
        publication.end(&session.digests)?;
        session.digests.save();
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_parts_suffix_is_all_from_the_first_dot() {
        assert_eq!(suffix("tables/encoder/all/ab-c-2.loss.csv"), ".loss.csv");
        assert_eq!(
            suffix("tables/names/bucket-0001/ab-c-0.parquet"),
            ".parquet"
        );
        assert_eq!(suffix("x"), "");
    }
}
