//! Which files the networks are in, and how detection is tuned.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

/// `[models.face]`: the ONNX files, as written in a manifest or as paths of this process.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FaceFiles {
    /// RetinaFace: picture → boxes, scores, five landmarks.
    pub detector: PathBuf,
    /// Aligned 112 × 112 face → embedding.
    pub recognizer: PathBuf,
    /// 112 × 112 crop → age and gender. Only those who ask for it need it.
    #[serde(default)]
    pub gender: Option<PathBuf>,
}

impl FaceFiles {
    /// The same files with every path put through `resolve`.
    pub fn resolved(&self, resolve: impl Fn(&Path) -> PathBuf) -> Self {
        Self {
            detector: resolve(&self.detector),
            recognizer: resolve(&self.recognizer),
            gender: self.gender.as_deref().map(resolve),
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
            ("recognizer", Some(&self.recognizer)),
            ("gender", self.gender.as_ref()),
        ];
        let present = all
            .into_iter()
            .filter_map(|(role, path)| Some((role, path?)));
        present
            .map(|(role, path)| (format!("models.face.{role}"), manifest_resolve(path)))
            .collect()
    }

    /// What loaded networks may be kept under: the files' paths.
    pub fn resource_key(&self) -> String {
        format!("models.face {self:?}")
    }
}

/// How faces are looked for. The defaults are those of the shipped detector's model card.
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
