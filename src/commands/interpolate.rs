//! `laioncele interpolate`: from one person to another, mixed in the space of name embeddings.

use clap::Args;
use laioncele_inference::generation::PersonName;
use serde_json::json;

use super::encoder_args::EncoderArgs;
use super::generation::{GenerationArgs, failure};
use super::images::{ImageArgs, Planned};
use super::kept_name::KeptName;
use super::model_args::ModelArgs;
use super::person::Person;
use super::source::{Opened, Source, Wish};
use crate::args::{RunPaths, Verbosity, finite};
use crate::failure::Failure;

const EXAMPLES: &str = "\
Examples:
  laioncele interpolate anna.jpg berta.jpg
  laioncele interpolate anna.jpg 'name:Mira Castellan' --images 9 --into morph
  laioncele interpolate anna.jpg name-file:mira.safetensors --ratios 0.25,0.5,0.75 --seeds 1,2 \\
      --prompt 'a person in the snow' --prompt 'a person at the beach'
  laioncele interpolate anna.jpg berta.jpg --ratios 0.5 --save-name between.safetensors
  laioncele interpolate anna.jpg berta.jpg --encoder laioncele-encoder --model sdxl/

The two names are mixed before Equations 4 and 5 of the paper; the images of a seed begin with the
same noise.";

/// `laioncele interpolate`
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Interpolate {
    /// The first person: a photo, a folder of photos, `name:` and a name, or `name-file:` and a file
    #[arg(value_name = "FROM")]
    from: Person,
    /// The second person, in any of these ways
    #[arg(value_name = "TO")]
    to: Person,
    /// Number of equal steps from one to the other, both ends included
    #[arg(long, short = 'n', alias = "pictures", value_name = "N", default_value_t = 7, value_parser = clap::value_parser!(u16).range(2..))]
    images: u16,
    /// The second person's shares instead of equal steps, from 0 to 1, with commas between them
    #[arg(long, value_name = "SHARES", value_delimiter = ',', value_parser = share, conflicts_with = "images")]
    ratios: Vec<f32>,
    /// What the images show; may be given several times
    #[arg(
        long,
        short,
        value_name = "TEXT",
        default_value = "a portrait of a person"
    )]
    prompt: Vec<String>,
    /// Several seeds, with commas between them
    #[arg(
        long,
        value_name = "SEEDS",
        value_delimiter = ',',
        conflicts_with = "seed"
    )]
    seeds: Vec<u64>,
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
    model: ModelArgs,
}

fn share(text: &str) -> Result<f32, String> {
    let share = finite::<f32>(text)?;
    match (0.0..=1.0).contains(&share) {
        true => Ok(share),
        false => Err("a share from 0 to 1 is expected".to_owned()),
    }
}

impl Interpolate {
    /// Generates, writes and prints.
    ///
    /// # Errors
    /// As `generate`.
    pub(crate) fn execute(self, verbosity: &Verbosity) -> Result<(), Failure> {
        let shares = self.shares();
        self.kept.check(&shares, &self.gallery)?;
        let source = Source {
            generation: &self.generation,
            paths: &self.paths,
            model: &self.model,
            encoder: &self.encoder,
        };
        let mut opened = source.open(&[&self.from, &self.to])?;
        let mixtures = self.mixtures(&opened, &shares)?;
        let wishes = self.wishes(&opened, &mixtures)?;
        let written = opened.draw(&wishes, &self.gallery, verbosity.quiet)?;
        for (share, name) in &mixtures {
            let models = opened.about(name)?.models;
            let kept = opened.prepended(name)?;
            self.kept.write(kept, &models, (*share, &shares))?;
        }
        self.gallery.print(&written)
    }

    /// The second person's shares: each once, as they were given.
    fn shares(&self) -> Vec<f32> {
        if self.ratios.is_empty() {
            let last = f32::from(self.images) - 1.0;
            return (0..self.images)
                .map(|step| f32::from(step) / last)
                .collect();
        }
        let mut shares = Vec::new();
        for share in &self.ratios {
            if !shares.contains(share) {
                shares.push(*share);
            }
        }
        shares
    }

    fn mixtures(&self, opened: &Opened, shares: &[f32]) -> Result<Vec<(f32, PersonName)>, Failure> {
        let from = opened.name_of(&self.from, None)?;
        let to = opened.name_of(&self.to, None)?;
        let mix = |share: &f32| {
            let name = opened.pipeline.mix(&from, &to, *share);
            Ok((*share, name.map_err(|e| failure(e, ""))?))
        };
        shares.iter().map(mix).collect()
    }

    /// Every prompt with every seed at every share.
    fn wishes<'a>(
        &self,
        opened: &Opened,
        mixtures: &'a [(f32, PersonName)],
    ) -> Result<Vec<Wish<'a>>, Failure> {
        let (from, to) = (self.from.about()?, self.to.about()?);
        let own = [self.generation.seed];
        let seeds = if self.seeds.is_empty() {
            &own[..]
        } else {
            &self.seeds
        };
        let mut wishes = Vec::new();
        for (at, prompt) in self.prompt.iter().enumerate() {
            for seed in seeds {
                for (share, name) in mixtures {
                    let person = json!({ "from": from, "to": to, "share": share });
                    let about = opened.about(name)?.of(prompt, &person, *seed);
                    let stem = format!("prompt-{at:02}-seed-{seed}-share-{share}");
                    let mut planned = Planned::new(stem, about);
                    planned.share = Some(*share);
                    wishes.push(Wish {
                        name: Some(name),
                        planned,
                    });
                }
            }
        }
        Ok(wishes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_are_from_0_to_1() {
        assert_eq!(share("0.25"), Ok(0.25));
        for wrong in ["-0.1", "1.5", "nan", "half", ""] {
            assert!(share(wrong).is_err(), "{wrong}");
        }
    }
}
