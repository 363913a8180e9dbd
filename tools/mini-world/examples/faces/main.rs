//! What the face networks make of rendered people: how many faces of each size are found, by each
//! search, and how often the guess at gender is right. Prints the tables of models/face/README.md.
//!
//!     cargo run --release --workspace --example faces -- [PEOPLE [DETECTOR.onnx SPEC.toml]]

mod scenes;

use std::error::Error;

use image::RgbImage;
use laioncele_face::{FaceFiles, FaceNets, FaceOptions, Search};
use laioncele_mini_world::render::{self, Anatomy};
use scenes::{CLOSE_UP, PHOTO, Scene};

const SEARCHES: [Search; 3] = [Search::Once, Search::WithMargin, Search::EverySize];

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let count = arguments.first().map_or(Ok(40), |n| n.parse())?;
    let people: Vec<Anatomy> = (0..count).map(Anatomy::stranger).collect();
    let shipped = FaceNets::load(&scenes::shipped(), &FaceOptions::default())?;
    let nets = match &arguments[..] {
        [_, detector, spec] => &FaceNets::load(
            &FaceFiles {
                detector: detector.into(),
                detector_spec: Some(spec.into()),
                ..scenes::shipped()
            },
            &FaceOptions::default(),
        )?,
        _ => &shipped,
    };
    gender_table(nets, &people)?;
    // The same faces for every detector.
    let sources = scenes::portraits(&shipped, &people)?;
    size_table(nets, &sources)
}

/// How often the guess at gender is right.
#[expect(clippy::print_stdout, reason = "tables are what this program is for")]
fn gender_table(nets: &FaceNets, people: &[Anatomy]) -> Result<(), Box<dyn Error>> {
    println!("| | right | unsure | wrong |\n|---|---|---|---|");
    let portraits = genders(nets, people, render::portrait)?;
    println!("| portraits | {portraits} |");
    let photo = |person: &Anatomy, seed| render::photo(person, seed, false);
    println!("| photos | {} |", genders(nets, people, photo)?);
    Ok(())
}

/// How many faces of each size each search finds.
#[expect(clippy::print_stdout, reason = "tables are what this program is for")]
fn size_table(nets: &FaceNets, sources: &[Scene]) -> Result<(), Box<dyn Error>> {
    println!(
        "\n{} people\n\n| face | one look | with margin | every size |\n|---|---|---|---|",
        sources.len()
    );
    for width in [16, 20, 24, 32, 40, 64, 128, 256] {
        let title = format!("{width} pixels wide in {} × {}", PHOTO[0], PHOTO[1]);
        let scene = |k: usize| scenes::in_a_photo(&sources[k], width as f32, k as u64);
        row(nets, &title, (0..sources.len()).map(scene))?;
    }
    for percent in [40, 60, 80, 100, 120] {
        let title = format!("{percent} % of a {CLOSE_UP} × {CLOSE_UP} close-up");
        let scene = |source| scenes::close_up(source, percent as f32 / 100.0);
        row(nets, &title, sources.iter().map(scene))?;
    }
    Ok(())
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
            *hits += usize::from(scenes::found(nets, &scene, search)?);
        }
    }
    let [once, margin, every] = found.map(|n| n * 100 / all.max(1));
    println!("| {title} | {once} % | {margin} % | {every} % |");
    Ok(())
}

/// Right, unsure and wrong guesses, as cells of a table.
fn genders(
    nets: &FaceNets,
    people: &[Anatomy],
    render: impl Fn(&Anatomy, u64) -> RgbImage,
) -> Result<String, Box<dyn Error>> {
    let mut counts = [0; 3];
    for (seed, person) in (0..).zip(people) {
        let image = render(person, seed);
        if let Some(face) = nets.detect(&image)?.first() {
            let word = nets.gender_age(&image, face)?.word();
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
