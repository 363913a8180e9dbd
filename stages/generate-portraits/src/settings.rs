//! What the manifest says of portraits, and the digest of all that a portrait depends on.

use laioncele_core::ModelFiles;
use laioncele_core::key::KeyParts;
use laioncele_core::table::NameEmbedding;
use laioncele_core::{CoreError, Digest, KeyHasher, Manifest, NameId};
use laioncele_inference::agreement::AgreementSettings;
use laioncele_inference::{FaceSection, SchedulerChoice, SdxlSection};
use laioncele_sdxl::{SamplingSettings, SchedulerKind};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::format::{Encoding, PortraitFormat};

/// `[generate_portraits]`; the defaults are the paper's.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// The prompt that the name is prepended to.
    pub prompt: String,
    /// γ of classifier-free guidance against the empty prompt.
    pub guidance: f32,
    /// Denoising steps.
    pub steps: usize,
    /// `ddim`, `euler`, `euler_ancestral`, `heun`, `dpmpp_2m`, `dpmpp_2m_sde`, `unipc`, `lcm`, `tcd`, or `model` for the one that the folder names.
    pub scheduler: SchedulerChoice,
    /// Pixels; the model's own size (1024 for SDXL) where it is not given.
    pub width: Option<usize>,
    /// Pixels; the model's own size where it is not given.
    pub height: Option<usize>,
    /// Generate the third and fourth portrait only if the first two show one person.
    pub lazy: bool,
    /// `png`, `webp` (lossless, a quarter smaller) or `jpeg` (a tenth). Portraits of one lossless format are taken over into
    /// any other; those of `jpeg` are not.
    pub format: PortraitFormat,
    /// Quality of `jpeg`, from 1 to 100.
    pub jpeg_quality: u8,
    /// `all`; `known`: `laioncele gc --delete` takes away the images of names that verify-portraits dropped; `none`: of all
    /// names. What was found in them stays, nothing runs for it, and a step that needs them again has them drawn again.
    pub keep_portraits: KeepPortraits,
}

/// Whose portraits keep their images once all steps have looked at them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum KeepPortraits {
    /// Those of all names.
    #[default]
    All,
    /// Those of names that SDXL knows.
    Known,
    /// Nobody's.
    None,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            prompt: "a portrait of a person".to_owned(),
            guidance: 7.0,
            steps: 100,
            scheduler: SchedulerChoice(Some(SchedulerKind::Ddim)),
            width: None,
            height: None,
            lazy: true,
            format: PortraitFormat::Png,
            jpeg_quality: 95,
            keep_portraits: KeepPortraits::All,
        }
    }
}

impl Settings {
    /// How the images are sampled.
    pub fn sampling(&self) -> SamplingSettings {
        SamplingSettings {
            scheduler: self.scheduler.0,
            steps: self.steps,
            guidance: self.guidance,
            height: self.height,
            width: self.width,
            sizes: None,
            steps_done: None,
        }
    }
}

/// All that this stage reads of the manifest.
#[derive(Clone, Debug)]
pub struct StageConfig {
    /// The stage's own section.
    pub settings: Settings,
    /// The run's seed.
    pub run_seed: u64,
    /// `[models.sdxl]`, resolved.
    pub sdxl: SdxlSection,
    /// What a lazy run compares the first two portraits with; `None` if all are generated anyway.
    pub pair_check: Option<PairCheck>,
}

/// What a lazy run compares two portraits with.
#[derive(Clone, Debug)]
pub struct PairCheck {
    /// `[models.face]`, without the gender network.
    pub face: FaceSection,
    /// `same_person` of `[verify_portraits]`.
    pub same_person: f32,
}

impl StageConfig {
    /// Reads the manifest.
    ///
    /// # Errors
    /// Unknown keys, wrong types, missing models.
    pub fn from_manifest(manifest: &Manifest) -> Result<Self, CoreError> {
        let settings: Settings = manifest.section("generate_portraits")?;
        if !(1..=100).contains(&settings.jpeg_quality) {
            let quality = settings.jpeg_quality;
            return Err(manifest.error(format!(
                "[generate_portraits] jpeg_quality must be from 1 to 100, not {quality}"
            )));
        }
        let pair_check = settings.lazy.then(|| PairCheck::from_manifest(manifest));
        Ok(Self {
            run_seed: manifest.run.seed,
            sdxl: SdxlSection::from_manifest(manifest)?,
            settings,
            pair_check: pair_check.transpose()?,
        })
    }

    /// How portraits become files.
    pub(crate) fn encoding(&self) -> Encoding {
        Encoding {
            format: self.settings.format,
            jpeg_quality: self.settings.jpeg_quality,
        }
    }

    /// What a portrait's pixels depend on besides models, name and seed, before it becomes a file.
    fn image_settings(&self) -> Value {
        let s = &self.settings;
        json!({
            "prompt": s.prompt, "guidance": s.guidance, "steps": s.steps, "scheduler": s.scheduler,
            "width": s.width, "height": s.height, "models": { "sdxl": self.sdxl.image_settings() },
        })
    }

    /// The settings of the step's key.
    pub fn key_settings(&self) -> Value {
        let mut settings = self.image_settings();
        settings["lazy"] = self.settings.lazy.into();
        if self.settings.format != PortraitFormat::Png {
            settings["format"] = json!(self.settings.format);
        }
        if self.settings.format == PortraitFormat::Jpeg {
            settings["jpeg_quality"] = self.settings.jpeg_quality.into();
        }
        settings["run"] = json!({ "seed": self.run_seed });
        if let Some(check) = &self.pair_check {
            settings["verify_portraits"] = json!({ "same_person": check.same_person });
        }
        settings
    }

    /// The models of the step's key.
    pub(crate) fn models(&self) -> Vec<ModelFiles> {
        let mut files = self.sdxl.text_model_files();
        files.extend(self.sdxl.image_model_files());
        let checks = self.pair_check.iter();
        files.extend(checks.flat_map(|check| check.face.model_files()));
        files
    }

    /// Digest of all that the pixels of a name's portrait depend on besides its seed: settings, SDXL's files (as the
    /// task's key has them), the name embedding, and this code's `version`. Neither the threshold nor laziness is in
    /// it: they change which portraits are generated, never how; nor is a lossless format.
    pub fn digest(&self, key: &KeyParts, version: u32, name: &NameEmbedding) -> Digest {
        let mut settings = self.image_settings();
        if self.settings.format == PortraitFormat::Jpeg {
            settings["jpeg_quality"] = self.settings.jpeg_quality.into();
        }
        digest(&settings, key, version, name)
    }

    /// The digest of the same portrait in a lossless format.
    pub(crate) fn lossless_digest(
        &self,
        key: &KeyParts,
        version: u32,
        name: &NameEmbedding,
    ) -> Digest {
        digest(&self.image_settings(), key, version, name)
    }

    /// The seed of a name's portrait: the same on every machine, worker and batch order.
    pub(crate) fn seed(&self, name_id: NameId, index: u32) -> u64 {
        KeyHasher::new("portrait-seed")
            .number("run_seed", self.run_seed)
            .number("name_id", name_id.0)
            .number("index", u64::from(index))
            .finish()
            .low_u64()
    }
}

fn digest(settings: &Value, key: &KeyParts, version: u32, name: &NameEmbedding) -> Digest {
    let embedding: Vec<u8> = (name.embedding.0.iter())
        .flat_map(|v| v.to_le_bytes())
        .collect();
    let mut hasher = KeyHasher::new("portrait")
        .number("version", u64::from(version))
        .text("drawing", &settings.to_string())
        .bytes("embedding", &embedding);
    for (label, digest) in key.models.iter().filter(|m| m.0.starts_with("models.sdxl")) {
        hasher = hasher.digest(label, *digest);
    }
    hasher.finish()
}

impl PairCheck {
    fn from_manifest(manifest: &Manifest) -> Result<Self, CoreError> {
        Ok(Self {
            face: FaceSection::from_manifest(manifest)?.without_gender(),
            same_person: AgreementSettings::from_manifest(manifest)?.threshold(),
        })
    }
}
