//! Decoding: format from the content, size from the header, pixels under limits, orientation on
//! demand.

use std::cell::Cell;
use std::io::Cursor;
use std::panic::{AssertUnwindSafe, catch_unwind};

use image::metadata::Orientation as Turn;
use image::{ColorType, DynamicImage, ImageDecoder, ImageError, ImageReader, RgbImage};

use crate::format::{DecodeError, Format, Header, Limits, Orientation, SMALL};
use crate::{avif, gif, jpeg, rows, structure, tiff, webp};

/// The format of `bytes` by their content, never by a name.
pub fn sniff(bytes: &[u8]) -> Option<Format> {
    if avif::is_avif(bytes) {
        return Some(Format::Avif);
    }
    image::guess_format(bytes).ok().and_then(Format::of)
}

/// Format and size, without decoding.
///
/// # Errors
/// [`DecodeError::NotAnImage`] or [`DecodeError::Corrupt`].
pub fn header(bytes: &[u8]) -> Result<Header, DecodeError> {
    let format = sniff(bytes).ok_or(DecodeError::NotAnImage)?;
    let (width, height) = guarded(|| match format {
        Format::Jpeg => jpeg::size(bytes),
        Format::Avif => avif::size(bytes),
        Format::Tiff if tiff::has_texts_for_numbers(bytes) => Err(DecodeError::Corrupt(
            "the TIFF has a text where a number belongs".to_owned(),
        )),
        Format::Tiff => {
            let gray = tiff::without_palette(bytes);
            let bytes = gray.as_ref().map_or(bytes, |(gray, _)| gray);
            reader(bytes, SMALL)?.into_dimensions().map_err(corrupt)
        }
        _ => reader(bytes, SMALL)?.into_dimensions().map_err(corrupt),
    })?;
    Ok(Header {
        format,
        width,
        height,
    })
}

/// About how many bytes [`check`] takes for an image beside its file.
pub fn memory_to_check(bytes: &[u8], header: &Header) -> u64 {
    let pixels = header.pixels();
    let (pixels, bytes_per_pixel) = match header.format {
        // A row; of a JPEG not even that, but for rare ones.
        Format::Jpeg | Format::Png | Format::Gif => (pixels, 0),
        Format::Bmp if structure::is_plain_bmp(bytes) => (pixels, 0),
        Format::Bmp => (pixels, 4),
        Format::Tiff => (pixels.min(tiff::strip_pixels(bytes).unwrap_or(pixels)), 4),
        Format::Avif => (pixels, 3),
        Format::WebP => (pixels, webp::bytes_per_pixel(bytes)),
    };
    pixels.saturating_mul(bytes_per_pixel)
}

/// Proves that the file decodes, at less cost than decoding where that can be: a JPEG's blocks are
/// stepped over without making pixels (a fraction of the time, and next to no memory), of PNG, GIF
/// and TIFF no more than a row or a strip is kept, of AVIF no colours are made. What passes here,
/// [`decode`] decodes.
///
/// # Errors
/// As [`decode`].
pub fn check(bytes: &[u8], limits: &Limits) -> Result<Header, DecodeError> {
    let header = admit(bytes, limits)?;
    let is_proven = guarded(|| match header.format {
        Format::Jpeg => jpeg::prove(bytes).map(|()| true),
        Format::Png => rows::png(bytes, header.allowed()).map(|()| true),
        Format::Gif => rows::gif(bytes, header.allowed()).map(|()| true),
        Format::Tiff => match tiff::without_palette(bytes) {
            Some((gray, _)) => rows::tiff(&gray, header.allowed()),
            None => rows::tiff(bytes, header.allowed()),
        },
        Format::Avif => avif::prove(bytes).map(|()| true),
        Format::Bmp if structure::is_plain_bmp(bytes) => {
            let decoder = reader(bytes, header.allowed())?.into_decoder();
            decoder.map(|_| true).map_err(corrupt)
        }
        Format::Bmp | Format::WebP => Ok(false),
    })?;
    if !is_proven {
        pixels(bytes, &header)?;
    }
    Ok(header)
}

/// The pixels as 8-bit RGB: gray repeated, palettes looked up, 16 bits cut to 8, alpha left out,
/// CMYK converted (as Pillow's `convert("RGB")`). Of an animation or a file of pages the first.
/// A JPEG's pixels are those that libjpeg-turbo makes with its own settings, to the last bit.
///
/// A file that is cut off anywhere, or of which pixels are missing, is [`DecodeError::Corrupt`].
///
/// # Errors
/// [`DecodeError`]; the size is checked before pixels are allocated.
pub fn decode(
    bytes: &[u8],
    limits: &Limits,
    orientation: Orientation,
) -> Result<RgbImage, DecodeError> {
    let header = admit(bytes, limits)?;
    let (mut image, turn) = pixels(bytes, &header)?;
    if orientation == Orientation::Upright {
        image.apply_orientation(turn);
    }
    Ok(eight_bit_rgb(image))
}

/// The pixels as they are stored, and how they must be turned to be looked at.
fn pixels(bytes: &[u8], header: &Header) -> Result<(DynamicImage, Turn), DecodeError> {
    guarded(|| match header.format {
        Format::Jpeg => jpeg::pixels(bytes),
        Format::Avif => avif::pixels(bytes),
        Format::Gif => {
            // `image` takes one that lies outside of its canvas for whole, whatever of it is there.
            rows::gif(bytes, header.allowed())?;
            let image = around(bytes, others(bytes, header)?.0);
            Ok((image, Turn::NoTransforms))
        }
        Format::Tiff => match tiff::without_palette(bytes) {
            Some((gray, colours)) => {
                let (image, turn) = others(&gray, header)?;
                Ok((tiff::coloured(image, &colours), turn))
            }
            None => others(bytes, header),
        },
        Format::WebP => others(&webp::without_missing_alpha(bytes), header),
        Format::Png | Format::Bmp => others(bytes, header),
    })
}

fn others(bytes: &[u8], header: &Header) -> Result<(DynamicImage, Turn), DecodeError> {
    let mut decoder = reader(bytes, header.allowed())?
        .into_decoder()
        .map_err(corrupt)?;
    let turn = decoder.orientation().unwrap_or(Turn::NoTransforms);
    let image = DynamicImage::from_decoder(decoder).map_err(corrupt)?;
    Ok((image, turn))
}

/// A GIF's first image with its surroundings coloured.
fn around(bytes: &[u8], image: DynamicImage) -> DynamicImage {
    let Some(gif::Surround {
        image: [left, top, right, bottom],
        colour,
    }) = gif::surround(bytes)
    else {
        return image;
    };
    let mut image = image.into_rgb8();
    if [left, top] == [0, 0] && right >= image.width() && bottom >= image.height() {
        return image.into();
    }
    for (x, y, pixel) in image.enumerate_pixels_mut() {
        if !(left..right).contains(&x) || !(top..bottom).contains(&y) {
            *pixel = image::Rgb(colour);
        }
    }
    image.into()
}

/// The header of a file that may be decoded: not too large and, where the file's structure shows
/// it, not cut off.
pub(crate) fn admit(bytes: &[u8], limits: &Limits) -> Result<Header, DecodeError> {
    let header = header(bytes)?;
    let Header { width, height, .. } = header;
    if header.pixels() > limits.max_pixels {
        return Err(DecodeError::TooLarge {
            width,
            height,
            max_pixels: limits.max_pixels,
        });
    }
    if !structure::is_whole(header.format, bytes) {
        let name = header.format.name();
        return Err(DecodeError::Corrupt(format!("the {name} is cut off")));
    }
    Ok(header)
}

/// How the pixels must be turned to be looked at.
pub(crate) fn turn(bytes: &[u8]) -> Turn {
    guarded(|| jpeg::turn(bytes)).unwrap_or(Turn::NoTransforms)
}

thread_local! {
    /// Whether this thread is in a decoder whose panic is caught.
    static GUARDED: Cell<bool> = const { Cell::new(false) };
}

/// From now on panics of decoders, which are caught, are not printed: a trace of one costs more memory than the photos, and
/// hostile files cause as many as they like. Other panics go where they went.
pub fn quiet_panics() {
    let before = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        if !GUARDED.get() {
            before(panic);
        }
    }));
}

/// Calls a decoder. A panic in it costs this one file.
pub(crate) fn guarded<T>(
    decoder: impl FnOnce() -> Result<T, DecodeError>,
) -> Result<T, DecodeError> {
    let before = GUARDED.replace(true);
    let decoded = catch_unwind(AssertUnwindSafe(decoder));
    GUARDED.set(before);
    decoded.unwrap_or_else(|_| Err(DecodeError::Corrupt("the decoder panicked".to_owned())))
}

fn reader(bytes: &[u8], max_alloc: u64) -> Result<ImageReader<Cursor<&[u8]>>, DecodeError> {
    let mut reader = ImageReader::new(Cursor::new(bytes))
        .with_guessed_format()
        .map_err(|e| DecodeError::Corrupt(e.to_string()))?;
    let mut limits = image::Limits::default();
    limits.max_alloc = Some(max_alloc);
    reader.limits(limits);
    Ok(reader)
}

pub(crate) fn corrupt(error: ImageError) -> DecodeError {
    DecodeError::Corrupt(error.to_string())
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
    use image::ImageFormat;

    use super::*;

    fn png(width: u32, height: u32) -> Vec<u8> {
        let mut bytes = Vec::new();
        let image = RgbImage::from_fn(width, height, |x, y| image::Rgb([x as u8, y as u8, 7]));
        image
            .write_to(&mut Cursor::new(&mut bytes), ImageFormat::Png)
            .expect("encodes");
        bytes
    }

    /// A GIF with a canvas of one pixel and a white image of this size at this place.
    fn gif_of([left, top, width, height]: [u8; 4]) -> Vec<u8> {
        let mut bytes = b"GIF89a\x01\0\x01\0\x80\0\0\xff\xff\xff\0\0\0,".to_vec();
        bytes.extend([left, top, width, height].iter().flat_map(|v| [*v, 0]));
        bytes.extend(b"\0\x02\x02D\x01\0;");
        bytes
    }

    #[test]
    fn a_gif_without_pixels_is_refused_by_proof_and_decoder_alike() {
        let limits = Limits::default();
        for place in [
            [0, 0, 1, 0],
            [0, 0, 0, 1],
            [0, 0, 0, 0],
            [0, 1, 1, 0],
            [9, 0, 1, 0],
        ] {
            let bytes = gif_of(place);
            assert!(check(&bytes, &limits).is_err(), "{place:?}");
            assert!(
                decode(&bytes, &limits, Orientation::Upright).is_err(),
                "{place:?}"
            );
        }
        let mut beyond = gif_of([0, 1, 1, 0]);
        // The transparent colour is none of the palette.
        beyond.splice(19..19, *b"!\xf9\x04\x01\0\0\xb5\0");
        assert!(
            check(&beyond, &limits).is_err()
                && decode(&beyond, &limits, Orientation::Upright).is_err()
        );
        // Outside of the canvas, and cut off.
        let mut outside = gif_of([0, 9, 1, 9]);
        outside.truncate(outside.len() - 6);
        outside.extend(b"\x02\0\0\x08\0;");
        assert!(
            check(&outside, &limits).is_err()
                && decode(&outside, &limits, Orientation::Upright).is_err()
        );
        assert!(check(&gif_of([0, 0, 1, 1]), &limits).is_ok());
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
