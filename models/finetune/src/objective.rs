//! What one row is trained towards: noised latents, the target of the prediction, the row's weight
//! (Eq. 6 of the paper; diffusers' training scripts).

use std::path::Path;

use laioncele_nn::config::JsonFile;
use laioncele_sdxl::SchedulerKind;
use laioncele_sdxl::scheduler::{PredictionType, Schedule, SchedulerConfig};

use crate::error::{Error, Result};

/// The noise schedule of a model, and what its U-Net predicts.
#[derive(Debug, Clone)]
pub struct Objective {
    alphas: Vec<f32>,
    prediction: PredictionType,
    min_snr: Option<f64>,
}

impl Objective {
    /// Of the model in `folder`, by its `scheduler/scheduler_config.json`. `min_snr` is min-SNR
    /// weighting's γ (Hang et al. 2023); none weights all rows alike.
    ///
    /// # Errors
    /// A configuration that is missing or not supported; γ that is not positive.
    pub fn read(folder: &Path, min_snr: Option<f64>) -> Result<Self> {
        let json = JsonFile::read(&folder.join("scheduler").join("scheduler_config.json"))?;
        Self::of(
            SchedulerConfig::read(&json, Some(SchedulerKind::Ddim))?,
            min_snr,
        )
    }

    /// Of a schedule and what it says of the prediction; `min_snr` as in [`Objective::read`].
    ///
    /// # Errors
    /// γ that is not positive.
    pub fn of(config: SchedulerConfig, min_snr: Option<f64>) -> Result<Self> {
        let prediction = config.prediction_type;
        if let Some(gamma) = min_snr.filter(|gamma| !(gamma.is_finite() && *gamma > 0.0)) {
            return Err(Error::Setting {
                setting: "min_snr",
                value: gamma.to_string(),
                expected: "a positive number".into(),
            });
        }
        Ok(Self {
            alphas: Schedule::new(config, 1)?.alphas_cumprod().to_vec(),
            prediction,
            min_snr,
        })
    }

    /// Timesteps of the training: 1000 of SDXL.
    pub fn timesteps(&self) -> usize {
        self.alphas.len()
    }

    /// What the U-Net predicts.
    pub fn prediction(&self) -> PredictionType {
        self.prediction
    }

    /// (√ᾱ, √(1 − ᾱ)) in float32.
    fn roots(&self, timestep: usize) -> (f32, f32) {
        let alpha = self.alphas[timestep];
        (alpha.sqrt(), (1.0 - alpha).sqrt())
    }

    /// x_t = √ᾱ x₀ + √(1 − ᾱ) ε.
    ///
    /// # Panics
    /// If `timestep` is not below [`Objective::timesteps`].
    pub fn noised(&self, latents: &[f32], noise: &[f32], timestep: usize) -> Vec<f32> {
        let (of_x, of_noise) = self.roots(timestep);
        let pairs = latents.iter().zip(noise);
        pairs.map(|(x, e)| of_x * x + of_noise * e).collect()
    }

    /// ε, or √ᾱ ε − √(1 − ᾱ) x₀ for v-prediction.
    ///
    /// # Panics
    /// As [`Objective::noised`].
    pub fn target(&self, latents: &[f32], noise: &[f32], timestep: usize) -> Vec<f32> {
        let (of_noise, of_x) = self.roots(timestep);
        match self.prediction {
            PredictionType::Epsilon => noise.to_vec(),
            PredictionType::VPrediction => {
                let pairs = latents.iter().zip(noise);
                pairs.map(|(x, e)| of_noise * e - of_x * x).collect()
            }
        }
    }

    /// The weight of a row's squared error: 1, or with min-SNR min(SNR, γ)/SNR of ε, /(SNR + 1) of
    /// v, where SNR = ᾱ/(1 − ᾱ).
    ///
    /// # Panics
    /// As [`Objective::noised`].
    pub fn weight(&self, timestep: usize) -> f64 {
        let Some(gamma) = self.min_snr else {
            return 1.0;
        };
        let alpha = f64::from(self.alphas[timestep]);
        let snr = alpha / (1.0 - alpha);
        match self.prediction {
            PredictionType::Epsilon => snr.min(gamma) / snr,
            PredictionType::VPrediction => snr.min(gamma) / (snr + 1.0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn objective(prediction: PredictionType, min_snr: Option<f64>) -> Objective {
        Objective {
            alphas: vec![0.9, 0.5, 0.1],
            prediction,
            min_snr,
        }
    }

    #[test]
    fn noised_latents_and_velocity_give_latents_and_noise_back() {
        let objective = objective(PredictionType::VPrediction, None);
        let (x, e) = ([0.3f32, -1.2], [0.8f32, 0.1]);
        for (t, alpha) in [0.9f32, 0.5, 0.1].into_iter().enumerate() {
            let (noised, v) = (objective.noised(&x, &e, t), objective.target(&x, &e, t));
            for i in 0..2 {
                let (a, b) = (alpha.sqrt(), (1.0 - alpha).sqrt());
                assert!((a * noised[i] - b * v[i] - x[i]).abs() < 1e-6);
                assert!((b * noised[i] + a * v[i] - e[i]).abs() < 1e-6);
            }
        }
    }

    #[test]
    fn min_snr_caps_the_weight_of_little_noise_only() {
        let epsilon = objective(PredictionType::Epsilon, Some(5.0));
        assert!((epsilon.weight(0) - 5.0 / 9.0).abs() < 1e-6);
        assert_eq!(epsilon.weight(2), 1.0);
        let velocity = objective(PredictionType::VPrediction, Some(5.0));
        assert!((velocity.weight(0) - 0.5).abs() < 1e-6);
        assert!((velocity.weight(1) - 0.5).abs() < 1e-6);
        assert_eq!(objective(PredictionType::Epsilon, None).weight(0), 1.0);
    }
}
