//! Stage 12, generate-samples: photos of people that no network was trained on, and prompts, to pictures of those
//! people; beside them the plain model's pictures of the same prompts, which the evaluation compares with. The drawing
//! itself is [`draw`], which `laioncele generate` and `laioncele interpolate` use too.

pub mod draw;
mod people;
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

use draw::{DrawError, Name, Picture, Source, Studio};
use laioncele_inference::encode_png;
use people::{Person, Refusal};
pub use prompts::{Prompts, with_word};
use settings::Plan;
pub use settings::{Eta, MeanLength, Settings};

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
    version: 3,
    partitioning: Partitioning::Chunks(MOST_CHUNKS as u32 + 1),
    reads: &[
        Reads::all(TableId::Encoder),
        Reads::all(TableId::Identities),
        Reads::all(TableId::NameEmbeddings),
    ],
    writes: &[TableId::Samples],
};

impl Step for GenerateSamples {
    fn spec(&self) -> &'static StepSpec {
        &SPEC
    }

    fn partitioning(&self, manifest: &Manifest) -> Result<Partitioning, CoreError> {
        let people = Plan::read(manifest)?.people(manifest)?;
        // The last chunk is the plain model's.
        let chunks = people.len().min(MOST_CHUNKS) + 1;
        Ok(Partitioning::Chunks(u32::try_from(chunks).unwrap_or(1)))
    }
    fn settings(&self, manifest: &Manifest) -> Result<serde_json::Value, CoreError> {
        Ok(Plan::read(manifest)?.key_settings())
    }
    fn models(&self, manifest: &Manifest) -> Result<Vec<ModelFiles>, CoreError> {
        Plan::read(manifest)?.models(manifest)
    }

    fn run(&self, task: &mut Task) -> Result<(), StageError> {
        let plan = Plan::read(task.manifest())?;
        let people = plan.people(task.manifest())?;
        let chunks = people.len().min(MOST_CHUNKS);
        let chunk = chunk_number(task)?;
        let mut studio = Studio::assemble(&plan, &Source::Task(task))?;
        studio.threads = task.runtime_environment().threads;
        let mut output = Output::default();
        let mut subjects = Vec::new();
        if chunk == chunks {
            subjects.push(Subject::plain(&plan, &studio));
        } else {
            for person in people.iter().skip(chunk).step_by(chunks) {
                subjects.push(Subject::person(&plan, &studio, person)?);
            }
        }
        output.planned = subjects.iter().map(|s| s.samples.len() as u64).sum();
        for subject in subjects {
            output.draw(task, &studio, subject)?;
        }
        task.balance(Unit::Sample, output.planned, output.drawn);
        task.metric("samples", output.drawn as f64);
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
        other => Err(StageError::Data(format!(
            "`{other}` is no chunk of generate-samples"
        ))),
    }
}

/// A sample to draw.
struct Planned {
    group: String,
    /// As drawn.
    prompt: String,
    index: u32,
    seed: u64,
}

/// Who is drawn, and what.
struct Subject {
    /// Empty for the plain model.
    person: String,
    /// The name to prepend, nothing for the plain model, or why there is none.
    name: Result<Option<Name>, Refusal>,
    samples: Vec<Planned>,
}

impl Subject {
    fn plain(plan: &Plan, studio: &Studio) -> Self {
        let words = studio.words();
        let word = |index: u32| words[index as usize % words.len()];
        Self {
            person: String::new(),
            name: Ok(None),
            samples: planned(plan, "", plan.settings.plain_images(), word),
        }
    }

    fn person(plan: &Plan, studio: &Studio, person: &Person) -> Result<Self, StageError> {
        let mut word = "person";
        let name = match person.pictures() {
            Err(refusal) => Err(refusal),
            Ok(photos) => {
                word = studio.word_for(&photos[0])?;
                match studio.name_from_photos(&photos) {
                    Ok(name) => Ok(Some(name)),
                    Err(DrawError::NoFace) => Err((DropReason::NoFace, person.name.clone())),
                    Err(error) => return Err(error.into()),
                }
            }
        };
        let images = plan.settings.images_per_prompt;
        Ok(Self {
            name,
            samples: planned(plan, &person.name, images, |_| word),
            person: person.name.clone(),
        })
    }
}

fn planned(
    plan: &Plan,
    person: &str,
    images: u32,
    word: impl Fn(u32) -> &'static str,
) -> Vec<Planned> {
    let mut samples = Vec::new();
    for (group, prompt) in plan.settings.prompts.all() {
        samples.extend((0..images).map(|index| Planned {
            group: group.to_owned(),
            prompt: with_word(prompt, word(index)),
            index,
            seed: plan.seed(person, prompt, index),
        }));
    }
    samples
}

/// What a task has so far.
#[derive(Default)]
struct Output {
    planned: u64,
    drawn: u64,
    done: u64,
    written: bool,
}

impl Output {
    /// Draws a subject's samples and writes them as a part; drops them where the subject has no name.
    fn draw(
        &mut self,
        task: &mut Task,
        studio: &Studio,
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
        let picture = |sample| {
            let Planned { prompt, seed, .. }: &Planned = sample;
            Picture {
                name,
                prompt,
                seed: *seed,
            }
        };
        let pictures: Vec<Picture<'_>> = subject.samples.iter().map(picture).collect();
        let mut files: Vec<Option<Result<Vec<u8>, String>>> = vec![None; pictures.len()];
        studio.draw_each(&pictures, |index, image| {
            files[index] = Some(match image {
                Ok(image) => Ok(encode_png(&image)?),
                Err(DrawError::Sdxl(laioncele_sdxl::Error::NotFinite { what, .. })) => Err(what),
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
        self.drawn += rows.len() as u64;
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
