//! `crop` of `[train_encoder]`: inference crops photos as training did.

use laioncele_core::{CoreError, Manifest};
use laioncele_encoder::Crop;
use serde::Deserialize;

/// The keys of `[train_encoder]` that are read here; the stage checks the others.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Keys {
    crop: Crop,
}

/// What the image encoders see of a photo.
///
/// # Errors
/// [`CoreError::Manifest`]: a wrong type.
pub fn training_crop(manifest: &Manifest) -> Result<Crop, CoreError> {
    let Keys { crop } = manifest.section("train_encoder")?;
    Ok(crop)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sections::testing::manifest;

    #[test]
    fn the_crop_is_the_face_unless_the_manifest_says_otherwise() {
        let crop = |text: &str| training_crop(&manifest(text));
        assert_eq!(crop("").expect("a crop"), Crop::Face);
        let whole = crop("[train_encoder]\nsteps = 4\ncrop = \"whole\"\n");
        assert_eq!(whole.expect("a crop"), Crop::Whole);
        assert!(crop("[train_encoder]\ncrop = \"half\"\n").is_err());
    }
}
