//! Renders the images on which the mini SDXL is trained: `render-people PEOPLE OUT`, and with `words` behind it those of
//! the prompts that name colours.
//!
//! PEOPLE is the folder with `known.json`, `fresh.json` and `names.json`. OUT receives for each
//! group of people `GROUP.json` (their anatomies), `GROUP-portraits.npy` (portrait series) and
//! `GROUP-photos.npy` (as varied as on the web), arrays [people, images, 128, 128, 3] of bytes.

#![allow(dead_code, missing_docs, unused_imports)]

#[path = "../../../src/people.rs"]
mod people;
#[path = "../../../src/render/mod.rs"]
mod render;
mod words;

use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use people::People;
use render::{Anatomy, SIDE};

/// The seed of an image. The embedded world uses none of these seeds: its own are hashes, these count up.
fn seed(group: u64, person: usize, image: usize) -> u64 {
    (group << 48) | ((person as u64) << 16) | image as u64
}

/// Strangers, used only for training.
const OTHERS: u64 = 3000;
/// More strangers, used only for the image encoders.
const CROWD: u64 = 12000;

struct Group<'a> {
    name: &'a str,
    number: u64,
    people: Vec<Anatomy>,
    portraits: usize,
    photos: usize,
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<PathBuf> = std::env::args_os().skip(1).map(PathBuf::from).collect();
    let (folder, out, words) = match arguments.as_slice() {
        [folder, out] => (folder, out, false),
        [folder, out, words] if words == Path::new("words") => (folder, out, true),
        _ => return Err("usage: render-people PEOPLE OUT [words]".into()),
    };
    fs::create_dir_all(out)?;
    let people = People::load(folder)?;
    if words {
        return Ok(words::render(people, out)?);
    }
    for group in &groups(people) {
        render_group(group, out)?;
    }
    Ok(())
}

fn groups(people: People) -> [Group<'static>; 4] {
    [
        Group {
            name: "known",
            number: 1,
            people: people.known.into_iter().map(|p| p.anatomy).collect(),
            portraits: 16,
            photos: 16,
        },
        Group {
            name: "others",
            number: 2,
            people: (0..OTHERS).map(Anatomy::stranger).collect(),
            portraits: 3,
            photos: 3,
        },
        Group {
            name: "crowd",
            number: 4,
            people: (OTHERS..OTHERS + CROWD).map(Anatomy::stranger).collect(),
            portraits: 0,
            photos: 2,
        },
        Group {
            name: "fresh",
            number: 3,
            people: people.fresh,
            portraits: 1,
            photos: 4,
        },
    ]
}

fn render_group(group: &Group<'_>, out: &Path) -> io::Result<()> {
    let anatomies = serde_json::to_vec(&group.people)?;
    fs::write(out.join(format!("{}.json", group.name)), anatomies)?;
    let portrait = |anatomy: &Anatomy, seed, _| render::portrait(anatomy, seed);
    let photo = |anatomy: &Anatomy, seed, k: usize| render::photo(anatomy, seed, k % 3 == 0);
    let save = |kind: &str, count, first, render: &Render<'_>| {
        let images = render_all(group, count, first, render);
        let path = out.join(format!("{}-{kind}.npy", group.name));
        write_npy(&path, [group.people.len(), count, SIDE, SIDE, 3], &images)
    };
    save("portraits", group.portraits, 0, &portrait)?;
    save("photos", group.photos, group.portraits, &photo)
}

/// Renders a person with a seed; the last argument is the image's number.
type Render<'a> = dyn Fn(&Anatomy, u64, usize) -> image::RgbImage + Sync + 'a;

/// `count` images of each person, with the numbers from `first` on: [people, count, 128, 128, 3].
fn render_all(group: &Group<'_>, count: usize, first: usize, render: &Render<'_>) -> Vec<u8> {
    let bytes = SIDE * SIDE * 3;
    let mut images = vec![0; group.people.len() * count * bytes];
    let threads = thread::available_parallelism().map_or(1, usize::from);
    let next = AtomicUsize::new(0);
    let share = group.people.len().div_ceil(threads);
    thread::scope(|scope| {
        let chunks = images.chunks_mut((share * count * bytes).max(1));
        for (some, chunk) in group.people.chunks(share.max(1)).zip(chunks) {
            let begin = next.fetch_add(some.len(), Ordering::Relaxed);
            scope.spawn(move || {
                for (at, image) in chunk.chunks_mut(bytes).enumerate() {
                    let (person, k) = (at / count, at % count);
                    let seed = seed(group.number, begin + person, first + k);
                    image.copy_from_slice(render(&some[person], seed, k).as_raw());
                }
            });
        }
    });
    images
}

/// NumPy's own format, version 1.0.
fn write_npy(path: &Path, shape: [usize; 5], bytes: &[u8]) -> io::Result<()> {
    let [a, b, c, d, e] = shape;
    let mut header =
        format!("{{'descr': '|u1', 'fortran_order': False, 'shape': ({a}, {b}, {c}, {d}, {e}), }}");
    while (10 + header.len() + 1) % 64 != 0 {
        header.push(' ');
    }
    header.push('\n');
    let mut file = BufWriter::new(File::create(path)?);
    file.write_all(b"\x93NUMPY\x01\x00")?;
    file.write_all(&(header.len() as u16).to_le_bytes())?;
    file.write_all(header.as_bytes())?;
    file.write_all(bytes)?;
    file.flush()
}
