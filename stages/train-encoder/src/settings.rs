//! `[train_encoder]` of the manifest.

use laioncele_core::{CoreError, Manifest};
use laioncele_encoder::{Activation, Crop};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::{Value, json};

use crate::choices::{
    Images, Keep, LastBias, Optimizer, Order, Precision, Reduction, Schedule, Targets,
};

/// `[train_encoder]`. Learning rate, optimizer and loss of the defaults are the paper's; where it
/// is silent (widths, batch, steps, noise) they are ours.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// What is trained on: the web's photos, or the generated portraits of the same people.
    pub images: Images,
    /// Optimizer steps. More steps than a finished training had go on from its end.
    pub steps: u64,
    /// Examples in a step.
    pub batch: usize,
    /// Equal slices that a batch is cut into. Each slice's gradient is one job, and they are added
    /// in one order, whoever computed them.
    pub slices: usize,
    /// `people`: a person at random, then one of their photos, so that people with many photos do
    /// not count more. `epochs`: every photo once in an epoch.
    pub order: Order,
    /// The optimizer.
    pub optimizer: Optimizer,
    /// The learning rate.
    pub learning_rate: f64,
    /// What `adamw` takes off each weight, times the learning rate; 0 for `adam`.
    pub weight_decay: f64,
    /// How the learning rate goes with the steps.
    pub schedule: Schedule,
    /// Steps that `cosine` takes; `steps` where it is not given, and then more steps begin anew.
    pub schedule_steps: Option<u64>,
    /// Steps in which the learning rate rises to its value.
    pub warmup: u64,
    /// What `cosine` ends at, as a fraction of the learning rate.
    pub floor: f64,
    /// The largest length of the gradient over all weights; longer ones are scaled down to it.
    pub clip: Option<f64>,
    /// `mean` over all numbers as `MSELoss`; `sum` over a name's numbers, as Eq. 3 is written.
    pub reduction: Reduction,
    /// In which numbers products are computed.
    pub precision: Precision,
    /// Widths between the three layers: `[a, b]`, or one number for both.
    #[serde(deserialize_with = "one_or_two")]
    pub hidden: [usize; 2],
    /// What stands between the layers.
    pub activation: Activation,
    /// What the network is taught: names as they are, or standardized.
    pub targets: Targets,
    /// The last bias before the first step.
    pub last_bias: LastBias,
    /// Standard deviation of the normal noise added to the standardized features; 0 for none.
    pub noise: f32,
    /// What the image encoders see: the square around the face, or the whole photo.
    pub crop: Crop,
    /// Fraction of the people, in [0, 0.5], whose photos are never trained on.
    pub validation: f64,
    /// Which weights become the encoder: the last, or the best by the validation people.
    pub keep: Keep,
    /// Points of the curve without a better validation loss after which training ends; 0 for never.
    pub patience: u64,
    /// Steps between points of the loss curve.
    pub curve_every: u64,
    /// Steps between checkpoints. Changes no result.
    pub checkpoint_every: u64,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            images: Images::Photos,
            steps: 100_000,
            batch: 64,
            slices: 1,
            order: Order::People,
            optimizer: Optimizer::Adam,
            learning_rate: 1e-4,
            weight_decay: 0.0,
            schedule: Schedule::Constant,
            schedule_steps: None,
            warmup: 0,
            floor: 0.0,
            clip: None,
            reduction: Reduction::Mean,
            precision: Precision::F32,
            hidden: [4096, 4096],
            activation: Activation::Gelu,
            targets: Targets::Raw,
            last_bias: LastBias::Mean,
            noise: 0.0,
            crop: Crop::Face,
            validation: 0.02,
            keep: Keep::Last,
            patience: 0,
            curve_every: 500,
            checkpoint_every: 1000,
        }
    }
}

fn one_or_two<'de, D: Deserializer<'de>>(deserializer: D) -> Result<[usize; 2], D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Form {
        Both(usize),
        Each([usize; 2]),
    }
    Ok(match Form::deserialize(deserializer)? {
        Form::Both(width) => [width; 2],
        Form::Each(widths) => widths,
    })
}

/// What does not change what a step of the training computes.
const NOT_IN_A_STEP: [&str; 3] = ["steps", "patience", "checkpoint_every"];

impl Settings {
    /// Reads and checks the section.
    ///
    /// # Errors
    /// An unknown key, a wrong type, a number out of range.
    pub fn from_manifest(manifest: &Manifest) -> Result<Self, CoreError> {
        let settings: Self = manifest.section("train_encoder")?;
        match settings.problem() {
            Some(problem) => Err(manifest.error(format!("[train_encoder] {problem}"))),
            None => Ok(settings),
        }
    }

    /// What is wrong with the numbers, if anything is.
    pub fn problem(&self) -> Option<&'static str> {
        self.problem_of_sizes().or_else(|| self.problem_of_rates())
    }

    fn problem_of_sizes(&self) -> Option<&'static str> {
        let found = if self.steps == 0 || self.batch == 0 {
            "steps and batch must be at least 1"
        } else if self.batch > 1 << 16 {
            "batch must be at most 65536"
        } else if self.slices == 0 || !self.batch.is_multiple_of(self.slices) {
            "slices must be at least 1 and divide batch"
        } else if !(0.0..=0.5).contains(&self.validation) {
            "validation must be in [0, 0.5]"
        } else if self.curve_every == 0 || self.checkpoint_every == 0 {
            "curve_every and checkpoint_every must be at least 1"
        } else if self.validation == 0.0 && (self.keep == Keep::Best || self.patience > 0) {
            "keep = \"best\" and patience need validation people: validation must be above 0"
        } else {
            return None;
        };
        Some(found)
    }

    fn problem_of_rates(&self) -> Option<&'static str> {
        let positive = |value: f64| value.is_finite() && value > 0.0;
        let found = if !positive(self.learning_rate) || self.learning_rate > 1e6 {
            "learning_rate must be positive"
        } else if !(self.noise.is_finite() && self.noise >= 0.0) {
            "noise must not be negative"
        } else if !(self.weight_decay.is_finite() && self.weight_decay >= 0.0) {
            "weight_decay must not be negative"
        } else if self.optimizer == Optimizer::Adam && self.weight_decay > 0.0 {
            "weight_decay is of optimizer = \"adamw\""
        } else if !(0.0..=1.0).contains(&self.floor) {
            "floor must be in [0, 1]"
        } else if self.clip.is_some_and(|clip| !positive(clip)) {
            "clip must be positive"
        } else if self.schedule == Schedule::Cosine && self.warmup >= self.scheduled() {
            "warmup must be less than schedule_steps"
        } else if self.schedule == Schedule::Constant && self.schedule_steps.is_some() {
            "schedule_steps is of schedule = \"cosine\""
        } else {
            return None;
        };
        Some(found)
    }

    /// The steps of the schedule.
    pub(crate) fn scheduled(&self) -> u64 {
        self.schedule_steps.unwrap_or(self.steps)
    }

    /// What the trained weights depend on.
    ///
    /// # Errors
    /// None that is known: the settings are plain JSON.
    pub fn training_key(&self, manifest: &Manifest) -> Result<Value, CoreError> {
        let mut value =
            serde_json::to_value(self).map_err(|error| manifest.error(error.to_string()))?;
        if let Some(keys) = value.as_object_mut() {
            // The features' key holds the crop already.
            keys.retain(|key, _| key != "checkpoint_every" && key != "crop");
            keys.insert("run".to_owned(), json!({ "seed": manifest.run.seed }));
        }
        Ok(value)
    }

    /// What each step depends on, as text: of two runs with the same, the longer one continues the
    /// shorter one.
    pub(crate) fn step_key(&self) -> String {
        let mut resolved = self.clone();
        if resolved.schedule == Schedule::Cosine {
            resolved.schedule_steps = Some(self.scheduled());
        }
        let value = serde_json::to_value(&resolved).unwrap_or_default();
        let keys = value.as_object().into_iter().flatten();
        let kept = keys.filter(|(key, _)| !NOT_IN_A_STEP.contains(&key.as_str()));
        kept.map(|(key, value)| format!("{key} = {value}\n"))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn read(section: &str) -> Result<Settings, String> {
        let text = format!(
            "[run]\nseed = 1\n[source]\npath = \"c\"\n[source.columns]\nurl = \"U\"\ncaption = \"T\"\n\
             [embedding_dims]\nname_tokens = 8\nname_channels = 4\nface = 4\nfeatures = 3\n[train_encoder]\n{section}"
        );
        let manifest = Manifest::parse(Path::new("m.toml"), &text).expect("a manifest");
        Settings::from_manifest(&manifest).map_err(|error| error.to_string())
    }

    #[test]
    fn hidden_takes_one_width_or_two() {
        assert_eq!(read("hidden = 512").expect("one").hidden, [512, 512]);
        assert_eq!(read("hidden = [5, 7]").expect("two").hidden, [5, 7]);
        assert!(read("hidden = [5]").is_err());
    }

    #[test]
    fn from_manifest_rejects_numbers_out_of_range() {
        for section in [
            "batch = 0",
            "steps = 0",
            "learning_rate = 0.0",
            "noise = -1.0",
            "validation = 0.9",
            "checkpoint_every = 0",
            "curve_every = 0",
            "slices = 0",
            "batch = 10\nslices = 4",
            "weight_decay = 0.1",
            "optimizer = \"adamw\"\nweight_decay = -0.1",
            "clip = 0.0",
            "floor = 1.5",
            "schedule_steps = 5",
            "schedule = \"cosine\"\nsteps = 10\nwarmup = 10",
            "validation = 0.0\nkeep = \"best\"",
            "validation = 0.0\npatience = 3",
        ] {
            let text = read(section).expect_err(section);
            assert!(text.contains("[train_encoder]"), "{text}");
        }
        assert!(
            read("learning_rte = 0.1")
                .expect_err("a wrong key")
                .contains("did you mean `learning_rate`?")
        );
    }

    #[test]
    fn more_steps_continue_unless_the_schedule_stretches() {
        let key = |section: &str| read(section).expect(section).step_key();
        assert_eq!(key("steps = 10"), key("steps = 20\npatience = 5"));
        assert_ne!(key("steps = 10"), key("steps = 10\nbatch = 8"));
        let cosine = "schedule = \"cosine\"\n";
        assert_ne!(
            key(&format!("{cosine}steps = 10")),
            key(&format!("{cosine}steps = 20"))
        );
        assert_eq!(
            key(&format!("{cosine}steps = 10")),
            key(&format!("{cosine}steps = 20\nschedule_steps = 10"))
        );
    }
}
