//! The worker of `make bench-sdxl`: loads a model, then generates what each line of standard input
//! asks for (a JSON object) and answers with one line: seconds by the wall clock and of the
//! processors, peak memory.
//!
//!     throughput-sdxl MODEL_FOLDER PRECISION DEVICE
//!     {"images": 4, "steps": 20, "size": 128, "guidance": 7, "threads": 2, "seed": 0, "into": "FILE of RGB bytes"}
//!
//! The texts are encoded before, so that a line measures the way from embeddings to bytes.
//! `"batch"` sets how many images go through the U-Net at once, for which the model is loaded anew.

#[path = "../../../benches/clocks.rs"]
mod clocks;

use std::io::{BufRead, Write};
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};

use clocks::Clocks;
use laioncele_sdxl::{
    ImageRequest, NegativePrompt, Noise, PromptEmbedding, SamplingSettings, SchedulerKind, Sdxl,
    SdxlFiles, TextEncoders,
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

fn main() -> Result<(), Failure> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [folder, precision, device] = arguments.as_slice() else {
        return Err("usage: throughput-sdxl MODEL_FOLDER PRECISION DEVICE".into());
    };
    let mut files = SdxlFiles {
        folder: folder.into(),
        precision: serde_json::from_value(precision.as_str().into())?,
        device: device.parse()?,
        ..SdxlFiles::default()
    };
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
    Ok(Sdxl::load(&files.folder, &files.image_options()?)?)
}

/// A prompt with a name in it, and the encoded empty text.
fn texts(files: &SdxlFiles) -> Result<(PromptEmbedding, PromptEmbedding), Failure> {
    let encoders = TextEncoders::load(Path::new(&files.folder), &files.text_options()?)?;
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
