//! Stage 12, generate-samples: photos of people that no network was trained on, and prompts, to images of those
//! people; beside them the base model's images of the same prompts, which the evaluation compares with. The images come
//! from [`laioncele_inference::generation`].

mod prompts;
mod settings;
mod sheet;

use laioncele_core::ModelFiles;
use laioncele_core::ledger::Record;
use laioncele_core::store::Store;
use laioncele_core::table::{Image, Sample};
use laioncele_core::{
    CoreError, DropReason, Manifest, Partition, Partitioning, Reads, StageError, StageName, Step,
    StepSpec, TableId, Task, Unit,
};
use laioncele_inference::generation::{
    GenerationError, GenerationPipeline, PersonName, RunTables, SampleRequest,
};
use laioncele_inference::references::{Person, Refusal};
use laioncele_inference::{ModelError, encode_png};
use laioncele_sdxl::Error as SdxlError;

pub use prompts::{Prompts, with_word};
pub use settings::{Settings, StageConfig};

/// People are spread over at most so many tasks.
const MOST_CHUNKS: usize = 64;

/// The steps of this stage.
pub fn steps() -> Vec<Box<dyn Step>> {
    vec![Box::new(GenerateSamples)]
}

struct GenerateSamples;

const SPEC: StepSpec = StepSpec {
    name: "generate-samples",
    stage: StageName::GenerateSamples,
    version: 4,
    partitioning: Partitioning::Chunks(MOST_CHUNKS as u32 + 1),
    reads: &[Reads::all(TableId::Encoder), Reads::all(TableId::NameSums)],
    writes: &[TableId::Samples],
};

impl Step for GenerateSamples {
    fn spec(&self) -> &'static StepSpec {
        &SPEC
    }

    fn partitioning(&self, manifest: &Manifest) -> Result<Partitioning, CoreError> {
        let people = StageConfig::from_manifest(manifest)?.people(manifest)?;
        // The last chunk is the base model's.
        let chunks = people.len().min(MOST_CHUNKS) + 1;
        Ok(Partitioning::Chunks(u32::try_from(chunks).unwrap_or(1)))
    }
    fn settings(&self, manifest: &Manifest) -> Result<serde_json::Value, CoreError> {
        Ok(StageConfig::from_manifest(manifest)?.key_settings())
    }
    fn models(&self, manifest: &Manifest) -> Result<Vec<ModelFiles>, CoreError> {
        StageConfig::from_manifest(manifest)?.models(manifest)
    }

    fn run(&self, task: &mut Task) -> Result<(), StageError> {
        let config = StageConfig::from_manifest(task.manifest())?;
        let people = config.people(task.manifest())?;
        let chunks = people.len().min(MOST_CHUNKS);
        let chunk = chunk_number(task)?;
        let tables = RunTables::Task(task);
        let mut pipeline = GenerationPipeline::open(&config.generation(), &tables)?;
        pipeline.threads = task.runtime_environment().threads;
        let mut output = Output::default();
        let mut subjects = Vec::new();
        if chunk == chunks {
            subjects.push(Subject::base_model(&config, &pipeline));
        } else {
            for person in people.iter().skip(chunk).step_by(chunks) {
                subjects.push(Subject::person(&config, &pipeline, person)?);
            }
        }
        output.planned = subjects.iter().map(|s| s.samples.len() as u64).sum();
        for subject in subjects {
            output.generate(task, &pipeline, subject)?;
        }
        task.balance(Unit::Sample, output.planned, output.generated);
        task.metric("samples", output.generated as f64);
        if output.written {
            Ok(())
        } else {
            task.write::<Sample>(Vec::new())
        }
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

fn chunk_number(task: &Task) -> Result<usize, StageError> {
    match task.partition() {
        Partition::Chunk(number) => Ok(*number as usize),
        other => Err(StageError::data(format!(
            "`{other}` is no chunk of generate-samples"
        ))),
    }
}

/// A sample to generate.
struct Planned {
    group: String,
    /// With the word for the person in it.
    prompt: String,
    index: u32,
    seed: u64,
}

/// Who is shown, and what.
struct Subject {
    /// Empty for the base model.
    person: String,
    /// The name to prepend, nothing for the base model, or why there is none.
    name: Result<Option<PersonName>, Refusal>,
    samples: Vec<Planned>,
}

impl Subject {
    fn base_model(config: &StageConfig, pipeline: &GenerationPipeline) -> Self {
        let words = pipeline.words();
        let word = |index: u32| words[index as usize % words.len()];
        Self {
            person: String::new(),
            name: Ok(None),
            samples: planned(config, "", config.settings.base_images(), word),
        }
    }

    fn person(
        config: &StageConfig,
        pipeline: &GenerationPipeline,
        person: &Person,
    ) -> Result<Self, StageError> {
        let mut word = "person";
        let name = match person.images() {
            Err(refusal) => Err(refusal),
            Ok(photos) => {
                word = pipeline.word_for(&photos[0])?;
                match pipeline.name_from_photos(&photos) {
                    Ok(name) => Ok(Some(name)),
                    Err(GenerationError::NoFace) => Err((DropReason::NoFace, person.name.clone())),
                    Err(error) => return Err(error.into()),
                }
            }
        };
        let images = config.settings.images_per_prompt;
        Ok(Self {
            name,
            samples: planned(config, &person.name, images, |_| word),
            person: person.name.clone(),
        })
    }
}

fn planned(
    config: &StageConfig,
    person: &str,
    images: u32,
    word: impl Fn(u32) -> &'static str,
) -> Vec<Planned> {
    let mut samples = Vec::new();
    for (group, prompt) in config.settings.prompts.all() {
        samples.extend((0..images).map(|index| Planned {
            group: group.to_owned(),
            prompt: with_word(prompt, word(index)),
            index,
            seed: config.seed(person, prompt, index),
        }));
    }
    samples
}

/// What a task has so far.
#[derive(Default)]
struct Output {
    planned: u64,
    generated: u64,
    done: u64,
    written: bool,
}

impl Output {
    /// Generates a subject's samples and writes them as a part; drops them where the subject has no name.
    fn generate(
        &mut self,
        task: &mut Task,
        pipeline: &GenerationPipeline,
        subject: Subject,
    ) -> Result<(), StageError> {
        let name = match &subject.name {
            Ok(name) => name.as_ref(),
            Err((reason, detail)) => {
                for sample in &subject.samples {
                    task.drop_row(
                        Unit::Sample,
                        sample.seed,
                        None,
                        *reason,
                        Some(detail.clone()),
                    );
                }
                self.done += subject.samples.len() as u64;
                return Ok(());
            }
        };
        let request = |sample| {
            let Planned { prompt, seed, .. }: &Planned = sample;
            SampleRequest {
                name,
                prompt,
                seed: *seed,
            }
        };
        let requests: Vec<SampleRequest<'_>> = subject.samples.iter().map(request).collect();
        let mut files: Vec<Option<Result<Vec<u8>, String>>> = vec![None; requests.len()];
        pipeline.generate_each(&requests, |index, image| {
            files[index] = Some(match image {
                Ok(image) => Ok(encode_png(&image)?),
                Err(GenerationError::Model(ModelError::Sdxl(SdxlError::NotFinite {
                    what,
                    ..
                }))) => Err(what),
                Err(error) => return Err(StageError::from(error)),
            });
            self.done += 1;
            task.progress(self.done, self.planned, Unit::Sample)
        })?;
        let mut rows = Vec::with_capacity(files.len());
        for (sample, file) in subject.samples.into_iter().zip(files.into_iter().flatten()) {
            match file {
                Ok(bytes) => rows.push(row(&subject.person, sample, bytes)),
                Err(what) => {
                    let reason = DropReason::BadPortrait;
                    task.drop_row(Unit::Sample, sample.seed, None, reason, Some(what));
                }
            }
        }
        self.generated += rows.len() as u64;
        self.written = true;
        task.write(rows)
    }
}

fn row(person: &str, sample: Planned, bytes: Vec<u8>) -> Sample {
    let Planned {
        group,
        prompt,
        index,
        seed,
    } = sample;
    Sample {
        person: person.to_owned(),
        image: Image {
            bytes,
            path: format!("{seed:016x}.png"),
        },
        group,
        prompt,
        index,
        seed,
    }
}

#[cfg(test)]
mod tests;
