//! Whether bytes are a photo that is kept.

use std::panic::{AssertUnwindSafe, catch_unwind};

use laioncele_core::DropReason;
use laioncele_image::{
    DecodeError, Format, Header, Limits, Resized, header, memory_to_check, resize_to,
};
use laioncele_web::Failure;
use md5::Md5;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::pixels::{PixelRoom, PixelShare};

/// What a photo must be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PhotoRules {
    /// Pixels of the shorter side at least, as they came.
    pub min_side: u32,
    /// Width × height at most, by the header.
    pub max_pixels: u64,
}

/// How large photos are made smaller.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shrink {
    /// Pixels of the longer side of a photo that had more; others stay as they came.
    pub max_side: u32,
    /// Quality of its JPEG, 1 to 100.
    pub quality: u8,
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

/// Bytes that decoders of a process take together, but for a photo that needs more by itself.
static DECODERS: PixelRoom = PixelRoom::new(64 << 20);
/// Bytes that the proof of one photo may take: a WebP of few bytes can be as large as its header likes. Of formats that are
/// proven row by row it takes next to none.
const PROOF: u64 = 192 << 20;

/// Proves that `bytes` decode wholly, within the rules. A decoder that panics costs this photo only. Waits while other
/// photos take the memory that decoding needs.
///
/// # Errors
/// `not_an_image`, `corrupt`, `too_large` (in pixels) or `too_small`.
pub fn check(bytes: Vec<u8>, rules: &PhotoRules) -> Result<Checked, Failure> {
    guarded(|| {
        let found = header(&bytes)?;
        let memory = memory_to_check(&bytes, &found);
        let limits = rules.limits(&found, memory);
        let _share = share(&found, &limits, memory);
        laioncele_image::check(&bytes, &limits)?;
        Ok((found, None))
    })
    .and_then(|(found, smaller)| checked(bytes, rules, found, smaller))
}

/// As [`check`], and makes a photo that is larger than `shrink` has it smaller.
///
/// # Errors
/// As [`check`].
pub fn shrink(bytes: Vec<u8>, rules: &PhotoRules, shrink: Shrink) -> Result<Checked, Failure> {
    guarded(|| {
        let found = header(&bytes)?;
        let Shrink { max_side, quality } = shrink;
        let proof = memory_to_check(&bytes, &found);
        let memory = match found.width.max(found.height) > max_side {
            true => found.memory_to_decode(),
            false => proof,
        };
        let limits = rules.limits(&found, proof);
        let _share = share(&found, &limits, memory);
        let smaller = resize_to(&bytes, &limits, max_side, quality)?;
        Ok((found, smaller))
    })
    .and_then(|(found, smaller)| checked(bytes, rules, found, smaller))
}

impl PhotoRules {
    /// What the decoder keeps to for a photo whose proof takes `memory`.
    fn limits(&self, found: &Header, memory: u64) -> Limits {
        let by_memory = match memory > PROOF {
            true => PROOF / (memory / found.pixels().max(1)).max(1),
            false => u64::MAX,
        };
        Limits {
            max_pixels: self.max_pixels.min(by_memory),
        }
    }
}

/// The part of the decoders' memory for a photo; none of one that is refused by its header.
fn share(found: &Header, limits: &Limits, memory: u64) -> PixelShare<'static> {
    DECODERS.take(match found.pixels() > limits.max_pixels {
        true => 0,
        false => memory,
    })
}

fn guarded<T>(decode: impl FnOnce() -> Result<T, DecodeError>) -> Result<T, Failure> {
    match catch_unwind(AssertUnwindSafe(decode)) {
        Ok(decoded) => decoded.map_err(|e| failure(&e)),
        Err(_) => {
            let why = "the decoder panicked".to_owned();
            Err(Failure::last(DropReason::Corrupt, why))
        }
    }
}

fn checked(
    bytes: Vec<u8>,
    rules: &PhotoRules,
    found: Header,
    smaller: Option<Resized>,
) -> Result<Checked, Failure> {
    if found.width.min(found.height) < rules.min_side {
        let size = format!("{}x{}", found.width, found.height);
        return Err(Failure::last(DropReason::TooSmall, size));
    }
    let sha256 = hex(&Sha256::digest(&bytes));
    Ok(match smaller {
        None => Checked {
            bytes,
            sha256,
            extension: found.format.extension().to_owned(),
            width: found.width,
            height: found.height,
            original: None,
        },
        Some(smaller) => Checked {
            sha256,
            extension: Format::Jpeg.extension().to_owned(),
            width: smaller.width,
            height: smaller.height,
            original: Some(Original {
                width: found.width,
                height: found.height,
                bytes: bytes.len() as u64,
            }),
            bytes: smaller.bytes,
        },
    })
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
    fn large_photos_are_made_smaller_and_others_are_not() {
        let half = Shrink {
            max_side: 50,
            quality: 90,
        };
        let large = photo(100, 60, ImageFormat::Png);
        let checked = shrink(large.clone(), &RULES, half).expect("a photo");
        assert_eq!((checked.width, checked.height), (50, 30));
        assert_eq!(checked.extension, "jpg");
        assert_eq!(checked.sha256, hex(&Sha256::digest(&large)));
        let original = checked.original.expect("it was larger");
        assert_eq!((original.width, original.height), (100, 60));
        assert_eq!(original.bytes, large.len() as u64);
        let small = photo(50, 50, ImageFormat::Png);
        let checked = shrink(small.clone(), &RULES, half).expect("a photo");
        assert_eq!((checked.bytes, checked.original), (small, None));
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

    /// A file of few bytes that would take as much memory as its header likes.
    #[test]
    fn what_cannot_be_proven_in_little_memory_is_too_large() {
        let mut bytes = Vec::new();
        RgbImage::new(8000, 8000)
            .write_to(&mut Cursor::new(&mut bytes), ImageFormat::WebP)
            .expect("encodes");
        let rules = PhotoRules {
            min_side: 1,
            max_pixels: 100_000_000,
        };
        let failure = check(bytes, &rules).expect_err("refused");
        assert_eq!(failure.reason, DropReason::TooLarge);
        let bytes = photo(6000, 5000, ImageFormat::Bmp);
        assert!(check(bytes, &rules).is_ok());
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
