//! Which files the networks are in, and how detection is tuned.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

/// `[models.face]`: the ONNX files, as written in a manifest or as paths of this process.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FaceFiles {
    /// Picture → boxes, scores, five landmarks.
    pub detector: PathBuf,
    /// How the detector is used (TOML, see the README of this crate); without one as the shipped RetinaFace.
    #[serde(default, alias = "detector_card")]
    pub detector_spec: Option<PathBuf>,
    /// Aligned face → embedding.
    pub recognizer: PathBuf,
    /// How the recognizer is used (TOML); without one as the shipped one.
    #[serde(default, alias = "recognizer_card")]
    pub recognizer_spec: Option<PathBuf>,
    /// Error rates of the recognizer's thresholds, as `laioncele calibrate` writes them. No result depends on it, so
    /// that it is in no key.
    #[serde(default)]
    pub calibration: Option<PathBuf>,
    /// 112 × 112 crop → age and gender. Only those who ask for it need it.
    #[serde(default)]
    pub gender: Option<PathBuf>,
    /// Where the networks run. Numbers differ in their last digits between devices; it is in no key.
    #[serde(default)]
    pub device: Device,
}

/// Where networks run, as `[models.face] device` says it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Device {
    /// On the calling thread.
    #[default]
    Cpu,
    /// On the first GPU, by the ONNX Runtime's CUDA execution provider, which only its GPU build has.
    Cuda,
    /// On the GPU if the library has that provider and it starts, else on the calling thread.
    Auto,
}

impl FaceFiles {
    /// The same files with every path put through `resolve`.
    pub fn resolved(&self, resolve: impl Fn(&Path) -> PathBuf) -> Self {
        Self {
            detector: resolve(&self.detector),
            detector_spec: self.detector_spec.as_deref().map(&resolve),
            recognizer: resolve(&self.recognizer),
            recognizer_spec: self.recognizer_spec.as_deref().map(&resolve),
            calibration: self.calibration.as_deref().map(&resolve),
            gender: self.gender.as_deref().map(resolve),
            device: self.device,
        }
    }

    /// Without the network for age and gender: what comparing faces needs, so that its digest stays out of their keys.
    pub fn without_gender(self) -> Self {
        Self {
            gender: None,
            ..self
        }
    }

    /// The files with their labels (`models.face.detector`, …), each path put through `manifest_resolve`.
    pub fn model_files(
        &self,
        manifest_resolve: impl Fn(&Path) -> PathBuf,
    ) -> Vec<(String, PathBuf)> {
        let all = [
            ("detector", Some(&self.detector)),
            ("detector_spec", self.detector_spec.as_ref()),
            ("recognizer", Some(&self.recognizer)),
            ("recognizer_spec", self.recognizer_spec.as_ref()),
            ("gender", self.gender.as_ref()),
        ];
        let present = all
            .into_iter()
            .filter_map(|(role, path)| Some((role, path?)));
        present
            .map(|(role, path)| (format!("models.face.{role}"), manifest_resolve(path)))
            .collect()
    }

    /// What loaded networks may be kept under: the files' paths and the device.
    pub fn resource_key(&self) -> String {
        let files = self.model_files(Path::to_owned);
        format!("models.face {files:?} {:?}", self.device)
    }
}

/// How hard faces are looked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Search {
    /// One look, at the working size.
    Once,
    /// Where that finds nothing, another at half the size within a margin: for faces that fill the frame.
    #[default]
    WithMargin,
    /// Where that finds nothing either, looks at larger sizes, up to the picture's own, for small faces, and at a
    /// quarter of the size within a margin. Wherever the looks before find a face, they alone decide.
    EverySize,
}

/// How faces are looked for. The defaults are the shipped detector's.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct FaceOptions {
    /// Lowest detection score in [0, 1].
    pub min_score: f32,
    /// Of two boxes whose intersection over union is above this, the better one stays.
    pub max_overlap: f32,
    /// Pictures whose longest side is shorter (pixels) are enlarged to it.
    pub min_side: u32,
    /// Pictures whose longest side is longer (pixels) are shrunk to it for detection.
    pub max_side: u32,
}

impl Default for FaceOptions {
    fn default() -> Self {
        Self {
            min_score: 0.6,
            max_overlap: 0.4,
            min_side: 320,
            max_side: 640,
        }
    }
}
