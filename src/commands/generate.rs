//! `laioncele generate`: images of a person, from a photo or a name (Algorithm 1 of the paper), or straight from a
//! model's folder.

use std::path::PathBuf;

use clap::Args;
use laioncele_inference::generation::SampleRequest;

use super::from_model::FromModel;
use super::generation::{GenerationArgs, Person, Written, failure};
use super::method::{MethodArgs, Wanted};
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
  laioncele generate photo.jpg --method ip-adapter --ip-scale 0.6
  laioncele generate --model sdxl/ --method photomaker --photomaker photomaker-v1.safetensors \\
      --photo photo.jpg --prompt 'a man img in the snow'
  laioncele generate --model fine-tune.safetensors --lora style.safetensors:0.8 --name 'Mira Castellan'
  laioncele generate photo.jpg --unet fine-tune.safetensors --lora style.safetensors

A photo needs a run whose train-encoder is complete. The prompt speaks of \"a person\": the name is prepended.
--model needs neither run nor manifest. Its trace holds ids_1, ids_2, embeds, pooled, the same of
the negative prompt (null_...), noise, time_ids, timesteps, first_output, predictions, states
(latents at first and after every step) and decoded; step_noise where steps draw some; with --name
also names, name_ids_1, name_ids_2, token_count, prompt_embeds, prompt_pooled and np. Given to
--initial-latents, it generates again from the same noise.";

/// `laioncele generate`
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Generate {
    /// The person: a photo, a folder of photos of one person, or `name:` and a name that the model may know
    #[arg(
        value_name = "PERSON",
        required_unless_present_any = ["model", "name_file"],
        conflicts_with_all = ["model", "name_file"]
    )]
    person: Option<Person>,
    /// A name as a file: one that `names export` wrote, or a textual inversion; with --model or with
    /// a run
    #[arg(long, value_name = "FILE", conflicts_with = "name")]
    name_file: Option<PathBuf>,
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
    generation: GenerationArgs,
    #[command(flatten)]
    paths: RunPaths,
    #[command(flatten)]
    from_model: FromModel,
    #[command(flatten)]
    method: MethodArgs,
}

impl Generate {
    /// Generates, writes and prints.
    ///
    /// # Errors
    /// Missing models or encoder, an unusable photo, a folder that cannot be written.
    pub(crate) fn execute(self) -> Result<(), Failure> {
        let of_file = self.name_file.clone().map(Person::File);
        let of_file = of_file.filter(|_| !self.from_model.is_given());
        let by_method = self.method.generate(&Wanted {
            person: self.person.as_ref().or(of_file.as_ref()),
            prompts: &self.prompt,
            images: self.images.into(),
            generation: &self.generation,
            paths: &self.paths,
            from_model: &self.from_model,
        })?;
        if let Some(written) = by_method {
            return self.generation.print(&written);
        }
        let written = if self.from_model.is_given() {
            let name_file = self.name_file.as_deref();
            let images = self.images.into();
            (self.from_model).generate(&self.prompt, images, &self.generation, name_file)?
        } else if let Some(person) = self.person.as_ref().or(of_file.as_ref()) {
            self.generate_from_run(person)?
        } else {
            Vec::new()
        };
        self.generation.print(&written)
    }

    /// Generates with the models of a run.
    fn generate_from_run(&self, person: &Person) -> Result<Vec<Written>, Failure> {
        let inversions = person.inversion()?.into_iter().collect();
        let pipeline = self.generation.pipeline_with(&self.paths, inversions)?;
        let name = self.method.name_of(&pipeline, person)?;
        let mut written = Vec::new();
        for (at, prompt) in self.prompt.iter().enumerate() {
            for k in 0..u64::from(self.images) {
                let seed = self.generation.seed.wrapping_add(k);
                let request = SampleRequest {
                    name: Some(&name),
                    prompt,
                    seed,
                };
                // One at a time: what is there is written, whatever becomes of the next.
                let images = pipeline.generate(&[request]).map_err(|e| failure(e, ""))?;
                for image in &images {
                    let file = format!("prompt-{at:02}-seed-{seed}");
                    written.push(Written {
                        file: self.generation.write(&file, image)?,
                        prompt: prompt.clone(),
                        seed: Some(seed),
                        share: None,
                    });
                }
            }
        }
        Ok(written)
    }
}
