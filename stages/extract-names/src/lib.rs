//! Stage 1, extract-names: a caption becomes its mentions, the PERSON spans that the NER model
//! finds in it.
//!
//! A task is one file of the source. It is read batch by batch, only the columns that are of use;
//! rows are filtered and captions read on all of the worker's threads, in the file's order. What is
//! held in memory is two batches, an open part of mentions (both bounded in rows and in bytes), and
//! the ids of captions with a mention: 10 to 18 bytes each, the only thing that grows with the file.

mod filter;
mod read;
mod settings;

use std::collections::HashSet;
use std::path::Path;
use std::sync::Arc;

use laioncele_bert_ner::BertNer;
use laioncele_core::ModelFiles;
use laioncele_core::spec::Progress;
use laioncele_core::table::Mention;
use laioncele_core::{
    CaptionId, CoreError, DropReason, Manifest, Part, Partitioning, Reads, StageError, StageName,
    Step, StepSpec, TableId, Task, Unit,
};
use laioncele_ner::{FindPersons, Ner};
use laioncele_source::{Batches, SourceError, SourceFile, SourceImages, SourceSummary};
use rayon::{ThreadPool, ThreadPoolBuilder};

pub use settings::{MaxNsfw, Settings};

use filter::DroppedRow;
use read::{Caption, Reader};
use settings::{Engine, NerModel};

/// Mentions of a part, about 40 MB in memory.
const PART_ROWS: usize = 1 << 17;
/// Bytes of texts after which a part is closed although it has fewer rows: several times what
/// [`PART_ROWS`] ordinary mentions have.
const PART_BYTES: usize = 96 << 20;

/// Checks every file of the source, as [`laioncele_source::check_source`], for the columns that the
/// filters need too.
///
/// # Errors
/// Of the first file that cannot be used, or of a source that is missing or empty.
pub fn check_source(manifest: &Manifest) -> Result<SourceSummary, SourceError> {
    let needs = Settings::from_manifest(manifest)?.needs();
    laioncele_source::check_source(manifest, &needs)
}

/// The steps of this stage.
pub fn steps() -> Vec<Box<dyn Step>> {
    vec![Box::new(ExtractNames {
        part_rows: PART_ROWS,
        part_bytes: PART_BYTES,
    })]
}

struct ExtractNames {
    /// Mentions after which a part is closed.
    part_rows: usize,
    /// Bytes of mentions' texts after which a part is closed.
    part_bytes: usize,
}

const SPEC: StepSpec = StepSpec {
    name: "extract-names",
    stage: StageName::ExtractNames,
    version: 3,
    partitioning: Partitioning::Shards,
    reads: &[Reads::own(TableId::Captions)],
    writes: &[TableId::Mentions],
};

impl Step for ExtractNames {
    fn spec(&self) -> &'static StepSpec {
        &SPEC
    }

    fn settings(&self, manifest: &Manifest) -> Result<serde_json::Value, CoreError> {
        settings::key_settings(manifest)
    }
    fn models(&self, manifest: &Manifest) -> Result<Vec<ModelFiles>, CoreError> {
        Ok(vec![NerModel::from_manifest(manifest)?.model_files()])
    }

    fn run(&self, task: &mut Task) -> Result<(), StageError> {
        let filters = Settings::from_manifest(task.manifest())?;
        let (source, needs) = (&task.manifest().source, filters.needs());
        let open = |part: &Part| {
            let origin = SourceImages::origin(&part.partition, part.digest);
            let file = SourceFile::open(Path::new(&part.path), source, &needs);
            file.map(|file| (file, origin))
        };
        let shards = task.inputs(TableId::Captions).map(open);
        let shards: Vec<(SourceFile, String)> = shards.collect::<Result<_, _>>()?;
        let engine = load_engine(task)?;
        let pool = threads(task)?;
        let forgotten = task.forgotten()?;
        let reader = Reader {
            engine: &**engine,
            filters: &filters,
            forgotten: forgotten.as_ref(),
            rows: task.rows(),
        };
        let rows = shards.iter().filter_map(|(shard, _)| shard.rows()).sum();
        let mut output = Output::new(self, &filters);
        for (shard, origin) in shards {
            let batches = shard.batches(&origin)?;
            extract(task, batches, &reader, &pool, rows, &mut output)?;
        }
        output.close_part(task)?;
        task.balance(Unit::Caption, output.rows, output.captions);
        task.balance(Unit::Mention, output.found, output.mentions);
        task.metric("mentions", output.mentions as f64);
        Ok(())
    }
}

/// Reads a file's captions; the next batch is fetched while one is read.
fn extract(
    task: &mut Task,
    mut batches: Batches,
    reader: &Reader,
    pool: &ThreadPool,
    rows: u64,
    output: &mut Output,
) -> Result<(), StageError> {
    let mut next = batches.next();
    while let Some(batch) = next {
        let batch = batch?;
        let (captions, fetched) =
            pool.install(|| rayon::join(|| reader.captions(&batch), || batches.next()));
        next = fetched;
        for caption in captions.map_err(StageError::environment)? {
            output.add(task, caption)?;
        }
        task.report_progress(Progress {
            done: output.rows,
            // Not every format says how many rows a file has.
            total: rows.max(output.rows),
            unit: Unit::Caption,
            found: Some((Unit::Mention, output.mentions)),
        })?;
    }
    Ok(())
}

fn load_engine(task: &Task) -> Result<Arc<Box<dyn FindPersons>>, StageError> {
    let model = NerModel::from_manifest(task.manifest())?;
    let key = format!("{:?} in {}", model.engine, model.folder.display());
    task.resource(&key, || load(&model))
}

fn load(model: &NerModel) -> Result<Box<dyn FindPersons>, StageError> {
    let folder = &model.folder;
    Ok(match model.engine {
        Engine::Spacy => Box::new(Ner::load(folder).map_err(StageError::environment)?),
        Engine::Bert => Box::new(BertNer::load(folder).map_err(StageError::environment)?),
        #[cfg(feature = "rust-bert")]
        Engine::RustBert => {
            Box::new(BertNer::load_rust_bert(folder).map_err(StageError::environment)?)
        }
    })
}

/// Loads the engine that the manifest names, as a task would, and lets it go again.
///
/// # Errors
/// Missing or damaged files, another architecture.
pub fn check_engine(manifest: &Manifest) -> Result<(), StageError> {
    load(&NerModel::from_manifest(manifest)?).map(drop)
}

fn threads(task: &Task) -> Result<Arc<ThreadPool>, StageError> {
    let count = task.runtime_environment().threads;
    task.resource(&format!("{count} threads of extract-names"), || {
        let pool = ThreadPoolBuilder::new().num_threads(count).build();
        pool.map_err(StageError::environment)
    })
}

/// What a task has so far.
struct Output {
    part_rows: usize,
    part_bytes: usize,
    /// Bytes of a caption that a mention keeps.
    window: usize,
    /// Mentions of a caption that are kept.
    most: usize,
    rows: u64,
    captions: u64,
    /// Mentions in these captions.
    found: u64,
    mentions: u64,
    seen: HashSet<CaptionId>,
    open: Vec<Mention>,
    /// Bytes of texts in `open`.
    open_bytes: usize,
    written: bool,
}

impl Output {
    fn new(step: &ExtractNames, settings: &Settings) -> Self {
        let (rows, captions, found, mentions, seen) = Default::default();
        Self {
            part_rows: step.part_rows,
            part_bytes: step.part_bytes,
            window: settings.caption_window as usize,
            most: settings.max_mentions as usize,
            rows,
            captions,
            found,
            mentions,
            seen,
            open: Vec::new(),
            open_bytes: 0,
            written: false,
        }
    }

    fn add(&mut self, task: &mut Task, caption: Caption<'_>) -> Result<(), StageError> {
        self.rows += 1;
        let persons = match caption {
            Ok(persons) => persons,
            Err(dropped) => {
                drop_caption(task, dropped);
                return Ok(());
            }
        };
        let caption_id = persons.row.caption_id;
        if !self.seen.insert(caption_id) {
            drop_caption(
                task,
                DroppedRow {
                    caption_id,
                    reason: DropReason::RepeatedCaption,
                    detail: None,
                },
            );
            return Ok(());
        }
        self.captions += 1;
        self.found += persons.spans.len() as u64;
        for span in persons.spans.iter().take(self.most) {
            self.add_mention(task, persons.mention(span, self.window))?;
        }
        for span in persons.spans.iter().skip(self.most) {
            let name = persons.row.caption[span.clone()].to_owned();
            let reason = DropReason::TooManyMentions;
            task.drop_row(Unit::Mention, caption_id.0, None, reason, Some(name));
        }
        if self.open.len() >= self.part_rows {
            self.close_part(task)?;
        }
        Ok(())
    }

    fn add_mention(&mut self, task: &mut Task, mention: Mention) -> Result<(), StageError> {
        self.mentions += 1;
        self.open_bytes += mention.url.len() + mention.caption.len() + mention.name.len();
        self.open.push(mention);
        if self.open_bytes >= self.part_bytes {
            self.close_part(task)?;
        }
        Ok(())
    }

    /// Writes what is open; also if nothing ever was, so that the table exists.
    fn close_part(&mut self, task: &mut Task) -> Result<(), StageError> {
        if self.written && self.open.is_empty() {
            return Ok(());
        }
        self.written = true;
        self.open_bytes = 0;
        task.write(std::mem::take(&mut self.open))
    }
}

fn drop_caption(task: &mut Task, dropped: DroppedRow) {
    task.drop_row(
        Unit::Caption,
        dropped.caption_id.0,
        None,
        dropped.reason,
        dropped.detail,
    );
}

#[cfg(test)]
mod tests;
