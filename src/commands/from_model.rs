//! `generate --model`: images from an SDXL alone, texts first and then the U-Net, and a trace of everything computed on the
//! way.

use std::path::PathBuf;

use clap::Args;
use image::RgbImage;
use laioncele_core::file_digests::FileDigests;
use laioncele_inference::generation::Eta;
use laioncele_sdxl::{
    ImageRequest, InitialLatents, NameTensor, Noise, PromptEmbedding, SamplingSettings, Sdxl,
    SdxlFiles, TextEncoders, Trace,
};
use serde_json::{Value, json};

use super::about_image::{AboutImage, ModelFact};
use super::drawing::Drawing;
use super::generation::{GenerationArgs, model_failure};
use super::images::{ImageArgs, Planned, Written};
use super::model_args::ModelArgs;
use super::person::Person;
use crate::failure::{Exit, Failure};

/// Generation without a run.
#[derive(Args, Debug)]
#[command(next_help_heading = "Options with --model")]
pub(super) struct FromModel {
    #[command(flatten)]
    pub(super) model: ModelArgs,
    /// A name to put into the prompt
    #[arg(long, value_name = "NAME", requires = "model", value_parser = a_name)]
    pub(super) name: Option<String>,
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

/// Who is shown.
pub(super) enum Given {
    /// Nobody in particular.
    Nobody,
    /// A name, or a textual inversion's word, for the text encoders.
    Text(String),
    /// An embedding that is prepended as it is.
    Finished(NameTensor),
}

/// What is to be generated.
pub(super) struct FromModelRequest<'a> {
    pub(super) prompts: &'a [String],
    /// Of each prompt.
    pub(super) images: u64,
    pub(super) generation: &'a GenerationArgs,
    pub(super) gallery: &'a ImageArgs,
    /// The model, with the inversion that the person may be.
    pub(super) files: SdxlFiles,
    pub(super) given: Given,
    /// Who it is, for the images' texts.
    pub(super) person: Value,
    /// The trained encoder, δ and η, where they made the name.
    pub(super) encoder: Option<(ModelFact, f32, Eta)>,
    pub(super) quiet: bool,
}

/// What the text encoders made of the arguments.
struct Texts {
    negative: PromptEmbedding,
    /// Each prompt, its name in it, and what is recorded of the way there.
    prompts: Vec<(PromptEmbedding, Trace)>,
    /// The name, for who wants to keep it.
    name: Option<NameTensor>,
}

/// Where an image's randomness comes from, and what its file is called after it.
pub(super) struct Start {
    pub(super) noise: Noise,
    pub(super) seed: Option<u64>,
    pub(super) label: String,
}

impl FromModel {
    /// Generates the images; what was written, and the name that was prepended.
    ///
    /// # Errors
    /// A folder that is no SDXL, settings that it cannot meet, files that cannot be read or written, images that are there
    /// and show something else.
    pub(super) fn generate(
        &self,
        request: &FromModelRequest<'_>,
    ) -> Result<(Vec<Written>, Option<NameTensor>), Failure> {
        let prompts = request.prompts;
        self.check_trace(prompts)?;
        let latents = self.latents()?;
        let texts = self.encode(request)?;
        let sdxl = Sdxl::load_files(&request.files)?;
        let mut sampling = self.sampling(&sdxl, latents.as_ref());
        request.generation.set(&mut sampling)?;
        let shared = self.about(request, &sdxl, &sampling)?;
        let starts = starts(latents, request.images, request.generation.seed);
        let planned = self.planned(prompts, &starts, &shared)?;
        request.gallery.check(planned.iter().flatten())?;
        let drawing = Drawing::begin(prompts.len() * starts.len(), sampling.steps, request.quiet);
        sampling.steps_done = Some(drawing.steps.clone());
        let mut written = Vec::new();
        for (planned, (embedding, mut trace)) in planned.iter().zip(texts.prompts) {
            let request_of = |start: &Start| ImageRequest {
                prompt: &embedding,
                name: None,
                negative: &texts.negative,
                noise: start.noise.clone(),
            };
            let requests: Vec<ImageRequest<'_>> = starts.iter().map(request_of).collect();
            let mut files: Vec<Option<Written>> = requests.iter().map(|_| None).collect();
            self.generate_prompt(&sdxl, &requests, &sampling, &mut trace, |at, image| {
                drawing.image_done();
                files[at] = Some(request.gallery.write(&planned[at], &image)?);
                Ok(())
            })?;
            written.extend(files.into_iter().flatten());
        }
        Ok((written, texts.name))
    }

    /// A trace is of one prompt.
    ///
    /// # Errors
    /// Several prompts.
    pub(super) fn check_trace(&self, prompts: &[String]) -> Result<(), Failure> {
        if self.trace.is_some() && prompts.len() > 1 {
            let text = "--trace records one prompt; several were given";
            return Err(Failure::new(Exit::Usage, text));
        }
        Ok(())
    }

    /// The given latents.
    ///
    /// # Errors
    /// A file that holds none.
    pub(super) fn latents(&self) -> Result<Option<InitialLatents>, Failure> {
        let latents = self.initial_latents.as_deref().map(InitialLatents::read);
        latents.transpose().map_err(|e| model_failure(&e))
    }

    /// What all images of a call share.
    fn about(
        &self,
        request: &FromModelRequest<'_>,
        sdxl: &Sdxl,
        sampling: &SamplingSettings,
    ) -> Result<AboutImage, Failure> {
        let section = ModelArgs::section(&request.files);
        let models = ModelFact::of_sdxl(&section, &FileDigests::open(None))?;
        let mut about = AboutImage::shared("laioncele", sdxl, sampling, models)?;
        about.note_negative(&self.model.negative());
        about.naming = request.generation.naming.to_string();
        about.person = request.person.clone();
        if let Some((encoder, delta, eta)) = &request.encoder {
            about = about.guided(*delta, *eta);
            about.models.push(encoder.clone());
        }
        Ok(about)
    }

    /// The images of each prompt.
    ///
    /// # Errors
    /// Latents that cannot be read.
    pub(super) fn planned(
        &self,
        prompts: &[String],
        starts: &[Start],
        shared: &AboutImage,
    ) -> Result<Vec<Vec<Planned>>, Failure> {
        let latents = self.initial_latents.as_ref();
        let latents = latents.map(|file| {
            let fact = Person::File(file.clone()).about()?;
            Ok::<Value, Failure>(fact["name_file"].clone())
        });
        let latents = latents.transpose()?;
        let of_prompt = |(at, prompt): (usize, &String)| {
            let image = |(row, start): (usize, &Start)| {
                let about = AboutImage {
                    prompt: prompt.clone(),
                    seed: start.seed,
                    latents: (latents.as_ref()).map(|file| json!({ "file": file, "row": row })),
                    ..shared.clone()
                };
                Planned::new(format!("prompt-{at:02}-{}", start.label), about)
            };
            starts.iter().enumerate().map(image).collect()
        };
        Ok(prompts.iter().enumerate().map(of_prompt).collect())
    }

    /// All texts, before anything else is loaded: the encoders' memory is free again when the U-Net
    /// comes.
    fn encode(&self, request: &FromModelRequest<'_>) -> laioncele_sdxl::Result<Texts> {
        let encoders = TextEncoders::load_files(&request.files)?;
        let naming = request.generation.naming;
        let (name, text) = match &request.given {
            Given::Nobody => (None, None),
            Given::Finished(name) => (Some(name.clone()), None),
            Given::Text(name) => {
                let text = encoders.encode_prompt(name)?;
                (Some(text.name()?), Some(text))
            }
        };
        let encode = |prompt: &String| {
            let mut trace = Trace::default();
            let prompt = encoders.encode_prompt(prompt)?;
            let Some(name) = &name else {
                return Ok((prompt, trace));
            };
            let named = encoders.named(&prompt, name, naming)?;
            if let Some(text) = &text {
                trace.record_name(text, &prompt, &named)?;
            }
            Ok((named, trace))
        };
        let prompts = request.prompts.iter().map(encode);
        Ok(Texts {
            prompts: prompts.collect::<laioncele_sdxl::Result<_>>()?,
            negative: encoders.encode_negative(&self.model.negative())?,
            name,
        })
    }

    pub(super) fn sampling(
        &self,
        sdxl: &Sdxl,
        latents: Option<&InitialLatents>,
    ) -> SamplingSettings {
        let factor = sdxl.vae().factor();
        let size = latents.map(|l| [l.height * factor, l.width * factor]);
        self.model.sampling(size)
    }

    fn generate_prompt(
        &self,
        sdxl: &Sdxl,
        requests: &[ImageRequest<'_>],
        sampling: &SamplingSettings,
        trace: &mut Trace,
        mut each: impl FnMut(usize, RgbImage) -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        let Some(file) = &self.trace else {
            return sdxl.generate_each(requests, sampling, 0, |at, image| each(at, image?));
        };
        let images = sdxl.generate(requests, sampling, Some(trace))?;
        trace.write(file)?;
        let mut images = images.into_iter().enumerate();
        images.try_for_each(|(at, image)| each(at, image))
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

/// The text encoders whose name a kept name is.
///
/// # Errors
/// Files that cannot be read.
pub(super) fn text_facts(files: &SdxlFiles) -> Result<Vec<ModelFact>, Failure> {
    let files = ModelArgs::section(files).text_model_files();
    Ok(ModelFact::of_files(&files, &FileDigests::open(None))?)
}
