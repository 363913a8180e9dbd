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
    /// Euler over σ, each step below its end and up to it with noise.
    EulerAncestral,
    /// Heun over σ: two calls of the U-Net a step.
    Heun,
    /// DPM-Solver++, multistep, of second order where the file says no other.
    DpmPlusPlus2M,
    /// DPM-Solver++ with noise.
    DpmPlusPlus2MSde,
    /// UniPC, multistep, of second order where the file says no other.
    UniPc,
    /// Latent consistency; for few-step U-Nets, without guidance.
    Lcm,
    /// Trajectory consistency, with diffusers' share of noise (η = 0.3); for few-step U-Nets.
    Tcd,
}

impl SchedulerKind {
    const ALL: [Self; 9] = [
        Self::Ddim,
        Self::Euler,
        Self::EulerAncestral,
        Self::Heun,
        Self::DpmPlusPlus2M,
        Self::DpmPlusPlus2MSde,
        Self::UniPc,
        Self::Lcm,
        Self::Tcd,
    ];

    /// Its name in settings.
    pub fn name(self) -> &'static str {
        match self {
            Self::Ddim => "ddim",
            Self::Euler => "euler",
            Self::EulerAncestral => "euler_ancestral",
            Self::Heun => "heun",
            Self::DpmPlusPlus2M => "dpmpp_2m",
            Self::DpmPlusPlus2MSde => "dpmpp_2m_sde",
            Self::UniPc => "unipc",
            Self::Lcm => "lcm",
            Self::Tcd => "tcd",
        }
    }

    /// Whether it steps over σ, which is infinite where there is no signal.
    pub(super) fn is_over_sigma(self) -> bool {
        !matches!(self, Self::Ddim | Self::Lcm | Self::Tcd)
    }

    /// Whether its latents are x₀ with noise of σ beside it, not scaled to a variance of 1.
    pub(super) fn is_unscaled(self) -> bool {
        matches!(self, Self::Euler | Self::EulerAncestral | Self::Heun)
    }

    /// diffusers' class.
    fn class(self) -> &'static str {
        match self {
            Self::Ddim => "DDIMScheduler",
            Self::Euler => "EulerDiscreteScheduler",
            Self::EulerAncestral => "EulerAncestralDiscreteScheduler",
            Self::Heun => "HeunDiscreteScheduler",
            Self::DpmPlusPlus2M | Self::DpmPlusPlus2MSde => "DPMSolverMultistepScheduler",
            Self::UniPc => "UniPCMultistepScheduler",
            Self::Lcm => "LCMScheduler",
            Self::Tcd => "TCDScheduler",
        }
    }

    /// DPM-Solver's `algorithm_type`.
    fn algorithm(self) -> Option<&'static str> {
        match self {
            Self::DpmPlusPlus2M => Some("dpmsolver++"),
            Self::DpmPlusPlus2MSde => Some("sde-dpmsolver++"),
            _ => None,
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

/// How differences of outputs are weighted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SolverType {
    /// DPM++ of second order, half a slope.
    Midpoint,
    /// DPM++ of second order, by its exact integral.
    Heun,
    /// UniPC, B(h) = h.
    Bh1,
    /// UniPC, B(h) = eʰ − 1.
    Bh2,
}

/// The σ that a run ends at (Euler, DPM++, UniPC).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FinalSigma {
    /// None.
    Zero,
    /// The training's least.
    SigmaMin,
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
    /// DDIM's, Heun's and LCM's clipping of x₀.
    pub clip_sample: Option<f32>,
    /// Whether σ follow Karras et al. (Euler, Heun, DPM++, UniPC).
    pub use_karras_sigmas: bool,
    /// LCM's and TCD's own step count.
    pub original_inference_steps: usize,
    /// LCM's factor on timesteps in its boundary conditions.
    pub timestep_scaling: f64,
    /// Outputs that a step of DPM++ or UniPC looks at: 1 to 3.
    pub solver_order: usize,
    /// How it weights them.
    pub solver_type: SolverType,
    /// Whether its last steps look at fewer: of DPM++ in runs of less than 15 steps.
    pub lower_order_final: bool,
    /// Whether the last step of DPM++ looks at one.
    pub euler_at_final: bool,
    /// The σ at the end.
    pub final_sigma: FinalSigma,
    /// Steps of UniPC that are not corrected afterwards.
    pub uncorrected: Vec<usize>,
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
    solver_order: Option<usize>,
    solver_type: Option<String>,
    lower_order_final: Option<bool>,
    euler_at_final: Option<bool>,
    final_sigmas_type: Option<FinalSigma>,
    disable_corrector: Option<Vec<usize>>,
}

/// Keys that every implemented scheduler reads.
const FIXED: &[(&str, &[&str])] = &[("trained_betas", &["null"])];

/// Spacings of σ that are not implemented.
const SPACINGS: [(&str, &[&str]); 2] = [
    ("use_exponential_sigmas", &["null", "false"]),
    ("use_beta_sigmas", &["null", "false"]),
];

/// Keys that only some of them read.
fn fixed_for(kind: SchedulerKind) -> Vec<(&'static str, &'static [&'static str])> {
    const OFF: &[&str] = &["null", "false"];
    let own: &[(&str, &[&str])] = match kind {
        SchedulerKind::Ddim | SchedulerKind::Lcm => return vec![("thresholding", &["false"])],
        SchedulerKind::EulerAncestral | SchedulerKind::Tcd => return Vec::new(),
        SchedulerKind::Heun => &[],
        SchedulerKind::Euler => &[
            ("interpolation_type", &["\"linear\""]),
            ("sigma_min", &["null"]),
            ("sigma_max", &["null"]),
            ("timestep_type", &["\"discrete\""]),
        ],
        SchedulerKind::DpmPlusPlus2M | SchedulerKind::DpmPlusPlus2MSde => &[
            ("thresholding", &["false"]),
            ("use_lu_lambdas", OFF),
            ("use_flow_sigmas", OFF),
            ("use_dynamic_shifting", OFF),
            ("variance_type", &["null"]),
            // −∞, of which the reader makes null.
            ("lambda_min_clipped", &["null"]),
        ],
        SchedulerKind::UniPc => &[
            ("thresholding", &["false"]),
            ("predict_x0", &["true"]),
            ("solver_p", &["null"]),
            ("use_flow_sigmas", OFF),
            ("use_dynamic_shifting", OFF),
            ("sigma_min", &["null"]),
            ("sigma_max", &["null"]),
            ("shift_terminal", &["null"]),
        ],
    };
    [&SPACINGS, own].concat()
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
        json.require_all(&fixed_for(kind))?;
        // LCM's and TCD's classes alone default to the schedule that Stable Diffusion was trained with.
        let is_consistency = matches!(kind, SchedulerKind::Lcm | SchedulerKind::Tcd);
        if json.get("beta_schedule").is_some() || !is_consistency {
            let found = json
                .get("beta_schedule")
                .map_or("\"linear\"".into(), ToString::to_string);
            if found != "\"scaled_linear\"" {
                return Err(json
                    .unsupported("beta_schedule", found, "\"scaled_linear\"")
                    .into());
            }
        }
        let found: SchedulerJson = json.parse()?;
        let solver_type = solver_type(json, kind, found.solver_type.as_deref())?;
        let config = found.resolve(kind, solver_type);
        config.check_solver(json)?;
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
    fn check_solver(&self, json: &JsonFile) -> Result<()> {
        let is_dpm = self.kind.algorithm().is_some();
        if !is_dpm && self.kind != SchedulerKind::UniPc {
            return Ok(());
        }
        let order = self.solver_order;
        if !(1..=3).contains(&order) {
            return Err(json.unsupported("solver_order", order, "1 to 3").into());
        }
        let ends_at_zero = self.final_sigma == FinalSigma::Zero;
        // A step of no length is divided by, or one of infinite length.
        let divides = !is_dpm || order == 3 || self.solver_type == SolverType::Heun;
        if !ends_at_zero && self.use_karras_sigmas && divides {
            let expected = "\"zero\" with use_karras_sigmas";
            return Err(json
                .unsupported("final_sigmas_type", "sigma_min", expected)
                .into());
        }
        if !is_dpm && ends_at_zero && !self.lower_order_final && order > 1 {
            let expected = "true where final_sigmas_type is \"zero\"";
            return Err(json
                .unsupported("lower_order_final", false, expected)
                .into());
        }
        Ok(())
    }
}

/// As diffusers has it: names of the other solver mean the default.
fn solver_type(json: &JsonFile, kind: SchedulerKind, name: Option<&str>) -> Result<SolverType> {
    let is_unipc = kind == SchedulerKind::UniPc;
    let default = match is_unipc {
        true => SolverType::Bh2,
        false => SolverType::Midpoint,
    };
    match name {
        None => Ok(default),
        Some("bh1") if is_unipc => Ok(SolverType::Bh1),
        Some("heun") if !is_unipc => Ok(SolverType::Heun),
        Some("midpoint" | "heun" | "logrho" | "bh1" | "bh2") => Ok(default),
        Some(other) => {
            let expected = match is_unipc {
                true => "\"bh1\" or \"bh2\"",
                false => "\"midpoint\" or \"heun\"",
            };
            Err(json.unsupported("solver_type", other, expected).into())
        }
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
    fn resolve(self, kind: SchedulerKind, solver_type: SolverType) -> SchedulerConfig {
        let spacing = match kind {
            SchedulerKind::Ddim | SchedulerKind::Lcm | SchedulerKind::Tcd => {
                TimestepSpacing::Leading
            }
            _ => TimestepSpacing::Linspace,
        };
        let [start, end] = match kind {
            SchedulerKind::Lcm | SchedulerKind::Tcd | SchedulerKind::Heun => [0.00085, 0.012],
            _ => [0.0001, 0.02],
        };
        let zero_snr = self.rescale_betas_zero_snr.unwrap_or(false);
        // Pure noise at the end of the schedule is of use only where a run begins there.
        let spacing = if zero_snr {
            TimestepSpacing::Trailing
        } else {
            spacing
        };
        let clip = self.clip_sample.unwrap_or(kind == SchedulerKind::Ddim);
        let clips = matches!(
            kind,
            SchedulerKind::Ddim | SchedulerKind::Heun | SchedulerKind::Lcm
        );
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
            solver_order: self.solver_order.unwrap_or(2),
            solver_type,
            lower_order_final: self.lower_order_final.unwrap_or(true),
            euler_at_final: self.euler_at_final.unwrap_or(false),
            final_sigma: self.final_sigmas_type.unwrap_or(FinalSigma::Zero),
            uncorrected: self.disable_corrector.unwrap_or_default(),
        }
    }
}

/// The scheduler that the file itself names; of DPM-Solver by its algorithm.
fn own_kind(json: &JsonFile) -> Result<SchedulerKind> {
    let text = |key: &str| json.get(key).and_then(|value| value.as_str());
    let class = text("_class_name").unwrap_or_default();
    let of_class: Vec<SchedulerKind> = SchedulerKind::ALL
        .into_iter()
        .filter(|kind| kind.class() == class)
        .collect();
    let algorithm = text("algorithm_type").unwrap_or("dpmsolver++");
    let is_own = |kind: &&SchedulerKind| kind.algorithm().is_none_or(|own| own == algorithm);
    match of_class.iter().find(is_own) {
        Some(kind) => Ok(*kind),
        None if of_class.is_empty() => {
            let mut classes = SchedulerKind::ALL.map(SchedulerKind::class).to_vec();
            classes.dedup();
            let expected = format!("one of {}", classes.join(", "));
            Err(json.unsupported("_class_name", class, &expected).into())
        }
        None => {
            let expected = "\"dpmsolver++\" or \"sde-dpmsolver++\"";
            Err(json
                .unsupported("algorithm_type", algorithm, expected)
                .into())
        }
    }
}
