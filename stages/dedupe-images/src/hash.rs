//! The average hash, bit for bit as Python's imagehash computes it with Pillow, and nearly so from the means of a
//! JPEG's blocks.

use laioncele_image::{
    DecodeError, Filter, Limits, Orientation, decode, gray, resample, tiny_gray,
};

use crate::settings::Hashing;

/// The 64-bit average hash of an encoded image: Pillow's ITU-R 601 gray, Lanczos to 8 × 8, one bit
/// per pixel that is above the mean, row-major, the first pixel in the highest bit
/// (`str(imagehash.average_hash(…))` is its hexadecimal).
///
/// # Errors
/// [`DecodeError`].
pub fn average_hash(bytes: &[u8], orientation: Orientation) -> Result<u64, DecodeError> {
    let image = decode(bytes, &Limits::default(), orientation)?;
    let small = resample(&gray(&image), 8, 8, Filter::Lanczos);
    Ok(bits(small.as_raw()))
}

/// The same of a JPEG that is large enough, from the means of its blocks: no pixels are made. It can differ
/// in some bits. `None` for everything else.
///
/// # Errors
/// [`DecodeError`].
pub fn average_hash_of_means(
    bytes: &[u8],
    orientation: Orientation,
) -> Result<Option<u64>, DecodeError> {
    let small = tiny_gray(bytes, &Limits::default(), orientation, 8)?;
    Ok(small.map(|small| bits(small.as_raw())))
}

/// By the setting.
pub(crate) fn hash(
    bytes: &[u8],
    orientation: Orientation,
    hashing: Hashing,
) -> Result<u64, DecodeError> {
    if hashing == Hashing::Fast
        && let Some(hash) = average_hash_of_means(bytes, orientation)?
    {
        return Ok(hash);
    }
    average_hash(bytes, orientation)
}

fn bits(small: &[u8]) -> u64 {
    let sum: u32 = small.iter().map(|v| u32::from(*v)).sum();
    let above = |v: &u8| u64::from(u32::from(*v) * 64 > sum);
    small.iter().fold(0, |bits, v| bits << 1 | above(v))
}
