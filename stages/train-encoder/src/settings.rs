//! `[train_encoder]` of the manifest.

use laioncele_core::{CoreError, Manifest};
use laioncele_encoder::{Activation, Crop};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::{Value, json};

/// `[train_encoder]`. Learning rate, optimizer and loss of the defaults are the paper's; where it
/// is silent (widths, batch, steps, noise) they are ours.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// Optimizer steps.
    pub steps: u64,
    /// Examples in a step: each a person chosen at random, then one of their photos, so that people
    /// with many photos do not count more.
    pub batch: usize,
    /// Adam's learning rate.
    pub learning_rate: f32,
    /// Widths between the three layers: `[a, b]`, or one number for both.
    #[serde(deserialize_with = "one_or_two")]
    pub hidden: [usize; 2],
    /// What stands between the layers.
    pub activation: Activation,
    /// Standard deviation of the normal noise added to the standardized features; 0 for none.
    pub noise: f32,
    /// What the image encoders see: the square around the face, or the whole photo.
    pub crop: Crop,
    /// Fraction of the people, in [0, 0.5], whose photos are never trained on.
    pub validation: f64,
    /// Steps between checkpoints. Changes no result.
    pub checkpoint_every: u64,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            steps: 100_000,
            batch: 64,
            learning_rate: 1e-4,
            hidden: [4096, 4096],
            activation: Activation::Gelu,
            noise: 0.0,
            crop: Crop::Face,
            validation: 0.02,
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

impl Settings {
    /// Reads and checks the section.
    ///
    /// # Errors
    /// An unknown key, a wrong type, a number out of range.
    pub fn from_manifest(manifest: &Manifest) -> Result<Self, CoreError> {
        let settings: Self = manifest.section("train_encoder")?;
        let positive = |value: f32| value.is_finite() && value > 0.0;
        let problem = if settings.steps == 0 || settings.batch == 0 {
            "steps and batch must be at least 1"
        } else if settings.batch > 1 << 16 {
            "batch must be at most 65536"
        } else if !positive(settings.learning_rate) {
            "learning_rate must be positive"
        } else if !(settings.noise.is_finite() && settings.noise >= 0.0) {
            "noise must not be negative"
        } else if !(0.0..=0.5).contains(&settings.validation) {
            "validation must be in [0, 0.5]"
        } else if settings.checkpoint_every == 0 {
            "checkpoint_every must be at least 1"
        } else {
            return Ok(settings);
        };
        Err(manifest.error(format!("[train_encoder] {problem}")))
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
}
