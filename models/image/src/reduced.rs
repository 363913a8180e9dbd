//! JPEGs decoded at a half, a quarter or an eighth of their size, by leaving out what the finer
//! sizes need (DCT scaling): each pixel is nearly the mean of those that it stands for, at a
//! fraction of the time and, but for progressive files, memory.

use image::metadata::Orientation as Turn;
use image::{DynamicImage, GrayImage, RgbImage};
use jpeg_decoder::{Decoder, PixelFormat};
use memchr::memchr_iter;

use crate::decode::{admit, guarded, turn};
use crate::format::{DecodeError, Format, Limits, Orientation};
use crate::jpeg;

/// An image that was decoded smaller than it is.
#[derive(Clone, Debug)]
pub struct Reduced {
    /// The reduced image, 8-bit RGB.
    pub image: RgbImage,
    /// Width and height of the whole image, in the orientation of `image`.
    pub whole: [u32; 2],
}

/// A JPEG, more than twice as large as wanted, at the smallest size whose longest side is at least
/// `longest` pixels; `None` for every other file, and for JPEGs that are not of 8-bit gray or three
/// colours, have an Adobe marker, more than a hundred scans or what decoders differ about:
/// [`decode`](crate::decode()) them.
/// Means differ from those of the whole image by less than 1 of 255, single pixels by some.
///
/// # Errors
/// As [`decode`](crate::decode()): every block is proven to be there.
pub fn decode_reduced(
    bytes: &[u8],
    limits: &Limits,
    orientation: Orientation,
    longest: u32,
) -> Result<Option<Reduced>, DecodeError> {
    let header = admit(bytes, limits)?;
    let side = header.width.max(header.height);
    let fits = |times: &u32| side > 2 * longest && side.div_ceil(*times) >= longest;
    let times = [8, 4, 2].into_iter().find(fits);
    let (Format::Jpeg, Some(times)) = (header.format, times) else {
        return Ok(None);
    };
    // The decoder of reduced images makes do with half of a file.
    if !guarded(|| jpeg::is_usual(bytes))? {
        return Ok(None);
    }
    let size = [header.width, header.height];
    let Some(image) = scaled(bytes, limits, size.map(|side| side.div_ceil(times))) else {
        return Ok(None);
    };
    let turn = match orientation {
        Orientation::AsStored => Turn::NoTransforms,
        Orientation::Upright => turn(bytes),
    };
    let mut image = DynamicImage::from(image);
    image.apply_orientation(turn);
    let mut whole = size;
    if swaps_sides(turn) {
        whole.reverse();
    }
    let image = image.into_rgb8();
    Ok(Some(Reduced { image, whole }))
}

/// Whether a turned image is as wide as it was high.
pub(crate) fn swaps_sides(turn: Turn) -> bool {
    matches!(
        turn,
        Turn::Rotate90 | Turn::Rotate270 | Turn::Rotate90FlipH | Turn::Rotate270FlipH
    )
}

/// Scans that a JPEG may have here. Each costs a pass over the whole image, and this decoder has no
/// limit of its own; the decoder of whole images has this one.
const MAX_SCANS: usize = 100;

/// Whether the JPEG is left to the decoder of whole images: it has more scans than real files have,
/// or an Adobe marker, which the two decoders interpret differently.
fn is_unusual(bytes: &[u8]) -> bool {
    let mut scans = 0;
    memchr_iter(0xff, bytes).any(|at| match bytes.get(at + 1) {
        Some(0xda) => {
            scans += 1;
            scans > MAX_SCANS
        }
        Some(0xee) => bytes.get(at + 4..at + 9) == Some(b"Adobe"),
        _ => false,
    })
}

/// The JPEG at exactly this size, which is a half, a quarter or an eighth of its own, rounded up.
fn scaled(bytes: &[u8], limits: &Limits, [width, height]: [u32; 2]) -> Option<RgbImage> {
    if is_unusual(bytes) {
        return None;
    }
    let mut decoder = Decoder::new(bytes);
    let bytes_at_most = usize::try_from(limits.max_pixels.saturating_mul(3));
    decoder.set_max_decoding_buffer_size(bytes_at_most.unwrap_or(usize::MAX));
    let asked = (u16::try_from(width).ok()?, u16::try_from(height).ok()?);
    // An image thinner than eight pixels would come smaller than asked.
    if decoder.scale(asked.0, asked.1).ok()? != asked {
        return None;
    }
    let pixels = decoder.decode().ok()?;
    match decoder.info()?.pixel_format {
        PixelFormat::RGB24 => RgbImage::from_raw(width, height, pixels),
        PixelFormat::L8 => {
            let gray = GrayImage::from_raw(width, height, pixels)?;
            Some(DynamicImage::from(gray).into_rgb8())
        }
        PixelFormat::L16 | PixelFormat::CMYK32 => None,
    }
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use image::codecs::jpeg::JpegEncoder;
    use image::{ImageEncoder, Rgb};

    use super::*;
    use crate::decode;

    /// Waves with fine grain.
    fn scene(width: u32, height: u32) -> RgbImage {
        RgbImage::from_fn(width, height, |x, y| {
            let wave = |over: f32| ((x as f32 / over).sin() + (y as f32 / over).cos()) * 50.0;
            let grain = (x * 7919 + y * 104_729) % 13;
            Rgb([wave(31.0), wave(17.0), wave(9.0)].map(|v| (v + 120.0) as u8 + grain as u8))
        })
    }

    /// As a JPEG whose EXIF orientation is this number.
    fn jpeg(image: &RgbImage, turned: u8) -> Vec<u8> {
        let mut bytes = Vec::new();
        let mut encoder = JpegEncoder::new_with_quality(Cursor::new(&mut bytes), 92);
        let exif = [
            &b"II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0"[..],
            &[turned],
            &[0; 7],
        ];
        encoder
            .set_exif_metadata(exif.concat())
            .expect("takes EXIF");
        let (width, height) = image.dimensions();
        let written = encoder.write_image(image, width, height, image::ExtendedColorType::Rgb8);
        written.expect("encodes");
        bytes
    }

    fn reduced(bytes: &[u8], longest: u32) -> Option<Reduced> {
        let found = decode_reduced(bytes, &Limits::default(), Orientation::Upright, longest);
        found.expect("decodes")
    }

    /// The mean of the whole image's pixels that one stands for.
    fn mean(whole: &RgbImage, x: u32, y: u32, times: u32) -> [f32; 3] {
        let mut sums = [0.0; 3];
        let (right, below) = (
            whole.width().min((x + 1) * times),
            whole.height().min((y + 1) * times),
        );
        let places = (y * times..below).flat_map(|y| (x * times..right).map(move |x| (x, y)));
        let count = ((right - x * times) * (below - y * times)) as f32;
        for (x, y) in places {
            (0..3).for_each(|c| sums[c] += f32::from(whole.get_pixel(x, y)[c]) / count);
        }
        sums
    }

    #[test]
    fn pixels_are_nearly_the_means_of_the_whole() {
        let bytes = jpeg(&scene(403, 301), 1);
        let whole = decode(&bytes, &Limits::default(), Orientation::Upright).expect("decodes");
        for (longest, times) in [(200, 2), (102, 2), (101, 4), (40, 8)] {
            let found = reduced(&bytes, longest).expect("it is large");
            let size = (403_u32.div_ceil(times), 301_u32.div_ceil(times));
            assert_eq!((found.image.dimensions(), found.whole), (size, [403, 301]));
            let average = distance(&found.image, &whole, times);
            assert!(average < 1.0, "{average} at 1/{times}");
        }
    }

    /// How far numbers of `found` are on average from the means of the pixels of `whole` that they
    /// stand for.
    fn distance(found: &RgbImage, whole: &RgbImage, times: u32) -> f32 {
        let steps = found.enumerate_pixels().flat_map(|(x, y, pixel)| {
            let mean = mean(whole, x, y, times);
            std::array::from_fn::<f32, 3, _>(|c| (f32::from(pixel[c]) - mean[c]).abs())
        });
        steps.sum::<f32>() / found.as_raw().len() as f32
    }

    /// By each of the eight EXIF orientations, at each reduction: the upright whole image's means
    /// within 1 of 255 on average. Any other turn is far from them.
    #[test]
    fn a_turned_image_is_upright_as_the_whole_one() {
        let image = scene(640, 400);
        let upright = |bytes: &[u8]| decode(bytes, &Limits::default(), Orientation::Upright);
        let wholes: Vec<RgbImage> = (1..=8)
            .map(|turned| upright(&jpeg(&image, turned)).expect("decodes"))
            .collect();
        for (turned, own) in (1..=8).zip(&wholes) {
            for (longest, times) in [(300, 2), (150, 4), (80, 8)] {
                let found = reduced(&jpeg(&image, turned), longest).expect("it is large");
                let size: [u32; 2] = own.dimensions().into();
                assert_eq!(found.whole, size, "{turned}");
                assert_eq!(size, if turned < 5 { [640, 400] } else { [400, 640] });
                let small: [u32; 2] = found.image.dimensions().into();
                assert_eq!(small, size.map(|side| side / times));
                for whole in wholes.iter().filter(|w| w.dimensions() == own.dimensions()) {
                    let average = distance(&found.image, whole, times);
                    assert_eq!(
                        average < 1.0,
                        whole == own,
                        "{average}: {turned}, 1/{times}"
                    );
                }
            }
        }
    }

    /// Where blocks at the edges are cut, the upright pixels are those of the image as it is
    /// stored, turned.
    #[test]
    fn turning_takes_the_cut_blocks_along() {
        let image = scene(403, 301);
        for turned in 1..=8 {
            let bytes = jpeg(&image, turned);
            let decoded = |orientation| {
                let found = decode_reduced(&bytes, &Limits::default(), orientation, 101);
                found.expect("decodes").expect("it is large")
            };
            let stored = decoded(Orientation::AsStored);
            assert_eq!(
                (stored.image.dimensions(), stored.whole),
                ((101, 76), [403, 301])
            );
            let upright = decoded(Orientation::Upright);
            let (width, height) = (101, 76);
            for (x, y, pixel) in stored.image.enumerate_pixels() {
                let (right, below) = (width - 1 - x, height - 1 - y);
                // Where a stored pixel is looked at, by the EXIF standard's table of orientations.
                let (x, y) = match turned {
                    1 => (x, y),
                    2 => (right, y),
                    3 => (right, below),
                    4 => (x, below),
                    5 => (y, x),
                    6 => (below, x),
                    7 => (below, right),
                    _ => (y, right),
                };
                assert_eq!(upright.image.get_pixel(x, y), pixel, "{turned}");
            }
        }
    }

    #[test]
    fn what_is_small_or_no_jpeg_is_left_to_the_whole() {
        let bytes = jpeg(&scene(400, 300), 1);
        assert!(reduced(&bytes, 200).is_none());
        assert!(reduced(&bytes, 199).is_some());
        // One pixel wide, half of it cannot be asked for.
        assert!(reduced(&jpeg(&scene(1, 3000), 1), 1400).is_none());
        let mut png = Vec::new();
        let written = scene(400, 300).write_to(&mut Cursor::new(&mut png), image::ImageFormat::Png);
        written.expect("encodes");
        assert!(reduced(&png, 50).is_none());
        // Of a file whose headers are there, the decoder of whole images says what is wrong.
        let (cut, limits) = (&bytes[..900], Limits::default());
        let found = decode_reduced(cut, &limits, Orientation::Upright, 50);
        assert!(matches!(found, Ok(None) | Err(DecodeError::Corrupt(_))));
        let found = decode(cut, &limits, Orientation::Upright);
        assert!(matches!(found, Err(DecodeError::Corrupt(_))));
        let few = Limits { max_pixels: 1000 };
        let large = decode_reduced(&bytes, &few, Orientation::Upright, 50);
        assert!(matches!(large, Err(DecodeError::TooLarge { .. })));
    }

    #[test]
    fn gray_is_reduced_and_adobes_colours_are_left_to_the_whole() {
        let gray = DynamicImage::from(scene(403, 301)).into_luma8();
        let mut bytes = Vec::new();
        let encoder = JpegEncoder::new_with_quality(Cursor::new(&mut bytes), 92);
        let written = encoder.write_image(&gray, 403, 301, image::ExtendedColorType::L8);
        written.expect("encodes");
        let whole = decode(&bytes, &Limits::default(), Orientation::Upright).expect("decodes");
        let found = reduced(&bytes, 101).expect("it is large");
        let (found, mean) = (found.image.get_pixel(50, 40), mean(&whole, 50, 40, 4));
        assert!((0..3).all(|c| (f32::from(found[c]) - mean[c]).abs() < 12.0));
        let mut adobe = jpeg(&scene(403, 301), 1);
        adobe.splice(2..2, *b"\xff\xee\x00\x0eAdobe\0\x64\0\0\0\0\x01");
        assert!(reduced(&adobe, 101).is_none());
    }

    /// Each of these costs a decoder without a limit a pass over the image.
    #[test]
    fn a_bomb_of_scans_is_left_to_the_whole() {
        let mut bytes = jpeg(&scene(403, 301), 1);
        let end = bytes.split_off(bytes.len() - 2);
        let scan = b"\xff\xda\x00\x08\x01\x01\x00\x00\x3f\x00";
        (0..200).for_each(|_| bytes.extend_from_slice(scan));
        bytes.extend(end);
        assert!(is_unusual(&bytes));
        let found = decode_reduced(&bytes, &Limits::default(), Orientation::Upright, 101);
        assert!(!matches!(found, Ok(Some(_))));
    }

    proptest::proptest! {
        /// Damage in the middle of a JPEG gives pixels, nothing or an error, never a panic.
        #[test]
        fn no_damage_panics(at in 2usize..2000, bytes in proptest::collection::vec(0u8.., 1..30)) {
            let mut file = jpeg(&scene(64, 48), 1);
            let at = at.min(file.len() - bytes.len());
            file[at..at + bytes.len()].copy_from_slice(&bytes);
            let _ = decode_reduced(&file, &Limits { max_pixels: 100_000 }, Orientation::Upright, 20);
        }
    }
}
