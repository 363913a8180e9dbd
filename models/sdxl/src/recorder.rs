//! Gathers what the images of a run compute, and lays it out as a [`Trace`].

use crate::name::PromptEmbedding;
use crate::trace::{Trace, TraceValues};
use crate::unet::TimeIds;

/// The records of a run's images, in their order.
#[derive(Default)]
pub(crate) struct Recorder {
    noise: Vec<Vec<f32>>,
    first_outputs: Vec<Vec<f32>>,
    /// Per image, per step.
    predictions: Vec<Vec<Vec<f32>>>,
    states: Vec<Vec<Vec<f32>>>,
    step_noise: Vec<Vec<Vec<f32>>>,
    prompts: Vec<PromptEmbedding>,
    negatives: Vec<PromptEmbedding>,
    decoded: Vec<Vec<f32>>,
    size: [usize; 2],
}

impl Recorder {
    /// Drops all but the first `images`: a batch that did not fit the memory is run again.
    pub(crate) fn keep(&mut self, images: usize) {
        for lists in [&mut self.noise, &mut self.first_outputs, &mut self.decoded] {
            lists.truncate(images);
        }
        for lists in [
            &mut self.predictions,
            &mut self.states,
            &mut self.step_noise,
        ] {
            lists.truncate(images);
        }
        self.prompts.truncate(images);
        self.negatives.truncate(images);
    }

    /// Begins a batch; `one` is the length of an image's latents, here and below.
    pub(crate) fn noise(&mut self, noise: &[f32], one: usize) {
        self.noise
            .extend(noise.chunks_exact(one).map(<[f32]>::to_vec));
        for lists in [
            &mut self.predictions,
            &mut self.states,
            &mut self.step_noise,
        ] {
            lists.resize(self.noise.len(), Vec::new());
        }
    }

    /// A step of the batch: `output` has all rows of the negative prompt, then all of the prompts.
    pub(crate) fn step(
        &mut self,
        i: usize,
        latents: &[f32],
        output: &[f32],
        guided: &[f32],
        one: usize,
    ) {
        let images = latents.len() / one;
        if i == 0 {
            let of_image = |image: usize| {
                let rows = output.chunks_exact(one).skip(image).step_by(images);
                rows.flatten().copied().collect()
            };
            self.first_outputs.extend((0..images).map(of_image));
        }
        append(&mut self.predictions, guided, one);
        append(&mut self.states, latents, one);
    }

    /// The noise that the scheduler added at the batch's step.
    pub(crate) fn step_noise(&mut self, noise: &[f32], one: usize) {
        append(&mut self.step_noise, noise, one);
    }

    pub(crate) fn last(&mut self, latents: &[f32], one: usize) {
        append(&mut self.states, latents, one);
    }

    pub(crate) fn decoded(
        &mut self,
        prompt: &PromptEmbedding,
        negative: &PromptEmbedding,
        decoded: &[f32],
        size: [usize; 2],
    ) {
        self.prompts.push(prompt.clone());
        self.negatives.push(negative.clone());
        self.decoded.push(decoded.to_vec());
        self.size = size;
    }

    /// Writes all into `trace`: images along the first dimension, or the second where steps are the
    /// first.
    pub(crate) fn finish(
        self,
        trace: &mut Trace,
        latent: &[usize; 3],
        timesteps: &[f64],
        time_ids: &TimeIds,
        guided: bool,
    ) {
        let images = self.noise.len();
        let batch = |count: usize| [&[count], &latent[..]].concat();
        let steps = |count: usize| [&[count, images], &latent[..]].concat();
        let floats = TraceValues::F32;
        trace.record("noise", &batch(images), floats(self.noise.concat()));
        let count = self.step_noise.first().map_or(0, Vec::len);
        if count > 0 {
            let noise = floats(steps_first(&self.step_noise));
            trace.record("step_noise", &steps(count), noise);
        }
        trace.record(
            "timesteps",
            &[timesteps.len()],
            TraceValues::F64(timesteps.to_vec()),
        );
        trace.record("time_ids", &[1, 6], floats(time_ids.to_vec()));
        let rows = if guided { 2 } else { 1 };
        trace.record(
            "first_output",
            &batch(rows * images),
            floats(rows_first(&self.first_outputs, rows)),
        );
        trace.record(
            "predictions",
            &steps(timesteps.len()),
            floats(steps_first(&self.predictions)),
        );
        trace.record(
            "states",
            &steps(timesteps.len() + 1),
            floats(steps_first(&self.states)),
        );
        trace.record(
            "decoded",
            &[images, 3, self.size[0], self.size[1]],
            floats(self.decoded.concat()),
        );
        for (prefix, texts) in [("", &self.prompts), ("null_", &self.negatives)] {
            record_texts(trace, prefix, texts);
        }
    }
}

fn record_texts(trace: &mut Trace, prefix: &str, texts: &[PromptEmbedding]) {
    let Some(first) = texts.first() else { return };
    let embeds = texts
        .iter()
        .flat_map(|text| &text.embeds)
        .copied()
        .collect();
    let pooled = texts
        .iter()
        .flat_map(|text| &text.pooled)
        .copied()
        .collect();
    trace.record(
        &format!("{prefix}embeds"),
        &[texts.len(), first.tokens(), first.width],
        TraceValues::F32(embeds),
    );
    trace.record(
        &format!("{prefix}pooled"),
        &[texts.len(), first.pooled.len()],
        TraceValues::F32(pooled),
    );
    for i in 0..2 {
        if texts.iter().all(|text| text.ids[i].len() == first.tokens()) {
            let ids = texts
                .iter()
                .flat_map(|text| &text.ids[i])
                .map(|id| *id as i32)
                .collect();
            trace.record(
                &format!("{prefix}ids_{}", i + 1),
                &[texts.len(), first.tokens()],
                TraceValues::I32(ids),
            );
        }
    }
}

/// Adds a step of the last images to their lists.
fn append(lists: &mut [Vec<Vec<f32>>], batch: &[f32], one: usize) {
    let first = lists.len().saturating_sub(batch.len() / one);
    for (list, part) in lists[first..].iter_mut().zip(batch.chunks_exact(one)) {
        list.push(part.to_vec());
    }
}

/// Per image [row, …] → all first rows, then all second ones.
fn rows_first(images: &[Vec<f32>], rows: usize) -> Vec<f32> {
    let part = |image: &Vec<f32>, row: usize| {
        image[row * image.len() / rows..(row + 1) * image.len() / rows].to_vec()
    };
    (0..rows)
        .flat_map(|row| images.iter().flat_map(move |image| part(image, row)))
        .collect()
}

/// Per image, per step → per step, per image.
fn steps_first(images: &[Vec<Vec<f32>>]) -> Vec<f32> {
    let steps = images.first().map_or(0, Vec::len);
    (0..steps)
        .flat_map(|i| {
            images
                .iter()
                .flat_map(move |image| image[i].iter().copied())
        })
        .collect()
}
