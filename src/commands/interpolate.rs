//! `laioncele interpolate`: from one person to another in equal steps, mixed in the space of name embeddings.

use clap::Args;

use super::generation::{GenerationArgs, Person, Written, failure, name_of};
use crate::args::RunPaths;
use crate::failure::Failure;

const EXAMPLES: &str = "\
Examples:
  laioncele interpolate anna.jpg berta.jpg
  laioncele interpolate anna.jpg 'name:Mira Castellan' --images 9 --into morph

The two names are mixed before Equations 4 and 5 of the paper; every image begins with the same noise.";

/// `laioncele interpolate`
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Interpolate {
    /// The first person: a photo, a folder of photos, `name:` and a name, or `name-file:` and a file
    #[arg(value_name = "FROM")]
    from: Person,
    /// The second person
    #[arg(value_name = "TO")]
    to: Person,
    /// Number of images, both ends included
    #[arg(long, short = 'n', alias = "pictures", value_name = "N", default_value_t = 7, value_parser = clap::value_parser!(u16).range(2..))]
    images: u16,
    /// What the images show
    #[arg(
        long,
        short,
        value_name = "TEXT",
        default_value = "a portrait of a person"
    )]
    prompt: String,
    #[command(flatten)]
    generation: GenerationArgs,
    #[command(flatten)]
    paths: RunPaths,
}

impl Interpolate {
    /// Generates, writes and prints.
    ///
    /// # Errors
    /// As `generate`.
    pub(crate) fn execute(self) -> Result<(), Failure> {
        let mut inversions: Vec<_> = self.from.inversion()?.into_iter().collect();
        let other = self.to.inversion()?;
        inversions.extend(other.filter(|other| !inversions.contains(other)));
        let pipeline = self.generation.pipeline_with(&self.paths, inversions)?;
        let from = name_of(&pipeline, &self.from)?;
        let to = name_of(&pipeline, &self.to)?;
        let count = usize::from(self.images);
        let images = pipeline
            .interpolate((&from, &to), count, &self.prompt, self.generation.seed)
            .map_err(|e| failure(e, ""))?;
        let mut written = Vec::with_capacity(images.len());
        for (step, image) in images.iter().enumerate() {
            written.push(Written {
                file: self.generation.write(&format!("step-{step:02}"), image)?,
                prompt: self.prompt.clone(),
                seed: Some(self.generation.seed),
                share: Some(step as f32 / (count - 1) as f32),
            });
        }
        self.generation.print(&written)
    }
}
