//! Files of a page's image: formats, and what is wrong with them.

use std::io::Cursor;

use image::codecs::gif::GifEncoder;
use image::{DynamicImage, Frame, ImageFormat, Rgba, RgbaImage};

use super::packed;
use crate::recipe::{ImageRecipe, RecipeError};
use crate::render::Anatomy;

/// How the file of a page is made of its image. The second argument are the people of the web.
pub(super) type Encode = fn(&ImageRecipe, &[Anatomy]) -> Encoded;

type Encoded = Result<Vec<u8>, RecipeError>;

/// Files that show nobody, of which no encoder is at hand.
pub(super) const AVIF: &[u8] = include_bytes!("files/landscape.avif");
pub(super) const CMYK_JPEG: &[u8] = include_bytes!("files/cmyk.jpg");
pub(super) const ONE_BIT_PNG: &[u8] = include_bytes!("files/one-bit.png");
pub(super) const PALETTE_PNG: &[u8] = include_bytes!("files/palette.png");
pub(super) const ANIMATED_WEBP: &[u8] = include_bytes!("files/animated.webp");

/// A drawing that no decoder of photos reads.
pub(super) const SVG: &[u8] =
    b"<?xml version=\"1.0\"?><svg xmlns=\"http://www.w3.org/2000/svg\" width=\"200\" \
height=\"200\"><circle cx=\"100\" cy=\"100\" r=\"80\"/></svg>";

/// Zeros in the file of [`crate::PageBehaviour::GzipBomb`].
const BOMB: usize = 64 << 20;

pub(super) fn gif(image: &ImageRecipe, people: &[Anatomy]) -> Encoded {
    encoded(&image.render(people)?.into(), ImageFormat::Gif)
}

/// The image, then a landscape for each further frame.
pub(super) fn animated_gif(image: &ImageRecipe, people: &[Anatomy]) -> Encoded {
    let first = DynamicImage::from(image.render(people)?).into_rgba8();
    let (width, height) = first.dimensions();
    let gray = |level| RgbaImage::from_pixel(width, height, Rgba([level, level, level, 255]));
    let mut bytes = Vec::new();
    let mut encoder = GifEncoder::new(&mut bytes);
    encoder.encode_frames([first, gray(60), gray(200)].map(Frame::new))?;
    drop(encoder);
    Ok(bytes)
}

pub(super) fn bmp(image: &ImageRecipe, people: &[Anatomy]) -> Encoded {
    encoded(&image.render(people)?.into(), ImageFormat::Bmp)
}

pub(super) fn tiff(image: &ImageRecipe, people: &[Anatomy]) -> Encoded {
    encoded(&image.render(people)?.into(), ImageFormat::Tiff)
}

pub(super) fn webp(image: &ImageRecipe, people: &[Anatomy]) -> Encoded {
    encoded(&image.render(people)?.into(), ImageFormat::WebP)
}

pub(super) fn gray_jpeg(image: &ImageRecipe, people: &[Anatomy]) -> Encoded {
    let gray = DynamicImage::from(image.render(people)?).into_luma8();
    encoded(&gray.into(), ImageFormat::Jpeg)
}

pub(super) fn deep_png(image: &ImageRecipe, people: &[Anatomy]) -> Encoded {
    let deep = DynamicImage::from(image.render(people)?).into_rgb16();
    encoded(&deep.into(), ImageFormat::Png)
}

pub(super) fn transparent_png(image: &ImageRecipe, people: &[Anatomy]) -> Encoded {
    let mut see_through = DynamicImage::from(image.render(people)?).into_rgba8();
    for pixel in see_through.pixels_mut() {
        pixel.0[3] = 200;
    }
    encoded(&see_through.into(), ImageFormat::Png)
}

fn encoded(image: &DynamicImage, format: ImageFormat) -> Encoded {
    let mut bytes = Cursor::new(Vec::new());
    image.write_to(&mut bytes, format)?;
    Ok(bytes.into_inner())
}

pub(super) fn thumbnail(image: &ImageRecipe, people: &[Anatomy]) -> Encoded {
    let small = ImageRecipe {
        height: 16,
        ..image.clone()
    };
    small.jpeg(people)
}

pub(super) fn tracking_pixel(_: &ImageRecipe, _: &[Anatomy]) -> Encoded {
    encoded(&RgbaImage::new(1, 1).into(), ImageFormat::Gif)
}

pub(super) fn half_jpeg(image: &ImageRecipe, people: &[Anatomy]) -> Encoded {
    image.jpeg(people).map(half)
}

pub(super) fn half_png(image: &ImageRecipe, people: &[Anatomy]) -> Encoded {
    image.png(people).map(half)
}

pub(super) fn half_gif(image: &ImageRecipe, people: &[Anatomy]) -> Encoded {
    gif(image, people).map(half)
}

pub(super) fn half_gzip(image: &ImageRecipe, people: &[Anatomy]) -> Encoded {
    Ok(half(packed::gzip(&image.jpeg(people)?)))
}

fn half(mut bytes: Vec<u8>) -> Vec<u8> {
    bytes.truncate(bytes.len() / 2);
    bytes
}

pub(super) fn gzip(image: &ImageRecipe, people: &[Anatomy]) -> Encoded {
    Ok(packed::gzip(&image.jpeg(people)?))
}

pub(super) fn zlib(image: &ImageRecipe, people: &[Anatomy]) -> Encoded {
    Ok(packed::zlib(&image.jpeg(people)?))
}

pub(super) fn raw_deflate(image: &ImageRecipe, people: &[Anatomy]) -> Encoded {
    Ok(packed::stored(&image.jpeg(people)?))
}

pub(super) fn gzip_bomb(_: &ImageRecipe, _: &[Anatomy]) -> Encoded {
    Ok(packed::gzip_of_zeros(BOMB))
}

/// A PNG whose header announces 50,000 × 50,000 pixels.
pub(super) fn huge_png(_: &ImageRecipe, _: &[Anatomy]) -> Encoded {
    const SIDE: [u8; 4] = 50_000u32.to_be_bytes();
    let mut bytes = encoded(&DynamicImage::new_rgb8(1, 1), ImageFormat::Png)?;
    // The signature and the length of the header chunk take 12 bytes. The checksum covers the
    // chunk's type and content.
    bytes[16..20].copy_from_slice(&SIDE);
    bytes[20..24].copy_from_slice(&SIDE);
    let checksum = crc32fast::hash(&bytes[12..29]);
    bytes[29..33].copy_from_slice(&checksum.to_be_bytes());
    Ok(bytes)
}

/// A JPEG whose header announces 65,500 × 65,500 pixels.
pub(super) fn huge_jpeg(image: &ImageRecipe, people: &[Anatomy]) -> Encoded {
    let mut bytes = image.jpeg(people)?;
    let frame = bytes.windows(2).position(|pair| pair == [0xff, 0xc0]);
    if let Some(at) = frame {
        // After the marker: length, precision, height, width.
        let side = 65_500u16.to_be_bytes();
        bytes[at + 5..at + 9].copy_from_slice(&[side, side].concat());
    }
    Ok(bytes)
}

/// A GIF whose header announces 65,535 × 65,535 pixels.
pub(super) fn huge_gif(image: &ImageRecipe, people: &[Anatomy]) -> Encoded {
    let mut bytes = gif(image, people)?;
    bytes[6..10].fill(0xff);
    Ok(bytes)
}

/// A JPEG file with a comment after its first marker.
pub(super) fn with_comment(jpeg: &[u8], comment: &str) -> Vec<u8> {
    let length = (comment.len() as u16 + 2).to_be_bytes();
    let head = [&[0xff, 0xd8, 0xff, 0xfe], &length[..], comment.as_bytes()].concat();
    [&head, &jpeg[2..]].concat()
}

#[cfg(test)]
mod tests {
    use image::{GenericImageView, ImageReader};

    use super::*;

    fn recipe() -> ImageRecipe {
        ImageRecipe {
            people: vec![0],
            seed: 1,
            close_up: false,
            posed: false,
            height: 64,
            quality: 90,
        }
    }

    fn people() -> [Anatomy; 1] {
        [Anatomy::stranger(1)]
    }

    fn size(bytes: Vec<u8>) -> (u32, u32) {
        let reader = ImageReader::new(Cursor::new(bytes)).with_guessed_format();
        let size = reader.expect("a format").into_dimensions();
        size.expect("a header")
    }

    #[test]
    fn huge_files_have_valid_headers() -> Result<(), RecipeError> {
        let of = |encode: Encode| encode(&recipe(), &people()).map(size);
        assert_eq!(of(huge_png)?, (50_000, 50_000));
        assert_eq!(of(huge_jpeg)?, (65_500, 65_500));
        assert_eq!(of(huge_gif)?, (65_535, 65_535));
        assert_eq!(of(tracking_pixel)?, (1, 1));
        Ok(())
    }

    /// Every format shows the image, GIF with the colours that it has.
    #[test]
    fn files_of_all_formats_show_the_image() -> Result<(), RecipeError> {
        let expected = DynamicImage::from(recipe().render(&people())?);
        let formats: [Encode; 8] = [
            gif,
            animated_gif,
            bmp,
            tiff,
            webp,
            gray_jpeg,
            deep_png,
            transparent_png,
        ];
        for (at, encode) in formats.into_iter().enumerate() {
            let found = image::load_from_memory(&encode(&recipe(), &people())?)?;
            assert_eq!(found.dimensions(), expected.dimensions(), "format {at}");
            let pixels = found.to_luma8().into_raw().into_iter();
            let pairs = pixels.zip(expected.to_luma8().into_raw());
            let off: u64 = pairs.map(|(a, b)| u64::from(a.abs_diff(b))).sum();
            let area = u64::from(expected.width()) * u64::from(expected.height());
            assert!(off < 12 * area, "format {at}: {off} of {area} pixels");
        }
        Ok(())
    }

    #[test]
    fn a_comment_changes_the_bytes_and_not_the_pixels() -> Result<(), RecipeError> {
        let plain = recipe().jpeg(&people())?;
        let other = with_comment(&plain, "seen at a.example/1.jpg");
        assert_ne!(plain, other);
        let pixels = |bytes: &[u8]| image::load_from_memory(bytes);
        assert_eq!(pixels(&plain)?, pixels(&other)?);
        Ok(())
    }
}
