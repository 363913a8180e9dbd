//! Decoding: format from the content, size from the header, pixels under limits, orientation on
//! demand.

use std::io::Cursor;

use image::metadata::Orientation as Turn;
use image::{
    ColorType, DynamicImage, ImageDecoder, ImageError, ImageFormat, ImageReader, RgbImage,
};
use memchr::memchr_iter;

/// A format that this crate decodes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// JPEG, baseline or progressive.
    Jpeg,
    /// PNG, of any depth and colour type.
    Png,
    /// WebP, lossy or lossless.
    WebP,
}

impl Format {
    /// The usual file extension, without the dot.
    pub fn extension(self) -> &'static str {
        match self {
            Self::Jpeg => "jpg",
            Self::Png => "png",
            Self::WebP => "webp",
        }
    }

    fn of(format: ImageFormat) -> Option<Self> {
        match format {
            ImageFormat::Jpeg => Some(Self::Jpeg),
            ImageFormat::Png => Some(Self::Png),
            ImageFormat::WebP => Some(Self::WebP),
            _ => None,
        }
    }
}

/// Format and size of a file, from its header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// The format, from the content and not from the file's name.
    pub format: Format,
    /// Width in pixels as stored, before orientation.
    pub width: u32,
    /// Height in pixels as stored, before orientation.
    pub height: u32,
}

/// Limits on what a decoder allocates.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// The most pixels, width × height, that an image may have.
    pub max_pixels: u64,
}

impl Default for Limits {
    /// 100 megapixels.
    fn default() -> Self {
        Self {
            max_pixels: 100_000_000,
        }
    }
}

/// Whether the EXIF orientation is applied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Orientation {
    /// Pixels as they are stored (what Pillow's `Image.open` gives, and so what imagehash sees).
    AsStored,
    /// Pixels as the image is meant to be looked at.
    Upright,
}

/// Why a file cannot be decoded. The texts are kept in the `dropped` table: they do not change.
#[derive(Debug, thiserror::Error)]
pub enum DecodeError {
    /// The content is of no format that this crate decodes.
    #[error("not a JPEG, PNG or WebP picture")]
    NotAnImage,
    /// More pixels than the limit, by the header.
    #[error("{width} × {height} pixels, more than {max_pixels} in all")]
    TooLarge {
        /// Width by the header, in pixels.
        width: u32,
        /// Height by the header, in pixels.
        height: u32,
        /// The most pixels allowed.
        max_pixels: u64,
    },
    /// The format is known, the content broken.
    #[error("broken picture: {0}")]
    Corrupt(String),
}

/// The format of `bytes` by their content, never by a name.
pub fn sniff(bytes: &[u8]) -> Option<Format> {
    image::guess_format(bytes).ok().and_then(Format::of)
}

/// Format and size, without decoding.
///
/// # Errors
/// [`DecodeError::NotAnImage`] or [`DecodeError::Corrupt`].
pub fn header(bytes: &[u8]) -> Result<Header, DecodeError> {
    let format = sniff(bytes).ok_or(DecodeError::NotAnImage)?;
    let (width, height) = reader(bytes)?.into_dimensions().map_err(corrupt)?;
    Ok(Header {
        format,
        width,
        height,
    })
}

/// The pixels as 8-bit RGB: gray repeated, palettes looked up, 16 bits cut to 8, alpha left out,
/// CMYK converted (as Pillow's `convert("RGB")`).
///
/// # Errors
/// [`DecodeError`]; the size is checked before pixels are allocated.
pub fn decode(
    bytes: &[u8],
    limits: &Limits,
    orientation: Orientation,
) -> Result<RgbImage, DecodeError> {
    admit(bytes, limits)?;
    let mut decoder = reader(bytes)?.into_decoder().map_err(corrupt)?;
    let turn = decoder.orientation().unwrap_or(Turn::NoTransforms);
    let mut image = DynamicImage::from_decoder(decoder).map_err(corrupt)?;
    if orientation == Orientation::Upright {
        image.apply_orientation(turn);
    }
    Ok(eight_bit_rgb(image))
}

/// The header of a file that may be decoded: not too large, and, where that shows, not cut off.
pub(crate) fn admit(bytes: &[u8], limits: &Limits) -> Result<Header, DecodeError> {
    let header = header(bytes)?;
    let Header { width, height, .. } = header;
    if u64::from(width) * u64::from(height) > limits.max_pixels {
        return Err(DecodeError::TooLarge {
            width,
            height,
            max_pixels: limits.max_pixels,
        });
    }
    if header.format == Format::Jpeg && !has_end_of_image(bytes) {
        return Err(DecodeError::Corrupt("the JPEG is cut off".to_owned()));
    }
    Ok(header)
}

/// How the pixels must be turned to be looked at.
pub(crate) fn turn(bytes: &[u8]) -> Result<Turn, DecodeError> {
    let mut decoder = reader(bytes)?.into_decoder().map_err(corrupt)?;
    Ok(decoder.orientation().unwrap_or(Turn::NoTransforms))
}

/// Whether a JPEG's last scan ends as it should. The decoder itself fills up what is missing with
/// gray, where Pillow refuses the file. An EOI marker cannot stand within a scan; those of
/// thumbnails stand in segments, which are skipped.
fn has_end_of_image(bytes: &[u8]) -> bool {
    const EOI: u8 = 0xd9;
    let mut at = 2;
    while let Some(&[0xff, marker]) = bytes.get(at..at + 2) {
        match (marker, bytes.get(at + 2..at + 4)) {
            (EOI, _) => return true,
            // Fill bytes and restart markers have no length.
            (0xff, _) => at += 1,
            (0x01 | 0xd0..=0xd8, _) => at += 2,
            (SOS, Some(length)) => at = end_of_scan(bytes, at + 2 + segment_length(length)),
            (_, Some(length)) => at += 2 + segment_length(length),
            (_, None) => return false,
        }
    }
    false
}

const SOS: u8 = 0xda;

fn segment_length(bytes: &[u8]) -> usize {
    usize::from(bytes[0]) << 8 | usize::from(bytes[1])
}

/// Where the marker after the entropy-coded data from `start` on stands; the end of `bytes` without
/// one.
fn end_of_scan(bytes: &[u8], start: usize) -> usize {
    let data = bytes.get(start..).unwrap_or_default();
    let is_data = |next: &u8| matches!(next, 0x00 | 0xff | 0xd0..=0xd7);
    let marker = |at: &usize| data.get(at + 1).is_some_and(|next| !is_data(next));
    let found = memchr_iter(0xff, data).find(marker);
    start + found.unwrap_or(data.len())
}

fn reader(bytes: &[u8]) -> Result<ImageReader<Cursor<&[u8]>>, DecodeError> {
    let mut reader = ImageReader::new(Cursor::new(bytes))
        .with_guessed_format()
        .map_err(|e| DecodeError::Corrupt(e.to_string()))?;
    let mut limits = image::Limits::default();
    limits.max_alloc = Some(4 << 30);
    reader.limits(limits);
    Ok(reader)
}

fn corrupt(error: ImageError) -> DecodeError {
    match error {
        ImageError::Unsupported(_) => DecodeError::NotAnImage,
        other => DecodeError::Corrupt(other.to_string()),
    }
}

/// 16-bit samples keep their high byte, as Pillow does; `to_rgb8` would round.
fn eight_bit_rgb(image: DynamicImage) -> RgbImage {
    if matches!(
        image.color(),
        ColorType::L16 | ColorType::La16 | ColorType::Rgb16 | ColorType::Rgba16
    ) {
        let wide = image.to_rgb16();
        let high = wide.as_raw().iter().map(|v| (v >> 8) as u8).collect();
        return RgbImage::from_raw(wide.width(), wide.height(), high).unwrap_or_default();
    }
    image.into_rgb8()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn png(width: u32, height: u32) -> Vec<u8> {
        let mut bytes = Vec::new();
        let image = RgbImage::from_fn(width, height, |x, y| image::Rgb([x as u8, y as u8, 7]));
        image
            .write_to(&mut Cursor::new(&mut bytes), ImageFormat::Png)
            .expect("encodes");
        bytes
    }

    /// A PNG whose header claims 50,000 × 50,000 pixels, with a right checksum.
    fn boastful_png() -> Vec<u8> {
        let mut bytes = png(1, 1);
        bytes[16..24].copy_from_slice(&[0, 0, 0xc3, 0x50, 0, 0, 0xc3, 0x50]);
        let crc = crc32(&bytes[12..29]);
        bytes[29..33].copy_from_slice(&crc.to_be_bytes());
        bytes
    }

    fn crc32(bytes: &[u8]) -> u32 {
        !bytes.iter().fold(u32::MAX, |crc, b| {
            (0..8).fold(crc ^ u32::from(*b), |c, _| {
                if c & 1 == 1 {
                    (c >> 1) ^ 0xedb8_8320
                } else {
                    c >> 1
                }
            })
        })
    }

    #[test]
    fn pixels_come_back() {
        let image = decode(&png(5, 3), &Limits::default(), Orientation::Upright).expect("decodes");
        assert_eq!(
            (image.dimensions(), image.get_pixel(4, 2).0),
            ((5, 3), [4, 2, 7])
        );
    }

    #[test]
    fn a_boast_is_refused_by_its_header() {
        let error = decode(&boastful_png(), &Limits::default(), Orientation::Upright)
            .expect_err("too large");
        assert!(
            matches!(
                error,
                DecodeError::TooLarge {
                    width: 50_000,
                    height: 50_000,
                    ..
                }
            ),
            "{error}"
        );
    }

    #[test]
    fn html_is_no_image_and_half_a_png_is_broken() {
        assert!(matches!(
            decode(
                b"<html>.jpg</html>",
                &Limits::default(),
                Orientation::Upright
            ),
            Err(DecodeError::NotAnImage)
        ));
        let whole = png(50, 50);
        let half = decode(
            &whole[..whole.len() / 2],
            &Limits::default(),
            Orientation::Upright,
        );
        assert!(matches!(half, Err(DecodeError::Corrupt(_))));
    }

    fn jpeg(side: u32) -> Vec<u8> {
        let mut bytes = Vec::new();
        let image = RgbImage::from_fn(side, side, |x, y| {
            image::Rgb([(x * 37 + y * 91) as u8, (x * y) as u8, y as u8])
        });
        image
            .write_to(&mut Cursor::new(&mut bytes), ImageFormat::Jpeg)
            .expect("encodes");
        bytes
    }

    /// Wherever it is cut; what comes after its end does not matter.
    #[test]
    fn a_cut_jpeg_is_broken() {
        let decoded = |bytes: &[u8]| decode(bytes, &Limits::default(), Orientation::Upright);
        let mut whole = jpeg(40);
        for length in 4..whole.len() - 1 {
            assert!(decoded(&whole[..length]).is_err(), "cut at {length}");
        }
        assert!(decoded(&whole).is_ok());
        whole.extend(b"trailing words");
        assert!(decoded(&whole).is_ok());
    }

    proptest::proptest! {
        #[test]
        fn no_bytes_panic(mut bytes in proptest::collection::vec(0u8.., 0..400), at in 0usize..60, with_magic: bool) {
            if with_magic {
                let mut file = png(9, 9);
                let end = (at + bytes.len()).min(file.len());
                file[at..end].copy_from_slice(&bytes[..end - at]);
                bytes = file;
            }
            let _ = decode(&bytes, &Limits { max_pixels: 10_000 }, Orientation::Upright);
        }
    }
}
