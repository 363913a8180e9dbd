//! Proofs that a file decodes, row by row or strip by strip, without keeping its pixels.
//!
//! The decoders are those that `image` calls, set up as it does: what passes here decodes there, and what fails there fails
//! here with the same words.

use std::error::Error;
use std::io::Cursor;

use image::ImageFormat::{self, Gif, Png, Tiff};
use image::codecs::tiff::TiffDecoder;
use image::error::{DecodingError, ImageFormatHint};
use image::{ImageDecoder, ImageError};
use tiff::decoder::Decoder;
use tiff::tags::Tag;

use crate::format::DecodeError;

/// Decodes a PNG's first image and lets go of each row.
///
/// # Errors
/// [`DecodeError::Corrupt`].
pub(crate) fn png(bytes: &[u8], max_alloc: u64) -> Result<(), DecodeError> {
    let failed = |error: png::DecodingError| match error {
        png::DecodingError::IoError(error) => corrupt(&ImageError::IoError(error)),
        error => broken(Png, error),
    };
    let limits = png::Limits {
        bytes: usize::try_from(max_alloc).unwrap_or(usize::MAX),
    };
    let mut decoder = png::Decoder::new_with_limits(Cursor::new(bytes), limits);
    decoder.set_ignore_text_chunk(false);
    decoder.set_transformations(png::Transformations::EXPAND);
    let mut reader = decoder.read_info().map_err(failed)?;
    while reader.next_interlaced_row().map_err(failed)?.is_some() {}
    Ok(())
}

/// Decodes a GIF's first image and lets go of each row.
///
/// # Errors
/// [`DecodeError::Corrupt`].
pub(crate) fn gif(bytes: &[u8], max_alloc: u64) -> Result<(), DecodeError> {
    let mut options = gif::DecodeOptions::new();
    options.set_color_output(gif::ColorOutput::RGBA);
    let mut reader = options.read_info(bytes).map_err(|e| broken(Gif, e))?;
    let frame = reader.next_frame_info().map_err(|e| broken(Gif, e))?;
    let Some((width, height)) = frame.map(|f| (u64::from(f.width), u64::from(f.height))) else {
        return Err(DecodeError::Corrupt("the GIF has no image".to_owned()));
    };
    if width * height == 0 {
        let why = "the GIF's image has no pixels";
        return Err(DecodeError::Corrupt(why.to_owned()));
    }
    if width * height * 4 > max_alloc {
        let why = "the GIF's image is larger than its canvas";
        return Err(DecodeError::Corrupt(why.to_owned()));
    }
    let mut row = vec![0; width as usize * 4];
    for _ in 0..height {
        if !reader.fill_buffer(&mut row).map_err(|e| broken(Gif, e))? {
            return Err(DecodeError::Corrupt("the GIF ends early".to_owned()));
        }
    }
    Ok(())
}

/// Decodes a TIFF's first page and lets go of each strip or tile. `false` where the page is not made of whole pixels, and
/// must be decoded as one.
///
/// # Errors
/// [`DecodeError::Corrupt`].
pub(crate) fn tiff(bytes: &[u8], max_alloc: u64) -> Result<bool, DecodeError> {
    let failed = |error: tiff::TiffError| broken(Tiff, error);
    // Whether the kind of pixels is known.
    let known = TiffDecoder::new(Cursor::new(bytes)).map_err(|e| corrupt(&e))?;
    let (width, height) = known.dimensions();
    let mut limits = tiff::decoder::Limits::default();
    let most = usize::try_from(max_alloc).unwrap_or(usize::MAX);
    limits.decoding_buffer_size = most;
    limits.intermediate_buffer_size = most;
    limits.ifd_value_size = most;
    let decoder = Decoder::new(Cursor::new(bytes)).map_err(failed)?;
    let mut decoder = decoder.with_limits(limits);
    let planes = decoder.find_tag_unsigned::<u16>(Tag::PlanarConfiguration);
    let (chunk_width, chunk_height) = decoder.chunk_dimensions();
    if planes.map_err(failed)?.unwrap_or(1) != 1 || chunk_width == 0 || chunk_height == 0 {
        return Ok(false);
    }
    let chunks = u64::from(width.div_ceil(chunk_width)) * u64::from(height.div_ceil(chunk_height));
    for chunk in 0..u32::try_from(chunks).unwrap_or(u32::MAX) {
        decoder.read_chunk(chunk).map_err(failed)?;
    }
    Ok(true)
}

/// A decoder's error as `image` words it.
fn broken(format: ImageFormat, error: impl Error + Send + Sync + 'static) -> DecodeError {
    let hint = ImageFormatHint::Exact(format);
    corrupt(&ImageError::Decoding(DecodingError::new(hint, error)))
}

fn corrupt(error: &ImageError) -> DecodeError {
    DecodeError::Corrupt(error.to_string())
}
