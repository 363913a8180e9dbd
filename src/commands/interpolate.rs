//! `laioncele interpolate`: from one person to another in equal steps, mixed in the space of name embeddings.

use clap::Args;

use super::drawing::{Drawing, Person, Written, failure, name_of};
use crate::args::RunPaths;
use crate::failure::Failure;

const EXAMPLES: &str = "\
Examples:
  laioncele interpolate anna.jpg berta.jpg
  laioncele interpolate anna.jpg 'name:Mira Castellan' --pictures 9 --prompt 'a person smiling' --into morph

The two names are mixed before Equations 4 and 5 of the paper; every picture begins with the same noise.";

/// `laioncele interpolate`
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub struct Interpolate {
    /// The first person: a photo, a folder of photos, or `name:` and a name
    #[arg(value_name = "FROM")]
    from: Person,
    /// The second person
    #[arg(value_name = "TO")]
    to: Person,
    /// Pictures, both ends included
    #[arg(long, short = 'n', value_name = "N", default_value_t = 7, value_parser = clap::value_parser!(u16).range(2..))]
    pictures: u16,
    /// What is drawn
    #[arg(
        long,
        short,
        value_name = "TEXT",
        default_value = "a portrait of a person"
    )]
    prompt: String,
    #[command(flatten)]
    drawing: Drawing,
    #[command(flatten)]
    paths: RunPaths,
}

impl Interpolate {
    /// Draws.
    ///
    /// # Errors
    /// As `generate`.
    pub fn execute(self) -> Result<(), Failure> {
        let studio = self.drawing.studio(&self.paths)?;
        let from = name_of(&studio, &self.from)?;
        let to = name_of(&studio, &self.to)?;
        let count = usize::from(self.pictures);
        let drawn = studio
            .interpolate((&from, &to), count, &self.prompt, self.drawing.seed)
            .map_err(|e| failure(e, ""))?;
        let mut written = Vec::with_capacity(drawn.len());
        for (step, picture) in drawn.iter().enumerate() {
            written.push(Written {
                file: self.drawing.write(&format!("step-{step:02}"), picture)?,
                prompt: self.prompt.clone(),
                seed: Some(self.drawing.seed),
                share: Some(step as f32 / (count - 1) as f32),
            });
        }
        self.drawing.print(&written)
    }
}
