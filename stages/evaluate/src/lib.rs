//! Stage 13, evaluate: metrics of the generated images, those of the paper's Tables 1 and 2 and
//! some that compare images of the same person with images of different people. [`score_folders`]
//! and [`score_systems`] score images of any other system with the same functions, [`figures_of_file`]
//! recorded embeddings. [`fn@scores`] defines each metric, [`fn@tables`] the paper's layouts.

mod choose;
mod differences;
mod distances;
mod entries;
mod error;
mod features_file;
mod folders;
mod frechet;
mod identity;
mod images;
mod inception;
mod intervals;
mod kernel;
mod layout;
mod matches;
mod networks;
mod notes;
mod number_format;
mod paper;
mod people;
mod prompts;
mod random;
mod record;
mod report;
mod resize;
mod rows;
mod scores;
mod settings;
mod singular;
mod systems;
mod tables;
mod towers;
mod words;

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

use laioncele_core::ModelFiles;
use laioncele_core::ledger::Record;
use laioncele_core::store::Store;
use laioncele_core::table::{EvaluationScore, Sample};
use laioncele_core::{
    CoreError, DropReason, Manifest, Partitioning, Reads, StageError, StageName, Step, StepSpec,
    TableId, Task, Unit, part,
};
use laioncele_inference::thread_pool;

pub use choose::choose_people;
pub use error::EvaluateError;
pub use features_file::{FeaturesReport, FigureSeeds, distances_of_files, figures_of_file};
pub use folders::{Chosen, FolderReport, Folders, Undecodable, score_folders, score_systems};
pub use frechet::frechet_distance;
pub use identity::{Face, Pairs, Reading, auc, consistency, cosine, partners, unit};
use images::{BASE_MODEL, ImageInput, ViewedImages, blocks};
pub use inception::{Inception, InceptionSettings};
pub use intervals::{Bootstrap, Interval};
pub use kernel::kernel_distance;
pub use layout::{Format, Layout};
use networks::Networks;
pub use people::{Reference, References};
pub use random::SplitMix64;
pub use report::{Report, Score};
pub use resize::{Resize, SIDE};
pub use scores::scores;
pub use settings::{Against, Judge, Rules, Settings, StageConfig};
pub use systems::{Checks, Systems};
pub use tables::{Table, tables};
pub use towers::{ClipChoice, Tower};
use words::WordCounts;
pub use words::WordOfPerson;

/// The system of a run's own images.
pub const OURS: &str = "laioncele";
/// The system that draws nobody: the base model.
pub const PLAIN: &str = "sdxl";
/// The base model with people's names in its prompts.
pub const BY_NAME: &str = "sdxl-name";

/// What is published in the run's folder.
const TABLE: &str = "evaluation/table.md";
const TABLE_JSON: &str = "evaluation/table.json";
/// The systems beside each other, as the paper's Table 1.
const TABLES: [(&str, Format); 3] = [
    ("evaluation/tables.md", Format::Markdown),
    ("evaluation/tables.csv", Format::Csv),
    ("evaluation/tables.tex", Format::Latex),
];
const TABLES_JSON: &str = "evaluation/tables.json";

/// The steps of this stage.
pub fn steps() -> Vec<Box<dyn Step>> {
    vec![Box::new(Evaluate)]
}

struct Evaluate;

const SPEC: StepSpec = StepSpec {
    name: "evaluate",
    stage: StageName::Evaluate,
    version: 7,
    partitioning: Partitioning::Once,
    reads: &[Reads::all(TableId::Samples)],
    writes: &[TableId::Evaluation],
};

impl Step for Evaluate {
    fn spec(&self) -> &'static StepSpec {
        &SPEC
    }

    fn settings(&self, manifest: &Manifest) -> Result<serde_json::Value, CoreError> {
        Ok(StageConfig::from_manifest(manifest)?.key_settings())
    }
    fn models(&self, manifest: &Manifest) -> Result<Vec<ModelFiles>, CoreError> {
        StageConfig::from_manifest(manifest)?.models(manifest)
    }

    fn run(&self, task: &mut Task) -> Result<(), StageError> {
        let config = StageConfig::from_manifest(task.manifest())?;
        let networks = task.resource(&config.resource_key(), || Ok(Networks::load(&config)?))?;
        let pool = thread_pool(task)?;
        let mut viewer = SampleViewer::default();
        let parts: Vec<_> = task.inputs(TableId::Samples).cloned().collect();
        for part in parts.iter().filter(|part| part.is_parquet()) {
            let samples = task.read_part(part)?;
            viewer.view(task, samples, &networks, &pool)?;
        }
        let rows_in = task.rows_in(TableId::Samples);
        let measured = viewer.images.images.len() as u64;
        task.balance(Unit::Sample, rows_in, measured);
        let people = people::people_by_name(config.references(task.manifest())?)?;
        let names = viewer.people.iter().map(String::as_str).collect();
        let references = pool.install(|| people::references_of(&people, &names, &networks))?;
        let mut rows = pool.install(|| scores(&viewer.images, &references, &config.rules()));
        rows.push(report::same_recognizer_row(config.judge_is_filter()?));
        rows.extend(report::fact_rows(&viewer.images));
        rows.extend(viewer.words.rows());
        task.write::<EvaluationScore>(rows)
    }

    fn publish(
        &self,
        store: &Store,
        manifest: &Manifest,
        records: &[Record],
    ) -> Result<(), CoreError> {
        let report = report_of_run(store, manifest, records)?;
        let json = serde_json::to_vec_pretty(&report);
        let json = json.map_err(|e| CoreError::parquet(TABLE_JSON, e))?;
        store.put_changed(TABLE, report.markdown().into_bytes())?;
        store.put_changed(TABLE_JSON, json)?;
        let layout = tables(std::slice::from_ref(&report), Table::One, false);
        for (path, format) in TABLES {
            store.put_changed(path, layout.write(format).into_bytes())?;
        }
        let json = serde_json::to_vec_pretty(&layout);
        let json = json.map_err(|e| CoreError::parquet(TABLES_JSON, e))?;
        store.put_changed(TABLES_JSON, json)?;
        Ok(())
    }
}

/// The report of the `evaluation` table that `records` wrote.
///
/// # Errors
/// A damaged part, a wrong manifest.
pub fn report_of_run(
    store: &Store,
    manifest: &Manifest,
    records: &[Record],
) -> Result<Report, CoreError> {
    let mut rows = Vec::new();
    for part in records
        .iter()
        .flat_map(|r| r.outputs_of(TableId::Evaluation))
    {
        rows.extend(part::read_rows(store, part, &manifest.embedding_dims)?);
    }
    let mut of_step = records.iter().rev().filter(|r| r.step == SPEC.name);
    let digests = of_step.next().map(|record| &*record.key_parts.models);
    Ok(notes::report_of_rows(
        rows,
        &StageConfig::from_manifest(manifest)?,
        digests.unwrap_or(&BTreeMap::new()),
    ))
}

/// Measures a task's samples.
#[derive(Default)]
struct SampleViewer {
    images: ViewedImages,
    /// Everybody with samples, also those of whom no image decodes.
    people: BTreeSet<String>,
    words: WordCounts,
    done: u64,
}

impl SampleViewer {
    /// Measures the samples of a part. All samples of one person and prompt are in one part.
    fn view(
        &mut self,
        task: &mut Task,
        mut samples: Vec<Sample>,
        networks: &Networks,
        pool: &rayon::ThreadPool,
    ) -> Result<(), StageError> {
        samples.sort_by(|a, b| order(a).cmp(&order(b)));
        let people = samples.iter().map(|s| s.person.clone());
        self.people.extend(people.filter(|p| p != BASE_MODEL));
        samples.iter().for_each(|sample| self.words.add(sample));
        for block in blocks(&samples, image) {
            let images: Vec<ImageInput<'_>> = block.iter().map(image).collect();
            for (place, reason) in pool.install(|| self.images.add(networks, &images))? {
                let (id, corrupt) = (block[place].seed, DropReason::Corrupt);
                task.drop_row(Unit::Sample, id, None, corrupt, Some(reason));
            }
            self.done += block.len() as u64;
            task.progress(self.done, task.rows_in(TableId::Samples), Unit::Sample)?;
        }
        Ok(())
    }
}

fn order(sample: &Sample) -> (&str, &str, &str, &str, u32, u64) {
    let Sample {
        method,
        person,
        group,
        prompt,
        index,
        seed,
        ..
    } = sample;
    (method, person, group, prompt, *index, *seed)
}

fn image(sample: &Sample) -> ImageInput<'_> {
    ImageInput {
        system: &sample.method,
        person: &sample.person,
        group: &sample.group,
        prompt: Some(&sample.prompt),
        file: Ok(Cow::Borrowed(&sample.image.bytes)),
    }
}

#[cfg(test)]
mod tests;
