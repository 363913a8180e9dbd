//! `laioncele faces compare`: whether two images show the same person.

use std::path::{Path, PathBuf};

use clap::Args;
use laioncele_face::calibration::Point;
use laioncele_face::{Face, FaceNets, Search, cosine};
use serde::Serialize;

use super::{failed, load, open};
use crate::args::ModelsOf;
use crate::error_rates::ErrorRates;
use crate::failure::{Exit, Failure};
use crate::output;
use crate::session::manifest_of_models;

const EXAMPLES: &str = "\
Examples:
  laioncele faces compare a.jpg b.jpg
  laioncele faces compare a.jpg b.jpg --threshold 0.5 --json | jq .same

Of several faces in an image the main one (area × score⁴) is compared. The similarity is the cosine
of the two embeddings.";

/// `laioncele faces compare`
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(super) struct Compare {
    /// An image
    #[arg(value_name = "A")]
    a: PathBuf,
    /// Another image
    #[arg(value_name = "B")]
    b: PathBuf,
    /// Lowest similarity at which two faces count as one person's [default: the manifest's
    /// same_person_photo]
    #[arg(long, value_name = "COSINE", allow_negative_numbers = true)]
    threshold: Option<f64>,
    #[command(flatten)]
    models: ModelsOf,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Serialize)]
struct Comparison {
    a: Seen,
    b: Seen,
    similarity: f32,
    threshold: f64,
    same: bool,
    /// The error rates of the threshold, where the manifest names a calibration.
    stands_for: Option<Point>,
}

/// An image and the face in it that is compared.
#[derive(Debug, Serialize)]
struct Seen {
    image: PathBuf,
    /// Faces in the image.
    faces: usize,
    #[serde(rename = "box")]
    bbox: [f32; 4],
}

impl Compare {
    /// Prints the similarity and the decision.
    ///
    /// # Errors
    /// Missing or wrong networks, images that cannot be decoded or show no face.
    pub(super) fn execute(self) -> Result<(), Failure> {
        let manifest = manifest_of_models(&self.models)?;
        let threshold = match self.threshold {
            Some(given) if !(-1.0..=1.0).contains(&given) => {
                let text = format!("--threshold is {given}: a cosine is between -1 and 1");
                return Err(Failure::new(Exit::Usage, text));
            }
            Some(given) => given,
            None => laioncele_verify_images::Settings::from_manifest(&manifest)?.same_person_photo,
        };
        let rates = ErrorRates::of(&manifest)?;
        let nets = load(&manifest)?;
        let (a, first) = look(&nets, &self.a)?;
        let (b, second) = look(&nets, &self.b)?;
        let similarity = cosine(&first.vector, &second.vector);
        let found = Comparison {
            a,
            b,
            similarity,
            threshold,
            same: f64::from(similarity) >= threshold,
            stands_for: rates.and_then(|rates| rates.of_pair(threshold)),
        };
        if self.json {
            output::json(&found)
        } else {
            output::data(&found.render())
        }
    }
}

fn look(nets: &FaceNets, path: &Path) -> Result<(Seen, Face), Failure> {
    let faces = nets.faces_by(&open(path)?, Search::EverySize);
    let faces = faces.map_err(|e| failed(&e))?;
    let count = faces.len();
    let Some(face) = faces.into_iter().next() else {
        let text = format!("{}: no face was found", path.display());
        return Err(Failure::new(Exit::Environment, text));
    };
    let seen = Seen {
        image: path.to_owned(),
        faces: count,
        bbox: face.detection.bbox,
    };
    Ok((seen, face))
}

impl Comparison {
    fn render(&self) -> String {
        let (decision, sign) = if self.same {
            ("one person", "≥")
        } else {
            ("two people", "<")
        };
        let mut text = format!(
            "{decision}: similarity {:.4} {sign} {}",
            self.similarity, self.threshold
        );
        text.push_str(&match self.stands_for {
            Some(point) => format!(
                "\nthe threshold accepts {} of two people's pairs and rejects {} of one person's",
                point.false_accepts, point.false_rejects
            ),
            None => {
                "\nthe error rates of this threshold were not measured: see `laioncele calibrate`"
                    .to_owned()
            }
        });
        for seen in [&self.a, &self.b] {
            if seen.faces > 1 {
                let image = seen.image.display();
                text.push_str(&format!(
                    "\n{image} has {} faces: the main one was compared",
                    seen.faces
                ));
            }
        }
        text
    }
}
