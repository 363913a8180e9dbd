//! The bytes of generated images.

use image::RgbImage;
use image::codecs::png::PngEncoder;

use crate::ModelError;

/// A generated image as a PNG file. The encoder's settings are fixed: equal pixels have equal bytes.
///
/// # Errors
/// [`ModelError::Png`]: an image without pixels, or one that is too large for the format.
pub fn encode_png(pixels: &RgbImage) -> Result<Vec<u8>, ModelError> {
    let mut bytes = Vec::new();
    pixels.write_with_encoder(PngEncoder::new(&mut bytes))?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use image::Rgb;

    use super::*;

    #[test]
    fn encoding_keeps_every_pixel() {
        let pixels = RgbImage::from_fn(9, 5, |x, y| Rgb([x as u8 * 25, y as u8 * 50, 7]));
        let bytes = encode_png(&pixels).expect("a PNG");
        let decoded = image::load_from_memory(&bytes).expect("an image");
        assert_eq!(decoded.into_rgb8(), pixels);
    }
}
