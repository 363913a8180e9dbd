//! What a task of any method draws: subjects and their samples, written part by part.

use image::RgbImage;
use laioncele_core::table::{Image, Sample};
use laioncele_core::{DropReason, StageError, Task, Unit};
use laioncele_inference::generation::GenerationError;
use laioncele_inference::methods::{
    BASE_MODEL, Likeness, MethodName, Reference, Studio, StudioRequest, with_word,
};
use laioncele_inference::person_word::{ChosenWord, Gendered, PersonWord};
use laioncele_inference::references::{Person, Refusal};
use laioncele_inference::{ModelError, encode_png};
use laioncele_sdxl::Error as SdxlError;

use crate::settings::StageConfig;

/// A sample to generate.
struct Planned {
    group: String,
    /// With the word for the person in it.
    prompt: String,
    word: ChosenWord,
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
    /// Nobody in particular, by the words of `people` in equal shares: else distances between the base model's images and
    /// theirs would measure how many men and women there are.
    pub(crate) fn base_model(
        config: &StageConfig,
        studio: &'a Studio,
        people: &[Person],
    ) -> Result<Self, StageError> {
        let images = config.settings.base_images();
        let mut words = Vec::new();
        if config.settings.gendered.is_on() && images > 0 {
            for person in people {
                if let Ok(photos) = person.images() {
                    words.push(chosen_word(config, studio, person, &photos[0])?.word());
                }
            }
        }
        words.sort();
        let word = |index: u32| ChosenWord {
            given: share(&words, index, images),
            guess: None,
        };
        Ok(Self {
            person: String::new(),
            likeness: Ok(studio.nobody()),
            samples: planned(config, "", images, word),
        })
    }

    pub(crate) fn person(
        config: &StageConfig,
        studio: &'a Studio,
        person: &Person,
    ) -> Result<Self, StageError> {
        let mut word = ChosenWord::default();
        let likeness = match person.images() {
            Err(refusal) => Err(refusal),
            Ok(photos) => {
                word = chosen_word(config, studio, person, &photos[0])?;
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

/// A person's word, the same for every method: people's, else the guess at the first photo.
fn chosen_word(
    config: &StageConfig,
    studio: &Studio,
    person: &Person,
    first_photo: &RgbImage,
) -> Result<ChosenWord, StageError> {
    if !config.settings.gendered.is_on() {
        return Ok(ChosenWord::default());
    }
    Ok(ChosenWord {
        given: person.word,
        guess: studio.gender_guess(first_photo)?,
    })
}

/// The word of image `index` of `images` that have sorted `words` in equal shares; none where there are no words.
fn share(words: &[PersonWord], index: u32, images: u32) -> Option<PersonWord> {
    let (index, images) = (u64::from(index), u64::from(images.max(1)));
    let place = (2 * index + 1) * words.len() as u64 / (2 * images);
    words.get(place as usize).copied()
}

fn planned(
    config: &StageConfig,
    person: &str,
    images: u32,
    word: impl Fn(u32) -> ChosenWord,
) -> Vec<Planned> {
    let text = |index: u32| config.settings.gendered.text(word(index).word());
    let mut samples = Vec::new();
    for (group, prompt) in config.settings.prompts.all() {
        samples.extend((0..images).map(|index| Planned {
            group: group.to_owned(),
            prompt: with_word(prompt, text(index)),
            word: word(index),
            index,
            seed: config.seed(person, prompt, index),
        }));
    }
    samples
}

/// The images of somebody as PNG files, in the order of their requests; of one whose numbers are not finite, which. `each` is
/// called after each of them.
pub(crate) fn image_files(
    studio: &Studio,
    likeness: &dyn Likeness,
    requests: &[StudioRequest<'_>],
    mut each: impl FnMut() -> Result<(), StageError>,
) -> Result<Vec<Result<Vec<u8>, String>>, StageError> {
    let mut files: Vec<Option<Result<Vec<u8>, String>>> = vec![None; requests.len()];
    studio.generate_each(likeness, requests, |index, image| {
        files[index] = Some(match image {
            Ok(image) => Ok(encode_png(&image)?),
            Err(GenerationError::Model(ModelError::Sdxl(SdxlError::NotFinite {
                what, ..
            }))) => Err(what),
            Err(error) => return Err(StageError::from(error)),
        });
        each()
    })?;
    Ok(files.into_iter().flatten().collect())
}

/// What a task has so far.
pub(crate) struct Output<'a> {
    method: &'a str,
    studio: &'a Studio,
    gendered: Gendered,
    planned: u64,
    generated: u64,
    done: u64,
    written: bool,
}

impl<'a> Output<'a> {
    /// Of `method`, which is what its rows say, as `studio` draws it.
    pub(crate) fn new(method: &'a str, studio: &'a Studio, config: &StageConfig) -> Self {
        Self {
            method,
            studio,
            gendered: config.settings.gendered,
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
        let studio = self.studio;
        let files = image_files(studio, &**likeness, &requests, || {
            self.done += 1;
            task.progress(self.done, self.planned, Unit::Sample)
        })?;
        let mut rows = Vec::with_capacity(files.len());
        for (sample, file) in subject.samples.into_iter().zip(files) {
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
            word,
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
            word: self.gendered.text(word.word()).to_owned(),
            // The base model's words are nobody's.
            word_given: word.given.is_some() && !person.is_empty(),
            gender_guess: word.guess.map(|guess| guess.word.to_string()),
            gender_probability: word.guess.map(|guess| guess.probability),
            index,
            seed,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn images_of_nobody_have_the_peoples_words_in_equal_shares() {
        use PersonWord::{Man, Woman};
        let words = [Man, Woman, Woman, Woman];
        let all = |images| -> Vec<_> { (0..images).map(|k| share(&words, k, images)).collect() };
        let count = |images| all(images).iter().filter(|w| **w == Some(Man)).count();
        assert_eq!([4, 8, 40].map(count), [1, 2, 10]);
        assert_eq!(all(1), [Some(Woman)]);
        assert_eq!(all(2), [Some(Woman), Some(Woman)]);
        assert_eq!(share(&[], 0, 5), None);
    }
}
