//! Schedulers over ᾱ: DDIM, and the two of consistency models, LCM and TCD.

use super::{PredictionType, Schedule};
use crate::error::Result;

/// How much of a TCD step is noise anew (γ), diffusers' default.
const TCD_ETA: f64 = 0.3;

impl Schedule {
    /// Coefficients (of x, of the output) of the predicted x₀ at ᾱ = `a`.
    fn x0_coefficients(&self, a: f64) -> (f32, f32) {
        match self.config.prediction_type {
            PredictionType::Epsilon => (
                (1.0 / a.sqrt()) as f32,
                (-((1.0 - a).sqrt()) / a.sqrt()) as f32,
            ),
            PredictionType::VPrediction => (a.sqrt() as f32, (-((1.0 - a).sqrt())) as f32),
        }
    }

    /// Coefficients (of x, of the output) of the predicted noise at ᾱ = `a`.
    fn noise_coefficients(&self, a: f64) -> (f32, f32) {
        match self.config.prediction_type {
            PredictionType::Epsilon => (0.0, 1.0),
            PredictionType::VPrediction => ((1.0 - a).sqrt() as f32, a.sqrt() as f32),
        }
    }

    fn alpha_at(&self, t: f64) -> f64 {
        f64::from(self.table.alphas[t as usize])
    }

    pub(super) fn ddim(&self, i: usize, latents: &mut [f32], output: &[f32]) {
        let t = self.timesteps[i] as usize;
        let a = f64::from(self.table.alphas[t]);
        let before = t.checked_sub(self.config.num_train_timesteps / self.timesteps.len());
        let last = if self.config.set_alpha_to_one {
            1.0
        } else {
            self.table.alphas[0]
        };
        let b = f64::from(before.map_or(last, |t| self.table.alphas[t]));
        let (of_x, of_output) = self.x0_coefficients(a);
        let (root_a, root_1a) = (a.sqrt() as f32, (1.0 - a).sqrt() as f32);
        let (root_b, root_1b) = (b.sqrt() as f32, (1.0 - b).sqrt() as f32);
        for (x, out) in latents.iter_mut().zip(output) {
            let x0 = of_x * *x + of_output * out;
            let epsilon = match self.config.prediction_type {
                PredictionType::Epsilon => *out,
                PredictionType::VPrediction => root_a * out + root_1a * *x,
            };
            *x = root_b * self.clip(x0) + root_1b * epsilon;
        }
    }

    pub(super) fn lcm(
        &self,
        i: usize,
        latents: &mut [f32],
        output: &[f32],
        fresh: &mut dyn FnMut(&mut [f32]) -> Result<()>,
    ) -> Result<()> {
        let t = self.timesteps[i];
        let (of_x, of_output) = self.x0_coefficients(self.alpha_at(t));
        let scaled = (t * self.config.timestep_scaling).powi(2);
        let (skip, out) = (
            (0.25 / (scaled + 0.25)) as f32,
            (scaled / (scaled + 0.25)).sqrt() as f32,
        );
        for (x, prediction) in latents.iter_mut().zip(output) {
            *x = out * self.clip(of_x * *x + of_output * prediction) + skip * *x;
        }
        if let Some(next) = self.timesteps.get(i + 1) {
            let a = self.alpha_at(*next);
            let (of_x, of_noise) = (a.sqrt() as f32, (1.0 - a).sqrt() as f32);
            add_noise(latents, of_x, of_noise, fresh)?;
        }
        Ok(())
    }

    /// To a timestep s below the next one, then up to it with noise.
    pub(super) fn tcd(
        &self,
        i: usize,
        latents: &mut [f32],
        output: &[f32],
        fresh: &mut dyn FnMut(&mut [f32]) -> Result<()>,
    ) -> Result<()> {
        let next = self.timesteps.get(i + 1);
        let to = next.copied().unwrap_or(0.0);
        let at_s = self.alpha_at(((1.0 - TCD_ETA) * to).floor());
        let at_t = self.alpha_at(self.timesteps[i]);
        let (of_x, of_output) = self.x0_coefficients(at_t);
        let (noise_of_x, noise_of_output) = self.noise_coefficients(at_t);
        let (keep, noise) = (at_s.sqrt() as f32, (1.0 - at_s).sqrt() as f32);
        for (x, out) in latents.iter_mut().zip(output) {
            let x0 = of_x * *x + of_output * out;
            *x = keep * x0 + noise * (noise_of_x * *x + noise_of_output * out);
        }
        if next.is_some() {
            let share = self.alpha_at(to) / at_s;
            let (of_x, of_noise) = (share.sqrt() as f32, (1.0 - share).sqrt() as f32);
            add_noise(latents, of_x, of_noise, fresh)?;
        }
        Ok(())
    }
}

/// `of_x` · x + `of_noise` · noise.
pub(super) fn add_noise(
    latents: &mut [f32],
    of_x: f32,
    of_noise: f32,
    fresh: &mut dyn FnMut(&mut [f32]) -> Result<()>,
) -> Result<()> {
    let mut noise = vec![0f32; latents.len()];
    fresh(&mut noise)?;
    let pairs = latents.iter_mut().zip(&noise);
    pairs.for_each(|(x, noise)| *x = of_x * *x + of_noise * noise);
    Ok(())
}
