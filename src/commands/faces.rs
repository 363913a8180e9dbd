//! `laioncele faces`: the faces of images, and whether two images show the same person.

mod compare;

use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use image::RgbImage;
use laioncele_core::error::chain;
use laioncele_core::numbers::shortest;
use laioncele_core::{CoreError, Manifest};
use laioncele_face::{Detection, Face, FaceError, FaceNets, FaceOptions, Search};
use laioncele_image::{Limits, Orientation, decode};
use laioncele_inference::FaceSection;
use rayon::ThreadPoolBuilder;
use rayon::prelude::*;
use serde_json::{Value, json};

use crate::args::ModelsOf;
use crate::failure::{Exit, Failure};
use crate::output;
use crate::session::manifest_of_models;
use crate::words::count;

const EXAMPLES: &str = "\
Examples:
  laioncele faces photo.jpg | jq '.faces[0].box'
  laioncele faces photos/*.jpg --embed > faces.jsonl
  laioncele faces compare portrait.png photo.jpg

One JSON object per image, in the order given:
  {\"image\": ..., \"width\": ..., \"height\": ..., \"faces\": [{\"box\": [x0, y0, x1, y1], \"score\": ...,
   \"landmarks\": [[x, y], ...], \"age\": ..., \"male\": ..., \"gender_guess\": \"man\",
   \"embedding\": [...]}, ...]}
Boxes and landmarks are in pixels of the upright image; boxes are clipped to it. The main face
comes first: the order is area × score⁴. Landmarks: the eye on the image's left, the other eye, the
tip of the nose, the corner of the mouth on the image's left, the other corner. Age is rough.
Gender is a guess: \"person\" where the network is unsure. An image that cannot be read has \"error\"
instead of \"faces\".";

/// Images that are decoded before any of them is printed.
const BLOCK: usize = 32;

/// `laioncele faces`
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES, args_conflicts_with_subcommands = true)]
#[command(subcommand_negates_reqs = true)]
pub(crate) struct Faces {
    #[command(subcommand)]
    command: Option<Command>,
    /// JPEG, PNG, WebP, GIF, BMP, TIFF or AVIF files
    #[arg(value_name = "IMAGE", required = true)]
    images: Vec<PathBuf>,
    /// Print the embeddings too: unit vectors whose dot product is the similarity
    #[arg(long)]
    embed: bool,
    /// Threads [default: one per processor]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    threads: Option<u16>,
    #[command(flatten)]
    models: ModelsOf,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Tell whether two images show the same person, and how often that is wrong
    Compare(compare::Compare),
}

impl Faces {
    /// Prints the faces.
    ///
    /// # Errors
    /// Missing or wrong networks; at the end, images that could not be read.
    pub(crate) fn execute(self) -> Result<(), Failure> {
        if let Some(Command::Compare(compare)) = self.command {
            return compare.execute();
        }
        let nets = load(&manifest_of_models(&self.models)?)?;
        let threads = self.threads.map_or(0, usize::from);
        let pool = ThreadPoolBuilder::new().num_threads(threads).build();
        let pool = pool.map_err(|e| Failure::new(Exit::Environment, format!("threads: {e}")))?;
        let mut broken = 0;
        for block in self.images.chunks(BLOCK) {
            let look = |path: &PathBuf| self.look(&nets, path);
            let images = block.par_iter().with_max_len(1);
            let lines: Vec<_> = pool.install(|| images.map(look).collect());
            for line in lines {
                let line = line?;
                broken += usize::from(line.get("error").is_some());
                output::data(&line.to_string())?;
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

    fn look(&self, nets: &FaceNets, path: &Path) -> Result<Value, Failure> {
        let pixels = match open(path) {
            Ok(pixels) => pixels,
            Err(failure) => return Ok(json!({ "image": path, "error": failure.message })),
        };
        let faces = self.see(nets, &pixels).map_err(|e| failed(&e))?;
        Ok(json!({
            "image": path,
            "width": pixels.width(),
            "height": pixels.height(),
            "faces": faces,
        }))
    }

    /// The image's faces as objects. The recognizer runs only where embeddings are asked for.
    fn see(&self, nets: &FaceNets, image: &RgbImage) -> Result<Vec<Value>, FaceError> {
        let object = |found: &Detection| object(nets, image, found);
        if !self.embed {
            let found = nets.detect_by(image, Search::EverySize)?;
            return found.iter().map(object).collect();
        }
        let found = nets.faces_by(image, Search::EverySize)?;
        let embedded = |face: &Face| {
            let mut object = object(&face.detection)?;
            let numbers = face.vector.iter().copied().map(shortest);
            object["embedding"] = numbers.collect();
            Ok(object)
        };
        found.iter().map(embedded).collect()
    }
}

/// What is printed of a face, without its embedding.
fn object(nets: &FaceNets, image: &RgbImage, found: &Detection) -> Result<Value, FaceError> {
    let mut object = json!({
        "box": found.bbox.map(pixels),
        "score": rounded(found.score, 4),
        "landmarks": found.landmarks.map(|point| point.map(pixels)),
    });
    match nets.gender_age(image, found) {
        Ok(guess) => {
            object["age"] = json!(rounded(guess.age, 1));
            object["male"] = json!(rounded(guess.male, 3));
            object["gender_guess"] = json!(guess.word());
        }
        Err(FaceError::NoGenderNetwork) => {}
        Err(error) => return Err(error),
    }
    Ok(object)
}

/// A place in pixels, in hundredths.
fn pixels(value: f32) -> f64 {
    rounded(value, 2)
}

/// The number with so many decimal places.
fn rounded(value: f32, places: i32) -> f64 {
    let times = 10_f64.powi(places);
    (f64::from(value) * times).round() / times
}

/// The networks of `[models.face]`.
///
/// # Errors
/// A manifest without that section; networks or a runtime library that do not load.
pub(crate) fn load(manifest: &Manifest) -> Result<FaceNets, Failure> {
    let files = FaceSection::from_manifest(manifest)?.files;
    FaceNets::load(&files, &FaceOptions::default()).map_err(|e| failed(&e))
}

/// An image file's pixels, upright.
///
/// # Errors
/// A file that cannot be read or is no image, or one with too many pixels.
pub(crate) fn open(path: &Path) -> Result<RgbImage, Failure> {
    let bytes = std::fs::read(path).map_err(|e| CoreError::from_io(path, e))?;
    decode(&bytes, &Limits::default(), Orientation::Upright).map_err(|error| {
        let text = format!("{}: {}", path.display(), chain(&error));
        Failure::new(Exit::Environment, text)
    })
}

/// A failure of the networks.
pub(crate) fn failed(error: &FaceError) -> Failure {
    Failure::new(Exit::Environment, chain(error))
}
