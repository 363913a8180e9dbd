//! Whether downloaded bytes are a photo that we keep.

use laioncele_core::DropReason;
use laioncele_core::table::{Candidate, Image, Photo};
use laioncele_image::{DecodeError, Limits, Orientation, decode, header};
use md5::Md5;
use sha2::{Digest, Sha256};

use crate::failure::Failure;
use crate::settings::{OnHashMismatch, Settings};

/// What is known of a file once it has proven to be an image.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Checked {
    pub(crate) bytes: Vec<u8>,
    sha256: String,
    extension: &'static str,
    width: u32,
    height: u32,
}

/// Proves that `bytes` decode within the limits. The bytes stay as they came.
pub(crate) fn check(bytes: Vec<u8>, settings: &Settings) -> Result<Checked, Failure> {
    let found = header(&bytes).map_err(|e| failure(&e))?;
    let limits = Limits {
        max_pixels: settings.max_pixels,
    };
    decode(&bytes, &limits, Orientation::AsStored).map_err(|e| failure(&e))?;
    if found.width.min(found.height) < settings.min_side {
        return Err(Failure::last(
            DropReason::TooSmall,
            format!("{}x{}", found.width, found.height),
        ));
    }
    let sha256 = hex(&Sha256::digest(&bytes));
    Ok(Checked {
        bytes,
        sha256,
        extension: found.format.extension(),
        width: found.width,
        height: found.height,
    })
}

/// The photo's row, unless the source's metadata has a hash of other bytes: 32 hexadecimal digits
/// are an MD5, 64 a SHA-256 (img2dataset's columns); anything else, such as LAION's own number,
/// says nothing about the bytes.
pub(crate) fn photo(
    candidate: &Candidate,
    checked: &Checked,
    on_hash_mismatch: OnHashMismatch,
) -> Result<Photo, Failure> {
    let expected = candidate.hash.as_deref();
    let expected = expected.filter(|h| h.bytes().all(|b| b.is_ascii_hexdigit()));
    if let Some(expected) = expected.filter(|_| on_hash_mismatch == OnHashMismatch::Drop) {
        let found = match expected.len() {
            32 => hex(&Md5::digest(&checked.bytes)),
            64 => checked.sha256.clone(),
            _ => expected.to_ascii_lowercase(),
        };
        if !found.eq_ignore_ascii_case(expected) {
            return Err(Failure::last(DropReason::HashMismatch, found));
        }
    }
    Ok(Photo {
        name_id: candidate.name_id,
        image_id: candidate.image_id,
        url: candidate.url.clone(),
        caption: candidate.caption.clone(),
        image: Image {
            bytes: checked.bytes.clone(),
            path: format!("{}.{}", candidate.image_id, checked.extension),
        },
        sha256: checked.sha256.clone(),
        width: checked.width,
        height: checked.height,
    })
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
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}
