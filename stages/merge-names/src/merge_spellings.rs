//! Step merge-spellings: which name each distinct spelling of the corpus is filed under, or why it is
//! none.
//!
//! The shards' sorted spellings are read as one stream, each distinct one is normalized once, and what
//! came of it is noted for each shard that has it. Once the normalized spellings are merged, each
//! shard's verdicts are written from those notes: no later step compares spellings of different shards.

use std::cmp::Reverse;
use std::collections::HashSet;

use laioncele_core::table::{self, Alias, Opinion, Verdict};
use laioncele_core::{
    CoreError, DropReason, Manifest, NameId, Part, Partitioning, Reads, Row, StageError, StageName,
    Step, StepSpec, TableId, Task, Unit,
};
use rayon::prelude::*;
use serde_json::json;

use crate::codes::{Code, Codes};
use crate::fold::fold_key;
use crate::merge::{Merged, SpellingTable, merge};
use crate::normalize::{Normalizer, normalize};
use crate::normalized::{Normalized, Reader, evidence};
use crate::reviewed;
use crate::second_opinion::Answers;
use crate::settings::Settings;

/// Rows of a row group of `verdicts`.
const GROUP: usize = 16_384;
/// Rows of a row group of `merged_names`, where a bucket has as many.
const NAMES_GROUP: usize = 4096;

pub(crate) struct MergeSpellings;

const SPEC: StepSpec = StepSpec {
    name: "merge-spellings",
    stage: StageName::MergeNames,
    version: 4,
    partitioning: Partitioning::Once,
    reads: &[Reads::all(TableId::Spellings), Reads::all(TableId::Words)],
    writes: &[TableId::Verdicts, TableId::MergedNames],
};

impl Step for MergeSpellings {
    fn spec(&self) -> &'static StepSpec {
        &SPEC
    }

    fn settings(&self, manifest: &Manifest) -> Result<serde_json::Value, CoreError> {
        let settings = Settings::from_manifest(manifest)?;
        // The buckets are where the rows go, so they are part of the result.
        Ok(json!({
            "mononym_min_mentions": settings.mononym_min_mentions,
            "common_ratio": settings.common_ratio,
            "exclude": settings.exclude,
            "several_people": settings.several_people,
            "run": { "buckets": manifest.run.buckets },
        }))
    }

    fn reads(&self, manifest: &Manifest) -> Vec<Reads> {
        let mut reads = SPEC.reads.to_vec();
        let asks = Settings::from_manifest(manifest).is_ok_and(|s| s.second_opinion.is_some());
        reads.extend(asks.then_some(Reads::all(TableId::Opinions)));
        reads
    }

    fn run(&self, task: &mut Task) -> Result<(), StageError> {
        let settings = Settings::from_manifest(task.manifest())?;
        let parts: Vec<Part> = task.inputs(TableId::Spellings).cloned().collect();
        let answers = Answers::new(task.read::<Opinion>()?);
        let normalizer =
            Normalizer::new(evidence(task)?).with_several_people(settings.several_people);
        let reader = Reader {
            normalizer: &normalizer,
            answers: &answers,
            notes_doubts: false,
        };
        let normalized = Normalized::read(task, &parts, &reader)?;
        drop(normalizer);
        let Normalized {
            spellings,
            mononyms,
            codes,
            several,
            doubts: _,
        } = normalized;
        let table = spellings.into_table();
        let mut merged = merge(&table, settings.common_ratio);
        answers.join(&table, &mut merged);
        reviewed::join(&task.merges()?, &table, &mut merged);
        let mut names = Names::new(&table, &merged);
        names.write(task, &mononyms, &settings)?;
        write_verdicts(task, &parts, codes, &several, &names)
    }
}

/// The names that spellings are filed under.
struct Names<'a> {
    table: &'a SpellingTable,
    merged: &'a Merged,
    /// The id of each canonical spelling; 0 for others.
    ids: Vec<NameId>,
    /// Why the names are dropped, by canonical spelling.
    reasons: Vec<Option<DropReason>>,
}

impl<'a> Names<'a> {
    fn new(table: &'a SpellingTable, merged: &'a Merged) -> Self {
        let id = |at: usize| match merged.filed[at] as usize == at {
            true => NameId::of(table.spelling(at)),
            false => NameId(0),
        };
        Self {
            table,
            merged,
            ids: (0..table.len()).into_par_iter().map(id).collect(),
            reasons: vec![None; table.len()],
        }
    }

    /// The name of a spelling, by number, and why it is dropped.
    fn of(&self, spelling: u32) -> (NameId, Option<DropReason>) {
        let name = self.merged.filed[spelling as usize] as usize;
        (self.ids[name], self.reasons[name])
    }

    /// All spellings, those of one name together, names sorted by bucket and id, spellings by count.
    fn order(&self, buckets: u32) -> Vec<u32> {
        let key = |at: &u32| {
            let (at, name) = (*at as usize, self.merged.filed[*at as usize]);
            let id = self.ids[name as usize];
            let count = Reverse(self.table.mentions(at));
            (id.bucket(buckets), id, name, count, self.table.spelling(at))
        };
        let mut order: Vec<u32> = (0..self.table.len() as u32).collect();
        order.par_sort_unstable_by(|a, b| key(a).cmp(&key(b)));
        order
    }

    /// Writes the names that are accepted and drops the others.
    fn write(
        &mut self,
        task: &mut Task,
        mononyms: &[bool],
        settings: &Settings,
    ) -> Result<(), StageError> {
        let buckets = task.manifest().run.buckets;
        let excluded = exclusion_keys(settings);
        let order = self.order(buckets);
        let mut writer = task.part_writer::<table::MergedName>(NAMES_GROUP)?;
        let (mut rows, mut names) = (Vec::new(), 0);
        let same =
            |a: &u32, b: &u32| self.merged.filed[*a as usize] == self.merged.filed[*b as usize];
        let mut reasons = std::mem::take(&mut self.reasons);
        for spellings in order.chunk_by(same) {
            names += 1;
            let root = self.merged.filed[spellings[0] as usize] as usize;
            let row = self.row(root, spellings, buckets);
            reasons[root] = reason(&row, mononyms[root], &excluded, settings);
            if let Some(reason) = reasons[root] {
                // No text of people who asked not to be in it.
                let detail = (reason != DropReason::Excluded).then_some(row.name);
                task.drop_row(Unit::Name, row.name_id.0, Some(row.name_id), reason, detail);
                continue;
            }
            let next = rows
                .first()
                .is_some_and(|r: &table::MergedName| r.bucket != row.bucket);
            if next || rows.len() == NAMES_GROUP {
                let rows =
                    table::MergedName::to_batch(std::mem::take(&mut rows), task.embedding_dims())?;
                writer.add(&rows)?;
            }
            if next {
                writer.end_group()?;
            }
            rows.push(row);
        }
        writer.add(&table::MergedName::to_batch(rows, task.embedding_dims())?)?;
        task.balance(Unit::Name, names, writer.rows());
        self.reasons = reasons;
        let own = task.partition().clone();
        task.write_part::<table::MergedName>(&own, writer)
    }

    fn row(&self, root: usize, spellings: &[u32], buckets: u32) -> table::MergedName {
        let alias = |at: &u32| Alias {
            spelling: self.table.spelling(*at as usize).to_owned(),
            mentions: self.table.mentions(*at as usize),
            merged_by: self.merged.why[*at as usize].as_str().to_owned(),
        };
        let mentions = spellings.iter().map(|at| self.table.mentions(*at as usize));
        let name_id = self.ids[root];
        table::MergedName {
            bucket: name_id.bucket(buckets),
            name_id,
            name: self.table.spelling(root).to_owned(),
            mentions: mentions.fold(0, u64::saturating_add),
            aliases: spellings.iter().map(alias).collect(),
        }
    }
}

/// The fold keys that exclude a name: of each entry as it stands, and as a mention of it would be
/// normalized.
pub(crate) fn exclusion_keys(settings: &Settings) -> HashSet<String> {
    let keys = |entry: &String| {
        let normalized = normalize(entry).ok().map(|s| fold_key(&s.name));
        [Some(fold_key(entry)), normalized].into_iter().flatten()
    };
    settings.exclude.iter().flat_map(keys).collect()
}

/// Why a name is dropped, if it is.
fn reason(
    name: &table::MergedName,
    mononym: bool,
    excluded: &HashSet<String>,
    settings: &Settings,
) -> Option<DropReason> {
    let listed = |alias: &Alias| excluded.contains(&fold_key(&alias.spelling));
    if !excluded.is_empty() && name.aliases.iter().any(listed) {
        Some(DropReason::Excluded)
    } else if mononym && name.mentions < settings.mononym_min_mentions {
        Some(DropReason::Mononym)
    } else {
        None
    }
}

/// Writes what became of each shard's spellings, shard by shard.
fn write_verdicts(
    task: &mut Task,
    parts: &[Part],
    mut codes: Codes,
    several: &[Vec<u32>],
    names: &Names<'_>,
) -> Result<(), StageError> {
    for (shard, part) in parts.iter().enumerate() {
        let mut writer = task.part_writer::<Verdict>(GROUP)?;
        let (mut reader, mut rows, mut row) = (codes.take(shard)?, Vec::new(), 0);
        while let Some(code) = reader.next()? {
            add_verdicts(&mut rows, row, code, several, names);
            row += 1;
            if rows.len() >= GROUP {
                let full = std::mem::take(&mut rows);
                writer.add(&Verdict::to_batch(full, task.embedding_dims())?)?;
            }
        }
        writer.add(&Verdict::to_batch(rows, task.embedding_dims())?)?;
        if u64::from(row) != part.rows {
            let text = format!("{}: {row} of {} spellings decided", part.path, part.rows);
            return Err(StageError::data(text));
        }
        task.write_part::<Verdict>(&part.partition, writer)?;
    }
    Ok(())
}

/// The rows of one spelling: one for each distinct name.
fn add_verdicts(
    rows: &mut Vec<Verdict>,
    row: u32,
    code: Code,
    several: &[Vec<u32>],
    names: &Names<'_>,
) {
    let filed = |spelling: u32| {
        let (name_id, reason) = names.of(spelling);
        Verdict {
            row,
            name_id: Some(name_id),
            reason,
        }
    };
    let first = rows.len();
    match code {
        Code::One(spelling) => rows.push(filed(spelling)),
        Code::Several(list) => {
            for spelling in several.get(list as usize).into_iter().flatten() {
                let verdict = filed(*spelling);
                if !rows[first..].contains(&verdict) {
                    rows.push(verdict);
                }
            }
        }
        Code::Rejected(reason) => rows.push(Verdict {
            row,
            name_id: None,
            reason: Some(reason),
        }),
    }
}
