//! Small pictures inside the page: `data:` addresses, so that it needs no other file.

use laioncele_image::{Format, Limits, header, resize_to};
use serde::Serialize;

/// The longer side of a picture in the page, in pixels.
const SIDE: u32 = 96;
/// Of the JPEGs, 1 to 100.
const QUALITY: u8 = 70;

/// A picture of the page.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Picture {
    /// A `data:` address; empty where the bytes are no picture any more.
    pub data: String,
    /// What it shows, for who cannot see it.
    pub alt: String,
    /// What stands below it; may be empty.
    pub caption: String,
}

/// A picture from an image's file, at most 96 pixels wide and high; its `data` is empty where the file does not decode.
pub fn thumbnail(file: &[u8], alt: impl Into<String>, caption: impl Into<String>) -> Picture {
    Picture {
        data: data(file).unwrap_or_default(),
        alt: alt.into(),
        caption: caption.into(),
    }
}

fn data(file: &[u8]) -> Option<String> {
    let small = resize_to(file, &Limits::default(), SIDE, QUALITY).ok()?;
    if let Some(small) = small {
        return Some(address("jpeg", &small.bytes));
    }
    let format = match header(file).ok()?.format {
        Format::Png => "png",
        Format::Jpeg => "jpeg",
        Format::WebP => "webp",
        Format::Gif => "gif",
        _ => return None,
    };
    Some(address(format, file))
}

fn address(format: &str, bytes: &[u8]) -> String {
    format!("data:image/{format};base64,{}", base64(bytes))
}

const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/// Base64 with padding (RFC 4648, section 4).
fn base64(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for group in bytes.chunks(3) {
        let byte = |at: usize| u32::from(group.get(at).copied().unwrap_or(0));
        let bits = byte(0) << 16 | byte(1) << 8 | byte(2);
        for place in 0..4 {
            let digit = DIGITS[(bits >> (18 - 6 * place) & 63) as usize];
            text.push(if place <= group.len() {
                char::from(digit)
            } else {
                '='
            });
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_is_that_of_the_standard() {
        let of = |text: &str| base64(text.as_bytes());
        let expected = [
            "", "Zg==", "Zm8=", "Zm9v", "Zm9vYg==", "Zm9vYmE=", "Zm9vYmFy",
        ];
        assert_eq!(
            ["", "f", "fo", "foo", "foob", "fooba", "foobar"].map(of),
            expected
        );
        assert_eq!(base64(&[0xfb, 0xff, 0xfe]), "+//+");
    }

    #[test]
    fn a_picture_is_small_and_a_broken_one_is_empty() {
        let image = image::RgbImage::from_fn(300, 200, |x, y| image::Rgb([x as u8, y as u8, 7]));
        let mut png = std::io::Cursor::new(Vec::new());
        image
            .write_to(&mut png, image::ImageFormat::Png)
            .expect("encoded");
        let picture = thumbnail(png.get_ref(), "a face", "");
        assert!(picture.data.starts_with("data:image/jpeg;base64,"));
        assert!(picture.data.len() < 6000, "{}", picture.data.len());
        assert_eq!(thumbnail(b"GIF89a broken", "x", "").data, "");
    }
}
