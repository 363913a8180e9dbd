//! Euler over σ, plain and ancestral, and Heun, who looks at where a step of Euler leads and takes the mean of both
//! slopes.

use super::alpha::add_noise;
use super::{PredictionType, Schedule, StepState};
use crate::error::Result;

impl Schedule {
    /// Coefficients (of x, of the output) of the predicted x₀ at σ, x being noise of σ beside x₀.
    fn unscaled_x0(&self, sigma: f64) -> (f32, f32) {
        match self.config.prediction_type {
            PredictionType::Epsilon => (1.0, -sigma as f32),
            PredictionType::VPrediction => (
                (1.0 / (sigma * sigma + 1.0)) as f32,
                (-sigma / (sigma * sigma + 1.0).sqrt()) as f32,
            ),
        }
    }

    fn sigma(&self, i: usize) -> f64 {
        f64::from(self.sigmas[i])
    }

    pub(super) fn euler(&self, i: usize, latents: &mut [f32], output: &[f32]) {
        self.down(i, self.sigma(i + 1), latents, output);
    }

    /// From σ of step `i` to another.
    fn down(&self, i: usize, to: f64, latents: &mut [f32], output: &[f32]) {
        let sigma = self.sigma(i);
        let (of_x, of_output) = self.unscaled_x0(sigma);
        let (sigma, step) = (sigma as f32, (to - sigma) as f32);
        for (x, out) in latents.iter_mut().zip(output) {
            let x0 = of_x * *x + of_output * out;
            *x += (*x - x0) / sigma * step;
        }
    }

    /// Below the next σ, then up to it with noise; the last step has none.
    pub(super) fn euler_ancestral(
        &self,
        i: usize,
        latents: &mut [f32],
        output: &[f32],
        fresh: &mut dyn FnMut(&mut [f32]) -> Result<()>,
    ) -> Result<()> {
        // In float32, as diffusers: of what is left of two squares, few digits are right.
        let (from, to) = (self.sigmas[i], self.sigmas[i + 1]);
        let up = (to * to * (from * from - to * to) / (from * from)).sqrt();
        let down = (to * to - up * up).max(0.0).sqrt();
        self.down(i, f64::from(down), latents, output);
        match up > 0.0 {
            true => add_noise(latents, 1.0, up, fresh),
            false => Ok(()),
        }
    }

    /// Two calls a step but for the last: σ of the schedule are in pairs.
    pub(super) fn heun(
        &self,
        i: usize,
        latents: &mut [f32],
        output: &[f32],
        state: &mut StepState,
    ) {
        let at = self.sigma(i);
        let (of_x, of_output) = self.unscaled_x0(at);
        let slopes = latents.iter().zip(output).map(|(x, out)| {
            let x0 = self.clip(of_x * x + of_output * out);
            (x - x0) / at as f32
        });
        let slopes: Vec<f32> = slopes.collect();
        match (state.before.take(), state.slopes.take()) {
            (Some(before), Some(first)) if i % 2 == 1 => {
                let step = (at - self.sigma(i - 1)) as f32;
                let means = first.iter().zip(&slopes).map(|(a, b)| (a + b) / 2.0);
                for ((x, before), slope) in latents.iter_mut().zip(before).zip(means) {
                    *x = before + slope * step;
                }
            }
            _ => {
                let step = (self.sigma(i + 1) - at) as f32;
                state.before = Some(latents.to_vec());
                let moved = latents.iter_mut().zip(&slopes);
                moved.for_each(|(x, slope)| *x += slope * step);
                state.slopes = Some(slopes);
            }
        }
    }
}
