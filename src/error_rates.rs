//! The error rates of the manifest's thresholds, from the calibration that `[models.face]` names.

use std::path::PathBuf;

use laioncele_core::error::chain;
use laioncele_core::file_digests::FileDigests;
use laioncele_core::{CoreError, Manifest};
use laioncele_face::FaceFiles;
use laioncele_face::calibration::{Calibration, Curve, Point};
use laioncele_inference::FaceSection;

use crate::failure::{Exit, Failure};

/// A calibration that belongs to the manifest's recognizer.
pub(crate) struct ErrorRates {
    file: PathBuf,
    calibration: Calibration,
}

impl ErrorRates {
    /// The manifest's calibration; `None` where it names none, or no face networks.
    ///
    /// # Errors
    /// A calibration that cannot be read, or of another recognizer.
    pub(crate) fn of(manifest: &Manifest) -> Result<Option<Self>, Failure> {
        let Ok(FaceSection { files, calibration }) = FaceSection::from_manifest(manifest) else {
            return Ok(None);
        };
        let Some(file) = &calibration else {
            return Ok(None);
        };
        let fail = |text: String| {
            Failure::new(Exit::Environment, text).hint(
                "remove `calibration` from [models.face], or measure again: `laioncele calibrate --write FILE`",
            )
        };
        let calibration = Calibration::load(file).map_err(|e| fail(chain(&e)))?;
        let found = digest(&files)?;
        if calibration.recognizer == found {
            return Ok(Some(Self {
                file: file.clone(),
                calibration,
            }));
        }
        Err(fail(format!(
            "{}: this calibration belongs to another recognizer than {}",
            file.display(),
            files.recognizer.display()
        )))
    }

    /// The error rates of a threshold on two faces.
    pub(crate) fn of_pair(&self, threshold: f64) -> Option<Point> {
        self.calibration.pair.at(threshold)
    }

    /// The error rates of `step`'s threshold, as a sentence; `None` for a step that compares no faces.
    ///
    /// # Errors
    /// A wrong section of the manifest.
    pub(crate) fn line(
        &self,
        manifest: &Manifest,
        step: &str,
    ) -> Result<Option<String>, CoreError> {
        let Some((key, threshold, curve, what)) = self.compared(manifest, step)? else {
            return Ok(None);
        };
        let sentence = sentence(curve, threshold, what);
        let file = self.file.display();
        Ok(sentence.map(|s| format!("{step}: {key} = {threshold} {s} ({file})")))
    }

    /// The second half of that sentence: `accepts … and rejects …`.
    ///
    /// # Errors
    /// A wrong section of the manifest.
    pub(crate) fn of_step(
        &self,
        manifest: &Manifest,
        step: &str,
    ) -> Result<Option<String>, CoreError> {
        let compared = self.compared(manifest, step)?;
        Ok(compared.and_then(|(_, threshold, curve, what)| sentence(curve, threshold, what)))
    }

    /// The key of `step`'s threshold, its value, the curve that it stands on, and what is compared.
    fn compared(
        &self,
        manifest: &Manifest,
        step: &str,
    ) -> Result<Option<(&'static str, f64, &Curve, &'static str)>, CoreError> {
        let calibration = &self.calibration;
        match step {
            "verify-portraits" => {
                let settings = laioncele_verify_portraits::Settings::from_manifest(manifest)?;
                let threshold = settings.same_person;
                Ok(Some(("same_person", threshold, &calibration.pair, "pairs")))
            }
            "verify-images" => {
                let settings = laioncele_verify_images::Settings::from_manifest(manifest)?;
                let (curve, what) = match &calibration.portraits {
                    Some(curve) => (curve, "faces against portraits"),
                    None => (&calibration.pair, "pairs"),
                };
                let threshold = settings.same_person_photo;
                Ok(Some(("same_person_photo", threshold, curve, what)))
            }
            _ => Ok(None),
        }
    }
}

/// `accepts … of two people's pairs and rejects … of one person's`
pub(crate) fn sentence(curve: &Curve, threshold: f64, what: &str) -> Option<String> {
    let point = curve.at(threshold)?;
    Some(format!(
        "accepts {} of two people's {what} and rejects {} of one person's",
        point.false_accepts, point.false_rejects
    ))
}

/// The digest by which a calibration knows its recognizer: of the network and, where there is one,
/// of its spec.
///
/// # Errors
/// A file that cannot be read.
pub(crate) fn digest(files: &FaceFiles) -> Result<String, CoreError> {
    let digests = FileDigests::open(None);
    let network = digests.of(&files.recognizer)?.to_string();
    match &files.recognizer_spec {
        Some(spec) => Ok(format!("{network}+{}", digests.of(spec)?)),
        None => Ok(network),
    }
}
