//! The average hash, bit for bit as Python's imagehash computes it with Pillow.

use laioncele_image::{DecodeError, Filter, Limits, Orientation, decode, gray, resample};

/// The 64-bit average hash of an encoded image: Pillow's ITU-R 601 gray, Lanczos to 8 × 8, one bit
/// per pixel that is above the mean, row-major, the first pixel in the highest bit
/// (`str(imagehash.average_hash(…))` is its hexadecimal).
///
/// # Errors
/// [`DecodeError`].
pub fn average_hash(bytes: &[u8]) -> Result<u64, DecodeError> {
    let image = decode(bytes, &Limits::default(), Orientation::AsStored)?;
    let small = resample(&gray(&image), 8, 8, Filter::Lanczos);
    let sum: u32 = small.as_raw().iter().map(|v| u32::from(*v)).sum();
    Ok(small
        .as_raw()
        .iter()
        .fold(0, |bits, v| bits << 1 | u64::from(u32::from(*v) * 64 > sum)))
}
