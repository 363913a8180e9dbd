//! `[finetune]` of the manifest.

use std::path::PathBuf;

use laioncele_core::{CoreError, Manifest};
use laioncele_finetune::{OptimizerSettings, Trained};
use laioncele_nn::Precision;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

/// What is trained.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum What {
    /// A LoRA beside the attention's projections.
    Lora,
    /// All weights of the U-Net.
    Unet,
}

/// Which optimizer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Optimizer {
    /// Adam with decoupled weight decay.
    #[default]
    AdamW,
    /// The same without weight decay.
    Adam,
}

/// What becomes of the person's name in a caption.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum CaptionRule {
    /// "a person" stands in its place, so that the identity comes from the name embedding alone.
    #[default]
    #[serde(rename = "name → person", alias = "name-to-person")]
    NameToPerson,
    /// It stays.
    #[serde(rename = "as it is", alias = "as-it-is")]
    AsItIs,
}

/// What is kept of the VAE's distribution of a photo's latents.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LatentRule {
    /// All of it: every epoch draws a sample of its own.
    #[default]
    Posterior,
    /// One sample, the same in every epoch.
    Once,
}

/// Which square is cut out of a photo whose shorter edge has the resolution.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum CropRule {
    /// The middle.
    #[default]
    Center,
    /// One drawn for each photo, the same in every epoch.
    Random,
}

/// `[finetune]`: the U-Net trained on photos with name embeddings in their captions (Eq. 6 of the paper), with
/// `laioncele finetune`. Rank and learning rate are the paper's; where it is silent the defaults are those of diffusers'
/// training scripts, steps and batch ours.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// Rank of a LoRA.
    pub rank: usize,
    /// What a LoRA is multiplied by, times its rank; the rank itself where it is not given.
    pub alpha: Option<f64>,
    /// Steps of the optimizer.
    pub steps: u64,
    /// Photos in a step.
    pub batch: usize,
    /// Photos that go through the U-Net at once; gradients are summed over all of the batch. Where it is not given, a
    /// quarter of the batch, or 1 on a GPU.
    pub micro_batch: Option<usize>,
    /// Edge of the square photos in pixels; the model's own where it is not given.
    pub resolution: Option<usize>,
    /// The optimizer.
    pub optimizer: Optimizer,
    /// Its learning rate.
    pub learning_rate: f64,
    /// Decay of its two running means.
    pub betas: [f64; 2],
    /// What weights lose in each step, times the learning rate; 0 for `adam`.
    pub weight_decay: f64,
    /// What keeps its division away from 0.
    pub eps: f64,
    /// The norm of all gradients together above which they are scaled down.
    pub max_grad_norm: f64,
    /// Steps over which the learning rate rises from 0.
    pub warmup_steps: u64,
    /// γ of min-SNR weighting; none weights all timesteps alike.
    pub min_snr: Option<f64>,
    /// How much noise is the same for all pixels of a channel.
    pub noise_offset: f64,
    /// The chance that a photo's text is the null text's.
    pub null_text_probability: f64,
    /// Latents drawn anew in every epoch, or once.
    pub latents: LatentRule,
    /// What becomes of the person's name in the caption.
    pub caption: CaptionRule,
    /// Which square of a photo is seen.
    pub crop: CropRule,
    /// Whether half of the photos are mirrored, drawn anew in every epoch.
    pub flip: bool,
    /// The type that the U-Net computes in. What is trained is float32 whatever this is.
    pub precision: Precision,
    /// Whether the activations of each ResNet and transformer are computed again on the way back instead of being
    /// kept: a third more work for far less memory.
    pub gradient_checkpointing: bool,
    /// The seed of everything that is drawn; that of `[run]` where it is not given.
    pub seed: Option<u64>,
    /// Steps between checkpoints. Changes no result.
    pub checkpoint_every: u64,
    /// A folder of people who must not be in the data set, by name or by face; `references` of `[generate_samples]`
    /// where it is not given.
    pub evaluation_people: Option<PathBuf>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            rank: 16,
            alpha: None,
            steps: 10_000,
            batch: 16,
            micro_batch: None,
            resolution: None,
            optimizer: Optimizer::AdamW,
            learning_rate: 1e-5,
            betas: [0.9, 0.999],
            weight_decay: 1e-2,
            eps: 1e-8,
            max_grad_norm: 1.0,
            warmup_steps: 0,
            min_snr: None,
            noise_offset: 0.0,
            null_text_probability: 0.0,
            latents: LatentRule::Posterior,
            caption: CaptionRule::NameToPerson,
            crop: CropRule::Center,
            flip: false,
            precision: Precision::F32,
            gradient_checkpointing: false,
            seed: None,
            checkpoint_every: 500,
            evaluation_people: None,
        }
    }
}

impl Settings {
    /// Reads and checks the section.
    ///
    /// # Errors
    /// An unknown key, a wrong type, a number out of range.
    pub fn from_manifest(manifest: &Manifest) -> Result<Self, CoreError> {
        let mut settings: Self = manifest.section("finetune")?;
        settings.seed = settings.seed.or(Some(manifest.run.seed));
        settings.evaluation_people = match settings.evaluation_people {
            Some(folder) => Some(manifest.resolve_model(&folder)?),
            None => laioncele_inference::references::folder(manifest)?,
        };
        match settings.problem() {
            None => Ok(settings),
            Some(problem) => Err(manifest.error(format!("[finetune] {problem}"))),
        }
    }

    /// What is wrong with the numbers, if anything is.
    pub fn problem(&self) -> Option<String> {
        let share = |value: f64| (0.0..=1.0).contains(&value);
        if self.rank == 0 || self.rank > 4096 {
            return Some("rank must be 1 to 4096".into());
        }
        if self
            .alpha
            .is_some_and(|alpha| !(alpha.is_finite() && alpha > 0.0))
        {
            return Some("alpha must be positive".into());
        }
        if self.steps == 0 || self.checkpoint_every == 0 {
            return Some("steps and checkpoint_every must be at least 1".into());
        }
        if !(1..=1 << 16).contains(&self.batch) || self.micro_batch == Some(0) {
            return Some("batch must be 1 to 65536, and micro_batch at least 1".into());
        }
        if self
            .min_snr
            .is_some_and(|gamma| !(gamma.is_finite() && gamma > 0.0))
        {
            return Some("min_snr must be positive".into());
        }
        if !(self.noise_offset.is_finite() && self.noise_offset >= 0.0) {
            return Some("noise_offset must not be negative".into());
        }
        if !share(self.null_text_probability) {
            return Some("null_text_probability must be 0 to 1".into());
        }
        self.optimizer()
            .check()
            .err()
            .map(|error| error.to_string())
    }

    /// The optimizer's own settings.
    pub fn optimizer(&self) -> OptimizerSettings {
        OptimizerSettings {
            learning_rate: self.learning_rate,
            betas: self.betas,
            weight_decay: match self.optimizer {
                Optimizer::AdamW => self.weight_decay,
                Optimizer::Adam => 0.0,
            },
            eps: self.eps,
            max_grad_norm: self.max_grad_norm,
            warmup_steps: self.warmup_steps,
        }
    }

    /// What is trained, as the network takes it.
    pub fn trained(&self, what: What) -> Trained {
        match what {
            What::Lora => Trained::Lora {
                rank: self.rank,
                alpha: self.alpha.unwrap_or(self.rank as f64),
            },
            What::Unet => Trained::UNet,
        }
    }

    /// The seed of everything that is drawn.
    pub fn seed(&self) -> u64 {
        self.seed.unwrap_or_default()
    }

    /// What trained weights depend on. More steps go on from fewer.
    ///
    /// # Errors
    /// None that is known: the settings are plain JSON.
    pub(crate) fn training_key(&self, what: What) -> Result<Value, serde_json::Error> {
        let mut value = serde_json::to_value(self)?;
        if let Some(keys) = value.as_object_mut() {
            let free = ["steps", "checkpoint_every", "evaluation_people"];
            keys.retain(|key, _| !free.contains(&key.as_str()));
            if what == What::Unet {
                keys.retain(|key, _| key != "rank" && key != "alpha");
            }
            keys.insert("what".into(), json!(what));
        }
        Ok(value)
    }

    /// What the prepared examples depend on, of the settings.
    pub(crate) fn example_key(&self, resolution: usize) -> Value {
        json!({
            "resolution": resolution,
            "caption": self.caption,
            "crop": self.crop,
            "flip": self.flip,
            "seed": (self.crop == CropRule::Random).then_some(self.seed()),
        })
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn read(section: &str) -> Result<Settings, String> {
        let text = format!(
            "[run]\nseed = 9\n[source]\npath = \"c\"\n[source.columns]\nurl = \"U\"\ncaption = \"T\"\n\
             [embedding_dims]\nname_tokens = 8\nname_channels = 4\nface = 4\nfeatures = 3\n[finetune]\n{section}"
        );
        let manifest = Manifest::parse(Path::new("/run/m.toml"), &text).expect("a manifest");
        Settings::from_manifest(&manifest).map_err(|error| error.to_string())
    }

    #[test]
    fn defaults_are_the_papers_where_it_speaks() {
        let settings = read("").expect("defaults");
        assert_eq!((settings.rank, settings.learning_rate), (16, 1e-5));
        assert_eq!(settings.seed(), 9);
        assert_eq!(settings.optimizer(), OptimizerSettings::default());
        let lora = Trained::Lora {
            rank: 16,
            alpha: 16.0,
        };
        assert_eq!(settings.trained(What::Lora), lora);
    }

    #[test]
    fn adam_has_no_weight_decay() {
        let settings = read("optimizer = \"adam\"").expect("settings");
        assert_eq!(settings.optimizer().weight_decay, 0.0);
    }

    #[test]
    fn rules_have_their_names() {
        let settings = read("caption = \"as it is\"\nlatents = \"once\"\ncrop = \"random\"");
        let settings = settings.expect("settings");
        assert_eq!(settings.caption, CaptionRule::AsItIs);
        let named = read("caption = \"name → person\"").expect("settings");
        assert_eq!(named.caption, CaptionRule::NameToPerson);
    }

    #[test]
    fn numbers_out_of_range_are_refused() {
        for section in [
            "rank = 0",
            "alpha = -1.0",
            "batch = 0",
            "steps = 0",
            "min_snr = 0.0",
            "noise_offset = -0.1",
            "null_text_probability = 1.1",
            "learning_rate = 0.0",
            "betas = [0.9, 1.0]",
        ] {
            let text = read(section).expect_err(section);
            assert!(text.contains("[finetune]"), "{text}");
        }
        let text = read("learning_rte = 1.0").expect_err("a wrong key");
        assert!(text.contains("did you mean `learning_rate`?"), "{text}");
    }

    #[test]
    fn more_steps_are_the_same_training() {
        let key = |section: &str, what| {
            let settings = read(section).expect("settings");
            settings.training_key(what).expect("a key")
        };
        let plain = key("", What::Lora);
        assert_eq!(plain, key("steps = 3\ncheckpoint_every = 1", What::Lora));
        assert_ne!(plain, key("batch = 3", What::Lora));
        assert_ne!(plain, key("rank = 3", What::Lora));
        assert_eq!(key("", What::Unet), key("rank = 3", What::Unet));
    }
}
