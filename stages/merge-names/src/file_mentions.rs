//! Step file-mentions: the mentions of a group of shards, each under its name, sorted by bucket.
//!
//! A mention goes through once for each name that it is filed under. A task writes one part, whatever
//! the number of its shards and of the buckets.

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, RecordBatch, UInt32Array, UInt64Array};
use arrow::compute::take;
use arrow::datatypes::UInt64Type;
use laioncele_core::table::{FiledMention, Mention, SpellingCount, Verdict};
use laioncele_core::{
    CaptionId, CoreError, DropReason, Manifest, NameId, Part, Partition, Partitioning, Reads, Row,
    StageError, StageName, Step, StepSpec, TableId, Task, Unit,
};
use serde_json::json;

use crate::columns::{column, texts};
use crate::merge::SpellingTable;
use crate::rows::{GROUP, Sorter};
use crate::settings::{DEFAULT_GROUPS, Settings};

pub(crate) struct FileMentions;

const SPEC: StepSpec = StepSpec {
    name: "file-mentions",
    stage: StageName::MergeNames,
    version: 1,
    partitioning: Partitioning::ShardGroups(DEFAULT_GROUPS),
    reads: &[
        Reads::group(TableId::Mentions),
        Reads::group(TableId::Spellings),
        Reads::group(TableId::Verdicts),
    ],
    writes: &[TableId::FiledMentions],
};

impl Step for FileMentions {
    fn spec(&self) -> &'static StepSpec {
        &SPEC
    }

    fn partitioning(&self, manifest: &Manifest) -> Result<Partitioning, CoreError> {
        let settings = Settings::from_manifest(manifest)?;
        Ok(Partitioning::ShardGroups(settings.groups))
    }

    fn settings(&self, manifest: &Manifest) -> Result<serde_json::Value, CoreError> {
        let settings = Settings::from_manifest(manifest)?;
        Ok(json!({
            "groups": settings.groups,
            "run": { "buckets": manifest.run.buckets },
        }))
    }

    fn run(&self, task: &mut Task) -> Result<(), StageError> {
        let parts: Vec<Part> = task.inputs(TableId::Mentions).cloned().collect();
        let mut filing = Filing {
            sorter: Sorter::new(),
            buckets: task.manifest().run.buckets,
            total: task.rows_in(TableId::Mentions),
            done: 0,
            filed: 0,
            again: 0,
        };
        for shard in parts.chunk_by(|a, b| a.partition == b.partition) {
            let verdicts = ShardVerdicts::read(task, &shard[0].partition)?;
            for part in shard {
                filing.add_part(task, part, &verdicts)?;
            }
        }
        let mut writer = task.part_writer::<FiledMention>(GROUP)?;
        filing.sorter.finish(task, &mut writer)?;
        // A mention of two people is two rows from here on.
        task.balance(Unit::Mention, filing.total + filing.again, filing.filed);
        task.metric("mentions_counted_again", filing.again as f64);
        let own = task.partition().clone();
        task.write_part::<FiledMention>(&own, writer)
    }
}

/// The spellings of a shard and what became of them.
struct ShardVerdicts {
    path: String,
    /// Sorted.
    spellings: SpellingTable,
    /// Where the verdicts of each spelling begin, and at last the number of all.
    starts: Vec<u32>,
    verdicts: Vec<(Option<NameId>, Option<DropReason>)>,
}

impl ShardVerdicts {
    fn read(task: &Task, shard: &Partition) -> Result<Self, StageError> {
        let part = |table: TableId| {
            let found = task.inputs(table).find(|part| part.partition == *shard);
            found.ok_or_else(|| StageError::data(format!("{shard} has no part of `{table}`")))
        };
        let spellings_part = part(TableId::Spellings)?;
        let mut spellings = SpellingTable::default();
        for batch in task.stream::<SpellingCount>(spellings_part)? {
            let batch = batch?;
            for text in texts(&batch, "spelling", spellings_part)?.iter().flatten() {
                let len = spellings.len();
                if len > 0 && spellings.spelling(len - 1) >= text {
                    let text = format!("{}: its spellings are not sorted", spellings_part.path);
                    return Err(StageError::data(text));
                }
                spellings.push(text, 0, 0);
            }
        }
        let mut all = Self {
            path: spellings_part.path.clone(),
            spellings,
            starts: Vec::new(),
            verdicts: Vec::new(),
        };
        let verdicts = part(TableId::Verdicts)?;
        for batch in task.stream::<Verdict>(verdicts)? {
            let rows = Verdict::from_batch(&batch?, task.embedding_dims(), &verdicts.path)?;
            all.add(rows, verdicts)?;
        }
        if all.starts.len() != all.spellings.len() {
            return Err(all.other_spellings(verdicts));
        }
        all.starts.push(all.verdicts.len() as u32);
        Ok(all)
    }

    fn add(&mut self, rows: Vec<Verdict>, part: &Part) -> Result<(), StageError> {
        for verdict in rows {
            let row = verdict.row as usize;
            if row == self.starts.len() {
                self.starts.push(self.verdicts.len() as u32);
            } else if row + 1 != self.starts.len() {
                return Err(self.other_spellings(part));
            }
            self.verdicts.push((verdict.name_id, verdict.reason));
        }
        Ok(())
    }

    fn other_spellings(&self, verdicts: &Part) -> StageError {
        let text = format!(
            "{} holds no verdicts on the rows of {}",
            verdicts.path, self.path
        );
        StageError::data(text)
    }

    /// What became of mentions with this spelling.
    fn of(&self, written: &str) -> Option<&[(Option<NameId>, Option<DropReason>)]> {
        let (mut low, mut high) = (0, self.spellings.len());
        while low < high {
            let middle = low.midpoint(high);
            if self.spellings.spelling(middle) < written {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        if low == self.spellings.len() || self.spellings.spelling(low) != written {
            return None;
        }
        self.verdicts
            .get(self.starts[low] as usize..self.starts[low + 1] as usize)
    }
}

/// The mentions of a task on their way to its part.
struct Filing {
    sorter: Sorter,
    buckets: u32,
    total: u64,
    done: u64,
    filed: u64,
    /// Names of mentions beyond their first.
    again: u64,
}

impl Filing {
    fn add_part(
        &mut self,
        task: &mut Task,
        part: &Part,
        verdicts: &ShardVerdicts,
    ) -> Result<(), StageError> {
        for batch in task.stream::<Mention>(part)? {
            let batch = batch?;
            let filed = self.file(task, &batch, part, verdicts)?;
            self.filed += filed.num_rows() as u64;
            if filed.num_rows() > 0 {
                self.sorter.add(task, filed)?;
            }
            self.done += batch.num_rows() as u64;
            task.progress(self.done, self.total, Unit::Mention)?;
        }
        Ok(())
    }

    /// The rows of `batch` that are filed under a name, once for each; the others are dropped.
    fn file(
        &mut self,
        task: &mut Task,
        batch: &RecordBatch,
        part: &Part,
        verdicts: &ShardVerdicts,
    ) -> Result<RecordBatch, StageError> {
        let names = texts(batch, "name", part)?;
        let captions = column(batch, "caption_id", part)?.as_primitive::<UInt64Type>();
        let (mut rows, mut ids) = (Vec::new(), Vec::new());
        for row in 0..batch.num_rows() {
            let found = verdicts.of(names.value(row));
            let unknown = || {
                let (path, spellings) = (&part.path, &verdicts.path);
                StageError::data(format!("{path} has a spelling that {spellings} has not"))
            };
            let found = found.ok_or_else(unknown)?;
            self.again += (found.len() as u64).saturating_sub(1);
            for verdict in found {
                match *verdict {
                    (Some(name), None) => {
                        rows.push(row as u32);
                        ids.push(name);
                    }
                    (name, reason) => {
                        let caption = CaptionId(captions.value(row));
                        drop_mention(task, caption, name, reason, names.value(row));
                    }
                }
            }
        }
        self.batch(task, batch, &rows, &ids)
    }

    /// The rows of `filed_mentions`: all of its columns but the name's are a mention's.
    fn batch(
        &self,
        task: &Task,
        mentions: &RecordBatch,
        rows: &[u32],
        ids: &[NameId],
    ) -> Result<RecordBatch, StageError> {
        let rows = UInt32Array::from(rows.to_vec());
        let schema = FiledMention::schema(task.embedding_dims());
        let mut columns: Vec<ArrayRef> = Vec::with_capacity(schema.fields().len());
        let failed = |e: arrow::error::ArrowError| CoreError::parquet("filed mentions", e);
        for field in schema.fields() {
            columns.push(match field.name().as_str() {
                "bucket" => {
                    let buckets = ids.iter().map(|id| id.bucket(self.buckets));
                    Arc::new(UInt32Array::from_iter_values(buckets))
                }
                "name_id" => Arc::new(UInt64Array::from_iter_values(ids.iter().map(|id| id.0))),
                name => {
                    let found = mentions.column_by_name(name);
                    let missing = || CoreError::parquet("mentions", format!("no column `{name}`"));
                    take(found.ok_or_else(missing)?, &rows, None).map_err(failed)?
                }
            });
        }
        Ok(RecordBatch::try_new(schema, columns).map_err(failed)?)
    }
}

fn drop_mention(
    task: &mut Task,
    caption: CaptionId,
    name: Option<NameId>,
    reason: Option<DropReason>,
    written: &str,
) {
    // A verdict without a name has a reason; one that says nothing at all is as good as no name.
    let reason = reason.unwrap_or(DropReason::NotAName);
    // No text of people who asked not to be in it; a name's own text is in the row of its name.
    let detail = name.is_none().then(|| written.to_owned());
    task.drop_row(Unit::Mention, caption.0, name, reason, detail);
}
