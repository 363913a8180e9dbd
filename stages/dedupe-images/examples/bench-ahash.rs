//! Hashes, checks or decodes photos on one thread: the worker of `make bench-ahash`.
//!
//! Each line of standard input is `exact`, `fast`, `check` or `decode` and a file that lists photos; the answer is one line of
//! JSON: `hashes` and what the pass took. Files are read before the clock starts.

use std::io::BufRead;

use laioncele_dedupe_images::{average_hash, average_hash_of_means};
use laioncele_image::{DecodeError, Limits, Orientation, check, decode};
use serde_json::json;

#[path = "../../../benches/clocks.rs"]
mod clocks;

use clocks::Clocks;

type Failure = Box<dyn std::error::Error>;

fn main() -> Result<(), Failure> {
    for order in std::io::stdin().lock().lines() {
        let order = order?;
        let (way, list) = order.split_once(' ').ok_or("WAY LIST")?;
        let files = std::fs::read_to_string(list)?;
        let photos: Vec<Vec<u8>> = files.lines().map(std::fs::read).collect::<Result<_, _>>()?;
        let clocks = Clocks::start()?;
        let hashes: Vec<u64> = photos
            .iter()
            .map(|photo| pass(way, photo))
            .collect::<Result<_, _>>()?;
        let mut answer = clocks.report()?;
        answer["hashes"] = hashes
            .iter()
            .map(|hash| json!(format!("{hash:016x}")))
            .collect();
        print(&answer.to_string());
    }
    Ok(())
}

fn pass(way: &str, photo: &[u8]) -> Result<u64, DecodeError> {
    let stored = Orientation::AsStored;
    match way {
        "check" => check(photo, &Limits::default()).map(|header| u64::from(header.width)),
        "decode" => decode(photo, &Limits::default(), stored).map(|image| u64::from(image.width())),
        "fast" => match average_hash_of_means(photo, stored)? {
            Some(hash) => Ok(hash),
            None => average_hash(photo, stored),
        },
        _ => average_hash(photo, stored),
    }
}

#[expect(clippy::print_stdout, reason = "its output")]
fn print(line: &str) {
    println!("{line}");
}
