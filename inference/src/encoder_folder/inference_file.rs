//! `inference.json` of the encoder's folder: what else is needed to draw with it, for programs to read.

use std::collections::BTreeMap;

use laioncele_core::{CoreError, Digest, Manifest};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::ImageEncoderSection;
use crate::agreement::AgreementSettings;

/// What a run's encoder is used with. Keys that a later version adds are passed over.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct InferenceFile {
    /// δ of Equation 4.
    pub delta: f32,
    /// η of Equation 5: a number, or `"mean"`.
    pub eta: Value,
    /// Lowest cosine of two faces of one person, for the run's recognizer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub same_person: Option<f64>,
    /// The image encoders whose features it reads.
    pub image_encoders: ImageEncoderFacts,
}

/// The image encoders, by what they hold.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ImageEncoderFacts {
    /// What they computed in.
    pub precision: Value,
    /// `first` and `second` → BLAKE3 of what is read of the folder.
    pub blake3: BTreeMap<String, Digest>,
}

/// The keys of `[generate_samples]` that are read here; the stage checks the others.
#[derive(Deserialize)]
#[serde(default)]
struct Keys {
    delta: f32,
    eta: Value,
}

impl Default for Keys {
    fn default() -> Self {
        let InferenceFile { delta, eta, .. } = InferenceFile::default();
        Self { delta, eta }
    }
}

impl Default for InferenceFile {
    /// The paper's δ and η, and nothing else known.
    fn default() -> Self {
        Self {
            delta: 5.0,
            eta: json!(80.0),
            same_person: None,
            image_encoders: ImageEncoderFacts::default(),
        }
    }
}

impl InferenceFile {
    /// Of a run: its manifest, and the digests of `models` by label.
    ///
    /// # Errors
    /// A manifest with wrong sections.
    pub fn of_run(
        manifest: &Manifest,
        models: &BTreeMap<String, Digest>,
    ) -> Result<Self, CoreError> {
        let Keys { delta, eta } = manifest.section("generate_samples")?;
        let encoders = ImageEncoderSection::from_manifest(manifest)?;
        let files = encoders.model_files();
        let known = files.iter().zip(["first", "second"]);
        let known =
            known.filter_map(|(file, role)| Some((role.to_owned(), *models.get(&file.label)?)));
        let settings = AgreementSettings::from_manifest(manifest).ok();
        Ok(Self {
            delta,
            eta,
            same_person: settings.map(|settings| settings.same_person),
            image_encoders: ImageEncoderFacts {
                precision: json!(encoders.precision),
                blake3: known.collect(),
            },
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sections::testing::manifest;

    #[test]
    fn the_runs_settings_are_written_and_read_again() {
        let manifest = manifest(
            "[models.image_encoders]\nfirst = \"a\"\nsecond = \"b\"\n[generate_samples]\ndelta = 2.0\neta = \"mean\"\n\
             [verify_portraits]\nsame_person = 0.6\n",
        );
        let digest = Digest::of(b"clip");
        let models = BTreeMap::from([("models.image_encoders.first".to_owned(), digest)]);
        let file = InferenceFile::of_run(&manifest, &models).expect("facts");
        assert_eq!((file.delta, &file.eta), (2.0, &json!("mean")));
        assert_eq!(file.same_person, Some(0.6));
        assert_eq!(file.image_encoders.blake3["first"], digest);
        let text = serde_json::to_string(&file).expect("JSON");
        let read: InferenceFile = serde_json::from_str(&text).expect("facts");
        assert_eq!(read, file);
    }
}
