//! The worker of the IP-Adapter part of `make bench-sdxl`: loads a model and an adapter, then generates what each line of
//! standard input asks for (a JSON object) and answers with one line: seconds by the wall clock and of the processors, peak
//! memory.
//!
//!     throughput-ip-adapter MODEL_FOLDER ADAPTER IMAGE_ENCODER PHOTO PRECISION DEVICE
//!     {"images": 2, "steps": 20, "size": 128, "guidance": 7, "threads": 2, "seed": 0, "scale": 0.6, "into": "FILE of RGB bytes"}
//!
//! A scale of null generates without the adapter. Texts and image tokens are computed before, so that a line measures the
//! way from embeddings to bytes.

#[path = "../../../benches/clocks.rs"]
mod clocks;

use std::io::{BufRead, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use clocks::Clocks;
use laioncele_baselines::{AdapterPhotos, IpAdapter, PhotoTokens, Square};
use laioncele_clip::{ImageEncoder, flatten_over_white};
use laioncele_sdxl::{
    ConditionedRequest, Conditions, ImageRequest, NegativePrompt, Noise, PromptEmbedding,
    SamplingSettings, SchedulerKind, Sdxl, SdxlFiles, TextEncoders,
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
    scale: Option<f64>,
    into: Option<PathBuf>,
}

struct Loaded {
    sdxl: Sdxl,
    adapter: AdapterPhotos,
    tokens: PhotoTokens,
    prompt: PromptEmbedding,
    negative: PromptEmbedding,
}

fn main() -> Result<(), Failure> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [folder, adapter, encoder, photo, precision, device] = arguments.as_slice() else {
        let usage = "usage: throughput-ip-adapter MODEL_FOLDER ADAPTER IMAGE_ENCODER PHOTO PRECISION DEVICE";
        return Err(usage.into());
    };
    let files = SdxlFiles {
        folder: folder.into(),
        precision: serde_json::from_value(precision.as_str().into())?,
        device: device.parse()?,
        ..SdxlFiles::default()
    };
    let loaded = load(
        &files,
        Path::new(adapter),
        Path::new(encoder),
        Path::new(photo),
    )?;
    for line in std::io::stdin().lock().lines() {
        let order: Order = serde_json::from_str(&line?)?;
        let conditions = conditions(&loaded, &order)?;
        let clocks = Clocks::start()?;
        let images = generate(&loaded, &conditions, &order)?;
        let report = clocks.report()?;
        if let Some(into) = order.into {
            std::fs::write(into, images.concat())?;
        }
        writeln!(std::io::stdout(), "{report}")?;
    }
    Ok(())
}

fn load(
    files: &SdxlFiles,
    adapter: &Path,
    encoder: &Path,
    photo: &Path,
) -> Result<Loaded, Failure> {
    let texts = TextEncoders::load(&files.folder, &files.text_options()?)?;
    let sdxl = Sdxl::load(&files.folder, &files.image_options()?)?;
    let adapter = IpAdapter::load(adapter, sdxl.unet(), false)?;
    let tower = ImageEncoder::load(encoder, &files.text_options()?)?;
    let adapter = AdapterPhotos::new(adapter, tower, encoder, Square::Crop)?;
    let photo = flatten_over_white(&image::open(photo)?);
    Ok(Loaded {
        tokens: adapter.tokens(&[photo])?,
        prompt: texts.encode_prompt("a portrait of a person")?,
        negative: texts.encode_negative(&NegativePrompt::Empty)?,
        adapter,
        sdxl,
    })
}

fn conditions(loaded: &Loaded, order: &Order) -> Result<Conditions, Failure> {
    let (null, person) = (&loaded.tokens.null, &loaded.tokens.person);
    let adapter = loaded.adapter.adapter();
    let image = order
        .scale
        .map(|scale| adapter.attention(null, person, scale));
    Ok(Conditions {
        image: image.transpose()?.map(Arc::new),
        later: None,
    })
}

/// The RGB bytes of each image.
fn generate(
    loaded: &Loaded,
    conditions: &Conditions,
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
    let request = |seed| ConditionedRequest {
        request: ImageRequest {
            prompt: &loaded.prompt,
            name: None,
            negative: &loaded.negative,
            noise: Noise::Torch(seed),
        },
        conditions,
    };
    let seeds = (0..order.images).map(|k| order.seed + k);
    let requests: Vec<_> = seeds.map(request).collect();
    let mut images = vec![Vec::new(); requests.len()];
    let sdxl = &loaded.sdxl;
    sdxl.generate_conditioned_each(&requests, &settings, order.threads, |index, image| {
        images[index] = image?.into_raw();
        Ok::<(), laioncele_sdxl::Error>(())
    })?;
    Ok(images)
}
