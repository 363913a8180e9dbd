//! `[evaluate]` of the manifest, and everything else of it that the metrics depend on.

use std::path::{Path, PathBuf};

use laioncele_core::ModelFiles;
use laioncele_core::{CoreError, Digest, Manifest};
use laioncele_face::{Crop, FaceFiles};
use laioncele_inference::sections::{face_model_files, files_read, label};
use laioncele_inference::{FaceSection, ImageEncoderSection, SdxlSection, references};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::inception::InceptionSettings;
use crate::towers::{ClipChoice, TextTower};

/// `[evaluate]`
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// Which image encoder images are compared with, to their prompts and to the base model's images: `second` of
    /// `[models.image_encoders]`, as in the paper, or `first`; or a folder: a whole CLIP with its tokenizer, or an image
    /// encoder that goes with SDXL's second text encoder.
    pub clip: ClipChoice,
    /// Networks that judge faces instead of those of `[models.face]`. The paper judges with another
    /// recognizer than it filters with; a recognizer that chose the training photos is too kind to
    /// what was learned from them.
    pub judge: Option<Judge>,
    /// The network that FID and KID are taken with. Without one, distances are taken over CLIP's embeddings only.
    pub inception: Option<InceptionSettings>,
    /// Whose images FID and KID are taken to: SDXL's with the people's names in the prompts (`sdxl-by-name`, as in the paper;
    /// `plain` where the run has no such images), or those of nobody (`plain`).
    pub against: Against,
    /// Rounds of the bootstrap that intervals are taken from; 0: no intervals.
    pub resamples: usize,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            clip: ClipChoice::default(),
            judge: None,
            inception: None,
            against: Against::default(),
            resamples: 2000,
        }
    }
}

/// Whose images distances are taken to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Against {
    /// SDXL's with the person's name in the prompt.
    #[default]
    SdxlByName,
    /// The base model's, of nobody.
    Plain,
}

impl Against {
    /// The system's name in the table of samples; `None` for the base model's.
    pub fn system(self) -> Option<String> {
        match self {
            Self::SdxlByName => Some(crate::BY_NAME.to_owned()),
            Self::Plain => None,
        }
    }
}

/// `judge = { recognizer = "…" }`
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Judge {
    /// Face → embedding, of any size; an ONNX file like `[models.face] recognizer`.
    pub recognizer: PathBuf,
    /// How the recognizer is used (TOML, see the README of laioncele-face): size, colours, numbers, crop; without one as
    /// the shipped one.
    #[serde(default)]
    pub recognizer_spec: Option<PathBuf>,
    /// How a face is cut out, whatever the spec says: `aligned` on its landmarks; by its `box`; or `box160`, which is FaceNet as
    /// `tools/record-evaluate/export_networks.py` writes it.
    #[serde(default)]
    pub crop: Option<Crop>,
    /// Finds the faces; that of `[models.face]` where it is not given.
    #[serde(default)]
    pub detector: Option<PathBuf>,
    /// How that detector is used (TOML).
    #[serde(default)]
    pub detector_spec: Option<PathBuf>,
}

/// What the figures depend on beside the images.
#[derive(Clone, Debug)]
pub struct Rules {
    /// Of random partners and of intervals; each has a generator of its own that begins with it.
    pub seed: u64,
    /// Rounds of the bootstrap.
    pub resamples: usize,
    /// The system that distances are taken to; the base model where it is not given or has no images.
    pub against: Option<String>,
}

/// All that the stage reads of the manifest, paths resolved.
#[derive(Clone, Debug)]
pub struct StageConfig {
    /// The stage's own section.
    pub settings: Settings,
    /// The run's seed.
    pub run_seed: u64,
    /// `[models.image_encoders]`
    pub image_encoders: ImageEncoderSection,
    /// The text tower of the chosen image encoder.
    pub text: TextTower,
    /// The networks that judge.
    pub face: FaceFiles,
    /// The recognizer that portraits and photos were verified with.
    pub filter: PathBuf,
    /// `references` of `[generate_samples]`
    pub references: Option<PathBuf>,
}

impl StageConfig {
    /// Reads the manifest.
    ///
    /// # Errors
    /// Unknown keys, wrong types, missing models.
    pub fn from_manifest(manifest: &Manifest) -> Result<Self, CoreError> {
        let resolve = |path: &Path| manifest.resolve_model(path);
        let mut settings: Settings = manifest.section("evaluate")?;
        let inception = settings.inception.map(|i| i.resolved(resolve));
        settings.inception = inception.transpose()?;
        settings.clip = settings.clip.resolved(resolve)?;
        if let ClipChoice::Folder(folder) = &settings.clip
            && !folder.is_dir()
        {
            let text = "[evaluate] clip is `first`, `second` or a folder, and there is no folder";
            return Err(manifest.error(format!("{text} {}", folder.display())));
        }
        let image_encoders = ImageEncoderSection::from_manifest(manifest)?;
        // Generation needs the section, and says so where it is missing; scoring images of another
        // system does without.
        let sdxl = match SdxlSection::from_manifest(manifest) {
            Ok(sdxl) => Some(sdxl.files.folder),
            Err(CoreError::Manifest { .. }) => None,
            Err(error) => return Err(error),
        };
        let text = settings.clip.text(&image_encoders, sdxl.as_deref());
        let face = FaceSection::from_manifest(manifest)?.without_gender().files;
        Ok(Self {
            run_seed: manifest.run.seed,
            text,
            filter: face.recognizer.clone(),
            face: judged_by(settings.judge.as_ref(), face, resolve)?,
            references: references::folder(manifest)?,
            image_encoders,
            settings,
        })
    }

    /// The folder of the chosen image encoder.
    pub fn image_folder(&self) -> &Path {
        self.settings.clip.folder(&self.image_encoders)
    }

    /// The reference photos of a run.
    ///
    /// # Errors
    /// Where the manifest names none.
    pub fn references(&self, manifest: &Manifest) -> Result<&Path, CoreError> {
        let folder = self.references.as_deref();
        folder.ok_or_else(|| references::missing(manifest))
    }

    /// The settings of the step's key. Files are in it by their digests, not by their paths.
    pub fn key_settings(&self) -> Value {
        json!({
            "clip": self.settings.clip.key(),
            "judge": self.settings.judge.as_ref().map(|judge| json!({ "crop": judge.crop })),
            "inception": self.settings.inception.as_ref().map(|inception| json!({
                "resize": inception.resize,
                "input": inception.input,
                "output": inception.output,
            })),
            "against": self.settings.against,
            "resamples": self.settings.resamples,
            "run": { "seed": self.run_seed },
            "models": { "image_encoders": { "precision": self.image_encoders.precision } },
        })
    }

    /// The models of the step's key, the reference photos among them.
    ///
    /// # Errors
    /// No `references`.
    pub fn models(&self, manifest: &Manifest) -> Result<Vec<ModelFiles>, CoreError> {
        let references = references::model_files(self.references(manifest)?.to_owned());
        Ok([vec![references], self.networks()].concat())
    }

    /// The networks alone.
    pub fn networks(&self) -> Vec<ModelFiles> {
        let files_read = match self.text {
            TextTower::Own(_) => files_read::whole_clip,
            TextTower::Sdxl { .. } | TextTower::Missing(_) => files_read::image_encoder,
        };
        let image = self.image_folder().to_owned();
        let mut files = vec![ModelFiles::folder(
            self.settings.clip.label(),
            image,
            files_read,
        )];
        files.extend(self.text.model_files());
        files.extend(face_model_files(&self.face));
        files.extend(
            self.settings
                .inception
                .as_ref()
                .map(InceptionSettings::model_files),
        );
        if self.settings.judge.is_some() {
            files.push(ModelFiles::file(
                label("face", "filter"),
                self.filter.clone(),
            ));
        }
        files
    }

    /// Whether the recognizer that judges is the one that chose the photos.
    ///
    /// # Errors
    /// A recognizer's file that cannot be read.
    pub fn judge_is_filter(&self) -> Result<bool, CoreError> {
        if self.face.recognizer == self.filter {
            return Ok(true);
        }
        let digest = |path: &Path| {
            let bytes = std::fs::read(path).map_err(|e| CoreError::from_io(path, e))?;
            Ok::<_, CoreError>(Digest::of(&bytes))
        };
        Ok(digest(&self.face.recognizer)? == digest(&self.filter)?)
    }

    /// What the figures depend on beside the images.
    pub fn rules(&self) -> Rules {
        Rules {
            seed: self.run_seed,
            resamples: self.settings.resamples,
            against: self.settings.against.system(),
        }
    }

    /// What loaded networks may be kept under.
    pub fn resource_key(&self) -> String {
        let (files, face) = (&self.image_encoders, &self.face);
        format!(
            "evaluate {:?} {files:?} {:?} {face:?} {:?}",
            self.settings.clip, self.text, self.settings.inception
        )
    }
}

fn judged_by(
    judge: Option<&Judge>,
    face: FaceFiles,
    resolve: impl Fn(&Path) -> Result<PathBuf, CoreError>,
) -> Result<FaceFiles, CoreError> {
    let Some(judge) = judge else {
        return Ok(face);
    };
    // A spec belongs to its network: without specs the judge's own are used as the shipped ones.
    let own = |spec: &Option<PathBuf>| spec.as_deref().map(&resolve).transpose();
    let (detector, detector_spec) = match &judge.detector {
        Some(detector) => (resolve(detector)?, own(&judge.detector_spec)?),
        None => (
            face.detector,
            own(&judge.detector_spec)?.or(face.detector_spec),
        ),
    };
    Ok(FaceFiles {
        recognizer: resolve(&judge.recognizer)?,
        recognizer_spec: own(&judge.recognizer_spec)?,
        crop: judge.crop,
        detector,
        detector_spec,
        device: face.device,
        ..FaceFiles::default()
    })
}
