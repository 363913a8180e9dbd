//! UniPC (Zhao et al. 2023), multistep, of order 1 to 3: each output first corrects the step that led to it, then
//! predicts the next one.

use super::dpm::alpha;
use super::{Schedule, SolverType, StepState};

impl Schedule {
    pub(super) fn unipc(
        &self,
        i: usize,
        latents: &mut [f32],
        output: &[f32],
        state: &mut StepState,
    ) {
        let x0 = self.scaled_x0(i, latents, output);
        let is_corrected = i > 0 && !self.config.uncorrected.contains(&(i - 1));
        if let (true, Some(before)) = (is_corrected, &state.before) {
            self.step_from(i, state.order, before, &state.outputs, Some(&x0), latents);
        }
        state.push(x0, 3);
        let left = match self.config.lower_order_final {
            true => self.timesteps.len() - i,
            false => usize::MAX,
        };
        state.order = self.config.solver_order.min(left).min(i + 1);
        let before = latents.to_vec();
        self.step_from(i + 1, state.order, &before, &state.outputs, None, latents);
        state.before = Some(before);
    }

    /// From the σ before `to` to that one, by the outputs up to then, the newest first, and for a correction that at `to`.
    fn step_from(
        &self,
        to: usize,
        order: usize,
        before: &[f32],
        outputs: &[Vec<f32>],
        corrected: Option<&[f32]>,
        latents: &mut [f32],
    ) {
        let sigma = |i: usize| f64::from(self.sigmas[i]);
        let (from, to_sigma) = (sigma(to - 1), sigma(to));
        let h = (from / to_sigma).ln();
        let decay = (-h).exp_m1();
        let scale = match self.config.solver_type {
            SolverType::Bh1 => -h,
            _ => decay,
        };
        let ratios = (1..order).map(|k| (from / sigma(to - 1 - k)).ln() / h);
        let ratios: Vec<f64> = ratios.collect();
        let weights = weights(&ratios, h, scale, corrected.is_some());
        let keep = (to_sigma * alpha(to_sigma) / (from * alpha(from))) as f32;
        let gain = (-alpha(to_sigma) * decay) as f32;
        let parts: Vec<(f32, &[f32])> = weights
            .iter()
            .zip(ratios.iter().chain([&1.0]))
            .zip(outputs[1..order].iter().map(Vec::as_slice).chain(corrected))
            .map(|((weight, ratio), output)| {
                ((-alpha(to_sigma) * scale * weight / ratio) as f32, output)
            })
            .collect();
        for (k, x) in latents.iter_mut().enumerate() {
            let newest = outputs[0][k];
            let others = parts
                .iter()
                .map(|(weight, output)| weight * (output[k] - newest));
            *x = keep * before[k] + gain * newest + others.sum::<f32>();
        }
    }
}

/// The weights of differences at ratios of the step: those with which polynomials up to the order are met. A correction has
/// one more, at ratio 1.
fn weights(ratios: &[f64], h: f64, scale: f64, is_correction: bool) -> Vec<f64> {
    let count = ratios.len() + usize::from(is_correction);
    // Both by convention, whatever the equations say.
    if count == 1 {
        return vec![0.5];
    }
    let mut phi = (-h).exp_m1() / -h - 1.0;
    let mut factorial = 1.0;
    let all: Vec<f64> = ratios.iter().copied().chain([1.0]).take(count).collect();
    let mut rows = Vec::with_capacity(count);
    for power in 0..count {
        let mut row: Vec<f64> = all.iter().map(|r| r.powi(power as i32)).collect();
        row.push(phi * factorial / scale);
        rows.push(row);
        factorial *= power as f64 + 2.0;
        phi = phi / -h - 1.0 / factorial;
    }
    solved(rows)
}

/// Gauss, of at most three equations whose ratios differ.
fn solved(mut rows: Vec<Vec<f64>>) -> Vec<f64> {
    let count = rows.len();
    for at in 0..count {
        let size = |row: &usize| rows[*row][at].abs();
        let pivot = (at..count).max_by(|a, b| size(a).total_cmp(&size(b)));
        rows.swap(at, pivot.unwrap_or(at));
        let own = rows[at].clone();
        for (_, row) in rows.iter_mut().enumerate().filter(|(k, _)| *k != at) {
            let times = row[at] / own[at];
            row.iter_mut().zip(&own).for_each(|(v, o)| *v -= times * o);
        }
    }
    let unknown = |(at, row): (usize, &Vec<f64>)| row[count] / row[at];
    rows.iter().enumerate().map(unknown).collect()
}
