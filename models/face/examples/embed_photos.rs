//! The worker of `make bench-faces`: reads photos once, then for a line `pass K` on standard input
//! embeds the faces of the photos of group K, from their files' bytes, as many times as it has
//! threads, and answers with one line of JSON: seconds by the wall clock and of the processors,
//! faces found, peak memory. A line `dump FILE` writes boxes and embeddings of all photos instead.
//!
//!     embed_photos FACE_MODELS PHOTOS.json THREADS
//!
//! PHOTOS.json: `[[file, …], …]`, a list for each group.

#[path = "../../../benches/clocks.rs"]
mod clocks;

use std::io::{BufRead, Write};
use std::path::{Path, PathBuf};

use clocks::Clocks;
use laioncele_face::{Face, FaceFiles, FaceNets, FaceOptions};
use laioncele_image::Limits;
use rayon::ThreadPool;
use rayon::prelude::*;
use serde_json::json;

type Failure = Box<dyn std::error::Error>;

fn main() -> Result<(), Failure> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [folder, photos, threads] = arguments.as_slice() else {
        return Err("usage: embed_photos FACE_MODELS PHOTOS.json THREADS".into());
    };
    let nets = load(Path::new(folder))?;
    let groups: Vec<Vec<PathBuf>> = serde_json::from_slice(&std::fs::read(photos)?)?;
    let read = |files: Vec<PathBuf>| files.into_iter().map(std::fs::read).collect();
    let groups: Vec<Vec<Vec<u8>>> = groups.into_iter().map(read).collect::<Result<_, _>>()?;
    let pool = rayon::ThreadPoolBuilder::new().num_threads(threads.parse()?);
    let pool = pool.build()?;
    for line in std::io::stdin().lock().lines() {
        let line = line?;
        let answer = match line.split_once(' ') {
            Some(("pass", group)) => pass(&nets, &pool, &groups[group.parse::<usize>()?])?,
            Some(("dump", file)) => dump(&nets, &pool, &groups, file)?,
            _ => return Err(format!("neither pass nor dump: {line}").into()),
        };
        writeln!(std::io::stdout(), "{answer}")?;
    }
    Ok(())
}

fn load(folder: &Path) -> Result<FaceNets, Failure> {
    let files = FaceFiles {
        detector: folder.join("retinaface_mobilenet025_dynamic.onnx"),
        recognizer: folder.join("faceplugin_fr_feature_512.onnx"),
        ..FaceFiles::default()
    };
    Ok(FaceNets::load(&files, &FaceOptions::default())?)
}

/// The faces of each photo, on the pool's threads, in as many rounds over all.
fn embed(
    nets: &FaceNets,
    pool: &ThreadPool,
    photos: &[Vec<u8>],
    rounds: usize,
) -> Result<Vec<Vec<Face>>, Failure> {
    let look = |k: usize| nets.faces_in_file(&photos[k % photos.len()], &Limits::default());
    // One at a time, so that no thread is left with several at the end.
    let turns = (0..photos.len() * rounds).into_par_iter().with_max_len(1);
    let found: Result<Vec<_>, _> = pool.install(|| turns.map(look).collect());
    Ok(found?)
}

/// As many rounds as threads: a thread's share is a whole round, so that a pass takes as long on
/// any number of them.
fn pass(
    nets: &FaceNets,
    pool: &ThreadPool,
    photos: &[Vec<u8>],
) -> Result<serde_json::Value, Failure> {
    let clocks = Clocks::start()?;
    let found = embed(nets, pool, photos, pool.current_num_threads())?;
    let mut report = clocks.report()?;
    report["faces"] = json!(found.iter().map(Vec::len).sum::<usize>());
    Ok(report)
}

fn dump(
    nets: &FaceNets,
    pool: &ThreadPool,
    groups: &[Vec<Vec<u8>>],
    file: &str,
) -> Result<serde_json::Value, Failure> {
    let mut all = Vec::new();
    for photos in groups {
        for faces in embed(nets, pool, photos, 1)? {
            let face = |f: &Face| json!([f.detection.bbox, f.vector]);
            all.push(faces.iter().map(face).collect::<Vec<_>>());
        }
    }
    std::fs::write(file, serde_json::to_vec(&all)?)?;
    Ok(json!({}))
}
