//! What a method that LaionCele is compared with is loaded with, and what its images depend on.

use laioncele_core::{CoreError, Manifest, ModelFiles};
use laioncele_encoder::Crop;
use laioncele_inference::methods::{BaselineMethod, MethodConfig, MethodName, PresetSettings};
use laioncele_inference::references;
use laioncele_inference::{FaceSection, IpAdapterSection, PhotoMakerSection};
use laioncele_sdxl::NegativePrompt;
use serde_json::{Value, json};

use crate::settings::StageConfig;

impl StageConfig {
    /// What `method` is loaded with, as the manifest and the preset say; the caller asks for no LaionCele, which
    /// [`StageConfig::generation`] is about.
    ///
    /// # Errors
    /// A section that the method needs is missing or wrong.
    pub fn method(
        &self,
        manifest: &Manifest,
        method: MethodName,
    ) -> Result<MethodConfig, CoreError> {
        let preset = self.settings.settings;
        let common = PresetSettings {
            negative: self.sdxl.unconditional.negative(),
            sampling: self.settings.sampling(),
        };
        let PresetSettings { negative, sampling } = PresetSettings::of(method, preset, common);
        let baseline = match method {
            MethodName::IpAdapter(scale) => {
                let section = IpAdapterSection::from_manifest(manifest)?;
                BaselineMethod::ip_adapter(section, scale, preset)
            }
            MethodName::PhotoMaker => {
                let section = PhotoMakerSection::from_manifest(manifest)?;
                BaselineMethod::photomaker(section, preset, sampling.steps)
            }
            MethodName::SdxlName | MethodName::LaionCele => BaselineMethod::SdxlName,
        };
        let face = self.face_of(manifest, &baseline)?;
        Ok(MethodConfig {
            sdxl: self.sdxl.files.clone(),
            method: baseline,
            negative,
            sampling,
            face: face.map(|section| section.files),
        })
    }

    /// The face networks that a method needs: for a face crop, and for the word for the person.
    fn face_of(
        &self,
        manifest: &Manifest,
        method: &BaselineMethod,
    ) -> Result<Option<FaceSection>, CoreError> {
        match (self.settings.gendered.is_on(), method.crop()) {
            (true, _) => FaceSection::from_manifest(manifest).map(Some),
            (false, Crop::Face) => {
                let section = FaceSection::from_manifest(manifest)?;
                Ok(Some(section.without_gender()))
            }
            (false, Crop::Whole) => Ok(None),
        }
    }

    /// The settings of a method's step, whose rows are `methods`.
    ///
    /// # Errors
    /// As [`StageConfig::method`].
    pub(crate) fn method_settings(
        &self,
        manifest: &Manifest,
        methods: &[MethodName],
    ) -> Result<Value, CoreError> {
        let s = &self.settings;
        let mut rows = Vec::new();
        for method in methods {
            let config = self.method(manifest, *method)?;
            let own = match &config.method {
                BaselineMethod::SdxlName => Value::Null,
                BaselineMethod::IpAdapter(section, scale) => {
                    json!({ "scale": scale, "models": section.image_settings() })
                }
                BaselineMethod::PhotoMaker(section, start) => {
                    json!({ "start_merge_step": start, "models": section.image_settings() })
                }
            };
            let sampling = &config.sampling;
            rows.push(json!({
                "method": method, "own": own, "negative": negative_text(&config.negative),
                "guidance": sampling.guidance, "steps": sampling.steps,
                "scheduler": laioncele_inference::SchedulerChoice(sampling.scheduler),
            }));
        }
        let mut settings = json!({
            "people": s.people, "prompts": s.prompts, "images_per_prompt": s.images_per_prompt,
            "gendered": s.gendered, "width": s.width, "height": s.height, "rows": rows,
            "run": { "seed": self.run_seed },
            "models": { "sdxl": self.sdxl.image_settings() },
        });
        if let Some(photos) = s.photos {
            settings["photos"] = json!(photos);
        }
        Ok(settings)
    }

    /// The models of a method's step, the reference photos among them.
    ///
    /// # Errors
    /// No `references`; as [`StageConfig::method`].
    pub(crate) fn method_models(
        &self,
        manifest: &Manifest,
        method: MethodName,
    ) -> Result<Vec<ModelFiles>, CoreError> {
        let references = self.references(manifest)?.to_owned();
        let config = self.method(manifest, method)?;
        let mut files = vec![references::model_files(references)];
        files.extend(self.sdxl.text_model_files());
        files.extend(self.sdxl.image_model_files());
        match &config.method {
            BaselineMethod::SdxlName => {}
            BaselineMethod::IpAdapter(section, _) => files.extend(section.model_files()),
            BaselineMethod::PhotoMaker(section, _) => files.extend(section.model_files()),
        }
        let face = self.face_of(manifest, &config.method)?;
        files.extend(face.iter().flat_map(FaceSection::model_files));
        Ok(files)
    }
}

/// A negative prompt as keys have it.
fn negative_text(negative: &NegativePrompt) -> Value {
    match negative {
        NegativePrompt::Model => json!({ "of": "model" }),
        NegativePrompt::Zeros => json!({ "of": "zeros" }),
        NegativePrompt::Empty => json!({ "of": "empty" }),
        NegativePrompt::Text(text) => json!({ "text": text }),
    }
}
