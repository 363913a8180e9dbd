//! In which order batches are generated: one after the other, or each decoded while the next is
//! denoised, and what is left to do when one fails. It knows no device.

use std::cell::Cell;
use std::sync::mpsc::{self, Receiver, SyncSender};

use image::RgbImage;

use crate::batch::BatchSize;
use crate::error::{Error, Result};
use crate::name::PromptEmbedding;
use crate::recorder::Recorder;
use crate::request::Job;
use crate::sampling::{DiffusionModel, Latents, SamplingParams, TextConditioning};

/// Generates batch after batch, decoding each before the next.
pub(crate) fn in_sequence<Stop: From<Error>>(
    model: &impl DiffusionModel,
    requests: &[Job<'_>],
    params: &SamplingParams,
    size: &BatchSize,
    recorder: &mut Option<Recorder>,
    mut each: impl FnMut(usize, Result<RgbImage>) -> std::result::Result<(), Stop>,
) -> std::result::Result<(), Stop> {
    let (mut texts, done) = (None, Cell::new(0));
    for group in requests.chunk_by(Job::shares_batch) {
        let generate = |batch: &[Job<'_>]| {
            if let Some(recorder) = recorder.as_mut() {
                recorder.keep(done.get());
            }
            one_batch(model, batch, params, &mut texts, recorder)
        };
        size.run(group, generate, |_, images| {
            images.into_iter().try_for_each(|image| {
                done.set(done.get() + 1);
                each(done.get() - 1, image)
            })
        })?;
    }
    Ok(())
}

fn one_batch(
    model: &impl DiffusionModel,
    batch: &[Job<'_>],
    params: &SamplingParams,
    texts: &mut Option<TextConditioning>,
    recorder: &mut Option<Recorder>,
) -> Result<Vec<Result<RgbImage>>> {
    let texts = model.condition(batch, params, texts)?;
    let latents = model.denoise(batch, texts, params, recorder.as_mut())?;
    let decode = |(latents, prompt): (Latents, &PromptEmbedding)| {
        let (image, decoded) = model.decode(&latents?, params)?;
        if let Some(recorder) = recorder.as_mut() {
            let size = [image.height() as usize, image.width() as usize];
            recorder.decoded(prompt, &texts.negative, &decoded, size);
        }
        Ok(image)
    };
    let images = latents.into_iter().zip(&texts.prompts).map(decode);
    images.map(of_one_image).collect()
}

/// Generates batches, each decoded on a thread of its own while the next is denoised. Where memory
/// runs out, what is left is generated in sequence, in batches of half the size.
pub(crate) fn in_batches<Stop: From<Error>>(
    model: &impl DiffusionModel,
    requests: &[Job<'_>],
    params: &SamplingParams,
    size: &BatchSize,
    mut each: impl FnMut(usize, Result<RgbImage>) -> std::result::Result<(), Stop>,
) -> std::result::Result<(), Stop> {
    let mut done = 0;
    if !size.was_halved() {
        let images = size.get();
        let outcome = overlapped(model, requests, params, images, |image| {
            done += 1;
            each(done - 1, image)
        })?;
        match outcome {
            Ok(()) => return Ok(()),
            Err(error) if error.is_out_of_memory() => {
                size.halve_or_stop_overlapping(images.min(requests.len()), error)?;
            }
            Err(error) => return Err(error.into()),
        }
    }
    let left = &requests[done..];
    in_sequence(model, left, params, size, &mut None, |index, image| {
        each(done + index, image)
    })
}

/// The inner result is the model's error, which ended generation after the images that `each` got,
/// in order.
fn overlapped<Stop>(
    model: &impl DiffusionModel,
    requests: &[Job<'_>],
    params: &SamplingParams,
    size: usize,
    mut each: impl FnMut(Result<RgbImage>) -> std::result::Result<(), Stop>,
) -> std::result::Result<Result<()>, Stop> {
    // At most one batch waits for the decoder, one image for the receiver: each costs memory.
    let (to_decoder, latents) = mpsc::sync_channel(1);
    let (to_receiver, images) = mpsc::sync_channel(1);
    std::thread::scope(|scope| {
        scope.spawn(move || denoise_all(model, requests, params, size, &to_decoder));
        scope.spawn(move || decode_all(model, params, latents, &to_receiver));
        for image in images {
            match image {
                Err(error) => return Ok(Err(error)),
                Ok(image) => each(image)?,
            }
        }
        Ok(Ok(()))
    })
}

/// Sends each batch's latents; stops after an error, or where nobody receives.
fn denoise_all(
    model: &impl DiffusionModel,
    requests: &[Job<'_>],
    params: &SamplingParams,
    size: usize,
    to_decoder: &SyncSender<Result<Vec<Latents>>>,
) {
    let mut texts = None;
    let groups = requests.chunk_by(Job::shares_batch);
    for batch in groups.flat_map(|group| group.chunks(size)) {
        let denoised = model
            .condition(batch, params, &mut texts)
            .and_then(|texts| model.denoise(batch, texts, params, None));
        let failed = denoised.is_err();
        if to_decoder.send(denoised).is_err() || failed {
            break;
        }
    }
}

/// Decodes what it receives and sends each image; stops after an error, or where nobody receives.
fn decode_all(
    model: &impl DiffusionModel,
    params: &SamplingParams,
    latents: Receiver<Result<Vec<Latents>>>,
    to_receiver: &SyncSender<Result<Result<RgbImage>>>,
) {
    for batch in latents {
        let decoded: Box<dyn Iterator<Item = Result<RgbImage>>> = match batch {
            Ok(batch) => Box::new(batch.into_iter().map(|latents| {
                let (image, _) = model.decode(&latents?, params)?;
                Ok(image)
            })),
            Err(error) => Box::new(std::iter::once(Err(error))),
        };
        for image in decoded.map(of_one_image) {
            let failed = image.is_err();
            if to_receiver.send(image).is_err() || failed {
                return;
            }
        }
    }
}

/// An error of one image alone inside, any other outside.
fn of_one_image<T>(result: Result<T>) -> Result<Result<T>> {
    match result {
        Err(error @ Error::NotFinite { .. }) => Ok(Err(error)),
        other => other.map(Ok),
    }
}

#[cfg(test)]
mod tests;
