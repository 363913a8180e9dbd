//! `scheduler_config.json`, read with the defaults of the scheduler that is to run.

use laioncele_nn::config::JsonFile;
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};

/// The schedulers that are implemented.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum SchedulerKind {
    /// DDIM with η = 0.
    Ddim,
    /// Euler over σ.
    Euler,
    /// DPM-Solver++ of second order, multistep, midpoint.
    DpmPlusPlus2M,
    /// Latent consistency; for few-step U-Nets, without guidance.
    Lcm,
}

impl SchedulerKind {
    const ALL: [Self; 4] = [Self::Ddim, Self::Euler, Self::DpmPlusPlus2M, Self::Lcm];

    /// Its name in settings.
    pub fn name(self) -> &'static str {
        match self {
            Self::Ddim => "ddim",
            Self::Euler => "euler",
            Self::DpmPlusPlus2M => "dpmpp_2m",
            Self::Lcm => "lcm",
        }
    }

    /// Whether it steps over σ, which is infinite where there is no signal.
    pub(super) fn is_over_sigma(self) -> bool {
        !matches!(self, Self::Ddim | Self::Lcm)
    }

    /// diffusers' class.
    fn class(self) -> &'static str {
        match self {
            Self::Ddim => "DDIMScheduler",
            Self::Euler => "EulerDiscreteScheduler",
            Self::DpmPlusPlus2M => "DPMSolverMultistepScheduler",
            Self::Lcm => "LCMScheduler",
        }
    }
}

impl std::str::FromStr for SchedulerKind {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self> {
        let names = Self::ALL.map(Self::name).join(", ");
        let found = Self::ALL.into_iter().find(|kind| kind.name() == name);
        found.ok_or_else(|| Error::setting("scheduler", name, format!("one of {names}")))
    }
}

/// What the U-Net predicts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PredictionType {
    /// The noise ε.
    Epsilon,
    /// The velocity √ᾱ ε − √(1−ᾱ) x₀.
    VPrediction,
}

/// Where a run's timesteps lie.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TimestepSpacing {
    /// Multiples of ⌊1000/N⌋ plus an offset.
    Leading,
    /// Counted down from 1000.
    Trailing,
    /// Evenly from 999 to 0.
    Linspace,
}

/// A scheduler's numbers.
#[derive(Debug, Clone)]
pub struct SchedulerConfig {
    /// Which scheduler.
    pub kind: SchedulerKind,
    /// What the U-Net predicts.
    pub prediction_type: PredictionType,
    /// Where the timesteps lie.
    pub timestep_spacing: TimestepSpacing,
    /// Added to leading timesteps.
    pub steps_offset: usize,
    /// Timesteps of the training: 1000.
    pub num_train_timesteps: usize,
    /// First and last β of the scaled-linear schedule.
    pub betas: [f64; 2],
    /// Whether DDIM ends at ᾱ = 1 instead of the table's first.
    pub set_alpha_to_one: bool,
    /// Whether the table is rescaled so that its last entry has no signal.
    pub zero_snr: bool,
    /// DDIM's and LCM's clipping of x₀.
    pub clip_sample: Option<f32>,
    /// Whether σ follow Karras et al. (Euler, DPM++).
    pub use_karras_sigmas: bool,
    /// LCM's own step count.
    pub original_inference_steps: usize,
    /// LCM's factor on timesteps in its boundary conditions.
    pub timestep_scaling: f64,
}

#[derive(Deserialize)]
struct SchedulerJson {
    prediction_type: Option<PredictionType>,
    timestep_spacing: Option<TimestepSpacing>,
    steps_offset: Option<usize>,
    num_train_timesteps: Option<usize>,
    beta_start: Option<f64>,
    beta_end: Option<f64>,
    set_alpha_to_one: Option<bool>,
    rescale_betas_zero_snr: Option<bool>,
    clip_sample: Option<bool>,
    clip_sample_range: Option<f32>,
    use_karras_sigmas: Option<bool>,
    original_inference_steps: Option<usize>,
    timestep_scaling: Option<f64>,
}

/// Keys that every implemented scheduler reads.
const FIXED: &[(&str, &[&str])] = &[("trained_betas", &["null"])];

/// Keys that only some of them read.
fn fixed_for(kind: SchedulerKind) -> &'static [(&'static str, &'static [&'static str])] {
    match kind {
        SchedulerKind::Ddim | SchedulerKind::Lcm => &[("thresholding", &["false"])],
        SchedulerKind::Euler => &[
            ("interpolation_type", &["\"linear\""]),
            ("use_exponential_sigmas", &["null", "false"]),
            ("use_beta_sigmas", &["null", "false"]),
            ("sigma_min", &["null"]),
            ("sigma_max", &["null"]),
            ("timestep_type", &["\"discrete\""]),
            ("final_sigmas_type", &["\"zero\""]),
        ],
        SchedulerKind::DpmPlusPlus2M => &[
            ("thresholding", &["false"]),
            ("algorithm_type", &["\"dpmsolver++\""]),
            ("solver_order", &["2"]),
            ("solver_type", &["\"midpoint\""]),
            ("lower_order_final", &["true"]),
            ("euler_at_final", &["false"]),
            ("use_exponential_sigmas", &["null", "false"]),
            ("use_beta_sigmas", &["null", "false"]),
            ("use_lu_lambdas", &["null", "false"]),
            ("use_flow_sigmas", &["null", "false"]),
            ("variance_type", &["null"]),
            ("final_sigmas_type", &["\"zero\""]),
        ],
    }
}

impl SchedulerConfig {
    /// Reads the numbers for `kind`, or for the file's own class if `None`. A file of one class
    /// serves another scheduler too; what it does not say has the default of the one that runs.
    ///
    /// # Errors
    /// A value that is not supported, by its key.
    pub fn read(json: &JsonFile, kind: Option<SchedulerKind>) -> Result<Self> {
        let kind = match kind {
            Some(kind) => kind,
            None => own_kind(json)?,
        };
        json.require_all(FIXED)?;
        json.require_all(fixed_for(kind))?;
        // LCM's class alone defaults to the schedule that Stable Diffusion was trained with.
        if json.get("beta_schedule").is_some() || kind != SchedulerKind::Lcm {
            let found = json
                .get("beta_schedule")
                .map_or("\"linear\"".into(), ToString::to_string);
            if found != "\"scaled_linear\"" {
                return Err(json
                    .unsupported("beta_schedule", found, "\"scaled_linear\"")
                    .into());
            }
        }
        let config = json.parse::<SchedulerJson>()?.resolve(kind);
        json.check_count("num_train_timesteps", config.num_train_timesteps, 100_000)?;
        json.check_count(
            "original_inference_steps",
            config.original_inference_steps,
            config.num_train_timesteps,
        )?;
        let [start, end] = config.betas;
        if !(start > 0.0 && start <= end && end < 1.0) {
            return Err(json
                .unsupported("beta_start", start, "0 < beta_start <= beta_end < 1")
                .into());
        }
        Ok(config)
    }
}

impl SchedulerConfig {
    /// Refuses zero terminal SNR for a U-Net that predicts the noise: at its last timestep x₀ would
    /// be divided by zero.
    ///
    /// # Errors
    /// [`Error::Setting`]
    pub(crate) fn check_zero_snr(&self) -> Result<()> {
        if self.zero_snr && self.prediction_type == PredictionType::Epsilon {
            return Err(Error::setting(
                "rescale_betas_zero_snr",
                true,
                "false for a U-Net that predicts epsilon",
            ));
        }
        Ok(())
    }
}

impl SchedulerJson {
    fn resolve(self, kind: SchedulerKind) -> SchedulerConfig {
        let lcm = kind == SchedulerKind::Lcm;
        let spacing = match kind {
            SchedulerKind::Ddim | SchedulerKind::Lcm => TimestepSpacing::Leading,
            SchedulerKind::Euler | SchedulerKind::DpmPlusPlus2M => TimestepSpacing::Linspace,
        };
        let [start, end] = if lcm {
            [0.00085, 0.012]
        } else {
            [0.0001, 0.02]
        };
        let zero_snr = self.rescale_betas_zero_snr.unwrap_or(false);
        // Pure noise at the end of the schedule is of use only where a run begins there.
        let spacing = if zero_snr {
            TimestepSpacing::Trailing
        } else {
            spacing
        };
        let clip = self.clip_sample.unwrap_or(kind == SchedulerKind::Ddim);
        let clips = matches!(kind, SchedulerKind::Ddim | SchedulerKind::Lcm);
        SchedulerConfig {
            kind,
            prediction_type: self.prediction_type.unwrap_or(PredictionType::Epsilon),
            timestep_spacing: self.timestep_spacing.unwrap_or(spacing),
            steps_offset: self.steps_offset.unwrap_or(0),
            num_train_timesteps: self.num_train_timesteps.unwrap_or(1000),
            betas: [
                self.beta_start.unwrap_or(start),
                self.beta_end.unwrap_or(end),
            ],
            set_alpha_to_one: self.set_alpha_to_one.unwrap_or(true),
            zero_snr,
            clip_sample: (clip && clips).then(|| self.clip_sample_range.unwrap_or(1.0)),
            use_karras_sigmas: self.use_karras_sigmas.unwrap_or(false),
            original_inference_steps: self.original_inference_steps.unwrap_or(50),
            timestep_scaling: self.timestep_scaling.unwrap_or(10.0),
        }
    }
}

/// The scheduler that the file itself names.
fn own_kind(json: &JsonFile) -> Result<SchedulerKind> {
    let class = json
        .get("_class_name")
        .and_then(|value| value.as_str())
        .unwrap_or_default();
    let found = SchedulerKind::ALL
        .into_iter()
        .find(|kind| kind.class() == class);
    let expected = SchedulerKind::ALL.map(SchedulerKind::class).join(", ");
    Ok(found
        .ok_or_else(|| json.unsupported("_class_name", class, &format!("one of {expected}")))?)
}
