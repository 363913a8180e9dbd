//! The portraits of one name: which are drawn, which are taken from earlier, and the look at the first two.

use std::collections::HashMap;
use std::io::Cursor;

use image::codecs::png::PngEncoder;
use image::{DynamicImage, ImageFormat, RgbImage};
use laioncele_core::ledger::KeyParts;
use laioncele_core::table::{Image, NameEmbedding, Portrait, PortraitPair};
use laioncele_core::{NameId, StageError};
use laioncele_face::FaceNets;
use laioncele_face::agreement::{self, Verdict};
use laioncele_sdxl::{
    Error as SdxlError, ImageRequest, NameEmbedding as Embedding, Noise, PromptEmbedding,
    SamplingSettings, Sdxl,
};

use crate::settings::Plan;

/// Portraits of a name.
pub const PORTRAITS: u32 = 4;
/// Portraits that lazy drawing looks at.
const LOOKED_AT: u32 = 2;

/// Draws the portraits of names.
pub struct Portraitist<'a> {
    pub plan: &'a Plan,
    pub key: &'a KeyParts,
    pub version: u32,
    pub sdxl: &'a Sdxl,
    pub prompt: &'a PromptEmbedding,
    pub null: &'a PromptEmbedding,
    pub sampling: &'a SamplingSettings,
    /// The face networks; `None` draws all portraits.
    pub nets: Option<&'a FaceNets>,
    /// Portraits of earlier runs by name and index, whatever they were drawn with.
    pub earlier: HashMap<(NameId, u32), Vec<Portrait>>,
}

/// What became of a name.
pub enum Outcome {
    /// Its portraits, how the first two agree (if they were looked at), and how many portraits were taken from earlier.
    Drawn {
        portraits: Vec<Portrait>,
        pair: Option<PortraitPair>,
        reused: usize,
    },
    /// Numbers that were not finite came out; where.
    Bad(String),
}

/// A portrait with its pixels.
struct Drawn {
    row: Portrait,
    pixels: RgbImage,
    reused: bool,
}

impl Portraitist<'_> {
    /// Draws what has to be drawn of a name's portraits.
    ///
    /// # Errors
    /// What concerns every name: a model that does not fit, memory.
    pub fn portray(&self, name: &NameEmbedding) -> Result<Outcome, StageError> {
        match self.try_portray(name) {
            Ok(outcome) => Ok(outcome),
            Err(Failure::NotFinite(what)) => Ok(Outcome::Bad(what)),
            Err(Failure::Task(error)) => Err(error),
        }
    }

    fn try_portray(&self, name: &NameEmbedding) -> Result<Outcome, Failure> {
        let settings = self.plan.digest(self.key, self.version, name).to_string();
        let rows = name.embedding.0.iter().map(|v| v.to_f32()).collect();
        let embedding = Embedding::new(rows, self.sdxl.name_width())?;
        let draw = |from, to| self.draw(name.name_id, from..to, &embedding, &settings);
        let Some(nets) = self.nets else {
            return Ok(Self::outcome(draw(0, PORTRAITS)?, None));
        };
        let mut portraits = draw(0, LOOKED_AT)?;
        let (agree, similarity) = self.look(nets, &portraits)?;
        if agree {
            portraits.extend(draw(LOOKED_AT, PORTRAITS)?);
        }
        let pair = PortraitPair {
            name_id: name.name_id,
            similarity,
            drawn: if agree { PORTRAITS } else { LOOKED_AT },
        };
        Ok(Self::outcome(portraits, Some(pair)))
    }

    fn outcome(portraits: Vec<Drawn>, pair: Option<PortraitPair>) -> Outcome {
        let reused = portraits.iter().filter(|p| p.reused).count();
        let portraits = portraits.into_iter().map(|p| p.row).collect();
        Outcome::Drawn {
            portraits,
            pair,
            reused,
        }
    }

    /// Whether the first two portraits show one person, and their faces' cosine where each has one face.
    fn look(&self, nets: &FaceNets, portraits: &[Drawn]) -> Result<(bool, Option<f32>), Failure> {
        let mut faces = Vec::with_capacity(portraits.len());
        for portrait in portraits {
            let found = nets.faces(&portrait.pixels);
            faces.push(found.map_err(|e| Failure::Task(StageError::environment(e)))?);
        }
        let same_person = self.plan.look.as_ref().map_or(0.0, |look| look.same_person);
        Ok(match agreement::decide(&faces, same_person) {
            Verdict::Same { min, .. } => (true, Some(min)),
            Verdict::Different { min } => (false, Some(min)),
            Verdict::NoFace | Verdict::SeveralFaces => (false, None),
        })
    }

    /// Portraits `range` of a name, in order: those of earlier runs that were drawn alike, the others drawn now.
    fn draw(
        &self,
        name_id: NameId,
        range: std::ops::Range<u32>,
        name: &Embedding,
        settings: &str,
    ) -> Result<Vec<Drawn>, Failure> {
        let mut portraits = Vec::new();
        let mut missing = Vec::new();
        for index in range {
            match self.earlier_portrait(name_id, index, settings) {
                Some(portrait) => portraits.push(portrait),
                None => missing.push((index, self.plan.seed(name_id, index))),
            }
        }
        let request = |&(_, seed): &(u32, u64)| ImageRequest {
            prompt: self.prompt,
            name: Some(name),
            null: self.null,
            noise: Noise::Seed(seed),
        };
        let requests: Vec<_> = missing.iter().map(request).collect();
        let pictures = self.sdxl.generate(&requests, self.sampling, None)?;
        for ((index, seed), pixels) in missing.into_iter().zip(pictures) {
            let image = Image {
                bytes: encode_png(&pixels)?,
                path: format!("{name_id}-{index}.png"),
            };
            let settings = settings.to_owned();
            portraits.push(Drawn {
                row: Portrait {
                    name_id,
                    index,
                    seed,
                    image,
                    settings,
                },
                pixels,
                reused: false,
            });
        }
        portraits.sort_by_key(|portrait| portrait.row.index);
        Ok(portraits)
    }

    /// A portrait of an earlier run with the same seed, drawn by the same models and settings.
    fn earlier_portrait(&self, name_id: NameId, index: u32, settings: &str) -> Option<Drawn> {
        let seed = self.plan.seed(name_id, index);
        let same = |row: &&Portrait| row.seed == seed && row.settings == settings;
        let row = self.earlier.get(&(name_id, index))?.iter().find(same)?;
        let pixels = decode_png(&row.image.bytes)?;
        Some(Drawn {
            row: row.clone(),
            pixels,
            reused: true,
        })
    }
}

/// Why a name's portraits could not be drawn.
enum Failure {
    NotFinite(String),
    Task(StageError),
}

impl From<SdxlError> for Failure {
    fn from(error: SdxlError) -> Self {
        match error {
            SdxlError::NotFinite { what, .. } => Self::NotFinite(what),
            error => Self::Task(crate::failure(error)),
        }
    }
}

fn encode_png(pixels: &RgbImage) -> Result<Vec<u8>, Failure> {
    let mut bytes = Vec::new();
    pixels
        .write_with_encoder(PngEncoder::new(&mut bytes))
        .map_err(|error| Failure::Task(StageError::environment(error)))?;
    Ok(bytes)
}

/// The pixels of a portrait that an earlier run wrote; `None` if it no longer decodes: it is then drawn again.
fn decode_png(bytes: &[u8]) -> Option<RgbImage> {
    let reader = image::ImageReader::with_format(Cursor::new(bytes), ImageFormat::Png);
    reader.decode().ok().map(DynamicImage::into_rgb8)
}
