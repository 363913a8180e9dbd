//! In which order batches are drawn: one after the other, or each decoded while the next is denoised, and what is left to
//! do when one fails.

use std::cell::Cell;
use std::sync::mpsc;

use image::RgbImage;

use crate::batch::BatchSize;
use crate::error::{Error, Result};
use crate::name::PromptEmbedding;
use crate::pipeline::ImageRequest;
use crate::recorder::Recorder;
use crate::run::{Run, Texts};

/// A picture's last latents [channels × height × width], or why there are none.
pub(crate) type Latents = Result<Vec<f32>>;

/// Who draws: the two halves of the work, which may be done for two batches at once.
pub(crate) trait Artist: Sync {
    /// The texts of a batch with one null text, computed anew only if they differ from those of the batch before.
    fn texts<'t>(
        &self,
        batch: &[ImageRequest<'_>],
        run: &Run,
        last: &'t mut Option<Texts>,
    ) -> Result<&'t Texts>;

    /// Noise → each picture's last latents.
    fn denoise(
        &self,
        batch: &[ImageRequest<'_>],
        texts: &Texts,
        run: &Run,
        recorder: Option<&mut Recorder>,
    ) -> Result<Vec<Latents>>;

    /// One picture's latents → its bytes, and its pixels around [-1, 1].
    fn decode(&self, latents: &[f32], run: &Run) -> Result<(RgbImage, Vec<f32>)>;
}

/// Draws batch after batch, decoding each before the next.
pub(crate) fn in_turn<Stop: From<Error>>(
    artist: &impl Artist,
    requests: &[ImageRequest<'_>],
    run: &Run,
    size: &BatchSize,
    recorder: &mut Option<Recorder>,
    mut each: impl FnMut(usize, Result<RgbImage>) -> std::result::Result<(), Stop>,
) -> std::result::Result<(), Stop> {
    let (mut texts, drawn) = (None, Cell::new(0));
    for group in requests.chunk_by(|a, b| a.null == b.null) {
        let draw = |batch: &[ImageRequest<'_>]| {
            if let Some(recorder) = recorder.as_mut() {
                recorder.keep(drawn.get());
            }
            let texts = artist.texts(batch, run, &mut texts)?;
            let latents = artist.denoise(batch, texts, run, recorder.as_mut())?;
            let decode = |(latents, prompt): (Latents, &PromptEmbedding)| {
                let (image, decoded) = artist.decode(&latents?, run)?;
                if let Some(recorder) = recorder.as_mut() {
                    let size = [image.height() as usize, image.width() as usize];
                    recorder.decoded(prompt, &texts.null, &decoded, size);
                }
                Ok(image)
            };
            let images = latents.into_iter().zip(&texts.prompts).map(decode);
            images.map(of_one_picture).collect::<Result<Vec<_>>>()
        };
        size.run(group, draw, |_, images| {
            images.into_iter().try_for_each(|image| {
                drawn.set(drawn.get() + 1);
                each(drawn.get() - 1, image)
            })
        })?;
    }
    Ok(())
}

/// Draws batches, each decoded on a thread of its own while the next is denoised. Where memory runs out, what is left is
/// drawn in turn, in batches of half the size.
pub(crate) fn in_batches<Stop: From<Error>>(
    artist: &impl Artist,
    requests: &[ImageRequest<'_>],
    run: &Run,
    size: &BatchSize,
    mut each: impl FnMut(usize, Result<RgbImage>) -> std::result::Result<(), Stop>,
) -> std::result::Result<(), Stop> {
    let mut drawn = 0;
    if !size.was_halved() {
        let pictures = size.get();
        let outcome = overlapped(artist, requests, run, pictures, |image| {
            drawn += 1;
            each(drawn - 1, image)
        })?;
        match outcome {
            Ok(()) => return Ok(()),
            Err(error) if error.is_out_of_memory() => {
                size.halve_or_draw_alone(pictures.min(requests.len()), error)?;
            }
            Err(error) => return Err(error.into()),
        }
    }
    let left = &requests[drawn..];
    in_turn(artist, left, run, size, &mut None, |index, image| {
        each(drawn + index, image)
    })
}

/// The inner result is the model's error, which ended the drawing after the pictures that `each` got, in order.
fn overlapped<Stop>(
    artist: &impl Artist,
    requests: &[ImageRequest<'_>],
    run: &Run,
    pictures: usize,
    mut each: impl FnMut(Result<RgbImage>) -> std::result::Result<(), Stop>,
) -> std::result::Result<Result<()>, Stop> {
    // At most one batch waits for the decoder, one picture for the receiver: each costs memory.
    let (to_decoder, latents) = mpsc::sync_channel::<Result<Vec<Latents>>>(1);
    let (to_receiver, images) = mpsc::sync_channel(1);
    std::thread::scope(|scope| {
        scope.spawn(move || {
            let mut texts = None;
            let groups = requests.chunk_by(|a, b| a.null == b.null);
            for batch in groups.flat_map(|group| group.chunks(pictures)) {
                let denoised = artist
                    .texts(batch, run, &mut texts)
                    .and_then(|texts| artist.denoise(batch, texts, run, None));
                let failed = denoised.is_err();
                if to_decoder.send(denoised).is_err() || failed {
                    break;
                }
            }
        });
        scope.spawn(move || {
            for batch in latents {
                let decoded: Box<dyn Iterator<Item = Result<RgbImage>>> = match batch {
                    Ok(batch) => Box::new(batch.into_iter().map(|latents| {
                        let (image, _) = artist.decode(&latents?, run)?;
                        Ok(image)
                    })),
                    Err(error) => Box::new(std::iter::once(Err(error))),
                };
                for image in decoded.map(of_one_picture) {
                    let failed = image.is_err();
                    if to_receiver.send(image).is_err() || failed {
                        return;
                    }
                }
            }
        });
        for image in images {
            match image {
                Err(error) => return Ok(Err(error)),
                Ok(image) => each(image)?,
            }
        }
        Ok(Ok(()))
    })
}

/// An error of one picture alone inside, any other outside.
fn of_one_picture<T>(result: Result<T>) -> Result<Result<T>> {
    match result {
        Err(error @ Error::NotFinite { .. }) => Ok(Err(error)),
        other => other.map(Ok),
    }
}

#[cfg(test)]
mod tests;
