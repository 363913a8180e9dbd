//! `[models.photomaker]`

use std::path::PathBuf;

use laioncele_core::ModelFiles;
use laioncele_core::{CoreError, Manifest};
use laioncele_encoder::Crop;
use serde::Deserialize;
use serde_json::{Value, json};

use super::label;

/// `[models.photomaker]`: PhotoMaker V1, one of the methods that `[generate_samples] methods` compares.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Keys {
    /// `photomaker-v1.bin` of TencentARC/PhotoMaker, converted to safetensors format (docs/baselines.md says how).
    file: PathBuf,
    /// A JSON file with the numbers of the file's image tower, in the form of a CLIP vision model's config.json; only for
    /// files of another tower than the official one's.
    vision: Option<PathBuf>,
    /// The word that follows the word for the person in a prompt. It is put there where a prompt has none.
    #[serde(default = "img")]
    trigger: String,
    /// The last step, counted from 0, that knows only the text; -1 lets the person join at once. By default what the
    /// method's settings say: a fifth of the steps, or 10 where they are `recommended`.
    start_merge_step: Option<i64>,
    /// What is seen of a photo: the `face`, or the `whole` of it.
    #[serde(default = "whole")]
    photo: Crop,
}

fn img() -> String {
    "img".to_owned()
}

fn whole() -> Crop {
    Crop::Whole
}

/// `[models.photomaker]` with its paths resolved.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PhotoMakerSection {
    /// The networks.
    pub file: PathBuf,
    /// The image tower's numbers, if it is not the official one.
    pub vision: Option<PathBuf>,
    /// The word behind the word for the person.
    pub trigger: String,
    /// The last step that knows only the text; -1 or more.
    pub start_merge_step: Option<i64>,
    /// What is seen of a photo.
    pub photo: Crop,
}

impl PhotoMakerSection {
    /// Reads the section.
    ///
    /// # Errors
    /// [`CoreError::Manifest`]: the section is absent, has an unknown key, a wrong type, an empty trigger word, or a step
    /// before -1.
    pub fn from_manifest(manifest: &Manifest) -> Result<Self, CoreError> {
        let keys: Keys = manifest.model("photomaker")?;
        if keys.trigger.trim().is_empty() {
            let text = "[models.photomaker] trigger is empty: a word is expected";
            return Err(manifest.error(text.to_owned()));
        }
        if let Some(step) = keys.start_merge_step.filter(|step| *step < -1) {
            let text = format!(
                "[models.photomaker] start_merge_step = {step} is not possible: -1 or more is expected"
            );
            return Err(manifest.error(text));
        }
        Ok(Self {
            file: manifest.resolve_model(&keys.file)?,
            vision: manifest.resolve_given(keys.vision.as_deref())?,
            trigger: keys.trigger,
            start_merge_step: keys.start_merge_step,
            photo: keys.photo,
        })
    }

    /// What images depend on besides files and steps.
    pub fn image_settings(&self) -> Value {
        json!({ "trigger": self.trigger, "photo": self.photo })
    }

    /// The file, as a step's key names it.
    pub fn model_files(&self) -> Vec<ModelFiles> {
        let file =
            |role: &str, path: &PathBuf| ModelFiles::file(label("photomaker", role), path.clone());
        let vision = self.vision.iter().map(|path| file("vision", path));
        std::iter::once(file("file", &self.file))
            .chain(vision)
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sections::testing::manifest;

    fn read(lines: &str) -> Result<PhotoMakerSection, CoreError> {
        let text = format!("[models.photomaker]\nfile = \"v1.safetensors\"\n{lines}\n");
        PhotoMakerSection::from_manifest(&manifest(&text))
    }

    #[test]
    fn labels_paths_and_settings_are_those_of_task_keys() {
        let section = read("vision = \"v.json\"").expect("a section");
        let labels = section.model_files().into_iter().map(|f| (f.label, f.path));
        let expected = [
            ("models.photomaker.file", "/run/v1.safetensors"),
            ("models.photomaker.vision", "/run/v.json"),
        ];
        let expected = expected.map(|(label, path)| (label.to_owned(), PathBuf::from(path)));
        assert_eq!(labels.collect::<Vec<_>>(), expected);
        assert_eq!(
            section.image_settings(),
            json!({ "trigger": "img", "photo": "whole" })
        );
    }

    #[test]
    fn steps_and_triggers_are_checked() {
        assert_eq!(
            read("start_merge_step = -1")
                .expect("at once")
                .start_merge_step,
            Some(-1)
        );
        let fails = |line: &str, part: &str| {
            let error = read(line).expect_err(line).to_string();
            assert!(error.contains(part), "{error}");
        };
        fails("start_merge_step = -2", "-1 or more");
        fails("trigger = \" \"", "trigger is empty");
        fails("triger = \"x\"", "did you mean `trigger`?");
    }
}
