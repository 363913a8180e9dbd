//! Whether bytes are a photo that is kept.

use std::panic::{AssertUnwindSafe, catch_unwind};

use laioncele_core::DropReason;
use laioncele_image::{DecodeError, Limits, Orientation, decode, header};
use laioncele_web::Failure;
use md5::Md5;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

/// What a photo must be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PhotoRules {
    /// Pixels of the shorter side at least, as they came.
    pub min_side: u32,
    /// Width × height at most, by the header.
    pub max_pixels: u64,
}

/// Bytes that have proven to be a photo.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checked {
    /// The bytes that are kept.
    pub bytes: Vec<u8>,
    /// SHA-256 of the file as it came, in hexadecimal digits.
    pub sha256: String,
    /// The usual extension of the bytes' format, without the dot.
    pub extension: String,
    /// Width in pixels, of these bytes.
    pub width: u32,
    /// Height in pixels, of these bytes.
    pub height: u32,
    /// What it was before it was made smaller; none where the bytes are as they came.
    pub original: Option<Original>,
}

/// A photo before it was made smaller.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Original {
    /// Width in pixels.
    pub width: u32,
    /// Height in pixels.
    pub height: u32,
    /// Bytes of the file.
    pub bytes: u64,
}

/// Proves that `bytes` decode wholly, within the rules. A decoder that panics costs this photo only.
///
/// # Errors
/// `not_an_image`, `corrupt`, `too_large` (in pixels) or `too_small`.
pub fn check(bytes: Vec<u8>, rules: &PhotoRules) -> Result<Checked, Failure> {
    let found = catch_unwind(AssertUnwindSafe(|| prove(&bytes, rules)))
        .unwrap_or_else(|_| Err(corrupt("the decoder panicked")))?;
    if found.width.min(found.height) < rules.min_side {
        let size = format!("{}x{}", found.width, found.height);
        return Err(Failure::last(DropReason::TooSmall, size));
    }
    Ok(Checked {
        sha256: hex(&Sha256::digest(&bytes)),
        extension: found.format.extension().to_owned(),
        width: found.width,
        height: found.height,
        original: None,
        bytes,
    })
}

fn prove(bytes: &[u8], rules: &PhotoRules) -> Result<laioncele_image::Header, Failure> {
    let limits = Limits {
        max_pixels: rules.max_pixels,
    };
    let found = header(bytes).map_err(|e| failure(&e))?;
    decode(bytes, &limits, Orientation::AsStored).map_err(|e| failure(&e))?;
    Ok(found)
}

/// Whether `bytes` are those of `expected`, a hash of the source's metadata: 32 hexadecimal digits are an MD5, 64 a
/// SHA-256 (img2dataset's columns). Anything else, such as LAION's own number, says nothing about the bytes.
///
/// # Errors
/// `hash_mismatch`, with the hash that the bytes have.
pub fn check_hash(bytes: &[u8], expected: &str) -> Result<(), Failure> {
    if !expected.bytes().all(|b| b.is_ascii_hexdigit()) {
        return Ok(());
    }
    let found = match expected.len() {
        32 => hex(&Md5::digest(bytes)),
        64 => hex(&Sha256::digest(bytes)),
        _ => return Ok(()),
    };
    if found.eq_ignore_ascii_case(expected) {
        Ok(())
    } else {
        Err(Failure::last(DropReason::HashMismatch, found))
    }
}

fn failure(error: &DecodeError) -> Failure {
    let reason = match error {
        DecodeError::NotAnImage => DropReason::NotAnImage,
        DecodeError::TooLarge { .. } => DropReason::TooLarge,
        DecodeError::Corrupt(_) => DropReason::Corrupt,
    };
    Failure::last(reason, error.to_string())
}

fn corrupt(why: &str) -> Failure {
    Failure::last(DropReason::Corrupt, why.to_owned())
}

fn hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let digits = bytes.iter().flat_map(|b| [b >> 4, b & 15]);
    digits.map(|d| char::from(DIGITS[usize::from(d)])).collect()
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use image::{ImageFormat, Rgb, RgbImage};

    use super::*;

    const RULES: PhotoRules = PhotoRules {
        min_side: 16,
        max_pixels: 10_000,
    };

    fn photo(width: u32, height: u32, format: ImageFormat) -> Vec<u8> {
        let mut bytes = Vec::new();
        RgbImage::from_fn(width, height, |x, y| Rgb([x as u8, y as u8, 9]))
            .write_to(&mut Cursor::new(&mut bytes), format)
            .expect("encodes");
        bytes
    }

    #[test]
    fn a_photo_is_kept_as_it_came() {
        let bytes = photo(40, 30, ImageFormat::Png);
        let checked = check(bytes.clone(), &RULES).expect("a photo");
        assert_eq!((checked.width, checked.height), (40, 30));
        assert_eq!(
            (checked.extension.as_str(), &checked.bytes),
            ("png", &bytes)
        );
        assert_eq!(checked.sha256, hex(&Sha256::digest(&bytes)));
    }

    #[test]
    fn what_breaks_a_rule_has_its_class() {
        let cut = photo(40, 30, ImageFormat::Jpeg);
        for (bytes, reason) in [
            (b"<html>".to_vec(), DropReason::NotAnImage),
            (Vec::new(), DropReason::NotAnImage),
            (cut[..cut.len() / 2].to_vec(), DropReason::Corrupt),
            (photo(200, 100, ImageFormat::Png), DropReason::TooLarge),
            (photo(15, 100, ImageFormat::Png), DropReason::TooSmall),
        ] {
            assert_eq!(check(bytes, &RULES).expect_err("refused").reason, reason);
        }
    }

    #[test]
    fn hashes_of_known_lengths_are_compared_in_any_case() {
        let md5 = "900150983cd24fb0d6963f7d28e17f72";
        let sha256 = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        for right in [md5, sha256, &sha256.to_uppercase(), "1234567890", "-", ""] {
            assert_eq!(check_hash(b"abc", right), Ok(()));
        }
        for (wrong, found) in [("0".repeat(32), md5), ("f".repeat(64), sha256)] {
            let failure = check_hash(b"abc", &wrong).expect_err("other bytes");
            let expected = (DropReason::HashMismatch, Some(found.to_owned()));
            assert_eq!((failure.reason, failure.detail), expected);
        }
    }
}
