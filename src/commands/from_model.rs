//! `generate --model`: images from an SDXL folder alone, and a trace of everything computed on the
//! way.

use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use clap::Args;
use image::RgbImage;
use laioncele_inference::SchedulerChoice;
use laioncele_sdxl::{
    DeviceChoice, ImageRequest, InitialLatents, NameSource, NegativePrompt, Noise, Precision,
    PromptEmbedding, SamplingSettings, Sdxl, SdxlFiles, SizeConditioning, TextEncoders, Trace,
};

use super::generation::{GenerationArgs, Written, model_failure};
use crate::args::setting;
use crate::failure::{Exit, Failure};

/// Generation without a run.
#[derive(Args, Debug)]
#[command(next_help_heading = "Options with --model")]
pub(super) struct FromModel {
    /// An SDXL folder in Diffusers layout, or a model in one safetensors file, to use instead of a run
    #[arg(long, value_name = "PATH")]
    model: Option<PathBuf>,
    /// An SDXL folder that gives a model in one file its configurations, its tokenizers and the parts
    /// that the file lacks [default: SDXL's own configurations and tokenizers]
    #[arg(long, value_name = "FOLDER", requires = "model")]
    base: Option<PathBuf>,
    /// A name to put into the prompt
    #[arg(long, value_name = "NAME", requires = "model", value_parser = a_name)]
    pub(super) name: Option<String>,
    /// What is guided away from; `''` is the encoded empty text [default: what the folder says,
    /// zeros for SDXL]
    #[arg(long, value_name = "TEXT", requires = "model")]
    pub(super) negative_prompt: Option<String>,
    /// ddim, euler, euler_ancestral, heun, dpmpp_2m, dpmpp_2m_sde, unipc, lcm, tcd, or `model` for
    /// the folder's own [default: ddim]
    #[arg(long, value_name = "NAME", requires = "model", value_parser = setting::<SchedulerChoice>)]
    pub(super) scheduler: Option<SchedulerChoice>,
    /// Begin with the tensor `noise` of this safetensors file: standard normal, an image for each
    /// of its rows. The noise that some schedulers add later is the file's `step_noise`, or comes
    /// from --seed
    #[arg(
        long,
        value_name = "FILE",
        requires = "model",
        conflicts_with = "images"
    )]
    pub(super) initial_latents: Option<PathBuf>,
    /// Write everything computed to this safetensors file: ids, embeddings, latents after every
    /// step, pixels
    #[arg(long, value_name = "FILE", requires = "model")]
    pub(super) trace: Option<PathBuf>,
    /// Pixels [default: the latents', else the model's own]
    #[arg(long, value_name = "PIXELS", requires = "model")]
    height: Option<usize>,
    /// Pixels
    #[arg(long, value_name = "PIXELS", requires = "model")]
    width: Option<usize>,
    /// Sizes that the U-Net is conditioned on: original height and width, crop top and left, target
    /// height and width [default: the image's own, uncropped]
    #[arg(long, value_name = "H,W,TOP,LEFT,H,W", requires = "model")]
    time_ids: Option<TimeIds>,
    /// The type that the text encoders and the U-Net compute in: f32, bf16, f16 [default: f32]
    #[arg(long, value_name = "TYPE", requires = "model", value_parser = setting::<Precision>)]
    precision: Option<Precision>,
    /// auto, cpu, cuda or cuda:N [default: auto: the first GPU if there is one and laioncele was
    /// built for it]
    #[arg(long, value_name = "WHERE", requires = "model")]
    device: Option<DeviceChoice>,
    /// Images that go through the U-Net at once [default: 4 on a GPU; on the processor each image
    /// has a thread]
    #[arg(long, value_name = "N", requires = "model")]
    batch: Option<NonZeroUsize>,
}

/// Any text but an empty one.
fn a_name(text: &str) -> Result<String, String> {
    match text.trim() {
        "" => Err(
            "a name has letters; leave --name out for images of nobody in particular".to_owned(),
        ),
        name => Ok(name.to_owned()),
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct TimeIds(SizeConditioning);

impl FromStr for TimeIds {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let numbers: Result<Vec<u32>, _> = text.split(',').map(|n| n.trim().parse()).collect();
        match numbers.as_deref() {
            Ok(&[height, width, top, left, to_height, to_width]) => Ok(Self(SizeConditioning {
                original: [height, width],
                crop: [top, left],
                target: [to_height, to_width],
            })),
            _ => Err("six whole numbers with commas between them are expected".to_owned()),
        }
    }
}

/// What the text encoders made of the arguments.
struct Texts {
    negative: PromptEmbedding,
    /// Each prompt, its name in it, and what is recorded of the way there.
    prompts: Vec<(PromptEmbedding, Trace)>,
}

/// Where an image's randomness comes from, and what its file is called after it.
pub(super) struct Start {
    pub(super) noise: Noise,
    pub(super) seed: Option<u64>,
    pub(super) label: String,
}

impl FromModel {
    /// Generates `images` images of each prompt.
    ///
    /// # Errors
    /// A folder that is no SDXL, settings that it cannot meet, files that cannot be read or
    /// written.
    pub(super) fn generate(
        &self,
        prompts: &[String],
        images: u64,
        generation: &GenerationArgs,
        name_file: Option<&Path>,
    ) -> Result<Vec<Written>, Failure> {
        if self.trace.is_some() && prompts.len() > 1 {
            let text = "--trace records one prompt; several were given";
            return Err(Failure::new(Exit::Usage, text));
        }
        let latents = self.initial_latents.as_deref().map(InitialLatents::read);
        let latents = latents.transpose().map_err(|e| model_failure(&e))?;
        let mut files = self.files(generation);
        let named = name_file.map(NameSource::read).transpose();
        let named = named.map_err(|e| model_failure(&e))?;
        if let Some(NameSource::Embedding(file)) = &named
            && !file.finished
        {
            let text = "the name of --name-file is as it was predicted; Equations 4 and 5 need the names of a run: leave --model out";
            return Err(Failure::new(Exit::Usage, text));
        }
        if let Some(NameSource::Inversion(inversion)) = &named {
            files.inversions.push(inversion.clone());
        }
        let texts = self.encode(&files, prompts, generation, named.as_ref());
        let Texts {
            negative,
            prompts: encoded,
        } = texts.map_err(|e| model_failure(&e))?;
        let sdxl = Sdxl::load_files(&files).map_err(|e| model_failure(&e))?;
        let mut sampling = self.sampling(&sdxl, latents.as_ref());
        generation.set(&mut sampling)?;
        let starts = starts(latents, images, generation.seed);
        let mut written = Vec::new();
        for (at, (prompt, (embedding, mut trace))) in prompts.iter().zip(encoded).enumerate() {
            let request = |start: &Start| ImageRequest {
                prompt: &embedding,
                name: None,
                negative: &negative,
                noise: start.noise.clone(),
            };
            let requests: Vec<ImageRequest<'_>> = starts.iter().map(request).collect();
            let images = self.generate_prompt(&sdxl, &requests, &sampling, &mut trace);
            let images = images.map_err(|e| model_failure(&e))?;
            for (start, image) in starts.iter().zip(&images) {
                let file = format!("prompt-{at:02}-{}", start.label);
                written.push(Written {
                    file: generation.write(&file, image)?,
                    prompt: prompt.clone(),
                    seed: start.seed,
                    share: None,
                });
            }
        }
        Ok(written)
    }

    /// The files of the model and what the arguments change of it.
    pub(super) fn files(&self, generation: &GenerationArgs) -> SdxlFiles {
        let model = self.model.as_deref().unwrap_or(Path::new(""));
        let mut files = SdxlFiles {
            precision: self.precision.unwrap_or_default(),
            device: self.device.unwrap_or_default(),
            batch: self.batch,
            ..SdxlFiles::of_model(model, self.base.as_deref())
        };
        generation.change_model(&mut files);
        files
    }

    /// Whether a model was given.
    pub(super) fn is_given(&self) -> bool {
        self.model.is_some()
    }

    /// All texts, before anything else is loaded: the encoders' memory is free again when the U-Net
    /// comes.
    fn encode(
        &self,
        files: &SdxlFiles,
        prompts: &[String],
        generation: &GenerationArgs,
        name_file: Option<&NameSource>,
    ) -> laioncele_sdxl::Result<Texts> {
        let encoders = TextEncoders::load_files(files)?;
        let name = match name_file {
            Some(NameSource::Inversion(inversion)) => Some(&inversion.token),
            _ => self.name.as_ref(),
        };
        let negative = match &self.negative_prompt {
            Some(text) => NegativePrompt::Text(text.clone()),
            None => NegativePrompt::Model,
        };
        let encode = |prompt: &String| {
            let mut trace = Trace::default();
            let prompt = encoders.encode_prompt(prompt)?;
            if let Some(NameSource::Embedding(file)) = name_file {
                let named = encoders.named(&prompt, &file.name, generation.naming)?;
                return Ok((named, trace));
            }
            let Some(name) = name else {
                return Ok((prompt, trace));
            };
            let text = encoders.encode_prompt(name)?;
            let named = encoders.named(&prompt, &text.name()?, generation.naming)?;
            trace.record_name(&text, &prompt, &named)?;
            Ok((named, trace))
        };
        Ok(Texts {
            negative: encoders.encode_negative(&negative)?,
            prompts: prompts
                .iter()
                .map(encode)
                .collect::<laioncele_sdxl::Result<_>>()?,
        })
    }

    pub(super) fn sampling(
        &self,
        sdxl: &Sdxl,
        latents: Option<&InitialLatents>,
    ) -> SamplingSettings {
        let paper = SamplingSettings::default();
        let factor = sdxl.vae().factor();
        SamplingSettings {
            scheduler: self.scheduler.map_or(paper.scheduler, |choice| choice.0),
            height: self.height.or(latents.map(|l| l.height * factor)),
            width: self.width.or(latents.map(|l| l.width * factor)),
            sizes: self.time_ids.map(|ids| ids.0),
            ..paper
        }
    }

    fn generate_prompt(
        &self,
        sdxl: &Sdxl,
        requests: &[ImageRequest<'_>],
        sampling: &SamplingSettings,
        trace: &mut Trace,
    ) -> laioncele_sdxl::Result<Vec<RgbImage>> {
        if let Some(file) = &self.trace {
            let images = sdxl.generate(requests, sampling, Some(trace))?;
            trace.write(file)?;
            return Ok(images);
        }
        let mut images: Vec<Option<RgbImage>> = vec![None; requests.len()];
        sdxl.generate_each(requests, sampling, 0, |index, image| {
            images[index] = Some(image?);
            Ok::<(), laioncele_sdxl::Error>(())
        })?;
        Ok(images.into_iter().flatten().collect())
    }
}

pub(super) fn starts(latents: Option<InitialLatents>, images: u64, seed: u64) -> Vec<Start> {
    let Some(latents) = latents else {
        let seeds = (0..images).map(|k| seed.wrapping_add(k));
        let start = |seed| Start {
            noise: Noise::Seed(seed),
            seed: Some(seed),
            label: format!("seed-{seed}"),
        };
        return seeds.map(start).collect();
    };
    let start = |(k, noise)| Start {
        noise,
        seed: None,
        label: format!("latents-{k}"),
    };
    let noises = latents.noises(seed).into_iter();
    noises.enumerate().map(start).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_ids_are_six_numbers() {
        let ids: TimeIds = "150,170, 6,10,96,128".parse().expect("six numbers");
        assert_eq!(ids.0.original, [150, 170]);
        assert_eq!((ids.0.crop, ids.0.target), ([6, 10], [96, 128]));
        for wrong in ["", "1,2,3", "1,2,3,4,5,-6", "1,2,3,4,5,6,7"] {
            assert!(wrong.parse::<TimeIds>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn settings_are_named_as_in_manifests() {
        assert_eq!(setting::<Precision>("bf16"), Ok(Precision::Bf16));
        let wrong = setting::<SchedulerChoice>("pndm").expect_err("unknown");
        assert!(wrong.contains("dpmpp_2m"), "{wrong}");
    }
}
