//! DPM-Solver++ (Lu et al. 2022), multistep: of order 1 to 3, as an ordinary differential equation or with noise.
//!
//! λ = ln(α/σ) is −ln σ here, since σ is the noise beside an x₀ that is not scaled.

use super::{PredictionType, Schedule, SchedulerKind, SolverType, StepState};
use crate::error::Result;

/// What a step multiplies what by.
#[derive(Default)]
struct Update {
    /// The latents.
    keep: f64,
    /// The predicted x₀.
    newest: f64,
    /// Its difference to the one before, and the difference before that one.
    differences: [f64; 2],
    noise: f64,
}

/// √ᾱ at σ.
pub(super) fn alpha(sigma: f64) -> f64 {
    1.0 / (sigma * sigma + 1.0).sqrt()
}

impl Schedule {
    /// The predicted x₀ at step `i`.
    pub(super) fn scaled_x0(&self, i: usize, latents: &[f32], output: &[f32]) -> Vec<f32> {
        let sigma = f64::from(self.sigmas[i]);
        let (of_x, of_output) = match self.config.prediction_type {
            PredictionType::Epsilon => ((1.0 / alpha(sigma)) as f32, -sigma as f32),
            PredictionType::VPrediction => (alpha(sigma) as f32, (-sigma * alpha(sigma)) as f32),
        };
        let pairs = latents.iter().zip(output);
        pairs.map(|(x, out)| of_x * x + of_output * out).collect()
    }

    pub(super) fn dpm(
        &self,
        i: usize,
        latents: &mut [f32],
        output: &[f32],
        state: &mut StepState,
        fresh: &mut dyn FnMut(&mut [f32]) -> Result<()>,
    ) -> Result<()> {
        state.push(self.scaled_x0(i, latents, output), 3);
        let [newest, before @ ..] = state.outputs.as_slice() else {
            return Ok(());
        };
        if self.sigmas[i + 1] == 0.0 {
            latents.copy_from_slice(newest);
            return Ok(());
        }
        let order = self.order(i).min(1 + before.len());
        let update = self.update(i, order);
        let one = before.first().unwrap_or(newest);
        let two = before.get(1).unwrap_or(one);
        let (keep, gain) = (update.keep as f32, update.newest as f32);
        let [first, second] = update.differences.map(|d| d as f32);
        let values = latents.iter_mut().zip(newest).zip(one).zip(two);
        for (((x, x0), one), two) in values {
            *x = keep * *x + gain * x0 + first * (x0 - one);
            if order == 3 {
                *x += second * (one - two);
            }
        }
        if self.config.kind == SchedulerKind::DpmPlusPlus2MSde {
            let mut noise = vec![0f32; latents.len()];
            fresh(&mut noise)?;
            let of_noise = update.noise as f32;
            let pairs = latents.iter_mut().zip(&noise);
            pairs.for_each(|(x, noise)| *x += of_noise * noise);
        }
        Ok(())
    }

    /// Lower for the first steps and, where the settings say so, for the last ones.
    fn order(&self, i: usize) -> usize {
        let left = self.timesteps.len() - i;
        let is_short = self.config.lower_order_final && self.timesteps.len() < 15;
        let most = match left {
            1 if self.config.euler_at_final || is_short => 1,
            2 if is_short => 2,
            _ => self.config.solver_order,
        };
        most.min(self.config.solver_order)
    }

    fn update(&self, i: usize, order: usize) -> Update {
        let sigma = |i: usize| f64::from(self.sigmas[i]);
        let (now, next) = (sigma(i), sigma(i + 1));
        let h = (now / next).ln();
        let is_noisy = self.config.kind == SchedulerKind::DpmPlusPlus2MSde;
        // e^-h of the equation without noise is e^-2h of that with noise.
        let (rate, share) = match is_noisy {
            true => (2.0 * h, (-h).exp()),
            false => (h, 1.0),
        };
        let decay = (-rate).exp_m1();
        let gain = -alpha(next) * decay;
        let mut update = Update {
            keep: next * alpha(next) / (now * alpha(now)) * share,
            newest: gain,
            noise: next * alpha(next) * (-(-2.0 * h).exp_m1()).sqrt(),
            ..Update::default()
        };
        let slope = alpha(next) * (decay / rate + 1.0);
        let of_first = match (order, self.config.solver_type) {
            (1, _) => return update,
            (2, SolverType::Heun) => slope,
            (2, _) => 0.5 * gain,
            _ => slope,
        };
        let r0 = (sigma(i - 1) / now).ln() / h;
        update.differences[0] = of_first / r0;
        if order == 3 {
            let r1 = (sigma(i - 2) / sigma(i - 1)).ln() / h;
            let curve = match is_noisy {
                true => alpha(next) * ((-decay - rate) / (rate * rate) - 0.5),
                false => -alpha(next) * ((decay + rate) / (rate * rate) - 0.5),
            };
            let (share, both) = (r0 / (r0 + r1), curve / (r0 + r1));
            update.differences = [
                (of_first * (1.0 + share) + both) / r0,
                -(of_first * share + both) / r1,
            ];
        }
        update
    }
}
