//! Fixtures and networks that all tests share.

use std::path::{Path, PathBuf};

use image::RgbImage;
use laioncele_face::{FaceError, FaceFiles, FaceNets, FaceOptions};

pub(crate) type TestResult = Result<(), Box<dyn std::error::Error>>;

/// A file of `tests/fixtures`.
pub(crate) fn fixture(name: &str) -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    root.join("tests/fixtures").join(name)
}

/// A file of the embedded world.
pub(crate) fn embedded(name: &str) -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    root.join("../../manifests/mini").join(name)
}

/// The pixels of a fixture.
pub(crate) fn read_image(name: &str) -> Result<RgbImage, image::ImageError> {
    Ok(image::open(fixture(name))?.to_rgb8())
}

/// The shipped detector and recognizer.
pub(crate) fn shipped() -> FaceFiles {
    FaceFiles {
        detector: embedded("face/retinaface_mobilenet025_dynamic.onnx"),
        recognizer: embedded("face/faceplugin_fr_feature_512.onnx"),
        ..FaceFiles::default()
    }
}

pub(crate) fn load(files: &FaceFiles) -> Result<FaceNets, FaceError> {
    FaceNets::load(files, &FaceOptions::default())
}
