//! What the face networks make of rendered people: how many faces of each size are found, by each search, and how often
//! the guess at gender is right. Prints the tables of models/face/README.md.
//!
//!     cargo run --release --workspace --example faces -- [PEOPLE]

use std::error::Error;
use std::path::Path;

use image::{RgbImage, imageops};
use laioncele_face::{Detection, FaceFiles, FaceNets, FaceOptions, Search};
use laioncele_mini_world::render::{self, Anatomy};

const SEARCHES: [Search; 3] = [Search::Once, Search::WithMargin, Search::EverySize];
/// Width and height of the photos with small faces.
const PHOTO: [u32; 2] = [2000, 1500];
/// Side of the close-ups.
const CLOSE_UP: u32 = 640;
/// Intersection over union at which a face counts as found.
const FOUND: f32 = 0.4;

/// A picture and where its face is.
struct Scene {
    picture: RgbImage,
    face: [f32; 4],
}

#[expect(clippy::print_stdout, reason = "tables are what this program is for")]
fn main() -> Result<(), Box<dyn Error>> {
    let count = std::env::args().nth(1).map_or(Ok(40), |n| n.parse())?;
    let mini = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../manifests/mini");
    let people: Vec<Anatomy> = (0..count).map(Anatomy::stranger).collect();
    let nets = load(&mini.join("face"))?;
    println!("| | right | unsure | wrong |\n|---|---|---|---|");
    println!(
        "| portraits | {} |",
        genders(&nets, &people, render::portrait)?
    );
    let photo = |person: &Anatomy, seed| render::photo(person, seed, false);
    println!("| photos | {} |", genders(&nets, &people, photo)?);
    let sources = sources(&nets, &people)?;
    println!(
        "\n{} people\n\n| face | one look | with margin | every size |\n|---|---|---|---|",
        sources.len()
    );
    for width in [16, 20, 24, 32, 40, 64, 128, 256] {
        let scene = |(k, source): (usize, &Scene)| in_a_photo(source, width as f32, k as u64);
        let scenes = sources.iter().enumerate().map(scene);
        row(
            &nets,
            &format!("{width} pixels wide in {} × {}", PHOTO[0], PHOTO[1]),
            scenes,
        )?;
    }
    for percent in [40, 60, 80, 100, 120] {
        let scenes = sources
            .iter()
            .map(|source| close_up(source, percent as f32 / 100.0));
        row(
            &nets,
            &format!("{percent} % of a {CLOSE_UP} × {CLOSE_UP} close-up"),
            scenes,
        )?;
    }
    Ok(())
}

fn load(folder: &Path) -> Result<FaceNets, Box<dyn Error>> {
    let files = FaceFiles {
        detector: folder.join("retinaface_mobilenet025_dynamic.onnx"),
        recognizer: folder.join("faceplugin_fr_feature_512.onnx"),
        gender: Some(folder.join("face_api_age_gender.onnx")),
        ..FaceFiles::default()
    };
    Ok(FaceNets::load(&files, &FaceOptions::default())?)
}

/// A portrait of each, and where its face is; without those whose face is not found even there.
fn sources(nets: &FaceNets, people: &[Anatomy]) -> Result<Vec<Scene>, Box<dyn Error>> {
    let mut sources = Vec::new();
    for (seed, person) in (0..).zip(people) {
        let picture = render::portrait(person, seed);
        let found = nets.detect(&picture)?.into_iter().next();
        sources.extend(found.map(|d| Scene {
            picture,
            face: d.bbox,
        }));
    }
    Ok(sources)
}

/// The portrait somewhere in a landscape, its face `width` pixels wide.
fn in_a_photo(source: &Scene, width: f32, seed: u64) -> Scene {
    let times = width / (source.face[2] - source.face[0]);
    let side = (source.picture.width() as f32 * times).round() as u32;
    let small = imageops::resize(
        &source.picture,
        side,
        side,
        imageops::FilterType::CatmullRom,
    );
    let [w, h] = PHOTO;
    let mut picture = render::landscape(seed, w, h);
    let [x, y] = [(w - side) as u64, (h - side) as u64];
    let (left, top) = (seed * 7919 % x.max(1), seed * 104_729 % y.max(1));
    imageops::replace(&mut picture, &small, left as i64, top as i64);
    let [x0, y0, x1, y1] = source.face.map(|v| v * times);
    let (left, top) = (left as f32, top as f32);
    let face = [x0 + left, y0 + top, x1 + left, y1 + top];
    Scene { picture, face }
}

/// The part of the portrait of which the face takes `share` of the side, enlarged.
fn close_up(source: &Scene, share: f32) -> Scene {
    let [x0, y0, x1, y1] = source.face;
    let side = ((x1 - x0).max(y1 - y0) / share)
        .round()
        .min(source.picture.width() as f32);
    let corner = |low: f32, high: f32| {
        let most = source.picture.width() as f32 - side;
        ((low + high - side) / 2.0).round().clamp(0.0, most)
    };
    let (left, top) = (corner(x0, x1), corner(y0, y1));
    let cut = imageops::crop_imm(
        &source.picture,
        left as u32,
        top as u32,
        side as u32,
        side as u32,
    );
    let times = CLOSE_UP as f32 / side;
    Scene {
        picture: imageops::resize(
            &cut.to_image(),
            CLOSE_UP,
            CLOSE_UP,
            imageops::FilterType::CatmullRom,
        ),
        face: [x0 - left, y0 - top, x1 - left, y1 - top].map(|v| v * times),
    }
}

#[expect(clippy::print_stdout, reason = "tables are what this program is for")]
fn row(
    nets: &FaceNets,
    title: &str,
    scenes: impl Iterator<Item = Scene>,
) -> Result<(), Box<dyn Error>> {
    let (mut found, mut all) = ([0; 3], 0);
    for scene in scenes {
        all += 1;
        for (hits, search) in found.iter_mut().zip(SEARCHES) {
            let faces = nets.detect_by(&scene.picture, search)?;
            let hit = |d: &Detection| overlap(&d.bbox, &scene.face) >= FOUND;
            *hits += usize::from(faces.iter().any(hit));
        }
    }
    let [once, margin, every] = found.map(|n| n * 100 / all.max(1));
    println!("| {title} | {once} % | {margin} % | {every} % |");
    Ok(())
}

fn overlap(a: &[f32; 4], b: &[f32; 4]) -> f32 {
    let side = |axis: usize| (a[axis + 2].min(b[axis + 2]) - a[axis].max(b[axis])).max(0.0);
    let area = |r: &[f32; 4]| (r[2] - r[0]) * (r[3] - r[1]);
    let shared = side(0) * side(1);
    shared / (area(a) + area(b) - shared)
}

/// Right, unsure and wrong guesses, as cells of a table.
fn genders(
    nets: &FaceNets,
    people: &[Anatomy],
    draw: impl Fn(&Anatomy, u64) -> RgbImage,
) -> Result<String, Box<dyn Error>> {
    let mut counts = [0; 3];
    for (seed, person) in (0..).zip(people) {
        let picture = draw(person, seed);
        if let Some(face) = nets.detect(&picture)?.first() {
            let word = nets.gender_age(&picture, face)?.word();
            let right = if person.feminine { "woman" } else { "man" };
            let at = if word == right {
                0
            } else {
                1 + usize::from(word != "person")
            };
            counts[at] += 1;
        }
    }
    let all = counts.iter().sum::<usize>().max(1);
    let cells = counts.map(|n| format!("{n} ({} %)", n * 100 / all));
    Ok(cells.join(" | "))
}
