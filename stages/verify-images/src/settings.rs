//! `[verify_images]` of the manifest.

use laioncele_core::{CoreError, Manifest};
use laioncele_inference::FaceSection;
use serde::{Deserialize, Serialize};

/// `[verify_images]`; the defaults are the shipped networks' (see their model card).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// Lowest similarity of a face to its name's portraits (mean of the cosines) at which it shows that person. The paper
    /// names none: the default is ours, measured for the shipped recognizer; another one's `recognizer_spec` may have its
    /// own.
    pub same_person_photo: f64,
    /// Smallest width of the matching face's box, in pixels.
    pub min_face: u32,
    /// How much more similar than any other face of the photo the matching face must be; not asked where not given.
    pub margin: Option<f64>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            same_person_photo: 0.35,
            min_face: 40,
            margin: None,
        }
    }
}

/// What of the section is given.
#[derive(Default, Deserialize)]
struct Given {
    same_person_photo: Option<f64>,
}

impl Settings {
    /// The section, checked.
    ///
    /// # Errors
    /// [`CoreError::Manifest`]: an unknown key, a wrong type, or a number that is no cosine or no difference of two.
    pub fn from_manifest(manifest: &Manifest) -> Result<Self, CoreError> {
        let mut settings: Self = manifest.section("verify_images")?;
        let Given { same_person_photo } = manifest.section("verify_images")?;
        if same_person_photo.is_none() {
            settings.same_person_photo = FaceSection::thresholds(manifest)?.same_person_photo;
        }
        let (same, margin) = (settings.same_person_photo, settings.margin);
        if !(-1.0..=1.0).contains(&same) {
            return Err(manifest.error(format!(
                "[verify_images] same_person_photo is {same}: a cosine is between -1 and 1"
            )));
        }
        match margin.filter(|margin| !(0.0..=2.0).contains(margin)) {
            Some(margin) => Err(manifest.error(format!(
                "[verify_images] margin is {margin}: two cosines differ by 0 to 2"
            ))),
            None => Ok(settings),
        }
    }
}
