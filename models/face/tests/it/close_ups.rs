//! Faces that fill the image, reach beyond it or lie at its edges, and which of two is the main one.

use std::io::Cursor;

use image::codecs::jpeg::JpegEncoder;
use image::{Rgb, RgbImage, imageops};
use laioncele_face::{Face, FaceNets, Search, cosine};
use laioncele_image::{Filter, Limits, resample};

use crate::common::{TestResult, embedded, load, shipped};

/// The embedded world's threshold for one person in photos.
const SAME_PERSON: f32 = 0.63;
const SEARCHES: [Search; 3] = [Search::Once, Search::WithMargin, Search::EverySize];
const GRAY: Rgb<u8> = Rgb([120, 130, 140]);

/// A portrait of about 181 × 160 pixels, whose face is about 82 × 88 pixels near its middle.
fn portrait(number: u32) -> Result<RgbImage, image::ImageError> {
    let file = embedded(&format!("references/unseen-{number:02}.jpg"));
    Ok(image::open(file)?.to_rgb8())
}

fn large(portrait: &RgbImage) -> RgbImage {
    resample(portrait, 1448, 1280, Filter::Lanczos)
}

/// The image without `share` of its width on both sides and about as much of its height.
fn without_border(image: &RgbImage, share: f32) -> RgbImage {
    let (w, h) = (image.width() as f32, image.height() as f32);
    let [left, top] = [w * share, h * share * 0.9].map(|v| v as u32);
    let [right, bottom] = [w * (1.0 - share), h * (1.0 - share * 0.5)].map(|v| v as u32);
    imageops::crop_imm(image, left, top, right - left, bottom - top).to_image()
}

/// The square around the face of which the face's longer side is `share` of the side, eight times
/// as large as in the portrait.
fn filled(portrait: &RgbImage, [x0, y0, x1, y1]: [f32; 4], share: f32) -> RgbImage {
    let (w, h) = portrait.dimensions();
    let enlarged = resample(portrait, w * 8, h * 8, Filter::Lanczos);
    let side = (x1 - x0).max(y1 - y0) * 8.0 / share;
    let [left, top] = [(x0 + x1) * 4.0, (y0 + y1) * 4.0].map(|c| (c - side / 2.0) as u32);
    imageops::crop_imm(&enlarged, left, top, side as u32, side as u32).to_image()
}

/// Every box lies within an image of this size.
fn assert_within(faces: &[Face], (width, height): (u32, u32)) {
    for face in faces {
        let [x0, y0, x1, y1] = face.detection.bbox;
        let inside = 0.0 <= x0 && x0 < x1 && x1 <= width as f32;
        assert!(
            inside && 0.0 <= y0 && y0 < y1 && y1 <= height as f32,
            "{face:?}"
        );
    }
}

fn main_face(nets: &FaceNets, image: &RgbImage) -> Result<Face, Box<dyn std::error::Error>> {
    let faces = nets.faces(image)?;
    Ok(faces.into_iter().next().ok_or("no face")?)
}

/// Close-ups as people crop them. A spurious box, larger than the face and with a score of 0.84,
/// once went before the face.
#[test]
fn close_ups_show_the_person_of_the_portrait() -> TestResult {
    let nets = load(&shipped())?;
    let portrait = portrait(0)?;
    let whole = main_face(&nets, &portrait)?.vector;
    for share in [0.0, 0.12, 0.2, 0.26, 0.3] {
        let close_up = without_border(&large(&portrait), share);
        for search in SEARCHES {
            let faces = nets.faces_by(&close_up, search)?;
            assert_eq!(faces.len(), 1, "{share} {search:?}: {faces:?}");
            assert_within(&faces, close_up.dimensions());
            let similarity = cosine(&faces[0].vector, &whole);
            assert!(similarity > SAME_PERSON, "{share} {search:?}: {similarity}");
        }
        let mut jpeg = Vec::new();
        JpegEncoder::new_with_quality(Cursor::new(&mut jpeg), 95).encode_image(&close_up)?;
        let faces = nets.faces_in_file(&jpeg, &Limits::default())?;
        assert_within(&faces, close_up.dimensions());
        let similarity = cosine(&faces[0].vector, &whole);
        assert!(similarity > SAME_PERSON, "{share} as a file: {similarity}");
    }
    Ok(())
}

/// At 120 % of the image's side chin and forehead are cut off.
#[test]
fn faces_that_fill_the_image_are_recognized_with_a_margin() -> TestResult {
    let nets = load(&shipped())?;
    let (mut alone, mut again) = (0.0, 0.0);
    for number in 0..3 {
        let portrait = portrait(number)?;
        let whole = main_face(&nets, &portrait)?;
        for share in [0.9, 1.0, 1.2] {
            let image = filled(&portrait, whole.detection.bbox, share);
            let once = nets.faces_by(&image, Search::Once)?;
            let faces = nets.faces(&image)?;
            assert_eq!(faces.len(), 1, "{number} {share}: {faces:?}");
            assert_within(&faces, image.dimensions());
            let similarity = cosine(&faces[0].vector, &whole.vector);
            assert!(similarity > SAME_PERSON, "{number} {share}: {similarity}");
            alone += cosine(&once[0].vector, &whole.vector);
            again += similarity;
        }
    }
    // Means of nine: 0.79 and 0.90.
    assert!(again > alone + 0.5, "{alone} {again}");
    Ok(())
}

#[test]
fn faces_at_each_border_are_found_and_clipped() -> TestResult {
    let nets = load(&shipped())?;
    let portrait = portrait(0)?;
    let whole = main_face(&nets, &portrait)?;
    let [x0, y0, x1, y1] = whole.detection.bbox.map(|v| v as i64);
    let corners = [(-x0, 200), (640 - x1, 200), (200, -y0), (200, 480 - y1)];
    for (left, top) in corners {
        let mut photo = RgbImage::from_pixel(640, 480, GRAY);
        imageops::replace(&mut photo, &portrait, left, top);
        let faces = nets.faces(&photo)?;
        assert_eq!(faces.len(), 1, "at {left} {top}: {faces:?}");
        assert_within(&faces, photo.dimensions());
        let similarity = cosine(&faces[0].vector, &whole.vector);
        assert!(similarity > SAME_PERSON, "at {left} {top}: {similarity}");
    }
    Ok(())
}

/// Half a face is found or not; a box never leaves the image or lies beside the face.
#[test]
fn faces_half_out_of_the_image_have_boxes_within_it() -> TestResult {
    let nets = load(&shipped())?;
    let mut found = 0;
    for number in 0..3 {
        let portrait = portrait(number)?;
        let [x0, y0, x1, y1] = main_face(&nets, &portrait)?.detection.bbox;
        let [x, y] = [(x0 + x1) as i64 / 2, (y0 + y1) as i64 / 2];
        for (left, top) in [(-x, 200), (640 - x, 200), (200, -y), (200, 480 - y)] {
            let mut photo = RgbImage::from_pixel(640, 480, GRAY);
            imageops::replace(&mut photo, &portrait, left, top);
            let faces = nets.faces_by(&photo, Search::EverySize)?;
            assert_within(&faces, photo.dimensions());
            assert!(faces.len() <= 1, "{number} at {left} {top}: {faces:?}");
            for face in &faces {
                let [a, b, c, d] = face.detection.bbox;
                let centre = [(a + c) / 2.0 - left as f32, (b + d) / 2.0 - top as f32];
                assert!(x0 < centre[0] && centre[0] < x1 && y0 < centre[1] && centre[1] < y1);
                found += 1;
            }
        }
    }
    assert!(found > 0);
    Ok(())
}

#[test]
fn faces_of_tiny_images_lie_within_them() -> TestResult {
    let nets = load(&shipped())?;
    let portrait = portrait(0)?;
    for (side, count) in [(4, 0), (8, 1), (16, 1), (24, 1), (64, 1)] {
        let tiny = imageops::resize(&portrait, side, side, imageops::FilterType::Triangle);
        let faces = nets.faces_by(&tiny, Search::EverySize)?;
        assert_eq!(faces.len(), count, "{side}: {faces:?}");
        assert_within(&faces, tiny.dimensions());
    }
    Ok(())
}

#[test]
fn main_face_of_two_is_the_one_that_fills_the_image() -> TestResult {
    let nets = load(&shipped())?;
    let (first, second) = (portrait(0)?, portrait(6)?);
    let whole = main_face(&nets, &first)?.vector;
    let mut photo = without_border(&large(&first), 0.2);
    imageops::replace(&mut photo, &second, 0, 0);
    for search in SEARCHES {
        let faces = nets.faces_by(&photo, search)?;
        assert_eq!(faces.len(), 2, "{search:?}: {faces:?}");
        let similarity = cosine(&faces[0].vector, &whole);
        assert!(similarity > SAME_PERSON, "{search:?}: {similarity}");
        let [[large, _], [small, _]] = [&faces[0], &faces[1]].map(|face| face.detection.size());
        assert!(large > 4.0 * small, "{search:?}: {faces:?}");
    }
    Ok(())
}
