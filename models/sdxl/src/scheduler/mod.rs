//! Schedulers: the timesteps of a run, and how latents move from one to the next.
//!
//! Everything is plain float32 on the host, whatever type the U-Net computes in; tables are equal
//! to diffusers' bit for bit.

mod alpha;
mod config;
mod dpm;
mod euler;
mod table;
mod unipc;

pub use config::{
    FinalSigma, PredictionType, SchedulerConfig, SchedulerKind, SolverType, TimestepSpacing,
};

use crate::error::{Error, Result};
use table::NoiseTable;

/// The timesteps and coefficients of one run: shared by all of its images.
#[derive(Debug, Clone)]
pub struct Schedule {
    config: SchedulerConfig,
    table: NoiseTable,
    timesteps: Vec<f64>,
    /// σ at each timestep, and the last; empty for DDIM, LCM and TCD.
    sigmas: Vec<f32>,
}

/// What a scheduler keeps of latents between steps.
#[derive(Debug, Clone, Default)]
pub struct StepState {
    /// Predicted x₀, the newest first (DPM++, UniPC).
    outputs: Vec<Vec<f32>>,
    /// The latents that the last step began with (Heun, UniPC).
    before: Option<Vec<f32>>,
    /// The slopes there (Heun).
    slopes: Option<Vec<f32>>,
    /// The order of the last step (UniPC).
    order: usize,
}

impl StepState {
    fn push(&mut self, output: Vec<f32>, most: usize) {
        self.outputs.insert(0, output);
        self.outputs.truncate(most);
    }
}

impl Schedule {
    /// The schedule of `steps` steps.
    ///
    /// # Errors
    /// [`Error::Setting`] of a number of steps that the scheduler does not have.
    pub fn new(config: SchedulerConfig, steps: usize) -> Result<Self> {
        let table = NoiseTable::new(&config);
        let most = match config.kind {
            SchedulerKind::Lcm | SchedulerKind::Tcd => config.original_inference_steps,
            _ => config.num_train_timesteps,
        };
        if steps == 0 || steps > most {
            return Err(Error::setting("steps", steps, format!("1 to {most}")));
        }
        let (timesteps, sigmas) = match config.kind {
            SchedulerKind::Ddim => (table::ddim_timesteps(&config, steps), Vec::new()),
            SchedulerKind::Lcm | SchedulerKind::Tcd => {
                (table::lcm_timesteps(&config, steps), Vec::new())
            }
            SchedulerKind::Euler | SchedulerKind::EulerAncestral => {
                table::euler_schedule(&config, &table, steps)
            }
            SchedulerKind::Heun => table::heun_schedule(&config, &table, steps),
            SchedulerKind::DpmPlusPlus2M
            | SchedulerKind::DpmPlusPlus2MSde
            | SchedulerKind::UniPc => table::dpm_schedule(&config, &table, steps),
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

    /// The timesteps that the U-Net is called with, from noise to image: as many as steps, of Heun one less than twice as
    /// many.
    pub fn timesteps(&self) -> &[f64] {
        &self.timesteps
    }

    /// σ of every call and the last one; empty for DDIM, LCM and TCD.
    pub fn sigmas(&self) -> &[f32] {
        &self.sigmas
    }

    /// ᾱ of every training timestep.
    pub fn alphas_cumprod(&self) -> &[f32] {
        &self.table.alphas
    }

    /// What standard normal noise is multiplied by to give the first latents.
    pub fn init_noise_sigma(&self) -> f32 {
        if !self.config.kind.is_unscaled() {
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
        if !self.config.kind.is_unscaled() {
            return latents.to_vec();
        }
        let sigma = f64::from(self.sigmas[i]);
        let divisor = (sigma * sigma + 1.0).sqrt() as f32;
        latents.iter().map(|x| x / divisor).collect()
    }

    /// Moves `latents` over call `i` by the (guided) model output. `fresh` fills a slice with
    /// standard normal noise: LCM, TCD and Euler ancestral ask for it once a step but for the last, DPM++ 2M SDE for each
    /// step that does not end at σ = 0.
    ///
    /// # Errors
    /// What `fresh` returns.
    pub fn step(
        &self,
        i: usize,
        latents: &mut [f32],
        output: &[f32],
        state: &mut StepState,
        fresh: &mut dyn FnMut(&mut [f32]) -> Result<()>,
    ) -> Result<()> {
        match self.config.kind {
            SchedulerKind::Ddim => self.ddim(i, latents, output),
            SchedulerKind::Euler => self.euler(i, latents, output),
            SchedulerKind::EulerAncestral => self.euler_ancestral(i, latents, output, fresh)?,
            SchedulerKind::Heun => self.heun(i, latents, output, state),
            SchedulerKind::DpmPlusPlus2M | SchedulerKind::DpmPlusPlus2MSde => {
                self.dpm(i, latents, output, state, fresh)?;
            }
            SchedulerKind::UniPc => self.unipc(i, latents, output, state),
            SchedulerKind::Lcm => self.lcm(i, latents, output, fresh)?,
            SchedulerKind::Tcd => self.tcd(i, latents, output, fresh)?,
        }
        Ok(())
    }

    fn clip(&self, x0: f32) -> f32 {
        match self.config.clip_sample {
            Some(range) => x0.clamp(-range.abs(), range.abs()),
            None => x0,
        }
    }
}
