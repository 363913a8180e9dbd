//! `crop` of `encoder.json`: what of a photo the image encoders saw in training, so that whoever uses
//! the encoder elsewhere crops alike.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::config::EncoderConfig;
use crate::crop::{Crop, FACE_MARGIN};
use crate::error::{Error, Result};

/// The key of `encoder.json`.
const KEY: &str = "crop";

/// `"crop"` of `encoder.json`.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CropConfig {
    /// `face`: the square of [`face_square`](crate::face_square); `whole`: the photo.
    pub part: Crop,
    /// For `face`: the square's edge as a multiple of the face box's longer side.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub margin: Option<f32>,
}

impl From<Crop> for CropConfig {
    fn from(part: Crop) -> Self {
        let margin = (part == Crop::Face).then_some(FACE_MARGIN);
        Self { part, margin }
    }
}

#[derive(Serialize)]
struct File<'a> {
    #[serde(flatten)]
    config: &'a EncoderConfig,
    crop: CropConfig,
}

/// The bytes of `encoder.json` with the crop that the encoder was trained on.
///
/// # Errors
/// [`Error::Config`]: none that is known.
pub fn config_with_crop(config: &EncoderConfig, crop: Crop) -> Result<Vec<u8>> {
    let crop = crop.into();
    serde_json::to_vec_pretty(&File { config, crop }).map_err(Error::Config)
}

/// Reads `encoder.json`: the configuration, checked, and the crop; none in files of versions before
/// it was written down.
///
/// # Errors
/// [`Error::Config`], [`Error::Range`].
pub fn read_config(bytes: &[u8]) -> Result<(EncoderConfig, Option<CropConfig>)> {
    let mut keys: Map<String, Value> = serde_json::from_slice(bytes).map_err(Error::Config)?;
    let crop = keys.remove(KEY).map(serde_json::from_value).transpose();
    let crop = crop.map_err(Error::Config)?;
    let config: EncoderConfig =
        serde_json::from_value(Value::Object(keys)).map_err(Error::Config)?;
    config.check()?;
    Ok((config, crop))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Activation;

    #[test]
    fn the_crop_is_written_and_read() {
        let config = EncoderConfig {
            input: 3,
            hidden: [4, 5],
            output_tokens: 2,
            output_channels: 3,
            activation: Activation::Relu,
        };
        for crop in [Crop::Face, Crop::Whole] {
            let bytes = config_with_crop(&config, crop).expect("bytes");
            let (back, found) = read_config(&bytes).expect("a configuration");
            assert_eq!((&back, found), (&config, Some(crop.into())));
        }
        let without = serde_json::to_vec(&config).expect("bytes");
        assert_eq!(read_config(&without).expect("an old one"), (config, None));
        assert!(read_config(b"{\"crop\": \"half\"}").is_err());
        assert!(read_config(b"[]").is_err());
    }
}
