//! The bytes of generated images, and the texts within them.

use std::collections::BTreeMap;

use image::RgbImage;
use image::codecs::png::PngEncoder;

use crate::ModelError;

/// What every PNG file begins with.
const SIGNATURE: [u8; 8] = *b"\x89PNG\r\n\x1a\n";
/// The signature and the header chunk, which must come first.
const HEAD: usize = SIGNATURE.len() + 25;
/// The longest text that is read back, in bytes.
const LONGEST: usize = 1 << 20;

/// A generated image as a PNG file. The encoder's settings are fixed: equal pixels have equal bytes.
///
/// # Errors
/// [`ModelError::Png`]: an image without pixels, or one that is too large for the format.
pub fn encode_png(pixels: &RgbImage) -> Result<Vec<u8>, ModelError> {
    let mut bytes = Vec::new();
    pixels.write_with_encoder(PngEncoder::new(&mut bytes))?;
    Ok(bytes)
}

/// As [`encode_png`], with texts before the pixels: a `tEXt` chunk where Latin-1 can say it, as all tools read them, else an
/// `iTXt` chunk. Keywords are ASCII, of 1 to 79 letters; texts lose their NULs.
///
/// # Errors
/// As [`encode_png`].
pub fn encode_png_with_texts(
    pixels: &RgbImage,
    texts: &[(&str, &str)],
) -> Result<Vec<u8>, ModelError> {
    let plain = encode_png(pixels)?;
    let mut bytes = plain[..HEAD].to_vec();
    for (keyword, text) in texts {
        let text = text.replace('\0', "");
        let latin: Option<Vec<u8>> = text
            .chars()
            .map(|letter| u8::try_from(u32::from(letter)).ok())
            .collect();
        let mut data = keyword.as_bytes().to_vec();
        match latin {
            Some(latin) => {
                data.push(0);
                data.extend(latin);
                chunk(&mut bytes, *b"tEXt", &data);
            }
            None => {
                // Not compressed, of no language, not translated.
                data.extend([0; 5]);
                data.extend(text.as_bytes());
                chunk(&mut bytes, *b"iTXt", &data);
            }
        }
    }
    bytes.extend(&plain[HEAD..]);
    Ok(bytes)
}

fn chunk(bytes: &mut Vec<u8>, kind: [u8; 4], data: &[u8]) {
    bytes.extend((data.len() as u32).to_be_bytes());
    bytes.extend(kind);
    bytes.extend(data);
    let mut checksum = crc32fast::Hasher::new();
    checksum.update(&kind);
    checksum.update(data);
    bytes.extend(checksum.finalize().to_be_bytes());
}

/// The texts of a PNG file by keyword: of `tEXt` and uncompressed `iTXt` chunks. Whatever is no PNG, cut off or too long has none.
pub fn png_texts(bytes: &[u8]) -> BTreeMap<String, String> {
    let mut texts = BTreeMap::new();
    let Some(mut rest) = bytes.strip_prefix(&SIGNATURE) else {
        return texts;
    };
    while let Some((head, after)) = rest.split_at_checked(8) {
        let length = u32::from_be_bytes([head[0], head[1], head[2], head[3]]) as usize;
        let Some((data, after)) = after.split_at_checked(length) else {
            break;
        };
        if length <= LONGEST
            && let Some((keyword, text)) = text_of(&head[4..], data)
        {
            texts.insert(keyword, text);
        }
        let Some((_, after)) = after.split_at_checked(4) else {
            break;
        };
        rest = after;
    }
    texts
}

fn text_of(kind: &[u8], data: &[u8]) -> Option<(String, String)> {
    let end = data.iter().position(|byte| *byte == 0)?;
    let (keyword, rest) = (latin(&data[..end]), &data[end + 1..]);
    match kind {
        b"tEXt" => Some((keyword, latin(rest))),
        b"iTXt" => {
            // Compression's flag and method, the language, the translated keyword.
            let rest = rest.strip_prefix(&[0, 0])?;
            let language = rest.iter().position(|byte| *byte == 0)?;
            let rest = &rest[language + 1..];
            let translated = rest.iter().position(|byte| *byte == 0)?;
            let text = std::str::from_utf8(&rest[translated + 1..]).ok()?;
            Some((keyword, text.to_owned()))
        }
        _ => None,
    }
}

fn latin(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| char::from(*byte)).collect()
}

#[cfg(test)]
mod tests {
    use image::Rgb;
    use proptest::prelude::*;

    use super::*;

    fn pixels() -> RgbImage {
        RgbImage::from_fn(9, 5, |x, y| Rgb([x as u8 * 25, y as u8 * 50, 7]))
    }

    #[test]
    fn encoding_keeps_every_pixel() {
        let bytes = encode_png(&pixels()).expect("a PNG");
        let decoded = image::load_from_memory(&bytes).expect("an image");
        assert_eq!(decoded.into_rgb8(), pixels());
        assert!(png_texts(&bytes).is_empty());
    }

    #[test]
    fn texts_are_read_again_and_change_no_pixel() {
        let texts = [
            ("parameters", "a café\nSteps: 4"),
            ("laioncele", "{\"a\": \"漢字\"}"),
        ];
        let bytes = encode_png_with_texts(&pixels(), &texts).expect("a PNG");
        let read = png_texts(&bytes);
        for (keyword, text) in texts {
            assert_eq!(read[keyword], text);
        }
        let decoded = image::load_from_memory(&bytes).expect("an image");
        assert_eq!(decoded.into_rgb8(), pixels());
        let plain = encode_png(&pixels()).expect("a PNG");
        assert!(bytes.ends_with(&plain[HEAD..]));
    }

    proptest! {
        #[test]
        fn no_bytes_are_too_strange(bytes in proptest::collection::vec(any::<u8>(), 0..200), cut in 0usize..400) {
            png_texts(&bytes);
            let long = [&SIGNATURE[..], &bytes].concat();
            png_texts(&long);
            let mut whole = encode_png_with_texts(&pixels(), &[("a", "b"), ("c", "漢")]).expect("a PNG");
            whole.truncate(cut);
            png_texts(&whole);
        }
    }
}
