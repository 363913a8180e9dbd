//! `laioncele faces`: the faces of pictures, and whether two pictures show one person.

mod compare;

use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use image::RgbImage;
use laioncele_core::error::chain;
use laioncele_core::{CoreError, Manifest};
use laioncele_face::{Detection, Face, FaceError, FaceNets, FaceOptions, Search};
use laioncele_image::{Limits, Orientation, decode};
use laioncele_inference::FaceSection;
use rayon::ThreadPoolBuilder;
use rayon::prelude::*;
use serde_json::{Value, json};

use crate::args::DEFAULT_MANIFEST;
use crate::failure::{Exit, Failure};
use crate::output;
use crate::session::load_manifest;
use crate::words::count;

const EXAMPLES: &str = "\
Examples:
  laioncele faces photo.jpg | jq '.faces[0].box'
  laioncele faces photos/*.jpg --embed > faces.jsonl
  laioncele faces compare portrait.png photo.jpg

One JSON object a picture, in the order given:
  {\"image\": ..., \"width\": ..., \"height\": ..., \"faces\": [{\"box\": [x0, y0, x1, y1], \"score\": ...,
   \"landmarks\": [[x, y], ...], \"age\": ..., \"male\": ..., \"gender_guess\": \"man\", \"embedding\": [...]}, ...]}
in pixels of the upright picture, the most prominent face first. Landmarks: the eye on the picture's left, the
other eye, nose tip, the mouth's corner on the picture's left, the other corner. Age is rough, and gender is a
guess: \"person\" where the network is unsure. A picture that does not decode has \"error\" instead of \"faces\".";

/// Pictures that are decoded before any of them is printed.
const BLOCK: usize = 32;

/// `laioncele faces`
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES, args_conflicts_with_subcommands = true)]
#[command(subcommand_negates_reqs = true)]
pub struct Faces {
    #[command(subcommand)]
    command: Option<Command>,
    /// PNG, JPEG or WebP files
    #[arg(value_name = "IMG", required = true)]
    images: Vec<PathBuf>,
    /// Print the embeddings too: unit vectors, whose dot product is the similarity
    #[arg(long)]
    embed: bool,
    /// Threads [default: one per processor]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    threads: Option<u16>,
    /// The manifest whose [models.face] is used
    #[arg(long, short, value_name = "FILE", default_value = DEFAULT_MANIFEST)]
    manifest: PathBuf,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Say whether two pictures show one person, and how sure that is
    Compare(compare::Compare),
}

impl Faces {
    /// Prints the faces.
    ///
    /// # Errors
    /// Missing or wrong networks; at the end, pictures that could not be read.
    pub fn execute(self) -> Result<(), Failure> {
        if let Some(Command::Compare(compare)) = self.command {
            return compare.execute();
        }
        let nets = load(&load_manifest(&self.manifest)?)?;
        let threads = self.threads.map_or(0, usize::from);
        let pool = ThreadPoolBuilder::new().num_threads(threads).build();
        let pool = pool.map_err(|e| Failure::new(Exit::Environment, format!("threads: {e}")))?;
        let mut broken = 0;
        for block in self.images.chunks(BLOCK) {
            let look = |path: &PathBuf| self.look(&nets, path);
            let pictures = block.par_iter().with_max_len(1);
            let lines: Vec<_> = pool.install(|| pictures.map(look).collect());
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
                    count(self.images.len(), "picture")
                ),
            )),
        }
    }

    fn look(&self, nets: &FaceNets, path: &Path) -> Result<Value, Failure> {
        let picture = match open(path) {
            Ok(picture) => picture,
            Err(failure) => return Ok(json!({ "image": path, "error": failure.message })),
        };
        let faces = self.see(nets, &picture).map_err(|e| failed(&e))?;
        Ok(json!({
            "image": path,
            "width": picture.width(),
            "height": picture.height(),
            "faces": faces,
        }))
    }

    /// The picture's faces as objects. Only those whose embeddings are asked for are put to the recognizer.
    fn see(&self, nets: &FaceNets, picture: &RgbImage) -> Result<Vec<Value>, FaceError> {
        let object = |found: &Detection| object(nets, picture, found);
        if !self.embed {
            let found = nets.detect_by(picture, Search::EverySize)?;
            return found.iter().map(object).collect();
        }
        let found = nets.faces_by(picture, Search::EverySize)?;
        let embedded = |face: &Face| {
            let mut object = object(&face.detection)?;
            object["embedding"] = json!(face.vector);
            Ok(object)
        };
        found.iter().map(embedded).collect()
    }
}

/// What is printed of a face, but for its embedding.
fn object(nets: &FaceNets, picture: &RgbImage, found: &Detection) -> Result<Value, FaceError> {
    let mut object = json!({
        "box": found.bbox,
        "score": found.score,
        "landmarks": found.landmarks,
    });
    match nets.gender_age(picture, found) {
        Ok(guess) => {
            object["age"] = json!(guess.age);
            object["male"] = json!(guess.male);
            object["gender_guess"] = json!(guess.word());
        }
        Err(FaceError::NoGenderNetwork) => {}
        Err(error) => return Err(error),
    }
    Ok(object)
}

/// The networks of `[models.face]`.
///
/// # Errors
/// A manifest without that section; networks or a runtime library that do not load.
pub fn load(manifest: &Manifest) -> Result<FaceNets, Failure> {
    let files = FaceSection::from_manifest(manifest)?.files;
    FaceNets::load(&files, &FaceOptions::default()).map_err(|e| failed(&e))
}

/// A picture file's pixels, upright.
///
/// # Errors
/// A file that cannot be read or is no picture, or one with too many pixels.
pub fn open(path: &Path) -> Result<RgbImage, Failure> {
    let bytes = std::fs::read(path).map_err(|e| CoreError::from_io(path, e))?;
    decode(&bytes, &Limits::default(), Orientation::Upright).map_err(|error| {
        let text = format!("{}: {}", path.display(), chain(&error));
        Failure::new(Exit::Environment, text)
    })
}

/// What the networks could not do.
pub fn failed(error: &FaceError) -> Failure {
    Failure::new(Exit::Environment, chain(error))
}
