//! `laioncele generate`: images of a person, from a photo or a name (Algorithm 1 of the paper), of somebody whom there never
//! was, or straight from a model's folder.

use std::path::PathBuf;

use clap::Args;
use laioncele_inference::generation::PersonName;
use laioncele_sdxl::NameSource;
use serde_json::{Value, json};

use super::encoder_args::{EncoderArgs, OpenedEncoder};
use super::from_model::{FromModel, FromModelRequest, Given};
use super::generation::{GenerationArgs, failure, model_failure};
use super::images::{ImageArgs, Planned, Written};
use super::kept_name::KeptName;
use super::method::{MethodArgs, Wanted};
use super::person::{Person, Photos};
use super::source::{Source, Wish, encoder_equations, guided, no_encoder, no_spread};
use crate::args::{RunPaths, Verbosity};
use crate::failure::{Exit, Failure};

const EXAMPLES: &str = "\
Examples:
  laioncele generate photo.jpg
  laioncele generate photos-of-one-person/ --prompt 'a photo of a person at the beach' --images 4
  laioncele generate 'name:Mira Castellan' --prompt 'a portrait of a person' --seed 7 --into mira
  laioncele generate photo.jpg --encoder laioncele-encoder --model sdxl/
  laioncele generate --fictional 3 --save-name somebody.safetensors
  laioncele generate photo.jpg --json | jq -r '.[].file'
  laioncele generate --model sdxl/ --prompt 'a portrait of a person' --name 'Mira Castellan' \\
      --scheduler euler --steps 20 --trace trace.safetensors
  laioncele generate photo.jpg --method ip-adapter --ip-scale 0.6
  laioncele generate --model sdxl/ --method photomaker --photomaker photomaker-v1.safetensors \\
      --photo photo.jpg --prompt 'a man img in the snow'
  laioncele generate --model fine-tune.safetensors --lora style.safetensors:0.8 --name 'Mira Castellan'
  laioncele generate photo.jpg --unet fine-tune.safetensors --lora style.safetensors

A photo needs a run whose train-encoder is complete, or the encoder's folder (--encoder) with an
SDXL (--model). The prompt speaks of \"a person\": the name is prepended. Each image says in its file
how it was made, and is never replaced by one that shows something else without --overwrite.
--model needs neither run nor manifest. Its trace holds ids_1, ids_2, embeds, pooled, the same of
the negative prompt (null_...), noise, time_ids, timesteps, first_output, predictions, states
(latents at first and after every step) and decoded; step_noise where steps draw some; with --name
also names, name_ids_1, name_ids_2, token_count, prompt_embeds, prompt_pooled and np. Given to
--initial-latents, it generates again from the same noise.";

/// `laioncele generate`
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Generate {
    /// The person: a photo, a folder of photos of one person, `name:` and a name that the model may
    /// know, or `name-file:` and a file
    #[arg(
        value_name = "PERSON",
        required_unless_present_any = ["model", "name_file", "fictional"]
    )]
    person: Option<Person>,
    /// A name as a file: one that `names export` or --save-name wrote, or a textual inversion
    #[arg(long, value_name = "FILE", conflicts_with_all = ["name", "person"])]
    name_file: Option<PathBuf>,
    /// Somebody whom there never was: a random name, by the distribution of the known ones; the same
    /// seed gives the same person
    #[arg(long, value_name = "SEED", conflicts_with_all = ["name", "person", "name_file"])]
    fictional: Option<u64>,
    /// What the images show; may be given several times
    #[arg(
        long,
        short,
        value_name = "TEXT",
        default_value = "a portrait of a person"
    )]
    prompt: Vec<String>,
    /// Images of each prompt
    #[arg(long, short = 'n', value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..))]
    images: u16,
    #[command(flatten)]
    gallery: ImageArgs,
    #[command(flatten)]
    kept: KeptName,
    #[command(flatten)]
    generation: GenerationArgs,
    #[command(flatten)]
    paths: RunPaths,
    #[command(flatten)]
    encoder: EncoderArgs,
    #[command(flatten)]
    from_model: FromModel,
    #[command(flatten)]
    method: MethodArgs,
}

/// Who is shown.
enum Who {
    Nobody,
    Person(Person),
    Fictional(u64),
}

impl Who {
    /// As an image's texts say it.
    fn about(&self) -> Result<Value, Failure> {
        match self {
            Self::Nobody => Ok(Value::Null),
            Self::Person(person) => person.about(),
            Self::Fictional(seed) => Ok(json!({ "fictional": seed })),
        }
    }
}

impl Generate {
    /// Generates, writes and prints.
    ///
    /// # Errors
    /// Missing models or encoder, an unusable photo, images that are there and show something else, a folder that cannot be
    /// written.
    pub(crate) fn execute(self, verbosity: &Verbosity) -> Result<(), Failure> {
        let who = self.who()?;
        let person = match &who {
            Who::Person(person) => Some(person),
            _ => None,
        };
        self.check_method()?;
        let by_method = self.method.generate(&Wanted {
            person,
            prompts: &self.prompt,
            images: self.images.into(),
            generation: &self.generation,
            gallery: &self.gallery,
            paths: &self.paths,
            from_model: &self.from_model,
            quiet: verbosity.quiet,
        })?;
        if let Some(written) = by_method {
            return self.gallery.print(&written);
        }
        let shares: &[f32] = if matches!(who, Who::Nobody) {
            &[]
        } else {
            &[0.0]
        };
        self.kept.check(shares, &self.gallery)?;
        let written = match self.from_model.model.is_given() {
            true => self.generate_from_model(&who, verbosity.quiet)?,
            false => self.generate_from_run(&who, verbosity.quiet)?,
        };
        self.gallery.print(&written)
    }

    /// What only LaionCele has is not for other methods.
    fn check_method(&self) -> Result<(), Failure> {
        let options = [
            ("--save-name", self.kept.is_asked_for()),
            ("--encoder", self.encoder.is_given()),
            ("--fictional", self.fictional.is_some()),
        ];
        let given = options.into_iter().find(|(_, given)| *given);
        match given.filter(|_| !self.method.is_laioncele()) {
            None => Ok(()),
            Some((option, _)) => {
                let text = format!("{option} is for --method laioncele only");
                Err(Failure::new(Exit::Usage, text))
            }
        }
    }

    fn who(&self) -> Result<Who, Failure> {
        let name = self.from_model.name.clone().map(Person::Text);
        let file = self.name_file.clone().map(Person::File);
        if self.person.is_some() && name.is_some() {
            let text = "PERSON and --name are two persons";
            return Err(Failure::new(Exit::Usage, text));
        }
        let person = self.person.clone().or(name).or(file);
        Ok(match (person, self.fictional) {
            (Some(person), _) => Who::Person(person),
            (None, Some(seed)) => Who::Fictional(seed),
            (None, None) => Who::Nobody,
        })
    }

    /// Generates with the models of a run.
    fn generate_from_run(&self, who: &Who, quiet: bool) -> Result<Vec<Written>, Failure> {
        let source = Source {
            generation: &self.generation,
            paths: &self.paths,
            model: &self.from_model.model,
            encoder: &self.encoder,
        };
        let (mut opened, name) = match who {
            Who::Nobody => return Ok(Vec::new()),
            Who::Person(person) => {
                let opened = source.open(&[person])?;
                let name = opened.name_of(person, self.method.most_photos())?;
                (opened, name)
            }
            Who::Fictional(seed) => {
                let opened = source.open(&[])?;
                let name = opened.fictional(*seed)?;
                (opened, name)
            }
        };
        let (about, person) = (opened.about(&name)?, who.about()?);
        let mut wishes = Vec::new();
        for (at, prompt) in self.prompt.iter().enumerate() {
            for k in 0..u64::from(self.images) {
                let seed = self.generation.seed.wrapping_add(k);
                let stem = format!("prompt-{at:02}-seed-{seed}");
                wishes.push(Wish {
                    name: Some(&name),
                    planned: Planned::new(stem, about.of(prompt, &person, seed)),
                });
            }
        }
        let written = opened.draw(&wishes, &self.gallery, quiet)?;
        let kept = opened.prepended(&name)?;
        self.kept.write(kept, &about.models, (0.0, &[0.0]))?;
        Ok(written)
    }

    /// Generates with a model alone, or with a published encoder before it.
    fn generate_from_model(&self, who: &Who, quiet: bool) -> Result<Vec<Written>, Failure> {
        let model = &self.from_model.model;
        let manifest = self.paths.manifest.as_deref();
        let encoder = self.encoder.open(manifest, model.place()?)?;
        let mut files = model.files(&self.generation)?;
        if let Some(encoder) = &encoder {
            encoder.check_width(files.check_together()?.name)?;
        }
        if let Who::Person(person) = who {
            files.inversions.extend(person.inversion()?);
        }
        let (given, predicted) = self.given(who, encoder.as_ref())?;
        let (delta, eta) = encoder_equations(encoder.as_ref());
        let (delta, eta) = self.generation.equations(delta, eta);
        let by = encoder.as_ref().filter(|_| predicted);
        let fact = by.map(OpenedEncoder::fact).transpose()?;
        let mut models: Vec<_> = fact.iter().cloned().collect();
        let request = FromModelRequest {
            prompts: &self.prompt,
            images: self.images.into(),
            generation: &self.generation,
            gallery: &self.gallery,
            given,
            person: who.about()?,
            encoder: fact.map(|fact| (fact, delta, eta)),
            files,
            quiet,
        };
        let (written, name) = self.from_model.generate(&request)?;
        if let Some(name) = name.filter(|_| self.kept.is_asked_for()) {
            models.extend(super::from_model::text_facts(&request.files)?);
            self.kept.write(name, &models, (0.0, &[0.0]))?;
        }
        Ok(written)
    }

    /// The person as the model takes it, and whether the encoder predicted it.
    fn given(&self, who: &Who, encoder: Option<&OpenedEncoder>) -> Result<(Given, bool), Failure> {
        let person = match who {
            Who::Nobody => return Ok((Given::Nobody, false)),
            Who::Fictional(seed) => {
                let encoder = encoder.ok_or_else(no_spread)?;
                return Ok((Given::Finished(encoder.fictional(*seed)?), false));
            }
            Who::Person(person) => person,
        };
        let name = match person {
            Person::Text(name) => {
                tracing::warn!("whether the model knows `{name}` cannot be told without a run");
                return Ok((Given::Text(name.clone()), false));
            }
            Person::File(path) => match NameSource::read(path).map_err(|e| model_failure(&e))? {
                NameSource::Inversion(inversion) => {
                    return Ok((Given::Text(inversion.token), false));
                }
                NameSource::Embedding(file) => PersonName {
                    embedding: file.name,
                    predicted: !file.finished,
                },
            },
            Person::Photos(path) => {
                let encoder = encoder.ok_or_else(no_encoder)?;
                let photos = Photos::of(path, self.method.most_photos())?;
                if let Some(check) = encoder
                    .face_check()
                    .filter(|_| !self.generation.allow_several)
                {
                    check.check(&photos, path)?;
                }
                let predictor = encoder.predictor(self.from_model.model.device())?;
                let name = predictor.name_from_photos(&photos.images);
                name.map_err(|e| failure(e, &format!("{}: ", path.display())))?
            }
        };
        if !name.predicted {
            return Ok((Given::Finished(name.embedding), false));
        }
        let Some(encoder) = encoder else {
            let text = "the name of --name-file is as it was predicted; Equations 4 and 5 need the names of a run: leave --model out, or give the encoder's folder (--encoder)";
            return Err(Failure::new(Exit::Usage, text));
        };
        let (delta, eta) = encoder_equations(Some(encoder));
        let (delta, eta) = self.generation.equations(delta, eta);
        let name = guided(encoder.folder.statistics(), &name, delta, eta)?;
        Ok((Given::Finished(name), true))
    }
}
