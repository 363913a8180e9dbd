//! Stage 13, evaluate: metrics of the generated images, those of the paper's Tables 1 and 2 and
//! some that compare images of the same person with images of different people. [`score_folders`]
//! scores images of any other system with the same functions. [`fn@scores`] defines each metric.

mod error;
mod folders;
mod frechet;
mod images;
mod networks;
mod number_format;
mod people;
mod prompts;
mod report;
mod scores;
mod settings;
mod statistics;
mod towers;

use std::borrow::Cow;
use std::collections::BTreeSet;

use laioncele_core::ModelFiles;
use laioncele_core::ledger::Record;
use laioncele_core::store::Store;
use laioncele_core::table::{EvaluationScore, Sample};
use laioncele_core::{
    CoreError, DropReason, Manifest, Partitioning, Reads, StageError, StageName, Step, StepSpec,
    TableId, Task, Unit, part,
};
use laioncele_inference::thread_pool;

pub use error::EvaluateError;
pub use folders::{FolderReport, Folders, Undecodable, score_folders};
pub use frechet::frechet_distance;
use images::{BASE_MODEL, ImageInput, ViewedImages, blocks};
use networks::Networks;
pub use report::{Report, Score};
pub use scores::{References, scores};
pub use settings::{Judge, Settings, StageConfig};
pub use towers::Tower;

/// What is published in the run's folder.
const TABLE: &str = "evaluation/table.md";
const TABLE_JSON: &str = "evaluation/table.json";

/// The steps of this stage.
pub fn steps() -> Vec<Box<dyn Step>> {
    vec![Box::new(Evaluate)]
}

struct Evaluate;

const SPEC: StepSpec = StepSpec {
    name: "evaluate",
    stage: StageName::Evaluate,
    version: 3,
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
            let (ours, others) = of_laioncele(task.read_part(part)?);
            viewer.others += others;
            viewer.view(task, ours, &networks, &pool)?;
        }
        let rows_in = task.rows_in(TableId::Samples);
        let measured = viewer.images.images.len() as u64 + viewer.others;
        task.balance(Unit::Sample, rows_in, measured);
        let photos = people::photos_by_person(config.references(task.manifest())?)?;
        let people = viewer.people.iter().map(String::as_str).collect();
        let references = pool.install(|| people::reference_faces(&photos, &people, &networks))?;
        let mut rows = pool.install(|| scores(&viewer.images, &references, config.run_seed));
        rows.push(report::same_recognizer_row(config.judge_is_filter()?));
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
    Ok(Report::of_rows(
        rows,
        &StageConfig::from_manifest(manifest)?,
    ))
}

/// Measures a task's samples.
#[derive(Default)]
struct SampleViewer {
    images: ViewedImages,
    /// Everybody with samples, also those of whom no image decodes.
    people: BTreeSet<String>,
    /// Samples of other methods.
    others: u64,
    done: u64,
}

/// LaionCele's samples and the base model's, and how many are of other methods.
fn of_laioncele(samples: Vec<Sample>) -> (Vec<Sample>, u64) {
    let all = samples.len();
    let ours = |sample: &Sample| matches!(sample.method.as_str(), "laioncele" | "sdxl");
    let samples: Vec<Sample> = samples.into_iter().filter(ours).collect();
    let others = (all - samples.len()) as u64;
    (samples, others)
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

fn order(sample: &Sample) -> (&str, &str, &str, u32, u64) {
    let Sample {
        person,
        group,
        prompt,
        index,
        seed,
        ..
    } = sample;
    (person, group, prompt, *index, *seed)
}

fn image(sample: &Sample) -> ImageInput<'_> {
    ImageInput {
        person: &sample.person,
        group: &sample.group,
        prompt: Some(&sample.prompt),
        file: Ok(Cow::Borrowed(&sample.image.bytes)),
    }
}

#[cfg(test)]
mod tests;
