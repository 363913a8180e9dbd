//! What the U-Net predicts and where the schedule ends, by the first that speaks: the settings, the
//! marks that a weight file carries, the scheduler's file.

use serde::{Deserialize, Serialize};

use crate::checkpoint::Checkpoint;
use crate::error::Result;
use crate::scheduler::{PredictionType, SchedulerConfig, TimestepSpacing};

/// What settings may say of the prediction; `None` leaves it to the weight file and the scheduler.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PredictionSettings {
    /// What the U-Net predicts.
    pub prediction: Option<PredictionType>,
    /// Whether the last training timestep is pure noise (zero terminal signal-to-noise ratio).
    pub zero_terminal_snr: Option<bool>,
    /// Where the timesteps lie.
    pub timestep_spacing: Option<TimestepSpacing>,
}

/// How a model's output is meant, and who said so.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Prediction {
    /// What is to be changed of a scheduler's configuration.
    settings: PredictionSettings,
    /// What decided: for those who wonder why pictures are noise.
    pub because: String,
}

impl Prediction {
    /// The first that speaks; `marks` is the file of the U-Net's weights, if it is one file.
    pub(crate) fn find(settings: PredictionSettings, marks: Option<&Checkpoint>) -> Self {
        let (mut prediction, mut zero, mut because) = (None, None, "the scheduler's configuration");
        if let Some(file) = marks {
            let metadata = file.metadata("modelspec.prediction_type");
            if file.is_marked("v_pred") {
                prediction = Some(PredictionType::VPrediction);
                zero = Some(file.is_marked("ztsnr"));
                because = match zero {
                    Some(true) => "the file's marks v_pred and ztsnr",
                    _ => "the file's mark v_pred",
                };
            } else if metadata == Some("v") {
                prediction = Some(PredictionType::VPrediction);
                because = "the file's modelspec.prediction_type";
            } else if metadata == Some("epsilon") {
                (prediction, zero) = (Some(PredictionType::Epsilon), Some(false));
                because = "the file's modelspec.prediction_type";
            }
        }
        if settings.prediction.is_some() {
            because = "the settings";
            prediction = settings.prediction;
            zero = zero.filter(|_| prediction == Some(PredictionType::VPrediction));
        }
        let zero = settings.zero_terminal_snr.or(zero);
        // A schedule that ends in pure noise must begin there; a scheduler's own file says where.
        let trailing = (zero == Some(true)).then_some(TimestepSpacing::Trailing);
        Self {
            settings: PredictionSettings {
                prediction,
                zero_terminal_snr: zero,
                timestep_spacing: settings.timestep_spacing.or(trailing),
            },
            because: because.to_owned(),
        }
    }

    /// A scheduler's configuration, changed.
    ///
    /// # Errors
    /// Zero terminal SNR for a U-Net that predicts noise, which would be divided by zero.
    pub(crate) fn apply(&self, mut config: SchedulerConfig) -> Result<SchedulerConfig> {
        let settings = self.settings;
        config.prediction_type = settings.prediction.unwrap_or(config.prediction_type);
        config.zero_snr = settings.zero_terminal_snr.unwrap_or(config.zero_snr);
        config.timestep_spacing = settings.timestep_spacing.unwrap_or(config.timestep_spacing);
        config.check_zero_snr()?;
        Ok(config)
    }
}
