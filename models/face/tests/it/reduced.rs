//! Faces from a file's bytes: large JPEGs are decoded smaller, and find the faces of the whole
//! image.

use std::io::Cursor;

use image::codecs::jpeg::JpegEncoder;
use image::{Rgb, RgbImage, imageops};
use laioncele_face::{Face, FaceError, FaceNets, FileError, Search, cosine};
use laioncele_image::{Limits, Orientation, decode};

use crate::common::{TestResult, load, read_image, shipped};

fn nets() -> Result<FaceNets, FaceError> {
    load(&shipped())
}

/// A JPEG of `width` × `width` × 3 / 4 pixels with the fixtures `faces`, each `side` pixels wide,
/// side by side.
fn photo(width: u32, side: u32, faces: &[&str]) -> Result<Vec<u8>, image::ImageError> {
    let grain = |x: u32, y: u32| (120 + ((x * 7919) ^ (y * 104_729)) % 9) as u8;
    let mut photo = RgbImage::from_fn(width, width * 3 / 4, |x, y| Rgb([grain(x, y); 3]));
    for (k, name) in (0..).zip(faces) {
        let face = read_image(name)?;
        let face = imageops::resize(&face, side, side, imageops::FilterType::CatmullRom);
        imageops::replace(&mut photo, &face, 90 + k * i64::from(side + 70), 110);
    }
    let mut bytes = Vec::new();
    JpegEncoder::new_with_quality(Cursor::new(&mut bytes), 90).encode_image(&photo)?;
    Ok(bytes)
}

/// What the file shows, and what its whole image does.
fn both(nets: &FaceNets, bytes: &[u8]) -> Result<[Vec<Face>; 2], Box<dyn std::error::Error>> {
    let whole = decode(bytes, &Limits::default(), Orientation::Upright)?;
    let found = nets.faces_in_file(bytes, &Limits::default())?;
    Ok([found, nets.faces_by(&whole, Search::EverySize)?])
}

/// At a half and at a quarter. Boxes within a pixel of the 640 that detection works on, embeddings
/// within 0.98.
#[test]
fn faces_of_a_reduced_photo_equal_those_of_the_whole() -> TestResult {
    let nets = nets()?;
    for width in [1600, 3000] {
        let bytes = photo(width, width / 3, &["first-a.png", "second-a.png"])?;
        let [found, whole] = both(&nets, &bytes)?;
        assert_eq!((found.len(), whole.len()), (2, 2), "{width}");
        // Bits differ: it was indeed another image that was looked at.
        assert_ne!(found, whole, "{width}");
        for (face, whole) in found.iter().zip(&whole) {
            let (a, b) = (&face.detection, &whole.detection);
            let marks = a.landmarks.as_flattened().iter();
            let marks = marks.zip(b.landmarks.as_flattened());
            let mut numbers = a.bbox.iter().zip(&b.bbox).chain(marks);
            let pixel = width as f32 / 640.0;
            assert!(numbers.all(|(a, b)| (a - b).abs() <= pixel), "{a:?} {b:?}");
            let similarity = cosine(&face.vector, &whole.vector);
            assert!(similarity >= 0.98, "{width}: {similarity}");
        }
    }
    Ok(())
}

/// Bit for bit as the whole image: a photo that is not so large, one whose faces are too small for
/// its reduced size, and one without any.
#[test]
fn faces_come_from_the_whole_photo_where_the_reduced_one_lacks_detail() -> TestResult {
    let nets = nets()?;
    let names = ["first-a.png", "second-a.png"];
    for (width, side, count) in [(1280, 400, 2), (1600, 200, 2), (2000, 66, 2)] {
        let [found, whole] = both(&nets, &photo(width, side, &names)?)?;
        assert_eq!((found.len(), &found), (count, &whole), "{width} {side}");
    }
    let [found, whole] = both(&nets, &photo(1500, 300, &[])?)?;
    assert!(found.is_empty() && whole.is_empty());
    Ok(())
}

#[test]
fn files_that_are_no_image_are_refused() -> TestResult {
    let nets = nets()?;
    let whole = photo(1600, 500, &["first-a.png"])?;
    let few = Limits { max_pixels: 9 };
    for (bytes, limits) in [
        (&b"words"[..], Limits::default()),
        (&whole[..whole.len() / 2], Limits::default()),
        (&whole, few),
    ] {
        let error = nets.faces_in_file(bytes, &limits).err().ok_or("faces")?;
        assert!(matches!(error, FileError::Image(_)), "{error}");
    }
    Ok(())
}
