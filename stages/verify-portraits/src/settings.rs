//! `[verify_portraits]` of the manifest.

use laioncele_core::{CoreError, Manifest};
use serde::{Deserialize, Serialize};

/// `[verify_portraits]`
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// Lowest cosine of two faces that show one person; every pair of a name's portraits must reach it. The default is
    /// the shipped recognizer's (see its model card). generate-portraits reads this key for its look at the first two.
    pub same_person: f64,
}

impl Default for Settings {
    fn default() -> Self {
        Self { same_person: 0.40 }
    }
}

impl Settings {
    /// The section, checked.
    ///
    /// # Errors
    /// [`CoreError::Manifest`]: an unknown key, a wrong type, or a threshold that is no cosine.
    pub fn read(manifest: &Manifest) -> Result<Self, CoreError> {
        let settings: Self = manifest.section("verify_portraits")?;
        if (-1.0..=1.0).contains(&settings.same_person) {
            return Ok(settings);
        }
        Err(manifest.error(format!(
            "[verify_portraits] same_person is {}: a cosine is between -1 and 1",
            settings.same_person
        )))
    }
}
