//! What `make bench-download` and the tests of several workers run: downloads a list of urls and writes the photos one
//! after the other into a file, as much as a pipeline does with them.
//!
//! `download_photos [--map ADDRESS] [--allow-hosts N] [--per-host N] [--shared FOLDER] [--output FILE] [--max-side N] LIST`
//! `download_photos --decode FOLDER [--max-side N]` only checks the files of a folder, or makes them smaller, on one thread: the least that
//! a download costs.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::ops::ControlFlow;
use std::path::PathBuf;
use std::sync::atomic::AtomicBool;

use laioncele_core::spec::HostMap;
use laioncele_download::{Done, Engine, EngineSettings, Item, PhotoRules, Shrink, check, shrink};
use laioncele_image::{Limits, resize_to};
use laioncele_web::{Failure, WebSettings};

type Error = Box<dyn std::error::Error>;

#[derive(Default)]
struct Arguments {
    list: PathBuf,
    map: Option<HostMap>,
    allow_hosts: u8,
    per_host: Option<usize>,
    shared: Option<PathBuf>,
    output: Option<PathBuf>,
    decode: Option<PathBuf>,
    max_side: Option<u32>,
}

const RULES: PhotoRules = PhotoRules {
    min_side: 1,
    max_pixels: 100_000_000,
};
/// img2dataset's default.
const QUALITY: u8 = 95;

fn main() -> Result<(), Error> {
    let arguments = arguments()?;
    if let Some(folder) = &arguments.decode {
        return decode(folder, arguments.max_side);
    }
    let list = std::fs::read_to_string(&arguments.list)?;
    let urls = list.lines().map(str::to_owned);
    let items = (0..).zip(urls).map(|(id, url)| Item { id, url });
    let engine = Engine::new(settings(&arguments), arguments.map.clone())?;
    let mut output = arguments
        .output
        .as_ref()
        .map(File::create)
        .transpose()?
        .map(BufWriter::new);
    let (mut photos, mut failed, mut written) = (0, 0, Ok(()));
    let sink = |done: Done<(Vec<u8>, String)>| {
        match done.result {
            Ok((bytes, digest)) => {
                photos += 1;
                if let Some(output) = &mut output {
                    written = output
                        .write_all(&bytes)
                        .and_then(|()| output.write_all(digest.as_bytes()));
                }
            }
            Err(_) => failed += 1,
        }
        match written {
            Ok(()) => ControlFlow::Continue(()),
            Err(_) => ControlFlow::Break(()),
        }
    };
    // A test's bodies are no photos.
    let (raw, max_side) = (arguments.map.is_some(), arguments.max_side);
    let process = move |_: &Item, bytes: Vec<u8>| match raw {
        true => Ok((bytes, String::new())),
        false => photo(bytes, max_side),
    };
    engine.download(items, process, sink, &AtomicBool::new(false));
    written?;
    writeln!(std::io::stdout(), "{photos} {failed}")?;
    Ok(())
}

fn photo(bytes: Vec<u8>, max_side: Option<u32>) -> Result<(Vec<u8>, String), Failure> {
    let checked = match max_side {
        None => check(bytes, &RULES)?,
        Some(max_side) => {
            let quality = QUALITY;
            shrink(bytes, &RULES, Shrink { max_side, quality })?
        }
    };
    Ok((checked.bytes, checked.sha256))
}

fn decode(folder: &std::path::Path, max_side: Option<u32>) -> Result<(), Error> {
    let limits = Limits {
        max_pixels: RULES.max_pixels,
    };
    let mut photos = 0;
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        if path.extension().is_some_and(|e| e == "jpg") {
            let bytes = std::fs::read(&path)?;
            match max_side {
                None => {
                    laioncele_image::check(&bytes, &limits)?;
                }
                Some(side) => {
                    resize_to(&bytes, &limits, side, QUALITY)?;
                }
            }
            photos += 1;
        }
    }
    writeln!(std::io::stdout(), "{photos} 0")?;
    Ok(())
}

fn settings(arguments: &Arguments) -> EngineSettings {
    EngineSettings {
        web: WebSettings {
            allow_hosts: (1..=arguments.allow_hosts)
                .map(|n| format!("127.0.0.{n}"))
                .collect(),
            ..WebSettings::default()
        },
        per_host: arguments.per_host.unwrap_or(8),
        shared: arguments.shared.clone(),
        ..EngineSettings::default()
    }
}

fn arguments() -> Result<Arguments, Error> {
    let mut read = Arguments::default();
    let mut words = std::env::args().skip(1);
    while let Some(word) = words.next() {
        let mut value = || words.next().ok_or(format!("{word} needs a value"));
        match word.as_str() {
            "--map" => {
                read.map = Some(HostMap {
                    suffix: ".example".to_owned(),
                    address: value()?.parse()?,
                });
            }
            "--allow-hosts" => read.allow_hosts = value()?.parse()?,
            "--per-host" => read.per_host = Some(value()?.parse()?),
            "--shared" => read.shared = Some(value()?.into()),
            "--output" => read.output = Some(value()?.into()),
            "--max-side" => read.max_side = Some(value()?.parse()?),
            "--decode" => read.decode = Some(value()?.into()),
            _ => read.list = word.into(),
        }
    }
    Ok(read)
}
