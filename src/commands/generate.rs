//! `laioncele generate`: pictures of anybody, from a photo or a name (Algorithm 1 of the paper).

use clap::Args;
use laioncele_generate_samples::draw::Picture;

use super::drawing::{Drawing, Person, Written, failure, name_of};
use crate::cli::Place;
use crate::failure::Failure;

const EXAMPLES: &str = "\
Examples:
  laioncele generate photo.jpg
  laioncele generate photos-of-one-person/ --prompt 'a photo of a person at the beach' --images 4
  laioncele generate 'name:Mira Castellan' --prompt 'a portrait of a person' --seed 7 --into mira
  laioncele generate photo.jpg --json | jq -r '.[].file'

A photo needs a run whose train-encoder is complete. The prompt speaks of \"a person\": the name is prepended.";

/// `laioncele generate`
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub struct Generate {
    /// Who: a photo, a folder of one person's photos, or `name:` and a name that the model may know
    #[arg(value_name = "PERSON")]
    person: Person,
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
    place: Place,
}

impl Generate {
    /// Draws.
    ///
    /// # Errors
    /// Missing models or encoder, an unusable photo, a folder that cannot be written.
    pub fn execute(self) -> Result<(), Failure> {
        let studio = self.drawing.studio(&self.place)?;
        let name = name_of(&studio, &self.person)?;
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
                seed: picture.seed,
                share: None,
            });
        }
        self.drawing.print(&written)
    }
}
