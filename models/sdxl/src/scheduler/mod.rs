//! Schedulers: the timesteps of a run, and how latents move from one to the next.
//!
//! Everything is plain float32 on the host, whatever type the U-Net computes in; tables are equal
//! to diffusers' bit for bit.

mod config;
mod table;

pub use config::{PredictionType, SchedulerConfig, SchedulerKind, TimestepSpacing};

use crate::error::{Error, Result};
use table::NoiseTable;

/// The timesteps and coefficients of one run: shared by all of its images.
#[derive(Debug, Clone)]
pub struct Schedule {
    config: SchedulerConfig,
    table: NoiseTable,
    timesteps: Vec<f64>,
    /// σ at each timestep, and 0 (Euler and DPM++).
    sigmas: Vec<f32>,
}

/// What DPM++ keeps of one image between steps.
#[derive(Debug, Clone, Default)]
pub struct MultistepState {
    x0: Option<Vec<f32>>,
}

impl Schedule {
    /// The schedule of `steps` steps.
    ///
    /// # Errors
    /// [`Error::Setting`] of a number of steps that the scheduler does not have.
    pub fn new(config: SchedulerConfig, steps: usize) -> Result<Self> {
        let table = NoiseTable::new(&config);
        let most = match config.kind {
            SchedulerKind::Lcm => config.original_inference_steps,
            _ => config.num_train_timesteps,
        };
        if steps == 0 || steps > most {
            return Err(Error::setting("steps", steps, format!("1 to {most}")));
        }
        let (timesteps, sigmas) = match config.kind {
            SchedulerKind::Ddim => (table::ddim_timesteps(&config, steps), Vec::new()),
            SchedulerKind::Lcm => (table::lcm_timesteps(&config, steps), Vec::new()),
            SchedulerKind::Euler => table::euler_schedule(&config, &table, steps),
            SchedulerKind::DpmPlusPlus2M => table::dpm_schedule(&config, &table, steps),
        };
        let top = config.num_train_timesteps as f64 - 1.0;
        if let Some(outside) = timesteps.iter().find(|t| !(0.0..=top).contains(*t)) {
            return Err(Error::setting(
                "steps",
                steps,
                format!("timesteps from 0 to {top}, not {outside}"),
            ));
        }
        Ok(Self {
            config,
            table,
            timesteps,
            sigmas,
        })
    }

    /// The scheduler's numbers.
    pub fn config(&self) -> &SchedulerConfig {
        &self.config
    }

    /// The timesteps that the U-Net is called with, from noise to image.
    pub fn timesteps(&self) -> &[f64] {
        &self.timesteps
    }

    /// σ of every step and a last 0; empty for DDIM and LCM.
    pub fn sigmas(&self) -> &[f32] {
        &self.sigmas
    }

    /// ᾱ of every training timestep.
    pub fn alphas_cumprod(&self) -> &[f32] {
        &self.table.alphas
    }

    /// What standard normal noise is multiplied by to give the first latents.
    pub fn init_noise_sigma(&self) -> f32 {
        if self.config.kind != SchedulerKind::Euler {
            return 1.0;
        }
        let top = f64::from(self.sigmas.iter().copied().fold(0.0, f32::max));
        match self.config.timestep_spacing {
            TimestepSpacing::Leading => (top * top + 1.0).sqrt() as f32,
            TimestepSpacing::Trailing | TimestepSpacing::Linspace => top as f32,
        }
    }

    /// The U-Net's input for step `i`.
    pub fn scale_model_input(&self, i: usize, latents: &[f32]) -> Vec<f32> {
        if self.config.kind != SchedulerKind::Euler {
            return latents.to_vec();
        }
        let sigma = f64::from(self.sigmas[i]);
        let divisor = (sigma * sigma + 1.0).sqrt() as f32;
        latents.iter().map(|x| x / divisor).collect()
    }

    /// Moves `latents` over step `i` by the (guided) model output. `fresh` fills a slice with
    /// standard normal noise; only LCM asks for it.
    ///
    /// # Errors
    /// What `fresh` returns.
    pub fn step(
        &self,
        i: usize,
        latents: &mut [f32],
        output: &[f32],
        state: &mut MultistepState,
        fresh: &mut dyn FnMut(&mut [f32]) -> Result<()>,
    ) -> Result<()> {
        match self.config.kind {
            SchedulerKind::Ddim => self.ddim(i, latents, output),
            SchedulerKind::Euler => self.euler(i, latents, output),
            SchedulerKind::DpmPlusPlus2M => self.dpm(i, latents, output, state),
            SchedulerKind::Lcm => self.lcm(i, latents, output, fresh)?,
        }
        Ok(())
    }

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

    fn clip(&self, x0: f32) -> f32 {
        match self.config.clip_sample {
            Some(range) => x0.clamp(-range.abs(), range.abs()),
            None => x0,
        }
    }

    fn ddim(&self, i: usize, latents: &mut [f32], output: &[f32]) {
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

    fn euler(&self, i: usize, latents: &mut [f32], output: &[f32]) {
        let (sigma, next) = (f64::from(self.sigmas[i]), f64::from(self.sigmas[i + 1]));
        let (of_x, of_output) = match self.config.prediction_type {
            PredictionType::Epsilon => (1.0, -sigma as f32),
            PredictionType::VPrediction => (
                (1.0 / (sigma * sigma + 1.0)) as f32,
                (-sigma / (sigma * sigma + 1.0).sqrt()) as f32,
            ),
        };
        let (sigma, step) = (sigma as f32, (next - sigma) as f32);
        for (x, out) in latents.iter_mut().zip(output) {
            let x0 = of_x * *x + of_output * out;
            *x += (*x - x0) / sigma * step;
        }
    }

    fn dpm(&self, i: usize, latents: &mut [f32], output: &[f32], state: &mut MultistepState) {
        let (now, next) = (f64::from(self.sigmas[i]), f64::from(self.sigmas[i + 1]));
        let alpha = |sigma: f64| 1.0 / (sigma * sigma + 1.0).sqrt();
        let (of_x, of_output) = match self.config.prediction_type {
            PredictionType::Epsilon => ((1.0 / alpha(now)) as f32, -now as f32),
            PredictionType::VPrediction => (alpha(now) as f32, (-now * alpha(now)) as f32),
        };
        let x0: Vec<f32> = latents
            .iter()
            .zip(output)
            .map(|(x, out)| of_x * x + of_output * out)
            .collect();
        if next == 0.0 {
            latents.copy_from_slice(&x0);
        } else {
            let h = (now / next).ln();
            let gain = -alpha(next) * (-h).exp_m1();
            let keep = (next * alpha(next) / (now * alpha(now))) as f32;
            let second = match (&state.x0, i.checked_sub(1)) {
                (Some(_), Some(before)) => {
                    let r = (f64::from(self.sigmas[before]) / now).ln() / h;
                    (0.5 * gain / r) as f32
                }
                _ => 0.0,
            };
            let before = state.x0.as_deref().unwrap_or(&x0);
            for ((x, x0), before) in latents.iter_mut().zip(&x0).zip(before) {
                *x = keep * *x + gain as f32 * x0 + second * (x0 - before);
            }
        }
        state.x0 = Some(x0);
    }

    fn lcm(
        &self,
        i: usize,
        latents: &mut [f32],
        output: &[f32],
        fresh: &mut dyn FnMut(&mut [f32]) -> Result<()>,
    ) -> Result<()> {
        let t = self.timesteps[i];
        let (of_x, of_output) = self.x0_coefficients(f64::from(self.table.alphas[t as usize]));
        let scaled = (t * self.config.timestep_scaling).powi(2);
        let (skip, out) = (
            (0.25 / (scaled + 0.25)) as f32,
            (scaled / (scaled + 0.25)).sqrt() as f32,
        );
        for (x, prediction) in latents.iter_mut().zip(output) {
            *x = out * self.clip(of_x * *x + of_output * prediction) + skip * *x;
        }
        if let Some(next) = self.timesteps.get(i + 1) {
            let a = f64::from(self.table.alphas[*next as usize]);
            let (of_x, of_noise) = (a.sqrt() as f32, (1.0 - a).sqrt() as f32);
            let mut noise = vec![0f32; latents.len()];
            fresh(&mut noise)?;
            latents
                .iter_mut()
                .zip(&noise)
                .for_each(|(x, noise)| *x = of_x * *x + of_noise * noise);
        }
        Ok(())
    }
}
