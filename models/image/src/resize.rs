//! Photos made smaller, as JPEGs, fast.

use fast_image_resize as fir;
use fast_image_resize::images::{TypedImage, TypedImageRef};
use image::{DynamicImage, RgbImage};
use jpeg_encoder::{ColorType, Encoder, SamplingFactor};

use crate::decode::{admit, check, decode, guarded, header};
use crate::format::{DecodeError, Format, Limits, Orientation};
use crate::jpeg::{self, Walked};
use crate::reduced::{Reduced, decode_reduced, swaps_sides};

/// A photo that was made smaller.
#[derive(Clone, Debug)]
pub struct Resized {
    /// A JPEG without metadata.
    pub bytes: Vec<u8>,
    /// Width of it in pixels.
    pub width: u32,
    /// Height of it in pixels.
    pub height: u32,
}

/// Makes a photo whose longer side has more than `max_side` pixels as large as that, upright, as a
/// JPEG of `quality` (1 to 100), the proportions kept; `None` for a smaller one, which is only
/// proven to decode.
///
/// EXIF and the like are left out, so the orientation is applied. Pixels are weighted by a Hamming
/// window over those that they stand for. A JPEG is decoded at the least number of eighths of its size
/// that is not smaller (our own decoder does so for all sequential ones). Colours are kept at half the
/// resolution, as OpenCV writes them.
///
/// # Errors
/// As [`decode`](crate::decode()).
pub fn resize_to(
    bytes: &[u8],
    limits: &Limits,
    max_side: u32,
    quality: u8,
) -> Result<Option<Resized>, DecodeError> {
    let max_side = max_side.clamp(1, u32::from(u16::MAX));
    let found = header(bytes)?;
    if found.width.max(found.height) <= max_side {
        check(bytes, limits)?;
        return Ok(None);
    }
    let (image, whole) = source(bytes, limits, max_side)?;
    let [width, height] = fitted(whole, max_side);
    guarded(|| {
        let bytes = encoded(&shrunk(&image, width, height)?, width, height, quality)?;
        Ok(Some(Resized {
            bytes,
            width,
            height,
        }))
    })
}

/// The image, upright, reduced where that is enough, and the size of the whole.
fn source(
    bytes: &[u8],
    limits: &Limits,
    max_side: u32,
) -> Result<(RgbImage, [u32; 2]), DecodeError> {
    if let Some(found) = eighths(bytes, limits, max_side)? {
        return Ok(found);
    }
    let upright = Orientation::Upright;
    if let Some(Reduced { image, whole }) = decode_reduced(bytes, limits, upright, max_side)? {
        return Ok((image, whole));
    }
    let image = decode(bytes, limits, upright)?;
    let whole = image.dimensions().into();
    Ok((image, whole))
}

/// A JPEG at the least number of eighths of its size that is enough, where our own decoder can do that.
fn eighths(
    bytes: &[u8],
    limits: &Limits,
    max_side: u32,
) -> Result<Option<(RgbImage, [u32; 2])>, DecodeError> {
    let header = admit(bytes, limits)?;
    let longest = u64::from(header.width.max(header.height));
    let is_enough = |side: &u64| (longest * side).div_ceil(8) >= u64::from(max_side);
    let (Format::Jpeg, Some(side)) = (header.format, (1..=7).find(is_enough)) else {
        return Ok(None);
    };
    guarded(|| match jpeg::scaled(bytes, side as usize) {
        Walked::Whole(image) => {
            let turn = jpeg::turn(bytes)?;
            let mut whole = [header.width, header.height];
            if swaps_sides(turn) {
                whole.reverse();
            }
            let mut image = DynamicImage::from(image);
            image.apply_orientation(turn);
            Ok(Some((image.into_rgb8(), whole)))
        }
        Walked::Unusual => Ok(None),
        Walked::Broken(what) => Err(DecodeError::Corrupt(what.to_owned())),
    })
}

/// The size whose longer side is `max_side`.
fn fitted([width, height]: [u32; 2], max_side: u32) -> [u32; 2] {
    let longest = f64::from(width.max(height));
    let scaled = |side: u32| (f64::from(side) * f64::from(max_side) / longest).round();
    [width, height].map(|side| (scaled(side) as u32).max(1))
}

fn shrunk(image: &RgbImage, width: u32, height: u32) -> Result<Vec<u8>, DecodeError> {
    let failed = |what: &dyn std::fmt::Display| DecodeError::Corrupt(what.to_string());
    let (source_width, source_height) = image.dimensions();
    let mut target = vec![0; width as usize * height as usize * 3];
    let source = TypedImageRef::from_buffer(source_width, source_height, image.as_raw());
    let source = source.map_err(|e| failed(&e))?;
    let mut view = TypedImage::from_buffer(width, height, &mut target).map_err(|e| failed(&e))?;
    let by = fir::ResizeAlg::Convolution(fir::FilterType::Hamming);
    let options = fir::ResizeOptions::new().resize_alg(by);
    // For one kind of pixel: `resize` would compile the convolutions of all kinds, which took two minutes.
    fir::Resizer::new()
        .resize_typed::<fir::pixels::U8x3>(&source, &mut view, &options)
        .map_err(|e| failed(&e))?;
    Ok(target)
}

fn encoded(pixels: &[u8], width: u32, height: u32, quality: u8) -> Result<Vec<u8>, DecodeError> {
    let mut bytes = Vec::with_capacity(pixels.len() / 8);
    let mut encoder = Encoder::new(&mut bytes, quality.clamp(1, 100));
    encoder.set_sampling_factor(SamplingFactor::F_2_2);
    encoder
        .encode(pixels, width as u16, height as u16, ColorType::Rgb)
        .map_err(|e| DecodeError::Corrupt(e.to_string()))?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use image::codecs::jpeg::JpegEncoder;
    use image::{ImageEncoder, ImageFormat, Rgb};

    use super::*;

    fn scene(width: u32, height: u32) -> RgbImage {
        RgbImage::from_fn(width, height, |x, y| {
            Rgb([x * 255 / width, y * 255 / height, (x + y) / 8 % 256].map(|v| v as u8))
        })
    }

    fn jpeg(image: &RgbImage, turned: u8) -> Vec<u8> {
        let mut bytes = Vec::new();
        let mut encoder = JpegEncoder::new_with_quality(Cursor::new(&mut bytes), 92);
        let mut exif = b"II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0".to_vec();
        exif.extend([turned, 0, 0, 0, 0, 0, 0, 0]);
        encoder.set_exif_metadata(exif).expect("takes EXIF");
        let (width, height) = image.dimensions();
        let written = encoder.write_image(image, width, height, image::ExtendedColorType::Rgb8);
        written.expect("encodes");
        bytes
    }

    fn resized(bytes: &[u8], max_side: u32) -> Option<Resized> {
        resize_to(bytes, &Limits::default(), max_side, 90).expect("decodes")
    }

    /// Both ways of decoding, and a format that has one: corners keep their colours.
    #[test]
    fn the_longer_side_fits_and_the_picture_stays() {
        let image = scene(600, 400);
        let mut png = Vec::new();
        image
            .write_to(&mut Cursor::new(&mut png), ImageFormat::Png)
            .expect("encodes");
        for bytes in [jpeg(&image, 1), png] {
            for max_side in [64, 256, 500, 599] {
                let found = resized(&bytes, max_side).expect("it is larger");
                let height = (max_side * 2 + 1) / 3;
                assert_eq!((found.width, found.height), (max_side, height));
                let small = decode(&found.bytes, &Limits::default(), Orientation::AsStored)
                    .expect("a JPEG");
                assert_eq!(small.dimensions(), (max_side, height));
                let far = small.get_pixel(max_side - 1, height - 1);
                assert!(far[0] > 240 && far[1] > 240, "{far:?} of {max_side}");
                assert!(small.get_pixel(0, 0)[0] < 20);
            }
        }
    }

    #[test]
    fn a_small_photo_stays_and_a_turned_one_is_upright() {
        let image = scene(600, 400);
        assert!(resized(&jpeg(&image, 1), 600).is_none());
        let turned = resized(&jpeg(&image, 6), 200).expect("it is larger");
        assert_eq!((turned.width, turned.height), (133, 200));
        let turned =
            decode(&turned.bytes, &Limits::default(), Orientation::Upright).expect("a JPEG");
        // Its top right was the top left.
        assert!(turned.get_pixel(130, 2)[0] < 20 && turned.get_pixel(130, 2)[1] < 20);
    }

    /// Our own decoder at every number of eighths, against the means of the whole image, and what it leaves
    /// to others.
    #[test]
    fn eighths_are_nearly_the_means_of_the_whole() {
        for (width, height, sampling) in [
            (403, 301, SamplingFactor::F_2_2),
            (400, 304, SamplingFactor::F_1_1),
            (397, 263, SamplingFactor::F_2_1),
        ] {
            let image = scene(width, height);
            let mut bytes = Vec::new();
            let mut encoder = Encoder::new(&mut bytes, 92);
            encoder.set_sampling_factor(sampling);
            encoder.set_restart_interval(7);
            let written =
                encoder.encode(image.as_raw(), width as u16, height as u16, ColorType::Rgb);
            written.expect("encodes");
            for side in 1..=7_u32 {
                let wanted = (width * side).div_ceil(8);
                let found = eighths(&bytes, &Limits::default(), wanted).expect("a JPEG");
                let (small, whole) = found.expect("a usual one");
                assert_eq!((small.width(), whole), (wanted, [width, height]));
                let [w, h] = [small.width(), small.height()];
                let reference = shrunk(&image, w, h).expect("resizes");
                let apart = small.as_raw().iter().zip(&reference);
                let sum: u64 = apart.map(|(a, b)| u64::from(a.abs_diff(*b))).sum();
                let average = sum as f64 / reference.len() as f64;
                assert!(average < 2.0, "{average} at {side} eighths");
            }
        }
    }

    #[test]
    fn colours_that_are_coded_otherwise_are_left_to_others() {
        let image = scene(320, 200);
        let mut bytes = jpeg(&image, 1);
        bytes.splice(2..2, *b"\xff\xee\x00\x0eAdobe\0\x64\0\0\0\0\x00");
        let found = eighths(&bytes, &Limits::default(), 100).expect("a JPEG");
        assert!(found.is_none());
        assert_eq!(
            resized(&bytes, 100).map(|r| (r.width, r.height)),
            Some((100, 63))
        );
    }

    proptest::proptest! {
        /// Damage gives pixels or an error, never a panic.
        #[test]
        fn no_damage_panics(at in 2usize..2000, bytes in proptest::collection::vec(0u8.., 1..30), side in 8u32..64) {
            let mut file = jpeg(&scene(64, 48), 1);
            let at = at.min(file.len() - bytes.len());
            file[at..at + bytes.len()].copy_from_slice(&bytes);
            let _ = eighths(&file, &Limits { max_pixels: 100_000 }, side);
        }
    }

    #[test]
    fn half_a_photo_is_refused() {
        let bytes = jpeg(&scene(600, 400), 1);
        for max_side in [100, 500, 600] {
            let mut half = bytes[..bytes.len() / 2].to_vec();
            half.extend(b"\xff\xd9");
            let found = resize_to(&half, &Limits::default(), max_side, 90);
            assert!(matches!(found, Err(DecodeError::Corrupt(_))), "{max_side}");
        }
    }
}
