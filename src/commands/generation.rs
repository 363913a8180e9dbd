//! How images are generated: what `generate`, `interpolate`, the sheets and `names export` share of their arguments, and how
//! failures of generation are told.

use std::path::PathBuf;

use clap::Args;
use laioncele_core::StageError;
use laioncele_inference::ModelError;
use laioncele_inference::generation::{Eta, GenerationError, MeanLength};
use laioncele_sdxl::{
    Inversion, Lora, Naming, PredictionType, SamplingSettings, SdxlFiles, TimestepSpacing,
};

use crate::failure::{Exit, Failure};

/// How images are generated.
#[derive(Args, Clone, Debug)]
pub(super) struct GenerationArgs {
    /// The first image's seed; the following ones count up
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub seed: u64,
    /// Sampling steps [default: the manifest's; 100 with --model]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1000))]
    steps: Option<u16>,
    /// Classifier-free guidance γ [default: the manifest's; 7 with --model]
    #[arg(long, value_name = "GAMMA")]
    guidance: Option<f32>,
    /// How the name goes into the prompt: `prepend`, or `substitute` for "a person" and the like
    #[arg(long, value_name = "HOW", default_value = "prepend")]
    pub naming: Naming,
    /// Another U-Net: a folder, or one safetensors file in Diffusers' or the original layout; of a
    /// whole model in one file its U-Net is taken
    #[arg(long, value_name = "PATH")]
    unet: Option<PathBuf>,
    /// Another VAE: a folder, or one safetensors file of weights
    #[arg(long, value_name = "PATH")]
    vae: Option<PathBuf>,
    /// A LoRA to merge into the weights, with the strength behind a colon (1 without); may be given
    /// several times
    #[arg(long, value_name = "FILE[:STRENGTH]")]
    lora: Vec<Lora>,
    /// Whether LoRAs also change the text encoders
    #[arg(long, value_name = "BOOL", default_value_t = true, action = clap::ArgAction::Set)]
    lora_text: bool,
    /// A textual inversion, with the word that it stands for in prompts behind a colon (the file's
    /// name without); may be given several times
    #[arg(long, value_name = "FILE[:WORD]")]
    embedding: Vec<Inversion>,
    /// What the U-Net predicts: epsilon or v_prediction [default: what the weight file's marks say,
    /// else the model's scheduler]
    #[arg(long, value_name = "WHAT", value_parser = crate::args::setting::<PredictionType>)]
    prediction: Option<PredictionType>,
    /// Whether the last training timestep is pure noise [default: as --prediction]
    #[arg(long, value_name = "BOOL")]
    zero_terminal_snr: Option<bool>,
    /// Where the timesteps lie: leading, trailing or linspace [default: the model's scheduler's, or
    /// trailing where the schedule ends in pure noise]
    #[arg(long, value_name = "WHERE", value_parser = crate::args::setting::<TimestepSpacing>)]
    timestep_spacing: Option<TimestepSpacing>,
    /// δ of Equation 4: how far a predicted name goes away from the mean name [default: the
    /// run's, or what the encoder's folder says]
    #[arg(long, value_name = "DELTA", allow_hyphen_values = true, value_parser = crate::args::finite::<f32>)]
    delta: Option<f32>,
    /// η of Equation 5: the length that a predicted name is brought to, a number or `mean`
    /// [default: the run's, or what the encoder's folder says]
    #[arg(long, value_name = "ETA", value_parser = eta)]
    eta: Option<Eta>,
    /// Take a folder for one person even if its photos show several
    #[arg(long)]
    pub(super) allow_several: bool,
}

/// η as manifests have it: a number or `mean`.
pub(super) fn eta(text: &str) -> Result<Eta, String> {
    match text {
        "mean" => Ok(Eta::Mean(MeanLength::Mean)),
        number => match crate::args::finite::<f32>(number) {
            Ok(length) if length > 0.0 => Ok(Eta::Length(length)),
            _ => Err("a length above 0, or `mean`".to_owned()),
        },
    }
}

impl GenerationArgs {
    /// Changes a model to what the arguments say.
    pub(super) fn change_model(&self, files: &mut SdxlFiles) {
        for (part, other) in [(&mut files.unet, &self.unet), (&mut files.vae, &self.vae)] {
            if other.is_some() {
                part.clone_from(other);
            }
        }
        files.loras.extend(self.lora.iter().cloned());
        files.plain_texts |= !self.lora_text;
        files.inversions.extend(self.embedding.iter().cloned());
        let prediction = &mut files.prediction;
        prediction.prediction = self.prediction.or(prediction.prediction);
        prediction.zero_terminal_snr = self.zero_terminal_snr.or(prediction.zero_terminal_snr);
        prediction.timestep_spacing = self.timestep_spacing.or(prediction.timestep_spacing);
    }

    /// Changes `sampling` to what the arguments say.
    ///
    /// # Errors
    /// A guidance that is no number.
    pub(super) fn set(&self, sampling: &mut SamplingSettings) -> Result<(), Failure> {
        if let Some(steps) = self.steps {
            sampling.steps = steps.into();
        }
        if let Some(guidance) = self.guidance {
            if !guidance.is_finite() {
                return Err(Failure::new(Exit::Usage, "--guidance must be a number"));
            }
            sampling.guidance = guidance;
        }
        Ok(())
    }

    /// δ and η: the arguments', else those that are given.
    pub(super) fn equations(&self, delta: f32, eta: Eta) -> (f32, Eta) {
        (self.delta.unwrap_or(delta), self.eta.unwrap_or(eta))
    }
}

impl From<GenerationError> for Failure {
    fn from(error: GenerationError) -> Self {
        failure(error, "")
    }
}

impl From<laioncele_sdxl::Error> for Failure {
    fn from(error: laioncele_sdxl::Error) -> Self {
        model_failure(&error)
    }
}

/// A generation error as the user sees it; `about` begins its text.
pub(super) fn failure(error: GenerationError, about: &str) -> Failure {
    match error {
        GenerationError::Stage(error) => match *error {
            StageError::Core(error) => error.into(),
            error => {
                let text = laioncele_core::error::chain(&error);
                Failure::new(Exit::Environment, format!("{about}{text}"))
            }
        },
        GenerationError::Model(ModelError::Baseline(error)) => baseline_failure(&error, about),
        GenerationError::NoFace
        | GenerationError::NoFaceNetworks
        | GenerationError::NoPersonWord { .. }
        | GenerationError::NoPhoto
        | GenerationError::NoEncoder
        | GenerationError::FewNames
        | GenerationError::NoNames => Failure::new(Exit::Usage, format!("{about}{error}")),
        GenerationError::Model(ModelError::Sdxl(error)) => {
            let failure = model_failure(&error);
            Failure::new(failure.exit, format!("{about}{}", failure.message))
        }
        error => {
            let text = laioncele_core::error::chain(&error);
            Failure::new(Exit::Environment, format!("{about}{text}"))
        }
    }
}

/// An error of IP-Adapter or PhotoMaker as the user sees it: a prompt or scale that is impossible, or a wrong file.
fn baseline_failure(error: &laioncele_baselines::Error, about: &str) -> Failure {
    use laioncele_baselines::Error::{NoPhoto, Scale, Trigger};
    let exit = match error {
        Trigger { .. } | Scale { .. } | NoPhoto => Exit::Usage,
        _ => Exit::Environment,
    };
    let text = laioncele_core::error::chain(error);
    Failure::new(exit, format!("{about}{text}"))
}

/// An error of SDXL as the user sees it: what was asked for is impossible, or the model is wrong.
pub(super) fn model_failure(error: &laioncele_sdxl::Error) -> Failure {
    let exit = match error {
        laioncele_sdxl::Error::Setting { .. }
        | laioncele_sdxl::Error::Latents { .. }
        | laioncele_sdxl::Error::NameFile { .. } => Exit::Usage,
        _ => Exit::Environment,
    };
    Failure::new(exit, laioncele_core::error::chain(error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn eta_is_a_length_or_the_mean() {
        assert_eq!(eta("27.5"), Ok(Eta::Length(27.5)));
        assert_eq!(eta("mean"), Ok(Eta::Mean(MeanLength::Mean)));
        for wrong in ["0", "-3", "nan", "inf", "median", ""] {
            assert!(eta(wrong).is_err(), "{wrong}");
        }
    }
}
