//! `--encoder FOLDER`: the encoder of a published folder, without the run that it comes from.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::Args;
use laioncele_clip::ImageEncoder;
use laioncele_core::error::chain;
use laioncele_core::file_digests::FileDigests;
use laioncele_core::{Digest, EmbeddingDims, Manifest};
use laioncele_encoder::Crop;
use laioncele_face::{FaceFiles, FaceNets, FaceOptions};
use laioncele_inference::generation::{EncoderFolder, NamePredictor};
use laioncele_inference::{FaceSection, ImageEncoderSection};
use laioncele_sdxl::{DeviceChoice, NAME_TOKENS, NameTensor, Precision};

use super::about_image::ModelFact;
use super::face_check::FaceCheck;
use super::generation::failure;
use crate::failure::{Exit, Failure};
use crate::session::load_manifest;

/// The parts of an SDXL folder, or of the encoder's own, that may hold the image encoders.
const BESIDE: [&str; 2] = ["image_encoder", "image_encoder_2"];

/// A published encoder, and the networks that it needs.
#[derive(Args, Clone, Debug, Default)]
#[command(next_help_heading = "Options with --encoder")]
pub(super) struct EncoderArgs {
    /// The trained encoder's folder, as a run publishes it or `encoder export` copies it, to use
    /// instead of a run
    #[arg(long, value_name = "FOLDER")]
    encoder: Option<PathBuf>,
    /// The two CLIP image encoders whose features it reads, ViT-L/14 first [default: the folders
    /// image_encoder and image_encoder_2 in the encoder's folder, else in the model's]
    #[arg(long, num_args = 2, value_names = ["CLIP-L", "CLIP-BIGG"], requires = "encoder")]
    clip: Vec<PathBuf>,
    /// An ONNX file that finds faces, for an encoder of face crops [default: that of --manifest]
    #[arg(long, value_name = "FILE", requires = "face_recognizer")]
    face_detector: Option<PathBuf>,
    /// An ONNX file that compares faces
    #[arg(long, value_name = "FILE", requires = "face_detector")]
    face_recognizer: Option<PathBuf>,
}

/// An opened folder and what stands beside it.
pub(super) struct OpenedEncoder {
    pub(super) folder: EncoderFolder,
    manifest: Option<Manifest>,
    args: EncoderArgs,
    /// The SDXL folder, which may have image encoders.
    model: Option<PathBuf>,
}

impl EncoderArgs {
    /// Whether a folder was given.
    pub(super) fn is_given(&self) -> bool {
        self.encoder.is_some()
    }

    /// Opens the folder, if one was given. Networks come from the arguments, else from the sections of `manifest`.
    ///
    /// # Errors
    /// A folder or manifest that cannot be used.
    pub(super) fn open(
        &self,
        manifest: Option<&Path>,
        model: Option<PathBuf>,
    ) -> Result<Option<OpenedEncoder>, Failure> {
        let Some(folder) = &self.encoder else {
            return Ok(None);
        };
        let folder = EncoderFolder::open(folder)
            .map_err(|e| Failure::new(Exit::Environment, e.to_string()))?;
        Ok(Some(OpenedEncoder {
            manifest: manifest.map(load_manifest).transpose()?,
            args: self.clone(),
            model,
            folder,
        }))
    }
}

impl OpenedEncoder {
    /// Loads what turns photos into names.
    ///
    /// # Errors
    /// Image encoders or face networks that are missing or do not fit.
    pub(super) fn predictor(&self, device: DeviceChoice) -> Result<NamePredictor, Failure> {
        let section = self.image_encoders(device)?;
        self.compare(&section)?;
        let faces = match (self.folder.crop, self.face_files()) {
            (Crop::Whole, _) => None,
            (Crop::Face, Some(files)) => {
                let nets = FaceNets::load(&files, &FaceOptions::default());
                Some(Arc::new(
                    nets.map_err(|e| Failure::new(Exit::Environment, chain(&e)))?,
                ))
            }
            (Crop::Face, None) => {
                let path = self.folder.path.display();
                let text = format!(
                    "the encoder in {path} was trained on faces: photos need networks that find them"
                );
                return Err(Failure::new(Exit::Usage, text).hint(
                    "--face-detector and --face-recognizer name them, or --manifest one with [models.face]",
                ));
            }
        };
        NamePredictor::of_folder(&self.folder, &section, faces).map_err(|e| failure(e, ""))
    }

    fn image_encoders(&self, device: DeviceChoice) -> Result<ImageEncoderSection, Failure> {
        let precision = &self.folder.inference.image_encoders.precision;
        let precision: Precision = serde_json::from_value(precision.clone()).unwrap_or_default();
        let section = |[first, second]: [PathBuf; 2]| ImageEncoderSection {
            first,
            second,
            precision,
            device,
        };
        if let [first, second] = self.args.clip.as_slice() {
            return Ok(section([first.clone(), second.clone()]));
        }
        let manifest = self.manifest.as_ref();
        let manifest = manifest.and_then(|m| ImageEncoderSection::from_manifest(m).ok());
        if let Some(section) = manifest {
            return Ok(section);
        }
        let places = [Some(&self.folder.path), self.model.as_ref()];
        let both = |place: &PathBuf| BESIDE.map(|part| place.join(part));
        let mut found = places.into_iter().flatten().map(both);
        let found = found.find(|both| both.iter().all(|folder| folder.is_dir()));
        found.map(section).ok_or_else(|| {
            let path = self.folder.path.display();
            let text = format!("photos need the two CLIP image encoders that the encoder in {path} was trained on, and they are not beside it");
            Failure::new(Exit::Usage, text)
                .hint("--clip CLIP-L CLIP-BIGG names their folders; its README.md says which they are")
        })
    }

    /// Says a word if the image encoders are not, byte by byte, those of the training.
    fn compare(&self, section: &ImageEncoderSection) -> Result<(), Failure> {
        let known = &self.folder.inference.image_encoders.blake3;
        let digests = FileDigests::open(None);
        for (files, role) in section.model_files().iter().zip(["first", "second"]) {
            if ImageEncoder::files_read(&files.path).is_err() {
                // Loading says better what is missing.
                continue;
            }
            let found = digests.of_model(files)?;
            if known.get(role).is_some_and(|known| *known != found) {
                let path = files.path.display();
                tracing::warn!(
                    "{path} is not, byte by byte, the {role} image encoder that the encoder was trained on: other weights make other people"
                );
            }
        }
        Ok(())
    }

    fn face_files(&self) -> Option<FaceFiles> {
        if let (Some(detector), Some(recognizer)) =
            (&self.args.face_detector, &self.args.face_recognizer)
        {
            return Some(FaceFiles {
                detector: detector.clone(),
                recognizer: recognizer.clone(),
                ..FaceFiles::default()
            });
        }
        let section = FaceSection::from_manifest(self.manifest.as_ref()?).ok()?;
        Some(section.without_gender().files)
    }

    /// What compares faces, where networks and threshold are known.
    pub(super) fn face_check(&self) -> Option<FaceCheck> {
        Some(FaceCheck {
            files: self.face_files()?,
            same_person: self.folder.inference.same_person?,
        })
    }

    /// A random name; the same seed gives the same one.
    ///
    /// # Errors
    /// A folder that does not say how names are spread.
    pub(super) fn fictional(&self, seed: u64) -> Result<NameTensor, Failure> {
        let spread = self.folder.spread();
        let spread = spread.map_err(|e| Failure::new(Exit::Environment, e.to_string()))?;
        let Some(spread) = spread else {
            let path = self.folder.path.display();
            let text = format!(
                "{path} does not say how names are spread: it has no name_spread.safetensors"
            );
            return Err(Failure::new(Exit::Usage, text).hint(
                "`laioncele encoder export` of a run writes it; or draw with the run itself",
            ));
        };
        spread.fictional(seed).map_err(|e| failure(e, ""))
    }

    /// The encoder, as an image's texts name it.
    ///
    /// # Errors
    /// Weights that cannot be read.
    pub(super) fn fact(&self) -> Result<ModelFact, Failure> {
        let digest: Digest = FileDigests::open(None).of(&self.folder.weights())?;
        Ok(ModelFact::encoder(&[digest]))
    }

    /// Dims of names, for a model whose names are `channels` wide.
    ///
    /// # Errors
    /// A model of another width than the encoder's names.
    pub(super) fn check_width(&self, channels: usize) -> Result<(), Failure> {
        let own = self.folder.name_channels();
        if own == channels {
            return Ok(());
        }
        let path = self.folder.path.display();
        let text = format!(
            "{path} predicts names of {own} channels; those of the model have {channels}: it was trained for another model"
        );
        Err(Failure::new(Exit::Usage, text))
    }
}

/// The dims of a model that is used without a run: names of this width.
pub(super) fn dims_of(channels: usize) -> EmbeddingDims {
    EmbeddingDims {
        name_tokens: NAME_TOKENS,
        name_channels: channels,
        face: 0,
        features: 0,
    }
}
