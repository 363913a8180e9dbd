//! What an image's file says of how it was made: all that was asked for, and no folder of this machine.

use std::fmt::Write as _;

use laioncele_core::file_digests::FileDigests;
use laioncele_core::{CoreError, Digest, ModelFiles};
use laioncele_inference::SdxlSection;
use laioncele_inference::generation::Eta;
use laioncele_sdxl::{Naming, NegativePrompt, SamplingSettings, Sdxl};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::person::file_name;

/// The key of the text that programs read.
pub(super) const KEY: &str = "laioncele";
/// The key of the text that web UIs write and people's tools read.
const PARAMETERS: &str = "parameters";

/// How an image was made.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct AboutImage {
    /// `laioncele` and its version.
    pub program: String,
    /// `laioncele`, `sdxl-name`, `ip-adapter`, `photomaker`.
    pub method: String,
    /// As it was given.
    pub prompt: String,
    /// The text that was guided away from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub negative_prompt: Option<String>,
    /// What was guided away from: `text`, `empty` text, `zeros`, or `model` for what the model's folder says.
    pub unconditional: String,
    /// A name, files with digests, a seed of somebody fictional, or two of them and a share.
    pub person: Value,
    /// The noise's seed; none where the noise was given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub seed: Option<u64>,
    /// Where the noise was given: the file and its row.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub latents: Option<Value>,
    pub scheduler: String,
    pub steps: usize,
    pub guidance: f32,
    pub width: usize,
    pub height: usize,
    /// How the name went into the prompt.
    pub naming: String,
    /// δ and η of Equations 4 and 5, where they were asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub delta: Option<f32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub eta: Option<Value>,
    /// Other settings of a method.
    #[serde(default, skip_serializing_if = "Value::is_null")]
    pub more: Value,
    /// What the image was computed with.
    pub models: Vec<ModelFact>,
}

/// A model's part.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct ModelFact {
    /// `sdxl.unet`, `sdxl.file`, `sdxl.lora.NAME@STRENGTH`, `encoder`, …
    pub part: String,
    /// The file's or folder's name.
    pub file: String,
    /// Digest of what is read of it.
    pub blake3: String,
}

impl ModelFact {
    /// Of each of `files`.
    ///
    /// # Errors
    /// Files that are missing.
    pub(super) fn of_files(
        files: &[ModelFiles],
        digests: &FileDigests,
    ) -> Result<Vec<Self>, CoreError> {
        let mut facts: Vec<Self> = Vec::new();
        for model in files {
            let part = model.label.strip_prefix("models.").unwrap_or(&model.label);
            if facts.iter().all(|fact| fact.part != part) {
                facts.push(Self {
                    part: part.to_owned(),
                    file: file_name(&model.path),
                    blake3: digests.of_model(model)?.to_string(),
                });
            }
        }
        Ok(facts)
    }

    /// Of all that an SDXL draws with.
    ///
    /// # Errors
    /// As [`ModelFact::of_files`].
    pub(super) fn of_sdxl(
        section: &SdxlSection,
        digests: &FileDigests,
    ) -> Result<Vec<Self>, CoreError> {
        let mut files = section.text_model_files();
        files.extend(section.image_model_files());
        Self::of_files(&files, digests)
    }

    /// The trained encoder, whose files these digests are of.
    pub(super) fn encoder(digests: &[Digest]) -> Self {
        let digests: Vec<String> = digests.iter().map(Digest::to_string).collect();
        Self {
            part: "encoder".to_owned(),
            file: "encoder".to_owned(),
            blake3: digests.join(" "),
        }
    }
}

impl AboutImage {
    /// Notes what was guided away from.
    pub(super) fn note_negative(&mut self, negative: &NegativePrompt) {
        let (kind, text) = match negative {
            NegativePrompt::Model => ("model", None),
            NegativePrompt::Zeros => ("zeros", None),
            NegativePrompt::Empty => ("empty", None),
            NegativePrompt::Text(text) => ("text", Some(text.clone())),
        };
        kind.clone_into(&mut self.unconditional);
        self.negative_prompt = text;
    }

    /// What all images of a call share.
    ///
    /// # Errors
    /// A scheduler's configuration that is not supported.
    pub(super) fn shared(
        method: &str,
        sdxl: &Sdxl,
        sampling: &SamplingSettings,
        models: Vec<ModelFact>,
    ) -> laioncele_sdxl::Result<Self> {
        let (schedule, _) = sdxl.schedule_config(sampling)?;
        let edge = sdxl.image_size();
        Ok(Self {
            program: format!("laioncele {}", env!("CARGO_PKG_VERSION")),
            method: method.to_owned(),
            scheduler: schedule.kind.name().to_owned(),
            steps: sampling.steps,
            guidance: sampling.guidance,
            width: sampling.width.unwrap_or(edge),
            height: sampling.height.unwrap_or(edge),
            naming: Naming::Prepend.to_string(),
            models,
            ..Self::default()
        })
    }

    /// With δ and η, for a name that was predicted.
    pub(super) fn guided(mut self, delta: f32, eta: Eta) -> Self {
        self.delta = Some(delta);
        self.eta = serde_json::to_value(eta).ok();
        self
    }

    /// One image of them.
    pub(super) fn of(&self, prompt: &str, person: &Value, seed: u64) -> Self {
        Self {
            prompt: prompt.to_owned(),
            person: person.clone(),
            seed: Some(seed),
            ..self.clone()
        }
    }

    /// The texts of the file, by key.
    pub(super) fn texts(&self) -> [(&'static str, String); 2] {
        let json = serde_json::to_string(self).unwrap_or_default();
        [(PARAMETERS, self.parameters()), (KEY, json)]
    }

    /// Whether a file's text under [`KEY`] tells of the same request, whichever version of the program wrote it.
    pub(super) fn same_request(&self, text: &str) -> bool {
        let plain = |text: &str| {
            let mut value: Value = serde_json::from_str(text).ok()?;
            value.as_object_mut()?.remove("program");
            Some(value)
        };
        let own = serde_json::to_string(self).unwrap_or_default();
        plain(&own).is_some_and(|own| plain(text) == Some(own))
    }

    /// In a few words, for who wonders what a file shows.
    pub(super) fn summary(&self) -> String {
        let who = person_text(&self.person);
        let who = if who.is_empty() {
            "nobody in particular"
        } else {
            &who
        };
        let seed = self
            .seed
            .map_or_else(String::new, |seed| format!(", seed {seed}"));
        format!("{who}, {:?}{seed}, {} steps", self.prompt, self.steps)
    }

    /// As AUTOMATIC1111's web UI writes it.
    fn parameters(&self) -> String {
        let mut text = self.prompt.clone();
        if let Some(negative) = &self.negative_prompt {
            let _ = write!(text, "\nNegative prompt: {negative}");
        }
        let sampler = match self.scheduler.as_str() {
            "euler" => "Euler",
            "euler_ancestral" => "Euler a",
            "dpmpp_2m" => "DPM++ 2M",
            "dpmpp_2m_sde" => "DPM++ 2M SDE",
            "heun" => "Heun",
            "unipc" => "UniPC",
            "ddim" => "DDIM",
            "lcm" => "LCM",
            "tcd" => "TCD",
            other => other,
        };
        let _ = write!(
            text,
            "\nSteps: {}, Sampler: {sampler}, CFG scale: {}",
            self.steps, self.guidance
        );
        if let Some(seed) = self.seed {
            let _ = write!(text, ", Seed: {seed}");
        }
        let _ = write!(text, ", Size: {}x{}", self.width, self.height);
        let model = self.models.iter();
        let mut model = model.filter(|m| ["sdxl.file", "sdxl.unet"].contains(&m.part.as_str()));
        if let Some(model) = model.next() {
            let name = model
                .file
                .trim_end_matches(".safetensors")
                .replace(',', " ");
            let _ = write!(text, ", Model: {name}");
        }
        let who = person_text(&self.person);
        if !who.is_empty() {
            let _ = write!(text, ", Person: {who:?}");
        }
        let _ = write!(text, ", Version: {}", self.program);
        text
    }
}

/// A person's JSON in a few words; nothing for nobody.
pub(super) fn person_text(person: &Value) -> String {
    let file = |value: &Value| value["file"].as_str().unwrap_or_default().to_owned();
    if let Some(name) = person["name"].as_str() {
        return name.to_owned();
    }
    if let Some(seed) = person["fictional"].as_u64() {
        return format!("fictional {seed}");
    }
    if person["name_file"].is_object() {
        return file(&person["name_file"]);
    }
    if let Some(photos) = person["photos"].as_array() {
        let first = photos.first().map(file).unwrap_or_default();
        let more = photos.len() as u64 + person["more_photos"].as_u64().unwrap_or(0);
        return match more {
            0 | 1 => first,
            more => format!("{first} and {} other photos", more - 1),
        };
    }
    if person["from"].is_object() {
        let (from, to) = (person_text(&person["from"]), person_text(&person["to"]));
        let share = person["share"].as_f64().unwrap_or(0.0);
        return format!("{from} to {to} at {share}");
    }
    String::new()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn about() -> AboutImage {
        AboutImage {
            program: "laioncele 0.1.0".to_owned(),
            method: "laioncele".to_owned(),
            prompt: "a person in the snow".to_owned(),
            negative_prompt: Some("blurry".to_owned()),
            unconditional: "text".to_owned(),
            person: json!({ "name": "Mira Castellan" }),
            seed: Some(7),
            scheduler: "dpmpp_2m".to_owned(),
            steps: 20,
            guidance: 6.5,
            width: 832,
            height: 1216,
            naming: "prepend".to_owned(),
            delta: Some(0.1),
            models: vec![ModelFact {
                part: "sdxl.file".to_owned(),
                file: "fine-tune.safetensors".to_owned(),
                blake3: "ab".to_owned(),
            }],
            ..AboutImage::default()
        }
    }

    #[test]
    fn parameters_are_those_that_web_uis_write() {
        let [(key, text), _] = about().texts();
        assert_eq!(key, "parameters");
        let expected = "a person in the snow\nNegative prompt: blurry\nSteps: 20, Sampler: DPM++ 2M, CFG scale: 6.5, Seed: 7, \
                        Size: 832x1216, Model: fine-tune, Person: \"Mira Castellan\", Version: laioncele 0.1.0";
        assert_eq!(text, expected);
    }

    #[test]
    fn a_request_is_the_same_in_another_version_only() {
        let (about, mut other) = (about(), about());
        other.program = "laioncele 0.2.0".to_owned();
        let text = |about: &AboutImage| about.texts()[1].1.clone();
        assert!(about.same_request(&text(&other)));
        other.seed = Some(8);
        assert!(!about.same_request(&text(&other)));
        assert!(!about.same_request("no JSON") && !about.same_request("[]"));
    }

    #[test]
    fn people_are_said_in_a_few_words() {
        let photo = |file: &str| json!({ "file": file, "blake3": "00" });
        let cases = [
            (json!(null), ""),
            (json!({ "fictional": 3 }), "fictional 3"),
            (json!({ "photos": [photo("a.jpg")] }), "a.jpg"),
            (
                json!({ "photos": [photo("a.jpg"), photo("b.jpg")], "more_photos": 4 }),
                "a.jpg and 5 other photos",
            ),
            (
                json!({ "from": { "name": "A B" }, "to": { "name_file": photo("c.safetensors") }, "share": 0.25 }),
                "A B to c.safetensors at 0.25",
            ),
        ];
        for (person, text) in cases {
            assert_eq!(person_text(&person), text);
        }
    }
}
