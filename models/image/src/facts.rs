//! What a file says of itself that changes how its pixels are read, without decoding them.

use std::io::Cursor;

use image::metadata::Orientation as Turn;
use image::{ImageDecoder, ImageReader};

use crate::decode::{guarded, sniff, turn};
use crate::format::{DecodeError, Format, SMALL};

/// What is known of a file before its pixels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Facts {
    /// Whether its pixels are not exactly those that were encoded: a JPEG, of which decoders make slightly different
    /// bytes.
    pub is_jpeg: bool,
    /// Whether it has transparency, which is left out.
    pub has_alpha: bool,
    /// Whether a tag says that the pixels must be turned or mirrored to be looked at.
    pub is_turned: bool,
}

/// The facts of a file. What cannot be read says nothing.
pub fn facts(bytes: &[u8]) -> Facts {
    match sniff(bytes) {
        Some(Format::Jpeg) => Facts {
            is_jpeg: true,
            has_alpha: false,
            is_turned: turn(bytes) != Turn::NoTransforms,
        },
        Some(Format::Avif) | None => Facts {
            is_jpeg: false,
            has_alpha: false,
            is_turned: false,
        },
        Some(_) => of_others(bytes).unwrap_or(Facts {
            is_jpeg: false,
            has_alpha: false,
            is_turned: false,
        }),
    }
}

fn of_others(bytes: &[u8]) -> Result<Facts, DecodeError> {
    guarded(|| {
        let failed = |error: &dyn std::fmt::Display| DecodeError::Corrupt(error.to_string());
        let mut reader = ImageReader::new(Cursor::new(bytes))
            .with_guessed_format()
            .map_err(|e| failed(&e))?;
        let mut limits = image::Limits::default();
        limits.max_alloc = Some(SMALL);
        reader.limits(limits);
        let mut decoder = reader.into_decoder().map_err(|e| failed(&e))?;
        Ok(Facts {
            is_jpeg: false,
            has_alpha: decoder.color_type().has_alpha(),
            is_turned: decoder.orientation().unwrap_or(Turn::NoTransforms) != Turn::NoTransforms,
        })
    })
}

#[cfg(test)]
mod tests {
    use image::{DynamicImage, ImageFormat};

    use super::*;

    fn encoded(image: &DynamicImage, format: ImageFormat) -> Vec<u8> {
        let mut bytes = Vec::new();
        image
            .write_to(&mut Cursor::new(&mut bytes), format)
            .expect("encodes");
        bytes
    }

    #[test]
    fn facts_are_told_apart() {
        let (plain, clear) = (DynamicImage::new_rgb8(9, 5), DynamicImage::new_rgba8(9, 5));
        let told = |bytes: &[u8]| {
            let Facts {
                is_jpeg,
                has_alpha,
                is_turned,
            } = facts(bytes);
            [is_jpeg, has_alpha, is_turned]
        };
        assert_eq!(told(&encoded(&plain, ImageFormat::Png)), [false; 3]);
        assert_eq!(
            told(&encoded(&clear, ImageFormat::Png)),
            [false, true, false]
        );
        assert_eq!(
            told(&encoded(&clear, ImageFormat::WebP)),
            [false, true, false]
        );
        assert_eq!(
            told(&encoded(&plain, ImageFormat::Jpeg)),
            [true, false, false]
        );
        assert_eq!(told(b"no image"), [false; 3]);
        assert_eq!(told(b"\x89PNG\r\n\x1a\nbroken"), [false; 3]);
    }
}
