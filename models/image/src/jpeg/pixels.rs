//! Whole JPEGs into pixels.

use image::metadata::Orientation as Turn;
use image::{DynamicImage, GrayImage, RgbImage};
use zune_jpeg::JpegDecoder;
use zune_jpeg::errors::DecodeErrors;
use zune_jpeg::zune_core::bytestream::ZCursor;
use zune_jpeg::zune_core::colorspace::ColorSpace;
use zune_jpeg::zune_core::options::DecoderOptions;

use super::file::{Walked, walk};
use crate::format::DecodeError;

type Decoder<'a> = JpegDecoder<ZCursor<&'a [u8]>>;

/// A decoder that has read the headers.
fn open(bytes: &[u8]) -> Result<Decoder<'_>, DecodeError> {
    let options = DecoderOptions::default()
        .set_strict_mode(false)
        .set_max_width(usize::from(u16::MAX))
        .set_max_height(usize::from(u16::MAX));
    let mut decoder = JpegDecoder::new_with_options(ZCursor::new(bytes), options);
    decoder.decode_headers().map_err(corrupt)?;
    Ok(decoder)
}

fn corrupt(error: DecodeErrors) -> DecodeError {
    DecodeError::Corrupt(error.to_string())
}

fn dimensions(decoder: &Decoder) -> Result<(u32, u32), DecodeError> {
    let (width, height) = decoder
        .dimensions()
        .ok_or_else(|| DecodeError::Corrupt("the JPEG has no size".to_owned()))?;
    Ok((width as u32, height as u32))
}

/// Width and height as stored.
pub(crate) fn size(bytes: &[u8]) -> Result<(u32, u32), DecodeError> {
    dimensions(&open(bytes)?)
}

/// How the pixels must be turned to be looked at, by EXIF.
pub(crate) fn turn(bytes: &[u8]) -> Result<Turn, DecodeError> {
    Ok(turn_of(&open(bytes)?))
}

fn turn_of(decoder: &Decoder) -> Turn {
    let exif = decoder.exif();
    exif.and_then(|exif| Turn::from_exif_chunk(exif))
        .unwrap_or(Turn::NoTransforms)
}

/// Whether every block is proven to be there; false where only decoding can tell.
///
/// # Errors
/// [`DecodeError::Corrupt`]: one is not.
pub(crate) fn prove(bytes: &[u8]) -> Result<bool, DecodeError> {
    match walk(bytes) {
        Walked::Whole(()) => Ok(true),
        Walked::Unusual => Ok(false),
        Walked::Broken(what) => Err(DecodeError::Corrupt(what.to_owned())),
    }
}

/// The pixels as they are stored, and how they must be turned to be looked at.
pub(crate) fn pixels(bytes: &[u8]) -> Result<(DynamicImage, Turn), DecodeError> {
    let mut decoder = open(bytes)?;
    let turn = turn_of(&decoder);
    let (width, height) = dimensions(&decoder)?;
    let is_gray = decoder.input_colorspace() == Some(ColorSpace::Luma);
    let colours = if is_gray {
        ColorSpace::Luma
    } else {
        ColorSpace::RGB
    };
    decoder.set_options(decoder.options().jpeg_set_out_colorspace(colours));
    let values = decoder.decode().map_err(corrupt)?;
    let image = match is_gray {
        true => GrayImage::from_raw(width, height, values).map(DynamicImage::from),
        false => RgbImage::from_raw(width, height, values).map(DynamicImage::from),
    };
    let image = image.ok_or_else(|| DecodeError::Corrupt("pixels are missing".to_owned()))?;
    Ok((image, turn))
}
