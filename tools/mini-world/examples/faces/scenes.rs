//! Rendered people in photos and close-ups, with faces of a chosen size, and whether a search finds
//! them.

use std::path::{Path, PathBuf};

use image::{RgbImage, imageops};
use laioncele_face::{Detection, FaceError, FaceFiles, FaceNets, Search};
use laioncele_mini_world::render::{self, Anatomy};

/// Width and height of the photos with small faces.
pub(crate) const PHOTO: [u32; 2] = [2000, 1500];
/// Side of the close-ups.
pub(crate) const CLOSE_UP: u32 = 640;
/// Intersection over union at which a face counts as found.
const FOUND: f32 = 0.4;

/// An image and where its face is.
pub(crate) struct Scene {
    image: RgbImage,
    face: [f32; 4],
}

/// The shipped networks' files.
pub(crate) fn shipped() -> FaceFiles {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let file = |name: &str| -> PathBuf { root.join("../../manifests/mini/face").join(name) };
    FaceFiles {
        detector: file("retinaface_mobilenet025_dynamic.onnx"),
        recognizer: file("faceplugin_fr_feature_512.onnx"),
        gender: Some(file("face_api_age_gender.onnx")),
        ..FaceFiles::default()
    }
}

/// A portrait of each, and where its face is; without those whose face is not found even there.
pub(crate) fn portraits(nets: &FaceNets, people: &[Anatomy]) -> Result<Vec<Scene>, FaceError> {
    let mut sources = Vec::new();
    for (seed, person) in (0..).zip(people) {
        let image = render::portrait(person, seed);
        let found = nets.detect(&image)?.into_iter().next();
        sources.extend(found.map(|d| Scene {
            image,
            face: d.bbox,
        }));
    }
    Ok(sources)
}

/// The portrait somewhere in a landscape, its face `width` pixels wide.
pub(crate) fn in_a_photo(source: &Scene, width: f32, seed: u64) -> Scene {
    let times = width / (source.face[2] - source.face[0]);
    let side = (source.image.width() as f32 * times).round() as u32;
    let small = resized(&source.image, side);
    let [w, h] = PHOTO;
    let mut image = render::landscape(seed, w, h);
    let [x, y] = [w - side, h - side].map(u64::from);
    let (left, top) = (seed * 7919 % x.max(1), seed * 104_729 % y.max(1));
    imageops::replace(&mut image, &small, left as i64, top as i64);
    let [x0, y0, x1, y1] = source.face.map(|v| v * times);
    let (left, top) = (left as f32, top as f32);
    let face = [x0 + left, y0 + top, x1 + left, y1 + top];
    Scene { image, face }
}

/// The part of the portrait of which the face's longer side takes `share` of the side, enlarged.
pub(crate) fn close_up(source: &Scene, share: f32) -> Scene {
    let [x0, y0, x1, y1] = source.face;
    let whole = source.image.width() as f32;
    let side = ((x1 - x0).max(y1 - y0) / share).round().min(whole);
    let corner = |low: f32, high: f32| ((low + high - side) / 2.0).round().clamp(0.0, whole - side);
    let (left, top) = (corner(x0, x1), corner(y0, y1));
    let [x, y, wide] = [left, top, side].map(|v| v as u32);
    let cut = imageops::crop_imm(&source.image, x, y, wide, wide).to_image();
    let times = CLOSE_UP as f32 / side;
    Scene {
        image: resized(&cut, CLOSE_UP),
        face: [x0 - left, y0 - top, x1 - left, y1 - top].map(|v| v * times),
    }
}

fn resized(image: &RgbImage, side: u32) -> RgbImage {
    imageops::resize(image, side, side, imageops::FilterType::CatmullRom)
}

/// Whether the search finds the scene's face.
pub(crate) fn found(nets: &FaceNets, scene: &Scene, search: Search) -> Result<bool, FaceError> {
    let faces = nets.detect_by(&scene.image, search)?;
    let hit = |d: &Detection| overlap(&d.bbox, &scene.face) >= FOUND;
    Ok(faces.iter().any(hit))
}

fn overlap(a: &[f32; 4], b: &[f32; 4]) -> f32 {
    let side = |axis: usize| (a[axis + 2].min(b[axis + 2]) - a[axis].max(b[axis])).max(0.0);
    let area = |r: &[f32; 4]| (r[2] - r[0]) * (r[3] - r[1]);
    let shared = side(0) * side(1);
    shared / (area(a) + area(b) - shared)
}
