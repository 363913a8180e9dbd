//! What a task of any method draws: subjects and their samples, written part by part.

use laioncele_core::table::{Image, Sample};
use laioncele_core::{DropReason, StageError, Task, Unit};
use laioncele_inference::generation::GenerationError;
use laioncele_inference::methods::{
    BASE_MODEL, Likeness, MethodName, Reference, Studio, StudioRequest,
};
use laioncele_inference::references::{Person, Refusal};
use laioncele_inference::{ModelError, encode_png};
use laioncele_sdxl::Error as SdxlError;

use crate::prompts::with_word;
use crate::settings::StageConfig;

/// A sample to generate.
struct Planned {
    group: String,
    /// With the word for the person in it.
    prompt: String,
    index: u32,
    seed: u64,
}

/// Who is shown, and what.
pub(crate) struct Subject<'a> {
    /// Empty for the base model.
    person: String,
    /// What the method makes of the person, or why there is nothing.
    likeness: Result<Box<dyn Likeness + 'a>, Refusal>,
    samples: Vec<Planned>,
}

impl<'a> Subject<'a> {
    pub(crate) fn base_model(config: &StageConfig, studio: &'a Studio) -> Self {
        let words = studio.words();
        let word = |index: u32| words[index as usize % words.len()];
        Self {
            person: String::new(),
            likeness: Ok(studio.nobody()),
            samples: planned(config, "", config.settings.base_images(), word),
        }
    }

    pub(crate) fn person(
        config: &StageConfig,
        studio: &'a Studio,
        person: &Person,
    ) -> Result<Self, StageError> {
        let mut word = "person";
        let likeness = match person.images() {
            Err(refusal) => Err(refusal),
            Ok(photos) => {
                word = studio.word_for(&photos[0])?;
                // Files seldom have blanks in their names.
                let name = person.name.replace('_', " ");
                let reference = Reference {
                    name: &name,
                    photos: &photos,
                };
                match studio.likeness(&reference) {
                    Ok(likeness) => Ok(likeness),
                    Err(GenerationError::NoFace) => Err((DropReason::NoFace, person.name.clone())),
                    Err(error) => return Err(error.into()),
                }
            }
        };
        let images = config.settings.images_per_prompt;
        Ok(Self {
            likeness,
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
pub(crate) struct Output<'a> {
    method: &'a str,
    studio: &'a Studio,
    planned: u64,
    generated: u64,
    done: u64,
    written: bool,
}

impl<'a> Output<'a> {
    /// Of `method`, which is what its rows say, as `studio` draws it.
    pub(crate) fn new(method: &'a str, studio: &'a Studio) -> Self {
        Self {
            method,
            studio,
            planned: 0,
            generated: 0,
            done: 0,
            written: false,
        }
    }

    /// Draws and writes all samples of the task.
    ///
    /// # Errors
    /// What concerns the task as a whole.
    pub(crate) fn draw(
        mut self,
        task: &mut Task,
        subjects: Vec<Subject<'_>>,
    ) -> Result<(), StageError> {
        self.planned = subjects.iter().map(|s| s.samples.len() as u64).sum();
        for subject in subjects {
            self.generate(task, subject)?;
        }
        task.balance(Unit::Sample, self.planned, self.generated);
        task.metric("samples", self.generated as f64);
        if self.written {
            Ok(())
        } else {
            task.write::<Sample>(Vec::new())
        }
    }

    /// Generates a subject's samples and writes them as a part; drops them where the method has nothing of the subject.
    fn generate(&mut self, task: &mut Task, subject: Subject<'_>) -> Result<(), StageError> {
        let likeness = match &subject.likeness {
            Ok(likeness) => likeness,
            Err((reason, detail)) => {
                for sample in &subject.samples {
                    self.drop_sample(task, sample, *reason, detail.clone());
                }
                self.done += subject.samples.len() as u64;
                return Ok(());
            }
        };
        let request = |sample| {
            let Planned { prompt, seed, .. }: &Planned = sample;
            StudioRequest {
                prompt,
                seed: *seed,
            }
        };
        let requests: Vec<StudioRequest<'_>> = subject.samples.iter().map(request).collect();
        let mut files: Vec<Option<Result<Vec<u8>, String>>> = vec![None; requests.len()];
        let studio = self.studio;
        studio.generate_each(&**likeness, &requests, |index, image| {
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
                Ok(bytes) => rows.push(self.row(&subject.person, sample, bytes)),
                Err(what) => self.drop_sample(task, &sample, DropReason::BadPortrait, what),
            }
        }
        self.generated += rows.len() as u64;
        self.written = true;
        task.write(rows)
    }

    /// Drops a sample; of other methods the detail begins with the method, since a seed is that of all methods.
    fn drop_sample(&self, task: &mut Task, sample: &Planned, reason: DropReason, detail: String) {
        let detail = match self.has_own_files() {
            true => format!("{}: {detail}", self.method),
            false => detail,
        };
        task.drop_row(Unit::Sample, sample.seed, None, reason, Some(detail));
    }

    /// Whether the method is neither LaionCele nor the base model, whose images are called after their seeds alone.
    fn has_own_files(&self) -> bool {
        self.method != BASE_MODEL && self.method != MethodName::LaionCele.to_string()
    }

    fn row(&self, person: &str, sample: Planned, bytes: Vec<u8>) -> Sample {
        let Planned {
            group,
            prompt,
            index,
            seed,
        } = sample;
        let path = match self.has_own_files() {
            true => format!("{}-{seed:016x}.png", self.method),
            false => format!("{seed:016x}.png"),
        };
        Sample {
            method: self.method.to_owned(),
            person: person.to_owned(),
            image: Image { bytes, path },
            group,
            prompt,
            index,
            seed,
        }
    }
}
