//! The worker of `make bench-sdxl`: loads a model, then generates what each line of standard input
//! asks for (a JSON object) and answers with one line: seconds by the wall clock and of the
//! processors, peak memory.
//!
//!     throughput-sdxl MODEL PRECISION DEVICE [--base FOLDER] [--lora FILE] [--load]
//!     {"images": 4, "steps": 20, "size": 128, "guidance": 7, "threads": 2, "seed": 0, "into": "FILE of RGB bytes"}
//!
//! The texts are encoded before, so that a line measures the way from embeddings to bytes.
//! `"batch"` sets how many images go through the U-Net at once, for which the model is loaded anew.
//! A model is a folder or one file; with `--load` it is only loaded, and what that took is the one
//! line of the answer.

#[path = "../../../benches/clocks.rs"]
mod clocks;

use std::io::{BufRead, Write};
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};

use clocks::Clocks;
use laioncele_sdxl::{
    ImageRequest, Lora, NegativePrompt, Noise, PromptEmbedding, SamplingSettings, SchedulerKind,
    Sdxl, SdxlFiles, TextEncoders,
};
use serde::Deserialize;

type Failure = Box<dyn std::error::Error>;

#[derive(Deserialize)]
struct Order {
    images: u64,
    steps: usize,
    size: usize,
    guidance: f32,
    threads: usize,
    seed: u64,
    batch: Option<NonZeroUsize>,
    into: Option<PathBuf>,
}

const USAGE: &str =
    "usage: throughput-sdxl MODEL PRECISION DEVICE [--base FOLDER] [--lora FILE] [--load]";

/// The model of the command line, and whether it is only to be loaded.
fn arguments() -> Result<(SdxlFiles, bool), Failure> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [model, precision, device, more @ ..] = arguments.as_slice() else {
        return Err(USAGE.into());
    };
    let (mut base, mut loras, mut only_load) = (None, Vec::new(), false);
    let mut more = more.iter();
    while let Some(option) = more.next() {
        if option == "--load" {
            only_load = true;
            continue;
        }
        let value = PathBuf::from(more.next().ok_or(USAGE)?);
        match option.as_str() {
            "--base" => base = Some(value),
            "--lora" => loras.push(Lora {
                file: value,
                strength: 1.0,
            }),
            _ => return Err(USAGE.into()),
        }
    }
    let files = SdxlFiles {
        precision: serde_json::from_value(precision.as_str().into())?,
        device: device.parse()?,
        loras,
        ..SdxlFiles::of_model(Path::new(model), base.as_deref())
    };
    Ok((files, only_load))
}

fn main() -> Result<(), Failure> {
    let (mut files, only_load) = arguments()?;
    if only_load {
        let clocks = Clocks::start()?;
        let loaded = (TextEncoders::load_files(&files)?, load(&files)?);
        writeln!(std::io::stdout(), "{}", clocks.report()?)?;
        drop(loaded);
        return Ok(());
    }
    let (prompt, negative) = texts(&files)?;
    let mut sdxl = load(&files)?;
    for line in std::io::stdin().lock().lines() {
        let order: Order = serde_json::from_str(&line?)?;
        if files.batch != order.batch {
            files.batch = order.batch;
            drop(sdxl);
            sdxl = load(&files)?;
        }
        let clocks = Clocks::start()?;
        let images = generate(&sdxl, &prompt, &negative, &order)?;
        let mut report = clocks.report()?;
        report["batch"] = serde_json::json!(sdxl.batch());
        if let Some(into) = order.into {
            std::fs::write(into, images.concat())?;
        }
        writeln!(std::io::stdout(), "{report}")?;
    }
    Ok(())
}

fn load(files: &SdxlFiles) -> Result<Sdxl, Failure> {
    Ok(Sdxl::load_files(files)?)
}

/// A prompt with a name in it, and the encoded empty text.
fn texts(files: &SdxlFiles) -> Result<(PromptEmbedding, PromptEmbedding), Failure> {
    let encoders = TextEncoders::load_files(files)?;
    let name = encoders.encode_name("Maria Johnson")?;
    let prompt = encoders.encode_prompt("a portrait of a person")?;
    let negative = encoders.encode_negative(&NegativePrompt::Empty)?;
    Ok((prompt.prepend(&name)?, negative))
}

/// The RGB bytes of each image.
fn generate(
    sdxl: &Sdxl,
    prompt: &PromptEmbedding,
    negative: &PromptEmbedding,
    order: &Order,
) -> Result<Vec<Vec<u8>>, Failure> {
    let settings = SamplingSettings {
        scheduler: Some(SchedulerKind::Ddim),
        steps: order.steps,
        guidance: order.guidance,
        height: Some(order.size),
        width: Some(order.size),
        sizes: None,
        steps_done: None,
    };
    let request = |seed| ImageRequest {
        prompt,
        name: None,
        negative,
        noise: Noise::Torch(seed),
    };
    let seeds = (0..order.images).map(|k| order.seed + k);
    let requests: Vec<ImageRequest<'_>> = seeds.map(request).collect();
    let mut images = vec![Vec::new(); requests.len()];
    sdxl.generate_each(&requests, &settings, order.threads, |index, image| {
        images[index] = image?.into_raw();
        Ok::<(), laioncele_sdxl::Error>(())
    })?;
    Ok(images)
}
