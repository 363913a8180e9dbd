//! Stage 12, generate-samples: photos of people that no network was trained on, and prompts, to images of those
//! people; beside them the base model's images of the same prompts, which the evaluation compares with, and images of
//! the methods that LaionCele is compared with: same people, prompts and noise. The images come from
//! [`laioncele_inference::methods`].
//!
//! Each method is a step of its own, so that another adapter draws its own images again and no others. Before them, where the
//! manifest asks for it, three steps choose the people whom the base model cannot draw by name.

mod choice;
mod draw;
mod methods;
mod prompts;
mod sample_baseline;
mod settings;
mod sheet;
mod words_list;

use laioncele_core::ModelFiles;
use laioncele_core::ledger::Record;
use laioncele_core::store::Store;
use laioncele_core::{
    CoreError, Manifest, Partition, Partitioning, Reads, StageError, StageName, Step, StepSpec,
    TableId, Task,
};
use laioncele_inference::generation::RunTables;
use laioncele_inference::methods::{BASE_MODEL, MethodName, Studio};

use draw::{Output, Subject};

pub use prompts::Prompts;
pub use settings::{Settings, StageConfig};

/// People are spread over at most so many tasks.
const MOST_CHUNKS: usize = 64;

/// The steps of this stage.
pub fn steps() -> Vec<Box<dyn Step>> {
    let mut steps = choice::steps();
    steps.push(Box::new(GenerateSamples));
    steps.extend(sample_baseline::steps());
    steps
}

struct GenerateSamples;

const SPEC: StepSpec = StepSpec {
    name: "generate-samples",
    stage: StageName::GenerateSamples,
    version: 7,
    partitioning: Partitioning::Chunks(MOST_CHUNKS as u32 + 1),
    reads: &[Reads::all(TableId::Encoder), Reads::all(TableId::NameSums)],
    writes: &[TableId::Samples],
};

impl Step for GenerateSamples {
    fn spec(&self) -> &'static StepSpec {
        &SPEC
    }

    fn partitioning(&self, manifest: &Manifest) -> Result<Partitioning, CoreError> {
        let chunks = people_chunks(&StageConfig::from_manifest(manifest)?, manifest)?;
        // The last chunk is the base model's.
        Ok(Partitioning::Chunks(u32::try_from(chunks + 1).unwrap_or(1)))
    }
    fn reads(&self, manifest: &Manifest) -> Vec<Reads> {
        choice::reads(SPEC.reads, manifest)
    }
    fn settings(&self, manifest: &Manifest) -> Result<serde_json::Value, CoreError> {
        Ok(StageConfig::from_manifest(manifest)?.key_settings())
    }
    fn models(&self, manifest: &Manifest) -> Result<Vec<ModelFiles>, CoreError> {
        StageConfig::from_manifest(manifest)?.models(manifest)
    }

    fn run(&self, task: &mut Task) -> Result<(), StageError> {
        let config = StageConfig::from_manifest(task.manifest())?;
        let chunks = people_chunks(&config, task.manifest())?;
        let chunk = chunk_number(task)?;
        let mut studio = Studio::laioncele(&config.generation(), &RunTables::Task(task))?;
        studio.threads = task.runtime_environment().threads;
        let people = choice::people_of_task(&config, task)?;
        let mut subjects = Vec::new();
        if chunk == chunks {
            subjects.push(Subject::base_model(&config, &studio, &people)?);
        } else {
            for person in people.iter().skip(chunk).step_by(chunks) {
                subjects.push(Subject::person(&config, &studio, person)?);
            }
        }
        let method = match chunk == chunks {
            true => BASE_MODEL.to_owned(),
            false => MethodName::LaionCele.to_string(),
        };
        Output::new(&method, &studio, &config).draw(task, subjects)
    }

    fn publish(
        &self,
        store: &Store,
        manifest: &Manifest,
        records: &[Record],
    ) -> Result<(), CoreError> {
        sheet::publish(store, manifest, records)
    }
}

/// The tasks that LaionCele's people are spread over; none where the method is not wanted.
fn people_chunks(config: &StageConfig, manifest: &Manifest) -> Result<usize, CoreError> {
    let people = config.most_people(manifest)?;
    Ok(match config.settings.draws_laioncele() {
        true => people.min(MOST_CHUNKS),
        false => 0,
    })
}

fn chunk_number(task: &Task) -> Result<usize, StageError> {
    match task.partition() {
        Partition::Chunk(number) => Ok(*number as usize),
        other => Err(StageError::data(format!(
            "`{other}` is no chunk of generate-samples"
        ))),
    }
}

#[cfg(test)]
mod tests;
