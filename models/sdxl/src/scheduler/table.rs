//! The noise table of the training and the timesteps that a run takes from it.

use super::config::{FinalSigma, SchedulerConfig, SchedulerKind, TimestepSpacing};

/// ρ of Karras et al.
const RHO: f64 = 7.0;

/// ᾱ and σ of every training timestep.
#[derive(Debug, Clone)]
pub(super) struct NoiseTable {
    pub alphas: Vec<f32>,
    pub sigmas: Vec<f32>,
}

impl NoiseTable {
    /// The scaled-linear schedule, bit for bit as torch computes it.
    pub(super) fn new(config: &SchedulerConfig) -> Self {
        let count = config.num_train_timesteps;
        let [start, end] = config.betas.map(|beta| beta.sqrt() as f32);
        let step = (end - start) / (count.max(2) - 1) as f32;
        let mut product = 1f64;
        let alphas: Vec<f32> = (0..count)
            .map(|i| {
                // torch's linspace counts from the nearer end, with one rounding.
                let root = if i < count / 2 {
                    f64::from(start) + f64::from(step) * i as f64
                } else {
                    f64::from(end) - f64::from(step) * (count - 1 - i) as f64
                } as f32;
                product *= f64::from(1.0 - root * root);
                product as f32
            })
            .collect();
        let alphas = match config.zero_snr {
            true => without_signal(&alphas, config.kind),
            false => alphas,
        };
        let sigmas = alphas.iter().map(|a| ((1.0 - a) / a).sqrt()).collect();
        Self { alphas, sigmas }
    }

    /// σ at a fractional timestep, by linear interpolation.
    fn sigma_at(&self, t: f64) -> f64 {
        let below = (t.max(0.0) as usize).min(self.sigmas.len() - 1);
        let above = (below + 1).min(self.sigmas.len() - 1);
        let (low, high) = (f64::from(self.sigmas[below]), f64::from(self.sigmas[above]));
        low + (high - low) * (t - below as f64)
    }

    /// The fractional timestep whose ln σ is that of `sigma`, within the table.
    fn timestep_of(&self, sigma: f64) -> f64 {
        let above = self
            .sigmas
            .partition_point(|entry| f64::from(*entry).ln() < sigma.ln());
        if above == 0 {
            return 0.0;
        }
        if above == self.sigmas.len() {
            return (above - 1) as f64;
        }
        let (low, high) = (
            f64::from(self.sigmas[above - 1]).ln(),
            f64::from(self.sigmas[above]).ln(),
        );
        (above - 1) as f64 + (sigma.ln() - low) / (high - low)
    }
}

/// ᾱ so that the last has no signal: its roots shifted and stretched, and taken through α and β as
/// diffusers takes them. Schedulers over σ keep 2⁻²⁴ of it, since σ would be infinite.
fn without_signal(alphas: &[f32], kind: SchedulerKind) -> Vec<f32> {
    let roots: Vec<f32> = alphas.iter().map(|a| a.sqrt()).collect();
    let (first, last) = (roots[0], roots[roots.len() - 1]);
    let stretch = first / (first - last);
    let bars: Vec<f32> = roots
        .iter()
        .map(|root| ((root - last) * stretch).powi(2))
        .collect();
    let mut product = 1f64;
    let mut before = 1f32;
    let mut rescaled = Vec::with_capacity(bars.len());
    for (i, bar) in bars.iter().enumerate() {
        let alpha = if i == 0 { *bar } else { bar / before };
        before = *bar;
        product *= f64::from(1.0 - (1.0 - alpha));
        rescaled.push(product as f32);
    }
    if let (true, Some(last)) = (kind.is_over_sigma(), rescaled.last_mut()) {
        *last = 2f32.powi(-24);
    }
    rescaled
}

/// Timesteps from noise to image, not yet rounded where the spacing makes fractions.
fn spaced(config: &SchedulerConfig, steps: usize) -> Vec<f64> {
    let count = config.num_train_timesteps;
    match config.timestep_spacing {
        TimestepSpacing::Leading => {
            let stride = count / steps;
            (0..steps)
                .rev()
                .map(|i| (i * stride + config.steps_offset) as f64)
                .collect()
        }
        TimestepSpacing::Trailing => trailing(count, steps),
        TimestepSpacing::Linspace => linspace(0.0, count as f64 - 1.0, steps)
            .into_iter()
            .rev()
            .collect(),
    }
}

fn trailing(count: usize, steps: usize) -> Vec<f64> {
    let stride = count as f64 / steps as f64;
    (0..steps)
        .map(|i| (count as f64 - i as f64 * stride).round_ties_even() - 1.0)
        .collect()
}

/// As numpy's: the last value is exactly `end`; one value is `start`.
fn linspace(start: f64, end: f64, count: usize) -> Vec<f64> {
    let step = (end - start) / (count.max(2) - 1) as f64;
    let value = |i: usize| {
        if i + 1 == count && count > 1 {
            end
        } else {
            start + step * i as f64
        }
    };
    (0..count).map(value).collect()
}

pub(super) fn ddim_timesteps(config: &SchedulerConfig, steps: usize) -> Vec<f64> {
    spaced(config, steps)
        .into_iter()
        .map(f64::round_ties_even)
        .collect()
}

/// Every ⌊50 i / N⌋-th of LCM's own fifty timesteps.
pub(super) fn lcm_timesteps(config: &SchedulerConfig, steps: usize) -> Vec<f64> {
    let own = config.original_inference_steps;
    let stride = config.num_train_timesteps / own;
    let pick = |i: usize| own - (i * own / steps);
    (0..steps)
        .map(|i| (pick(i) * stride) as f64 - 1.0)
        .collect()
}

/// Timesteps and their σ before pairs and an end are made of them.
fn euler_points(
    config: &SchedulerConfig,
    table: &NoiseTable,
    steps: usize,
) -> (Vec<f64>, Vec<f64>) {
    let mut timesteps: Vec<f64> = spaced(config, steps);
    let mut sigmas: Vec<f64> = timesteps.iter().map(|t| table.sigma_at(*t)).collect();
    // Euler's ancestral class has no such key.
    if config.use_karras_sigmas && config.kind != SchedulerKind::EulerAncestral {
        sigmas = karras(sigmas[0], sigmas[steps - 1], steps);
        timesteps = sigmas
            .iter()
            .map(|sigma| table.timestep_of(*sigma))
            .collect();
    }
    // diffusers hands these timesteps over as float32.
    let timesteps = timesteps.into_iter().map(|t| f64::from(t as f32)).collect();
    (timesteps, sigmas)
}

pub(super) fn euler_schedule(
    config: &SchedulerConfig,
    table: &NoiseTable,
    steps: usize,
) -> (Vec<f64>, Vec<f32>) {
    let (timesteps, sigmas) = euler_points(config, table, steps);
    (timesteps, with_end(&sigmas, end(config, table)))
}

/// Every point but the first is called twice.
pub(super) fn heun_schedule(
    config: &SchedulerConfig,
    table: &NoiseTable,
    steps: usize,
) -> (Vec<f64>, Vec<f32>) {
    let (timesteps, sigmas) = euler_points(config, table, steps);
    let twice = |values: &[f64]| -> Vec<f64> {
        let pairs = values.iter().flat_map(|value| [*value; 2]);
        pairs.skip(1).collect()
    };
    (twice(&timesteps), with_end(&twice(&sigmas), 0.0))
}

pub(super) fn dpm_schedule(
    config: &SchedulerConfig,
    table: &NoiseTable,
    steps: usize,
) -> (Vec<f64>, Vec<f32>) {
    let count = config.num_train_timesteps;
    let end = end(config, table);
    if config.use_karras_sigmas {
        let sigmas = karras(
            f64::from(table.sigmas[count - 1]),
            f64::from(table.sigmas[0]),
            steps,
        );
        let timesteps = sigmas
            .iter()
            .map(|sigma| table.timestep_of(*sigma).round_ties_even())
            .collect();
        return (timesteps, with_end(&sigmas, end));
    }
    let timesteps: Vec<f64> = match config.timestep_spacing {
        // Unlike the other schedulers' spacings, these two divide by one step more and leave out
        // the lowest.
        TimestepSpacing::Leading => {
            let stride = count / (steps + 1);
            (1..=steps)
                .rev()
                .map(|i| (i * stride + config.steps_offset) as f64)
                .collect()
        }
        TimestepSpacing::Linspace => {
            let all = linspace(0.0, count as f64 - 1.0, steps + 1);
            all.into_iter()
                .skip(1)
                .rev()
                .map(f64::round_ties_even)
                .collect()
        }
        TimestepSpacing::Trailing => trailing(count, steps),
    };
    let sigmas: Vec<f64> = timesteps.iter().map(|t| table.sigma_at(*t)).collect();
    (timesteps, with_end(&sigmas, end))
}

/// The σ that a run ends at.
fn end(config: &SchedulerConfig, table: &NoiseTable) -> f32 {
    match config.final_sigma {
        // Euler's ancestral class has no such key.
        FinalSigma::SigmaMin if config.kind != SchedulerKind::EulerAncestral => table.sigmas[0],
        _ => 0.0,
    }
}

fn karras(top: f64, bottom: f64, steps: usize) -> Vec<f64> {
    let (top, bottom) = (top.powf(1.0 / RHO), bottom.powf(1.0 / RHO));
    linspace(0.0, 1.0, steps)
        .into_iter()
        .map(|ramp| (top + ramp * (bottom - top)).powf(RHO))
        .collect()
}

fn with_end(sigmas: &[f64], end: f32) -> Vec<f32> {
    sigmas
        .iter()
        .map(|sigma| *sigma as f32)
        .chain([end])
        .collect()
}
