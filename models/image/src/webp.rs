//! WebP files whose head says more than is in them, and what decoding one takes.

use std::borrow::Cow;

/// The flag of an alpha channel in the head of the extended format.
const ALPHA: u8 = 0x10;
/// Where the flags are.
const FLAGS: usize = 20;

/// The kinds of the chunks, as far as they can be followed.
fn chunks(bytes: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut at = 12;
    std::iter::from_fn(move || {
        let kind = bytes.get(at..at + 4)?;
        let size = u32::from_le_bytes(*bytes.get(at + 4..)?.first_chunk()?) as usize;
        at = (at + 8).checked_add(size)?.checked_next_multiple_of(2)?;
        Some(kind)
    })
}

/// The file without an alpha channel that its head promises and that is not there, which the decoder insists on.
pub(crate) fn without_missing_alpha(bytes: &[u8]) -> Cow<'_, [u8]> {
    let promised = bytes.get(12..16) == Some(b"VP8X")
        && bytes.get(FLAGS).is_some_and(|flags| flags & ALPHA != 0);
    if !promised || chunks(bytes).any(|kind| matches!(kind, b"ALPH" | b"VP8L" | b"ANMF")) {
        return bytes.into();
    }
    let mut mended = bytes.to_vec();
    mended[FLAGS] &= !ALPHA;
    mended.into()
}

/// About how many bytes the decoder takes for each pixel: planes of luma and chroma and the colours, or, without losses,
/// colours with alpha and a copy.
pub(crate) fn bytes_per_pixel(bytes: &[u8]) -> u64 {
    if chunks(bytes).any(|kind| matches!(kind, b"VP8L" | b"ALPH" | b"ANMF")) {
        8
    } else {
        5
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(chunks: &[(&[u8; 4], &[u8])]) -> Vec<u8> {
        let mut bytes = b"RIFF\0\0\0\0WEBP".to_vec();
        for (kind, content) in chunks {
            bytes.extend(*kind);
            bytes.extend((content.len() as u32).to_le_bytes());
            bytes.extend(*content);
            bytes.resize(bytes.len().next_multiple_of(2), 0);
        }
        bytes
    }

    #[test]
    fn alpha_that_is_not_there_is_not_promised_any_more() {
        let head: (&[u8; 4], &[u8]) = (b"VP8X", &[ALPHA | 4, 0, 0, 0, 9, 0, 0, 9, 0, 0]);
        let without = file(&[head, (b"EXIF", b"abc"), (b"VP8 ", b"x")]);
        assert_eq!(without_missing_alpha(&without)[FLAGS], 4);
        assert_eq!(bytes_per_pixel(&without), 5);
        for with in [
            file(&[head, (b"ALPH", b"abc"), (b"VP8 ", b"x")]),
            file(&[head, (b"VP8L", b"x")]),
            file(&[(b"VP8 ", &[0xff; 20])]),
            b"RIFF".to_vec(),
        ] {
            assert_eq!(without_missing_alpha(&with), with);
        }
        assert_eq!(bytes_per_pixel(&file(&[(b"VP8L", b"x")])), 8);
    }
}
