//! Faces that fill the image, reach beyond it or lie at its edges.

use image::{Rgb, RgbImage, imageops};
use laioncele_face::{Detection, FaceNets, Search, cosine};
use laioncele_image::{Filter, resample};

use crate::common::{TestResult, embedded, load, shipped};

/// The embedded world's threshold for one person in photos.
const SAME_PERSON: f32 = 0.63;
const GRAY: Rgb<u8> = Rgb([120, 130, 140]);

/// A portrait of 181 × 160 pixels, whose face is about 82 × 88 pixels in the middle, eight times as
/// large.
fn large_portrait() -> Result<RgbImage, image::ImageError> {
    let small = image::open(embedded("references/unseen-00.jpg"))?.to_rgb8();
    Ok(resample(&small, 1448, 1280, Filter::Lanczos))
}

/// The portrait without `share` of its width on both sides and about as much of its height.
fn close_up(portrait: &RgbImage, share: f32) -> RgbImage {
    let (w, h) = (portrait.width() as f32, portrait.height() as f32);
    let [left, top] = [w * share, h * share * 0.9].map(|v| v as u32);
    let [right, bottom] = [w * (1.0 - share), h * (1.0 - share * 0.5)].map(|v| v as u32);
    imageops::crop_imm(portrait, left, top, right - left, bottom - top).to_image()
}

fn show(nets: &FaceNets, name: &str, image: &RgbImage, whole: &[f32]) {
    for search in [Search::Once, Search::WithMargin, Search::EverySize] {
        println!("{name} {:?} {search:?}", image.dimensions());
        for f in nets.faces_by(image, search).unwrap() {
            println!(
                "    {:.3} {:?} {:?} cos {:.3}",
                f.detection.score,
                f.detection.bbox.map(f32::round),
                f.detection.unclipped.map(f32::round),
                cosine(&f.vector, whole)
            );
        }
    }
}

#[test]
fn probe() -> TestResult {
    let nets = load(&shipped())?;
    for k in 0..7 {
        let small = image::open(embedded(&format!("references/unseen-0{k}.jpg")))?.to_rgb8();
        let base = nets.faces(&small)?;
        println!(
            "== {k} {:?} {:?}",
            small.dimensions(),
            base.iter()
                .map(|f| f.detection.bbox.map(f32::round))
                .collect::<Vec<_>>()
        );
        let whole = base[0].vector.clone();
        let [x0, y0, x1, y1] = base[0].detection.bbox;
        let large = resample(
            &small,
            small.width() * 8,
            small.height() * 8,
            Filter::Lanczos,
        );
        if k == 0 {
            for f in [0.0, 0.12, 0.2, 0.26, 0.3] {
                show(
                    &nets,
                    &format!("crop {f}"),
                    &close_up(&large_portrait()?, f),
                    &whole,
                );
            }
            for side in [8, 16, 24, 40, 64] {
                show(
                    &nets,
                    &format!("tiny {side}"),
                    &imageops::resize(&small, side, side, imageops::FilterType::Triangle),
                    &whole,
                );
            }
        }
        for share in [0.7, 0.8, 0.9, 1.0, 1.2, 1.4] {
            let side = (x1 - x0).max(y1 - y0) / share * 8.0;
            let (cx, cy) = ((x0 + x1) * 4.0, (y0 + y1) * 4.0);
            let cut = imageops::crop_imm(
                &large,
                (cx - side / 2.0).max(0.0) as u32,
                (cy - side / 2.0).max(0.0) as u32,
                side as u32,
                side as u32,
            )
            .to_image();
            show(&nets, &format!("share {share}"), &cut, &whole);
        }
        // borders: half of the face out
        let (w, h) = (small.width() as i64, small.height() as i64);
        let (cx, cy) = (((x0 + x1) / 2.0) as i64, ((y0 + y1) / 2.0) as i64);
        let (fw, fh) = ((x1 - x0) as i64, (y1 - y0) as i64);
        if k > 2 {
            continue;
        }
        for (name, x, y) in [
            ("left", -(cx - fw / 2), 200),
            ("left half", -cx, 200),
            ("right", 640 - cx - fw / 2, 200),
            ("right half", 640 - cx, 200),
            ("top", 200, -(cy - fh / 2)),
            ("top half", 200, -cy),
            ("bottom", 200, 480 - cy - fh / 2),
            ("bottom half", 200, 480 - cy),
        ] {
            let mut photo = RgbImage::from_pixel(640, 480, GRAY);
            imageops::replace(&mut photo, &small, x, y);
            show(&nets, name, &photo, &whole);
        }
        let _ = (w, h);
        let mut photo = close_up(&resample(&small, 1448, 1280, Filter::Lanczos), 0.2);
        let other = image::open(embedded("references/unseen-06.jpg"))?.to_rgb8();
        imageops::replace(&mut photo, &other, 0, 0);
        show(&nets, "two", &photo, &whole);
    }
    let _: Option<(Detection, f32)> = None;
    Ok(())
}
