//! `[models.face]`

use std::path::{Path, PathBuf};

use laioncele_core::ModelFiles;
use laioncele_core::error::chain;
use laioncele_core::{CoreError, Manifest};
use laioncele_face::{Device, FaceFiles, Thresholds};
use serde::Deserialize;

use super::label;

/// `[models.face]`
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Keys {
    /// ONNX file: image → boxes, scores, five landmarks.
    detector: PathBuf,
    /// How the detector is used (TOML, see the README of laioncele-face); without one as the shipped RetinaFace.
    #[serde(alias = "detector_card")]
    detector_spec: Option<PathBuf>,
    /// ONNX file: aligned face → embedding.
    recognizer: PathBuf,
    /// How the recognizer is used (TOML); without one as the shipped one.
    #[serde(alias = "recognizer_card")]
    recognizer_spec: Option<PathBuf>,
    /// Error rates of the recognizer's thresholds, as `laioncele calibrate` writes them. No result depends on them, so
    /// that they are in no key.
    calibration: Option<PathBuf>,
    /// ONNX file: 112 × 112 crop → age and gender. Only those who ask for it need it.
    gender: Option<PathBuf>,
    /// Where the networks run: `cpu`, `cuda` or `auto`. Numbers differ in their last digits between devices; it is in
    /// no key.
    #[serde(default)]
    device: Device,
}

/// `[models.face]` with its paths resolved.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FaceSection {
    /// The networks and where they run.
    pub files: FaceFiles,
    /// Error rates of the recognizer's thresholds.
    pub calibration: Option<PathBuf>,
}

impl FaceSection {
    /// Reads the section.
    ///
    /// # Errors
    /// [`CoreError::Manifest`]: the section is absent, has an unknown key or a wrong type.
    pub fn from_manifest(manifest: &Manifest) -> Result<Self, CoreError> {
        let keys: Keys = manifest.model("face")?;
        let given = |path: Option<PathBuf>| manifest.resolve_given(path.as_deref());
        Ok(Self {
            files: FaceFiles {
                detector: manifest.resolve_model(&keys.detector)?,
                detector_spec: given(keys.detector_spec)?,
                recognizer: manifest.resolve_model(&keys.recognizer)?,
                recognizer_spec: given(keys.recognizer_spec)?,
                crop: None,
                gender: given(keys.gender)?,
                device: keys.device,
            },
            calibration: given(keys.calibration)?,
        })
    }

    /// The thresholds that the recognizer was calibrated to: its spec's; the shipped recognizer's where that says nothing,
    /// and in a manifest without this section.
    ///
    /// # Errors
    /// [`CoreError::Manifest`]: a spec that cannot be read or is wrong; networks that cannot be fetched.
    pub fn thresholds(manifest: &Manifest) -> Result<Thresholds, CoreError> {
        match Self::from_manifest(manifest) {
            Ok(section) => Thresholds::of(&section.files).map_err(|e| manifest.error(chain(&e))),
            // A wrong section is an error of the steps that need it.
            Err(CoreError::Manifest { .. }) => Ok(Thresholds::default()),
            Err(error) => Err(error),
        }
    }

    /// Without the network for age and gender: what comparing faces needs, so that its digest stays out of their keys.
    #[must_use]
    pub fn without_gender(mut self) -> Self {
        self.files.gender = None;
        self
    }

    /// The networks and their specs, as a step's key names them.
    pub fn model_files(&self) -> Vec<ModelFiles> {
        face_model_files(&self.files)
    }
}

/// The labelled files of networks that the manifest names somewhere else, the judge of evaluate for example.
pub fn face_model_files(files: &FaceFiles) -> Vec<ModelFiles> {
    // The specs keep the labels that they had when they were called cards.
    let all: [(&str, Option<&Path>); 5] = [
        ("detector", Some(&files.detector)),
        ("detector_card", files.detector_spec.as_deref()),
        ("recognizer", Some(&files.recognizer)),
        ("recognizer_card", files.recognizer_spec.as_deref()),
        ("gender", files.gender.as_deref()),
    ];
    let present = all
        .into_iter()
        .filter_map(|(role, path)| Some((role, path?)));
    present
        .map(|(role, path)| ModelFiles::file(label("face", role), path.to_owned()))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sections::testing::manifest;

    const SECTION: &str = "[models.face]\ndetector = \"d.onnx\"\nrecognizer = \"r.onnx\"\nrecognizer_spec = \"r.toml\"\n\
                           gender = \"g.onnx\"\ncalibration = \"c.json\"\n";

    fn labels(section: &FaceSection) -> Vec<(String, PathBuf)> {
        let files = section.model_files().into_iter();
        files.map(|file| (file.label, file.path)).collect()
    }

    #[test]
    fn labels_and_paths_are_those_of_task_keys() -> Result<(), CoreError> {
        let section = FaceSection::from_manifest(&manifest(SECTION))?;
        let expected = [
            ("models.face.detector", "/run/d.onnx"),
            ("models.face.recognizer", "/run/r.onnx"),
            ("models.face.recognizer_card", "/run/r.toml"),
            ("models.face.gender", "/run/g.onnx"),
        ];
        let expected = expected.map(|(label, path)| (label.to_owned(), PathBuf::from(path)));
        assert_eq!(labels(&section), expected);
        assert_eq!(labels(&section.without_gender()), expected[..3]);
        Ok(())
    }

    #[test]
    fn calibration_and_device_enter_no_key() -> Result<(), CoreError> {
        let text = format!("{SECTION}device = \"auto\"\n");
        let section = FaceSection::from_manifest(&manifest(&text))?;
        assert_eq!(section.files.device, Device::Auto);
        assert_eq!(section.calibration, Some(PathBuf::from("/run/c.json")));
        let plain = FaceSection::from_manifest(&manifest(SECTION))?;
        assert_eq!(labels(&section), labels(&plain));
        Ok(())
    }

    #[test]
    fn specs_are_read_by_their_earlier_name() {
        let text = SECTION.replace("recognizer_spec", "recognizer_card");
        let found = FaceSection::from_manifest(&manifest(&text)).expect("a section");
        let expected = FaceSection::from_manifest(&manifest(SECTION)).expect("a section");
        assert_eq!(found, expected);
    }

    #[test]
    fn an_unknown_key_names_the_nearest() {
        let text = SECTION.replace("recognizer =", "recogniser =");
        let error = FaceSection::from_manifest(&manifest(&text)).expect_err("a wrong key");
        let error = error.to_string();
        assert!(error.contains("[models.face]"), "{error}");
        assert!(error.contains("did you mean `recognizer`?"), "{error}");
    }
}
