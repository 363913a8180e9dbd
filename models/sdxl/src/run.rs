//! What a batch of pictures goes through: their texts, noise to latents step by step, latents to pixels.

use candle_core::{DType, Tensor};
use image::RgbImage;

use crate::draw::{Artist, Latents};
use crate::error::{Error, Result};
use crate::name::PromptEmbedding;
use crate::pipeline::{ImageRequest, Sdxl};
use crate::recorder::Recorder;
use crate::scheduler::{Memory, Schedule};
use crate::unet::{Conditioning, StepBiases, TimeIds};

/// What a run's pictures share.
pub(crate) struct Run {
    pub schedule: Schedule,
    /// Latent height and width.
    pub height: usize,
    pub width: usize,
    pub time_ids: TimeIds,
    pub guidance: f32,
}

impl Run {
    fn guided(&self) -> bool {
        self.guidance > 1.0
    }
}

/// A batch's texts as the U-Net takes them: kept for the batches that follow, if theirs are the same.
pub(crate) struct Texts {
    /// With their names.
    pub prompts: Vec<PromptEmbedding>,
    pub null: PromptEmbedding,
    conditioning: Conditioning,
    steps: Vec<StepBiases>,
}

impl Artist for Sdxl {
    fn texts<'t>(
        &self,
        batch: &[ImageRequest<'_>],
        run: &Run,
        last: &'t mut Option<Texts>,
    ) -> Result<&'t Texts> {
        let named = batch.iter().map(|request| match request.name {
            Some(name) => request.prompt.prepend(name),
            None => Ok(request.prompt.clone()),
        });
        let prompts: Vec<PromptEmbedding> = named.collect::<Result<_>>()?;
        let null = batch[0].null;
        let same = |texts: &Texts| texts.prompts == prompts && texts.null == *null;
        let texts = match last.take().filter(same) {
            Some(texts) => texts,
            None => self.new_texts(prompts, null.clone(), run)?,
        };
        Ok(last.insert(texts))
    }

    fn denoise(
        &self,
        batch: &[ImageRequest<'_>],
        texts: &Texts,
        run: &Run,
        mut recorder: Option<&mut Recorder>,
    ) -> Result<Vec<Latents>> {
        let (pictures, channels) = (batch.len(), self.unet.channels());
        let one = channels * run.height * run.width;
        let mut streams: Vec<_> = batch.iter().map(|request| request.noise.stream()).collect();
        let mut draw = |noise: &mut [f32]| {
            let mut parts = noise.chunks_exact_mut(one).zip(&mut streams);
            parts.try_for_each(|(part, stream)| stream.fill(part))
        };
        let mut latents = vec![0f32; pictures * one];
        draw(&mut latents)?;
        if let Some(recorder) = &mut recorder {
            recorder.noise(&latents, one);
        }
        let sigma = run.schedule.init_noise_sigma();
        latents.iter_mut().for_each(|x| *x *= sigma);
        let mut memory = Memory::default();
        let mut bad: Vec<Option<usize>> = vec![None; pictures];
        let rows = if run.guided() { 2 } else { 1 };
        for (i, biases) in texts.steps.iter().enumerate() {
            let input = run.schedule.scale_model_input(i, &latents).repeat(rows);
            let shape = (rows * pictures, channels, run.height, run.width);
            let sample = self.unet.tensor(&input, shape)?;
            let output = self.unet.forward(&sample, biases, &texts.conditioning)?;
            let mut output = numbers(&output)?;
            set_aside(&mut output, one, i, &mut bad);
            if bad.iter().all(Option::is_some) {
                break;
            }
            let guided = guide(&output, run.guidance);
            if let Some(recorder) = &mut recorder {
                recorder.step(i, &latents, &output, &guided, one);
            }
            let mut fresh = |noise: &mut [f32]| {
                draw(noise)?;
                if let Some(recorder) = &mut recorder {
                    recorder.step_noise(noise, one);
                }
                Ok(())
            };
            (run.schedule).step(i, &mut latents, &guided, &mut memory, &mut fresh)?;
        }
        if let Some(recorder) = &mut recorder {
            recorder.last(&latents, one);
        }
        let results = latents.chunks_exact(one).zip(bad);
        Ok(results
            .map(|(latents, bad)| match bad {
                None => Ok(latents.to_vec()),
                Some(step) => Err(Error::NotFinite {
                    what: format!("the U-Net's prediction at step {}", step + 1),
                    hint: "check the weights and the embeddings, or compute in f32 or bf16",
                }),
            })
            .collect())
    }

    fn decode(&self, latents: &[f32], run: &Run) -> Result<(RgbImage, Vec<f32>)> {
        let unscaled = self.vae.unscale(latents, run.height * run.width);
        let decoded = self.vae.decode(&unscaled, run.height, run.width)?;
        let factor = self.vae.factor();
        let image = to_bytes(&decoded, factor * run.height, factor * run.width)?;
        Ok((image, decoded))
    }
}

impl Sdxl {
    /// The null text and every prompt once, then one row for each picture of both: the null rows first.
    fn new_texts(
        &self,
        prompts: Vec<PromptEmbedding>,
        null: PromptEmbedding,
        run: &Run,
    ) -> Result<Texts> {
        let mut texts: Vec<&PromptEmbedding> = run.guided().then_some(&null).into_iter().collect();
        let mut rows = vec![0; if run.guided() { prompts.len() } else { 0 }];
        let first = texts.len();
        for prompt in &prompts {
            self.check_text(prompt, &null)?;
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
        let time_ids = vec![run.time_ids; texts.len()];
        let conditioning = self.unet.condition(&context, &pooled, &time_ids)?;
        let conditioning = match rows.iter().copied().eq(0..texts.len()) {
            true => conditioning,
            false => conditioning.spread(&rows)?,
        };
        let steps = self
            .unet
            .step_table(run.schedule.timesteps(), &conditioning)?;
        Ok(Texts {
            prompts,
            null,
            conditioning,
            steps,
        })
    }

    fn check_text(&self, prompt: &PromptEmbedding, null: &PromptEmbedding) -> Result<()> {
        Error::check_size("a prompt embedding's row", prompt.width, self.name_width())?;
        Error::check_size("the null embedding", null.embeds.len(), prompt.embeds.len())?;
        Error::check_size(
            "the null embedding's pooled vector",
            null.pooled.len(),
            prompt.pooled.len(),
        )
    }
}

fn numbers(tensor: &Tensor) -> Result<Vec<f32>> {
    Ok(tensor.to_dtype(DType::F32)?.flatten_all()?.to_vec1()?)
}

/// Marks the pictures that have numbers which are not finite in `output` [rows × pictures × one], and puts zeros there:
/// the batch's other pictures go on.
fn set_aside(output: &mut [f32], one: usize, step: usize, bad: &mut [Option<usize>]) {
    let pictures = bad.len();
    for (i, part) in output.chunks_exact_mut(one).enumerate() {
        if !part.iter().all(|v| v.is_finite()) {
            bad[i % pictures].get_or_insert(step);
            part.fill(0.0);
        }
    }
}

/// ε_null + γ (ε_text − ε_null) of [null, text]; the output itself without guidance.
fn guide(output: &[f32], guidance: f32) -> Vec<f32> {
    if guidance <= 1.0 {
        return output.to_vec();
    }
    let (null, text) = output.split_at(output.len() / 2);
    null.iter()
        .zip(text)
        .map(|(null, text)| null + guidance * (text - null))
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
        what: "the decoded picture",
        found: decoded.len(),
        expected: 3 * plane,
    })
}
