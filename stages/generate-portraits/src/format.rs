//! The files that portraits are stored as.

use image::codecs::jpeg::JpegEncoder;
use image::codecs::webp::WebPEncoder;
use image::{ImageFormat, RgbImage};
use laioncele_image::{Limits, Orientation};
use laioncele_inference::{ModelError, encode_png};
use serde::{Deserialize, Serialize};

/// The format of stored portraits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PortraitFormat {
    /// Lossless.
    #[default]
    Png,
    /// Lossless, about a quarter smaller than PNG, and slower to write.
    Webp,
    /// Lossy, about a tenth of PNG. Faces are found in what the file shows, not in what was generated.
    Jpeg,
}

/// How a portrait becomes a file: equal pixels have equal bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Encoding {
    pub(crate) format: PortraitFormat,
    /// 1 to 100; of JPEG only.
    pub(crate) jpeg_quality: u8,
}

impl Encoding {
    /// The file's bytes, and the pixels that its readers see.
    ///
    /// # Errors
    /// An image without pixels, or one that is too large for the format.
    pub(crate) fn encode(self, pixels: RgbImage) -> Result<(Vec<u8>, RgbImage), ModelError> {
        let mut bytes = Vec::new();
        match self.format {
            PortraitFormat::Png => bytes = encode_png(&pixels)?,
            PortraitFormat::Webp => {
                pixels.write_with_encoder(WebPEncoder::new_lossless(&mut bytes))?;
            }
            PortraitFormat::Jpeg => {
                let encoder = JpegEncoder::new_with_quality(&mut bytes, self.jpeg_quality);
                pixels.write_with_encoder(encoder)?;
                // What was just encoded decodes.
                let seen = decode(&bytes).unwrap_or(pixels);
                return Ok((bytes, seen));
            }
        }
        Ok((bytes, pixels))
    }

    /// The end of a file's name.
    pub(crate) fn extension(self) -> &'static str {
        match self.format {
            PortraitFormat::Png => "png",
            PortraitFormat::Webp => "webp",
            PortraitFormat::Jpeg => "jpg",
        }
    }

    /// Whether a file is of this format, by its first bytes.
    pub(crate) fn is_of(self, file: &[u8]) -> bool {
        let format = match self.format {
            PortraitFormat::Png => ImageFormat::Png,
            PortraitFormat::Webp => ImageFormat::WebP,
            PortraitFormat::Jpeg => ImageFormat::Jpeg,
        };
        image::guess_format(file).is_ok_and(|found| found == format)
    }
}

/// The pixels of a portrait, whatever its format, as verify-portraits reads them; `None` if the file does not decode.
pub(crate) fn decode(file: &[u8]) -> Option<RgbImage> {
    laioncele_image::decode(file, &Limits::default(), Orientation::Upright).ok()
}

#[cfg(test)]
mod tests {
    use image::Rgb;

    use super::*;

    #[test]
    fn formats_keep_what_they_promise_and_are_told_apart() {
        let pixels = RgbImage::from_fn(64, 48, |x, y| Rgb([x as u8 * 4, y as u8 * 5, 90]));
        let formats = [
            PortraitFormat::Png,
            PortraitFormat::Webp,
            PortraitFormat::Jpeg,
        ];
        let encodings = formats.map(|format| Encoding {
            format,
            jpeg_quality: 90,
        });
        for encoding in encodings {
            let (file, seen) = encoding.encode(pixels.clone()).expect("a file");
            assert_eq!(decode(&file).as_ref(), Some(&seen), "{encoding:?}");
            let lossless = encoding.format != PortraitFormat::Jpeg;
            assert_eq!(seen == pixels, lossless, "{encoding:?}");
            for other in encodings {
                assert_eq!(other.is_of(&file), other == encoding);
            }
            let again = encoding.encode(pixels.clone()).expect("a file");
            assert_eq!(again.0, file);
        }
        let low = Encoding {
            jpeg_quality: 20,
            ..encodings[2]
        };
        let (high, low) = (encodings[2].encode(pixels.clone()), low.encode(pixels));
        assert!(low.expect("a file").0.len() < high.expect("a file").0.len());
    }
}
