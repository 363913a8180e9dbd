//! What the manifest says of samples, and everything else of it that generation from photos depends on.

use std::path::{Path, PathBuf};

use laioncele_core::ModelFiles;
use laioncele_core::{CoreError, KeyHasher, Manifest};
use laioncele_encoder::Crop;
use laioncele_inference::generation::{Eta, GenerationConfig};
use laioncele_inference::methods::{MethodName, PERSON_WORDS, Preset, with_name};
use laioncele_inference::person_word::Gendered;
use laioncele_inference::references::{self, Person};
use laioncele_inference::{
    FaceSection, ImageEncoderSection, LoraKeys, SchedulerChoice, SdxlSection, training_crop,
};
use laioncele_sdxl::{SamplingSettings, SchedulerKind};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::prompts::Prompts;

/// Rows of one method at most: scales of IP-Adapter.
pub(crate) const MOST_ROWS: usize = 8;

/// `[generate_samples]`; the defaults are the paper's.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// Photos of people that no network was trained on: one photo per person, or one sub-folder per person. The stage
    /// needs it; `laioncele generate` does not.
    pub references: Option<PathBuf>,
    /// Use only the first so many people, by name.
    pub people: Option<usize>,
    /// Use only the first so many photos of each person, by file name; all of them where it is not given. The paper has
    /// one. LaionCele takes the mean of what it predicts of each, IP-Adapter sees all, PhotoMaker repeats the word for the
    /// person.
    pub photos: Option<usize>,
    /// Show only people whom the base model cannot draw by their names, as the paper chooses its twenty: each person of
    /// `references` is a candidate, is drawn by name with `[models.sdxl]`, and is left out where the faces are like the photos'.
    /// `people` then counts those who are chosen, and the run stops where they are fewer.
    pub choose_references: bool,
    /// With `choose_references`: what candidates are drawn as, their names in the place of the person.
    pub choice_prompts: Vec<String>,
    /// With `choose_references`: images of each candidate and prompt.
    pub choice_images: u32,
    /// With `choose_references`: the mean cosine of the faces of images and photos from which on the base model knows the person.
    /// Without it that of a photo and portraits to which the recognizer is calibrated.
    pub reference_threshold: Option<f64>,
    /// What generates images of the people: `laioncele`; `sdxl-name`, SDXL with their names in the prompts (those of their
    /// files, with blanks for underscores); `ip-adapter`, by `[models.ip_adapter]`, and further rows of it with scales of
    /// their own, `ip-adapter-s0.6`; `photomaker`, by `[models.photomaker]`. All have the same people, prompts and noise.
    pub methods: Vec<MethodName>,
    /// With which settings the methods other than `laioncele` generate: `common` is those of this section, `recommended`
    /// what their authors recommend (docs/baselines.md lists it).
    pub settings: Preset,
    /// What to show: a list of prompts, lists by group, or `"paper"`: the paper's forty as printed, with its misprint.
    pub prompts: Prompts,
    /// Images of each person and prompt.
    pub images_per_prompt: u32,
    /// Images of the base model, with no name prepended, for each prompt; as many as of one person where it is not
    /// given. 0 generates none.
    #[serde(alias = "plain_images_per_prompt")]
    pub base_images_per_prompt: Option<u32>,
    /// Write "man" or "woman" for "person" in the prompts of all methods: as `references.csv` beside the photos says (columns
    /// `person` and `word`), else as the gender network guesses from the first reference photo, from 0.5 on. Without such a
    /// network, or a face, the word stays. The base model's images have the people's words in equal shares. `"Man"` writes
    /// "Man" and "Woman", as the paper prints them. It is a guess about pictures, not about people.
    pub gendered: Gendered,
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
    /// A U-Net to generate with instead of that of `[models.sdxl]`: a folder, or one safetensors file of weights for the
    /// model's own `unet/config.json`. Names and portraits stay those of `[models.sdxl]`.
    pub unet: Option<PathBuf>,
    /// LoRAs that are merged for samples alone, beside those of `[models.sdxl]`: `[[generate_samples.lora]]` with a `file`
    /// and perhaps a `strength`. Names and portraits stay those of `[models.sdxl]`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub lora: Vec<LoraKeys>,
    /// δ of Equation 4: how far a predicted name goes away from the mean name.
    pub delta: f32,
    /// η of Equation 5: the length that it is brought to.
    pub eta: Eta,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            references: None,
            people: None,
            photos: None,
            choose_references: false,
            choice_prompts: vec!["a portrait of a person".to_owned()],
            choice_images: 4,
            reference_threshold: None,
            methods: vec![MethodName::LaionCele],
            settings: Preset::Common,
            prompts: Prompts::default(),
            images_per_prompt: 5,
            base_images_per_prompt: None,
            gendered: Gendered::Set(true),
            guidance: 7.0,
            steps: 100,
            scheduler: SchedulerChoice(Some(SchedulerKind::Ddim)),
            width: None,
            height: None,
            unet: None,
            lora: Vec::new(),
            delta: 5.0,
            eta: Eta::Length(80.0),
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

    /// Whether LaionCele is among the methods.
    pub(crate) fn draws_laioncele(&self) -> bool {
        self.methods.contains(&MethodName::LaionCele)
    }

    /// Why the methods cannot be met, if they cannot.
    fn fault(&self) -> Option<String> {
        if self.photos == Some(0) {
            return Some("photos = 0 is not possible: 1 or more is expected".to_owned());
        }
        if let Some(fault) = self.choice_fault() {
            return Some(fault);
        }
        let repeated = |(at, method): (usize, &MethodName)| self.methods[..at].contains(method);
        if let Some((_, method)) = self.methods.iter().enumerate().find(|m| repeated(*m)) {
            return Some(format!("methods has {method} twice"));
        }
        let adapters = self.methods.iter();
        let adapters = adapters.filter(|method| matches!(method, MethodName::IpAdapter(_)));
        if adapters.count() > MOST_ROWS {
            return Some(format!(
                "methods has more than {MOST_ROWS} rows of ip-adapter"
            ));
        }
        // LaionCele and IP-Adapter take prompts as they are.
        let needy = [MethodName::SdxlName, MethodName::PhotoMaker];
        let needy = needy
            .into_iter()
            .find(|method| self.methods.contains(method))?;
        let prompts = self.prompts.all();
        let (_, prompt) = prompts.iter().find(|(_, p)| with_name(p, "").is_none())?;
        Some(format!(
            "the prompt {prompt:?} has none of the words {PERSON_WORDS}, which the method {needy} needs"
        ))
    }

    /// What is wrong with the settings of the choice, if anything is.
    fn choice_fault(&self) -> Option<String> {
        if self.choice_images == 0 || self.choice_prompts.is_empty() {
            return Some("choice_images and choice_prompts must not be 0 or empty".to_owned());
        }
        if let Some(prompt) = (self.choice_prompts.iter()).find(|p| with_name(p, "").is_none()) {
            return Some(format!(
                "choice_prompts: {prompt:?} has none of the words {PERSON_WORDS}, whose place a name takes"
            ));
        }
        let threshold = self.reference_threshold?;
        (!(-1.0..=1.0).contains(&threshold))
            .then(|| format!("reference_threshold is {threshold}: a cosine is between -1 and 1"))
    }

    /// Images of the base model for each prompt.
    pub fn base_images(&self) -> u32 {
        self.base_images_per_prompt
            .unwrap_or(self.images_per_prompt)
    }
}

/// All that this stage reads of the manifest, paths resolved.
#[derive(Clone, Debug)]
pub struct StageConfig {
    /// The stage's own section.
    pub settings: Settings,
    /// The run's seed.
    pub run_seed: u64,
    /// The folder of reference photos.
    pub references: Option<PathBuf>,
    /// `[models.sdxl]`, with this stage's U-Net and LoRAs
    pub sdxl: SdxlSection,
    /// `[models.image_encoders]`
    pub image_encoders: ImageEncoderSection,
    /// `[models.face]`; `None` if no setting needs faces.
    pub face: Option<FaceSection>,
    /// `crop` of `[train_encoder]`: inference crops as training did.
    pub crop: Crop,
}

impl StageConfig {
    /// Reads the manifest.
    ///
    /// # Errors
    /// Unknown keys, wrong types, missing models.
    pub fn from_manifest(manifest: &Manifest) -> Result<Self, CoreError> {
        let settings: Settings = manifest.section("generate_samples")?;
        if let Some(fault) = settings.fault() {
            return Err(manifest.error(format!("[generate_samples] {fault}")));
        }
        let crop = training_crop(manifest)?;
        let mut sdxl = SdxlSection::from_manifest(manifest)?;
        if let Some(unet) = &settings.unet {
            sdxl.files.unet = Some(manifest.resolve_model(unet)?);
        }
        for lora in &settings.lora {
            (sdxl.files.loras).push(lora.resolved(manifest, "[[generate_samples.lora]]")?);
        }
        let gendered = settings.gendered.is_on();
        let face = if gendered || crop == Crop::Face {
            let section = FaceSection::from_manifest(manifest)?;
            Some(if gendered {
                section
            } else {
                section.without_gender()
            })
        } else {
            None
        };
        Ok(Self {
            run_seed: manifest.run.seed,
            references: references::folder(manifest)?,
            sdxl,
            image_encoders: ImageEncoderSection::from_manifest(manifest)?,
            face,
            crop,
            settings,
        })
    }

    /// What the pipeline is loaded with.
    pub fn generation(&self) -> GenerationConfig {
        GenerationConfig {
            sdxl: self.sdxl.files.clone(),
            negative: self.sdxl.unconditional.negative(),
            image_encoders: self.image_encoders.clone(),
            face: self.face.as_ref().map(|section| section.files.clone()),
            crop: self.crop,
            sampling: self.settings.sampling(),
            delta: self.settings.delta,
            eta: self.settings.eta,
        }
    }

    /// Everybody with reference photos.
    ///
    /// # Errors
    /// No `references`, or a folder that cannot be read.
    pub fn candidates(&self, manifest: &Manifest) -> Result<Vec<Person>, CoreError> {
        let mut people = references::people(self.references(manifest)?)?;
        for person in &mut people {
            (person.photos).truncate(self.settings.photos.unwrap_or(usize::MAX));
        }
        Ok(people)
    }

    /// The people to show, of all of whom `is_chosen` says that they may be.
    ///
    /// # Errors
    /// As [`StageConfig::candidates`].
    pub(crate) fn people_among(
        &self,
        manifest: &Manifest,
        is_chosen: impl Fn(&str) -> bool,
    ) -> Result<Vec<Person>, CoreError> {
        let mut people = self.candidates(manifest)?;
        people.retain(|person| is_chosen(&person.name));
        people.truncate(self.settings.people.unwrap_or(usize::MAX));
        Ok(people)
    }

    /// Everybody of whom a report may show the photo: the candidates where people are chosen, else those who are drawn.
    ///
    /// # Errors
    /// As [`StageConfig::candidates`].
    pub fn shown(&self, manifest: &Manifest) -> Result<Vec<Person>, CoreError> {
        match self.settings.choose_references {
            true => self.candidates(manifest),
            false => self.people_among(manifest, |_| true),
        }
    }

    /// How many people are shown at most: what work is cut by before anybody is chosen.
    ///
    /// # Errors
    /// As [`StageConfig::candidates`].
    pub(crate) fn most_people(&self, manifest: &Manifest) -> Result<usize, CoreError> {
        Ok(self.people_among(manifest, |_| true)?.len())
    }

    pub(crate) fn references(&self, manifest: &Manifest) -> Result<&Path, CoreError> {
        let folder = self.references.as_deref();
        folder.ok_or_else(|| references::missing(manifest))
    }

    /// The settings of the step's key.
    pub(crate) fn key_settings(&self) -> Value {
        let s = &self.settings;
        let mut settings = json!({
            "people": s.people, "prompts": s.prompts,
            "images_per_prompt": s.images_per_prompt, "plain_images_per_prompt": s.base_images(),
            "gendered": s.gendered, "guidance": s.guidance, "steps": s.steps, "scheduler": s.scheduler,
            "width": s.width, "height": s.height, "delta": s.delta, "eta": s.eta,
            "run": { "seed": self.run_seed },
            "train_encoder": { "crop": self.crop },
            "models": {
                "sdxl": self.sdxl.image_settings(),
                "image_encoders": { "precision": self.image_encoders.precision },
            },
        });
        if let Some(photos) = s.photos {
            settings["photos"] = json!(photos);
        }
        if !s.draws_laioncele() {
            settings["laioncele"] = json!(false);
        }
        settings
    }

    /// The models of the step's key, the reference photos among them.
    ///
    /// # Errors
    /// No `references`.
    pub(crate) fn models(&self, manifest: &Manifest) -> Result<Vec<ModelFiles>, CoreError> {
        let references = self.references(manifest)?.to_owned();
        let mut files = vec![references::model_files(references)];
        files.extend(self.sdxl.text_model_files());
        files.extend(self.sdxl.image_model_files());
        files.extend(self.image_encoders.model_files());
        files.extend(self.face.iter().flat_map(FaceSection::model_files));
        Ok(files)
    }

    /// The seed of a sample. `prompt` is as the manifest has it, so that a gender guess changes no seed.
    pub(crate) fn seed(&self, person: &str, prompt: &str, index: u32) -> u64 {
        KeyHasher::new("sample-seed")
            .number("run_seed", self.run_seed)
            .text("person", person)
            .text("prompt", prompt)
            .number("index", u64::from(index))
            .finish()
            .low_u64()
    }
}
