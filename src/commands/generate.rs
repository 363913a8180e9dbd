//! `laioncele generate`: pictures of anybody, from a photo or a name (Algorithm 1 of the paper), or straight from a
//! model's folder.

use clap::Args;
use laioncele_generate_samples::draw::Picture;

use super::drawing::{Drawing, Person, Written, failure, name_of};
use super::from_model::FromModel;
use crate::args::RunPaths;
use crate::failure::Failure;

const EXAMPLES: &str = "\
Examples:
  laioncele generate photo.jpg
  laioncele generate photos-of-one-person/ --prompt 'a photo of a person at the beach' --images 4
  laioncele generate 'name:Mira Castellan' --prompt 'a portrait of a person' --seed 7 --into mira
  laioncele generate photo.jpg --json | jq -r '.[].file'
  laioncele generate --model sdxl/ --prompt 'a portrait of a person' --name 'Mira Castellan' \\
      --scheduler euler --steps 20 --trace trace.safetensors

A photo needs a run whose train-encoder is complete. The prompt speaks of \"a person\": the name is prepended.
--model needs neither run nor manifest. Its trace holds ids_1, ids_2, embeds, pooled, the same of
what is guided away from (null_...), noise, time_ids, timesteps, first_output, predictions, states
(latents at first and after every step) and decoded; with lcm also step_noise; with --name also
names, name_ids_1, name_ids_2, token_count, prompt_embeds, prompt_pooled and np. Given to
--initial-latents, it is drawn again from the same noise.";

/// `laioncele generate`
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub struct Generate {
    /// Who: a photo, a folder of one person's photos, or `name:` and a name that the model may know
    #[arg(
        value_name = "PERSON",
        required_unless_present = "model",
        conflicts_with = "model"
    )]
    person: Option<Person>,
    /// What is drawn; may be given several times
    #[arg(
        long,
        short,
        value_name = "TEXT",
        default_value = "a portrait of a person"
    )]
    prompt: Vec<String>,
    /// Pictures of each prompt
    #[arg(long, short = 'n', value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..))]
    images: u16,
    #[command(flatten)]
    drawing: Drawing,
    #[command(flatten)]
    paths: RunPaths,
    #[command(flatten)]
    from_model: FromModel,
}

impl Generate {
    /// Draws.
    ///
    /// # Errors
    /// Missing models or encoder, an unusable photo, a folder that cannot be written.
    pub fn execute(self) -> Result<(), Failure> {
        let written = match &self.person {
            Some(person) => self.draw(person)?,
            None => (self.from_model).draw(&self.prompt, self.images.into(), &self.drawing)?,
        };
        self.drawing.print(&written)
    }

    /// Draws a person with a run's studio.
    fn draw(&self, person: &Person) -> Result<Vec<Written>, Failure> {
        let studio = self.drawing.studio(&self.paths)?;
        let name = name_of(&studio, person)?;
        let pictures: Vec<Picture<'_>> = self
            .prompt
            .iter()
            .flat_map(|prompt| {
                let seed = |k| self.drawing.seed.wrapping_add(k);
                (0..u64::from(self.images)).map(move |k| (prompt, seed(k)))
            })
            .map(|(prompt, seed)| Picture {
                name: Some(&name),
                prompt,
                seed,
            })
            .collect();
        let mut written = Vec::with_capacity(pictures.len());
        for (at, picture) in pictures.iter().enumerate() {
            let drawn = studio
                .draw(picture.name, picture.prompt, picture.seed)
                .map_err(|e| failure(e, ""))?;
            let prompt = at / usize::from(self.images);
            let file = format!("prompt-{prompt:02}-seed-{}", picture.seed);
            written.push(Written {
                file: self.drawing.write(&file, &drawn)?,
                prompt: picture.prompt.to_owned(),
                seed: Some(picture.seed),
                share: None,
            });
        }
        Ok(written)
    }
}
