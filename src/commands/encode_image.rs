//! `laioncele encode-image`: CLIP features of images, one line each.

use std::fs;
use std::path::{Path, PathBuf};

use clap::Args;
use image::RgbImage;
use laioncele_clip::ImageEncoder;
use laioncele_core::CoreError;
use laioncele_core::error::chain;
use laioncele_core::numbers::shortest;
use laioncele_image::{Limits, Orientation, decode};
use laioncele_nn::LoadOptions;
use laioncele_sdxl::{Trace, TraceValues};
use serde_json::{Map, Value, json};

use super::generation::model_failure;
use crate::failure::{Exit, Failure};
use crate::output;
use crate::shipped::shipped;
use crate::words::count;

const EXAMPLES: &str = "\
Examples:
  laioncele encode-image --model manifests/mini/sdxl-mini photo.jpg
  laioncele encode-image --model clip-l --model clip-g *.jpg --into features.safetensors

One line per image:
  {\"image\": ..., \"image_embeds\": {ENCODER: [...], ...}, \"features\": [...]}
The embeddings are the projected ones and not of unit length. \"features\" are those of all encoders
side by side, in their order. Pixels are taken as `evaluate` takes them: as stored, without EXIF
orientation, and without transparency, like Pillow's convert to RGB. An image that cannot be read
has \"error\" instead.";

/// The image encoders of a folder that has two.
const PAIR: [&str; 2] = ["image_encoder", "image_encoder_2"];

/// `laioncele encode-image`
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(crate) struct EncodeImage {
    /// Folder of a CLIP image encoder, or one with image_encoder/ and image_encoder_2/; repeat for
    /// several
    #[arg(long, value_name = "FOLDER", required = true)]
    model: Vec<PathBuf>,
    /// JPEG, PNG, WebP, GIF, BMP, TIFF or AVIF files
    #[arg(value_name = "IMAGE", required = true)]
    images: Vec<PathBuf>,
    /// Write a safetensors file instead: `ENCODER.image_embeds` [images, width] of each encoder,
    /// and `features`
    #[arg(long, value_name = "FILE")]
    into: Option<PathBuf>,
}

/// An encoder with the name of its folder.
struct Tower {
    name: String,
    encoder: ImageEncoder,
}

impl EncodeImage {
    /// Encodes.
    ///
    /// # Errors
    /// A folder without image encoders; at the end, images that could not be read (with `--into` at
    /// the first).
    pub(crate) fn execute(self) -> Result<(), Failure> {
        let mut towers = Vec::new();
        for folder in self
            .model
            .iter()
            .flat_map(|folder| folders(&shipped(folder)))
        {
            towers.push(Tower::load(&folder)?);
        }
        match &self.into {
            Some(into) => self.record(&towers)?.write(into),
            None => self.print(&towers),
        }
    }

    /// The embeddings of all images. An image that cannot be read ends it, so that rows are the
    /// images in their order.
    fn record(&self, towers: &[Tower]) -> Result<Recording, Failure> {
        let mut recording = Recording::new(towers);
        for file in &self.images {
            recording.add(embed(file, towers)?);
        }
        Ok(recording)
    }

    /// Prints a line per image, also for those that cannot be read.
    fn print(&self, towers: &[Tower]) -> Result<(), Failure> {
        let mut broken = 0;
        for file in &self.images {
            match embed(file, towers) {
                Ok(embeds) => output::data(&line(file, towers, &embeds))?,
                Err(failure) => {
                    broken += 1;
                    let line = json!({ "image": file, "error": failure.message });
                    output::data(&line.to_string())?;
                }
            }
        }
        match broken {
            0 => Ok(()),
            n => Err(Failure::new(
                Exit::Environment,
                format!(
                    "{n} of {} could not be read",
                    count(self.images.len(), "image")
                ),
            )),
        }
    }
}

/// The embeddings of an image by each encoder.
fn embed(file: &Path, towers: &[Tower]) -> Result<Vec<Vec<f32>>, Failure> {
    let image = read(file)?;
    let embed = |tower: &Tower| tower.encoder.image_embeds(&image);
    let embeds: Result<_, _> = towers.iter().map(embed).collect();
    embeds.map_err(|e| about(file, &chain(&e)))
}

/// The folders of image encoders that `folder` stands for: those of a pair that are there, or
/// itself.
fn folders(folder: &Path) -> Vec<PathBuf> {
    let pair = PAIR.map(|part| folder.join(part));
    let there: Vec<PathBuf> = pair.into_iter().filter(|part| part.is_dir()).collect();
    if there.is_empty() {
        vec![folder.to_owned()]
    } else {
        there
    }
}

impl Tower {
    fn load(folder: &Path) -> Result<Self, Failure> {
        let encoder = ImageEncoder::load(folder, &LoadOptions::default()).map_err(|e| {
            Failure::new(Exit::Environment, chain(&e)).hint(
                "--model takes the folder of a CLIP image encoder, or one with image_encoder/ and image_encoder_2/",
            )
        })?;
        let name = folder.file_name().unwrap_or_default();
        let name = name.to_string_lossy().into_owned();
        Ok(Self { name, encoder })
    }
}

fn line(file: &Path, towers: &[Tower], embeds: &[Vec<f32>]) -> String {
    let named = towers.iter().zip(embeds);
    let named: Map<String, Value> = named
        .map(|(tower, embeds)| (tower.name.clone(), numbers(embeds)))
        .collect();
    let features = numbers(&embeds.concat());
    json!({ "image": file, "image_embeds": named, "features": features }).to_string()
}

fn numbers(values: &[f32]) -> Value {
    values.iter().copied().map(shortest).collect()
}

/// Embeddings on their way into a file.
struct Recording {
    /// Name and width of each encoder, with all images' embeddings.
    towers: Vec<(String, usize, Vec<f32>)>,
    features: Vec<f32>,
    images: usize,
}

impl Recording {
    fn new(towers: &[Tower]) -> Self {
        let empty = |t: &Tower| (t.name.clone(), t.encoder.width(), Vec::new());
        Self {
            towers: towers.iter().map(empty).collect(),
            features: Vec::new(),
            images: 0,
        }
    }

    fn add(&mut self, embeds: Vec<Vec<f32>>) {
        self.images += 1;
        for ((_, _, all), own) in self.towers.iter_mut().zip(embeds) {
            self.features.extend_from_slice(&own);
            all.extend(own);
        }
    }

    fn write(self, file: &Path) -> Result<(), Failure> {
        let mut trace = Trace::default();
        let width: usize = self.towers.iter().map(|(_, width, _)| width).sum();
        let shape = [self.images, width];
        trace.record("features", &shape, TraceValues::F32(self.features));
        for (name, width, embeds) in self.towers {
            let (name, shape) = (format!("{name}.image_embeds"), [self.images, width]);
            trace.record(&name, &shape, TraceValues::F32(embeds));
        }
        trace.write(file).map_err(|e| model_failure(&e))
    }
}

/// The pixels of an image file as CLIP sees them.
fn read(file: &Path) -> Result<RgbImage, Failure> {
    let bytes = fs::read(file).map_err(|e| CoreError::from_io(file, e))?;
    decode(&bytes, &Limits::default(), Orientation::AsStored)
        .map_err(|e| about(file, &e.to_string()))
}

fn about(file: &Path, error: &str) -> Failure {
    Failure::new(Exit::Environment, format!("{}: {error}", file.display()))
}
