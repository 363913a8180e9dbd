//! SDXL as a [`DiffusionModel`]: texts to conditioning, noise to latents step by step, latents to
//! pixels.

use std::sync::Arc;

use candle_core::{DType, Tensor};
use image::RgbImage;

use crate::error::{Error, Result};
use crate::name::PromptEmbedding;
use crate::noise::NoiseStream;
use crate::pipeline::Sdxl;
use crate::recorder::Recorder;
use crate::request::{Job, same_image};
use crate::sampling::{DiffusionModel, Latents, LaterTexts, SamplingParams, TextConditioning};
use crate::scheduler::StepState;
use crate::unet::{Conditioning, ImageAttention};

impl DiffusionModel for Sdxl {
    fn condition<'t>(
        &self,
        batch: &[Job<'_>],
        params: &SamplingParams,
        last: &'t mut Option<TextConditioning>,
    ) -> Result<&'t TextConditioning> {
        let requests = batch.iter().map(|job| job.request);
        let named = requests.map(|request| match request.name {
            Some(name) => request.prompt.prepend(name),
            None => Ok(request.prompt.clone()),
        });
        let prompts: Vec<PromptEmbedding> = named.collect::<Result<_>>()?;
        let wanted = BatchTexts::new(prompts, batch);
        let texts = match last.take().filter(|texts| wanted.are(texts)) {
            Some(texts) => texts,
            None => self.new_texts(wanted, params)?,
        };
        Ok(last.insert(texts))
    }

    fn denoise(
        &self,
        batch: &[Job<'_>],
        texts: &TextConditioning,
        params: &SamplingParams,
        mut recorder: Option<&mut Recorder>,
    ) -> Result<Vec<Latents>> {
        let one = self.unet.channels() * params.height * params.width;
        let mut noise = BatchNoise::new(batch, one);
        let mut latents = vec![0f32; batch.len() * one];
        noise.fill(&mut latents)?;
        if let Some(recorder) = &mut recorder {
            recorder.noise(&latents, one);
        }
        let sigma = params.schedule.init_noise_sigma();
        for x in &mut latents {
            *x *= sigma;
        }
        let mut state = StepState::default();
        let mut failed: Vec<Option<usize>> = vec![None; batch.len()];
        for i in 0..texts.biases.len() {
            let mut output = self.predict(i, &latents, texts, params)?;
            set_aside(&mut output, one, i, &mut failed);
            if failed.iter().all(Option::is_some) {
                break;
            }
            let guided = guide(&output, params.guidance);
            if let Some(recorder) = &mut recorder {
                recorder.step(i, &latents, &output, &guided, one);
            }
            let mut fresh = |values: &mut [f32]| {
                noise.fill(values)?;
                if let Some(recorder) = &mut recorder {
                    recorder.step_noise(values, one);
                }
                Ok(())
            };
            (params.schedule).step(i, &mut latents, &guided, &mut state, &mut fresh)?;
            if let Some(counter) = &params.steps_done {
                counter.add(batch.len());
            }
        }
        if let Some(recorder) = &mut recorder {
            recorder.last(&latents, one);
        }
        let results = latents.chunks_exact(one).zip(failed);
        Ok(results.map(of_image).collect())
    }

    fn decode(&self, latents: &[f32], params: &SamplingParams) -> Result<(RgbImage, Vec<f32>)> {
        let unscaled = self.vae.unscale(latents, params.height * params.width);
        let decoded = self.vae.decode(&unscaled, params.height, params.width)?;
        let factor = self.vae.factor();
        let image = to_bytes(&decoded, factor * params.height, factor * params.width)?;
        Ok((image, decoded))
    }
}

/// The texts of a batch, whose images share all but prompts and noise.
struct BatchTexts<'a> {
    /// With their names.
    prompts: Vec<PromptEmbedding>,
    negative: &'a PromptEmbedding,
    /// From which step on which prompts take their place.
    later: Option<(usize, Vec<PromptEmbedding>)>,
    image: Option<&'a Arc<ImageAttention>>,
}

impl<'a> BatchTexts<'a> {
    fn new(prompts: Vec<PromptEmbedding>, batch: &[Job<'a>]) -> Self {
        let later = batch.iter().filter_map(Job::later);
        let later = later.map(|later| (later.first_step, later.prompt.clone()));
        let (steps, later_prompts): (Vec<usize>, Vec<PromptEmbedding>) = later.unzip();
        Self {
            prompts,
            negative: batch[0].request.negative,
            later: steps.first().map(|first| (*first, later_prompts)),
            image: batch[0].image(),
        }
    }

    /// Whether `texts` are these.
    fn are(&self, texts: &TextConditioning) -> bool {
        let theirs = texts.later.as_ref();
        let same_later = match (&self.later, theirs) {
            (None, None) => true,
            (Some((_, ours)), Some(theirs)) => *ours == theirs.prompts,
            _ => false,
        };
        texts.prompts == self.prompts
            && texts.negative == *self.negative
            && same_later
            && same_image(self.image, texts.image.as_ref())
    }
}

/// Each image's own noise, side by side.
struct BatchNoise<'a> {
    streams: Vec<NoiseStream<'a>>,
    /// Numbers of an image's latents.
    one: usize,
}

impl<'a> BatchNoise<'a> {
    fn new(batch: &'a [Job<'_>], one: usize) -> Self {
        let streams = batch.iter().map(|job| job.request.noise.stream());
        Self {
            streams: streams.collect(),
            one,
        }
    }

    /// The next standard normal numbers of every image.
    fn fill(&mut self, values: &mut [f32]) -> Result<()> {
        let mut parts = values.chunks_exact_mut(self.one).zip(&mut self.streams);
        parts.try_for_each(|(part, stream)| stream.fill(part))
    }
}

/// An image's latents, unless its numbers left the finite ones at a step.
fn of_image((latents, failed): (&[f32], Option<usize>)) -> Latents {
    match failed {
        None => Ok(latents.to_vec()),
        Some(step) => Err(Error::NotFinite {
            what: format!("the U-Net's prediction at step {}", step + 1),
            hint: "check the weights and the embeddings, or compute in f32 or bf16",
        }),
    }
}

impl Sdxl {
    /// Step `i` of a batch: latents [images × channels × height × width] → the U-Net's output, with
    /// guidance the negative prompt's rows before the prompts'.
    fn predict(
        &self,
        i: usize,
        latents: &[f32],
        texts: &TextConditioning,
        params: &SamplingParams,
    ) -> Result<Vec<f32>> {
        let (channels, height, width) = (self.unet.channels(), params.height, params.width);
        let rows = if params.guided() { 2 } else { 1 };
        let images = texts.prompts.len();
        let input = params.schedule.scale_model_input(i, latents).repeat(rows);
        let sample = self
            .unet
            .tensor(&input, (rows * images, channels, height, width))?;
        let output = self.unet.forward(&sample, &texts.biases[i], texts.at(i))?;
        numbers(&output)
    }

    /// The conditionings of a batch and what they add to each step.
    fn new_texts(
        &self,
        wanted: BatchTexts<'_>,
        params: &SamplingParams,
    ) -> Result<TextConditioning> {
        let BatchTexts {
            prompts,
            negative,
            later,
            image,
        } = wanted;
        let conditioning = self.new_conditioning(&prompts, negative, image, params)?;
        let timesteps = params.schedule.timesteps();
        let mut biases = Vec::new();
        let later = match later {
            None => {
                biases = self.unet.step_table(timesteps, &conditioning)?;
                None
            }
            Some((first_step, prompts)) => {
                let later = self.new_conditioning(&prompts, negative, image, params)?;
                let first_step = first_step.min(timesteps.len());
                let (before, after) = timesteps.split_at(first_step);
                for (timesteps, conditioning) in [(before, &conditioning), (after, &later)] {
                    if !timesteps.is_empty() {
                        biases.extend(self.unet.step_table(timesteps, conditioning)?);
                    }
                }
                Some(LaterTexts {
                    first_step,
                    prompts,
                    conditioning: later,
                })
            }
        };
        Ok(TextConditioning {
            prompts,
            negative: negative.clone(),
            conditioning,
            later,
            image: image.cloned(),
            biases,
        })
    }

    /// The negative prompt and every prompt once, then one row for each image of both: the negative
    /// prompt's rows first.
    fn new_conditioning(
        &self,
        prompts: &[PromptEmbedding],
        negative: &PromptEmbedding,
        image: Option<&Arc<ImageAttention>>,
        params: &SamplingParams,
    ) -> Result<Conditioning> {
        let guided = params.guided();
        let mut texts: Vec<&PromptEmbedding> = guided.then_some(negative).into_iter().collect();
        let mut rows = vec![0; if guided { prompts.len() } else { 0 }];
        let first = texts.len();
        for prompt in prompts {
            self.check_text(prompt, negative)?;
            let known = texts[first..].iter().position(|text| *text == prompt);
            rows.push(first + known.unwrap_or(texts.len() - first));
            if known.is_none() {
                texts.push(prompt);
            }
        }
        let join = |part: fn(&PromptEmbedding) -> &[f32]| {
            let parts: Vec<&[f32]> = texts.iter().map(|text| part(text)).collect();
            parts.concat()
        };
        let (context, pooled) = (join(|text| &text.embeds), join(|text| &text.pooled));
        let time_ids = vec![params.time_ids; texts.len()];
        let conditioning = self.unet.condition(&context, &pooled, &time_ids)?;
        let conditioning = match rows.iter().copied().eq(0..texts.len()) {
            true => conditioning,
            false => conditioning.select_rows(&rows)?,
        };
        match image {
            None => Ok(conditioning),
            Some(image) => {
                let null_rows = if guided { prompts.len() } else { 0 };
                self.unet.see(conditioning, image, null_rows)
            }
        }
    }

    fn check_text(&self, prompt: &PromptEmbedding, negative: &PromptEmbedding) -> Result<()> {
        Error::check_size("a prompt embedding's row", prompt.width, self.name_width())?;
        Error::check_size(
            "the negative prompt's embedding",
            negative.embeds.len(),
            prompt.embeds.len(),
        )?;
        Error::check_size(
            "the negative prompt's pooled vector",
            negative.pooled.len(),
            prompt.pooled.len(),
        )
    }
}

fn numbers(tensor: &Tensor) -> Result<Vec<f32>> {
    Ok(tensor.to_dtype(DType::F32)?.flatten_all()?.to_vec1()?)
}

/// Marks the images that have numbers which are not finite in `output` [rows × images × one], and
/// puts zeros there: the batch's other images go on.
fn set_aside(output: &mut [f32], one: usize, step: usize, failed: &mut [Option<usize>]) {
    let images = failed.len();
    for (i, part) in output.chunks_exact_mut(one).enumerate() {
        if !part.iter().all(|v| v.is_finite()) {
            failed[i % images].get_or_insert(step);
            part.fill(0.0);
        }
    }
}

/// ε_negative + γ (ε_prompt − ε_negative) of [negative, prompt]; the output itself without
/// guidance.
fn guide(output: &[f32], guidance: f32) -> Vec<f32> {
    if guidance <= 1.0 {
        return output.to_vec();
    }
    let (negative, prompt) = output.split_at(output.len() / 2);
    let pairs = negative.iter().zip(prompt);
    pairs
        .map(|(negative, prompt)| negative + guidance * (prompt - negative))
        .collect()
}

/// Pixels around [-1, 1], [3 × height × width] → bytes, rounded half to even.
fn to_bytes(decoded: &[f32], height: usize, width: usize) -> Result<RgbImage> {
    let plane = height * width;
    let byte = |v: f32| ((v * 0.5 + 0.5).clamp(0.0, 1.0) * 255.0).round_ties_even() as u8;
    let pixels = (0..plane)
        .flat_map(|i| [decoded[i], decoded[plane + i], decoded[2 * plane + i]])
        .map(byte)
        .collect();
    RgbImage::from_raw(width as u32, height as u32, pixels).ok_or(Error::Size {
        what: "the decoded image",
        found: decoded.len(),
        expected: 3 * plane,
    })
}
