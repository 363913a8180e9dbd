//! Which files the networks are in, and how detection is tuned.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// The networks' ONNX files, and where they run.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FaceFiles {
    /// Image → boxes, scores, five landmarks.
    pub detector: PathBuf,
    /// How the detector is used (TOML, see the README of this crate); without one as the shipped
    /// RetinaFace.
    pub detector_spec: Option<PathBuf>,
    /// Aligned face → embedding.
    pub recognizer: PathBuf,
    /// How the recognizer is used (TOML); without one as the shipped one.
    pub recognizer_spec: Option<PathBuf>,
    /// How a face is cut out for the recognizer; where it is not given, as its spec says.
    pub crop: Option<Crop>,
    /// 112 × 112 crop → age and gender. Only those who ask for it need it.
    pub gender: Option<PathBuf>,
    /// Where the networks run. Numbers differ in their last digits between devices.
    pub device: Device,
}

/// How a face is cut out for a recognizer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Crop {
    /// Turned and scaled so that its landmarks lie on the template.
    #[default]
    Aligned,
    /// The detector's box within the image, resized to a square without keeping its shape (Pillow's bilinear filter), as
    /// facenet-pytorch gives FaceNet its faces.
    Box,
    /// FaceNet itself, as `tools/record-evaluate/export_networks.py` writes it: [`Crop::Box`] at 160 × 160 pixels, RGB from 0 to 255,
    /// whatever the spec says of these.
    Box160,
}

/// Where networks run, as settings name it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Device {
    /// On the calling thread.
    #[default]
    Cpu,
    /// On the first GPU, by the ONNX Runtime's CUDA execution provider, which only its GPU build
    /// has.
    Cuda,
    /// On the GPU if the library has that provider and it starts, else on the calling thread.
    Auto,
}

/// How hard faces are looked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Search {
    /// One look, at the working size.
    Once,
    /// Where that finds nothing, another at half the size within a margin: for faces that fill the
    /// frame.
    #[default]
    WithMargin,
    /// Where that finds nothing either, looks at larger sizes, up to the image's own, for small
    /// faces, and at a quarter of the size within a margin. Wherever the looks before find a face,
    /// they alone decide.
    EverySize,
}

/// How faces are looked for. The defaults are the shipped detector's.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct FaceOptions {
    /// Lowest detection score in [0, 1].
    pub min_score: f32,
    /// Of two boxes whose intersection over union is above this, the better one stays.
    pub max_overlap: f32,
    /// Images whose longest side is shorter (pixels) are enlarged to it.
    pub min_side: u32,
    /// Images whose longest side is longer (pixels) are shrunk to it for detection.
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
