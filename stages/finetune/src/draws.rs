//! Which photo comes when, and everything random about it: streams by (seed, what, the photo's key,
//! epoch). Nothing depends on who computes first, or on how far a training got before it stopped.

use laioncele_finetune::{Row, Stream};
use laioncele_sdxl::{PromptEmbedding, Vae};

use crate::error::Result;
use crate::examples::Examples;
use crate::settings::{LatentRule, Settings};

/// What rows are drawn from.
pub(crate) struct Draws<'a> {
    pub examples: &'a Examples,
    pub settings: &'a Settings,
    pub vae: &'a Vae,
    pub null: &'a PromptEmbedding,
    /// T: timesteps of the model's training.
    pub timesteps: usize,
    /// Edge of the latents.
    pub edge: usize,
    /// The epoch whose order is kept, and that order.
    order: Option<(u64, Vec<usize>)>,
}

impl<'a> Draws<'a> {
    pub(crate) fn new(
        examples: &'a Examples,
        settings: &'a Settings,
        vae: &'a Vae,
        null: &'a PromptEmbedding,
        timesteps: usize,
        edge: usize,
    ) -> Self {
        Self {
            examples,
            settings,
            vae,
            null,
            timesteps,
            edge,
            order: None,
        }
    }

    /// The photos of a step, counted from 0: the numbers of `examples` and the epoch of each.
    pub(crate) fn photos(&mut self, step: u64) -> Vec<(usize, u64)> {
        let (count, batch) = (self.examples.len() as u64, self.settings.batch as u64);
        (step * batch..(step + 1) * batch)
            .map(|place| {
                let epoch = place / count;
                (self.order(epoch)[(place % count) as usize], epoch)
            })
            .collect()
    }

    fn order(&mut self, epoch: u64) -> &[usize] {
        let known = self.order.take().filter(|(known, _)| *known == epoch);
        let kept = known.unwrap_or_else(|| {
            let mut stream = Stream::new(self.settings.seed(), "order", "", epoch);
            (epoch, stream.permutation(self.examples.len()))
        });
        &self.order.insert(kept).1
    }

    /// The row of a photo in an epoch.
    ///
    /// # Errors
    /// Damage of the examples.
    pub(crate) fn row(&self, index: usize, epoch: u64) -> Result<Row> {
        let described = self.examples.described(index);
        let numbers = self.examples.read(index)?;
        let settings = self.settings;
        let stream = |what: &str, epoch| Stream::new(settings.seed(), what, &described.key, epoch);
        let mirrored = settings.flip && stream("flip", epoch).uniform() < 0.5;
        let [mean, logvar] = &numbers.latents[usize::from(mirrored)];
        let drawn = match settings.latents {
            LatentRule::Posterior => epoch,
            LatentRule::Once => 0,
        };
        let mut sample = vec![0f32; mean.len()];
        stream("posterior", drawn).normals(&mut sample);
        let parts = sample.iter_mut().zip(mean.iter().zip(logvar));
        parts.for_each(|(sample, (mean, logvar))| *sample = mean + (0.5 * logvar).exp() * *sample);
        let mut noise = vec![0f32; mean.len()];
        stream("noise", epoch).normals(&mut noise);
        self.offset(&mut noise, stream("noise-offset", epoch));
        let null = settings.null_text_probability > 0.0
            && stream("null-text", epoch).uniform() < settings.null_text_probability;
        Ok(Row {
            latents: self.vae.scale(&sample, self.edge * self.edge),
            noise,
            timestep: stream("timestep", epoch).below(self.timesteps as u64) as usize,
            context: if null {
                self.null.embeds.clone()
            } else {
                numbers.context
            },
            pooled: if null {
                self.null.pooled.clone()
            } else {
                numbers.pooled
            },
            time_ids: described.time_ids[usize::from(mirrored)],
        })
    }

    /// Adds noise that is the same for all pixels of a channel.
    fn offset(&self, noise: &mut [f32], mut stream: Stream) {
        if self.settings.noise_offset == 0.0 {
            return;
        }
        let plane = self.edge * self.edge;
        let mut offsets = vec![0f32; noise.len() / plane];
        stream.normals(&mut offsets);
        for (channel, offset) in noise.chunks_exact_mut(plane).zip(offsets) {
            let offset = self.settings.noise_offset as f32 * offset;
            channel.iter_mut().for_each(|v| *v += offset);
        }
    }
}
