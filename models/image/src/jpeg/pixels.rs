//! Whole JPEGs: their size, their pixels, how they are to be turned.

use image::DynamicImage;
use image::metadata::Orientation as Turn;

use super::file::{Head, head, whole};
use crate::format::DecodeError;

/// Width and height as stored.
pub(crate) fn size(bytes: &[u8]) -> Result<(u32, u32), DecodeError> {
    Ok(head(bytes)?.size.into())
}

/// How the pixels must be turned to be looked at, by EXIF.
pub(crate) fn turn(bytes: &[u8]) -> Result<Turn, DecodeError> {
    Ok(turn_of(&head(bytes)?))
}

fn turn_of(head: &Head) -> Turn {
    let turn = head.exif.and_then(Turn::from_exif_chunk);
    turn.unwrap_or(Turn::NoTransforms)
}

/// The pixels as they are stored, and how they must be turned to be looked at. Every block is there.
pub(crate) fn pixels(bytes: &[u8]) -> Result<(DynamicImage, Turn), DecodeError> {
    let (image, head) = whole(bytes)?;
    Ok((image, turn_of(&head)))
}
