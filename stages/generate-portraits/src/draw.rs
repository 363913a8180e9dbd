//! The portraits of some names: which are drawn, which are taken from earlier, and the look at each name's first two.

use std::collections::HashMap;
use std::io::Cursor;
use std::ops::Range;

use image::{DynamicImage, ImageFormat, RgbImage};
use laioncele_core::key::KeyParts;
use laioncele_core::table::{Image, NameEmbedding, Portrait, PortraitPair};
use laioncele_core::{NameId, StageError};
use laioncele_face::FaceNets;
use laioncele_face::agreement::{self, Verdict};
use laioncele_inference::{ModelError, encode_png};
use laioncele_sdxl::{
    Error as SdxlError, ImageRequest, NameTensor, Noise, PromptEmbedding, SamplingSettings, Sdxl,
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
    /// Pictures drawn beside each other on the processor.
    pub threads: usize,
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

/// A name whose portraits are being drawn.
struct Sitter<'a> {
    name: &'a NameEmbedding,
    embedding: NameTensor,
    /// Digest of what its portraits depend on.
    settings: String,
    portraits: Vec<Drawn>,
    look: Option<Look>,
    bad: Option<String>,
}

struct Drawn {
    row: Portrait,
    /// Until it was looked at.
    pixels: Option<RgbImage>,
    reused: bool,
}

/// What the first two portraits look like.
#[derive(Clone, Copy)]
struct Look {
    agree: bool,
    /// Their faces' cosine where each has one face.
    similarity: Option<f32>,
}

/// A portrait to draw.
struct Missing {
    sitter: usize,
    index: u32,
    seed: u64,
}

impl Portraitist<'_> {
    /// Draws what has to be drawn of the names' portraits: the first two of all names, then the others of those whose
    /// two agree, so that a GPU's batches are full. `progress` hears how many names are finished.
    ///
    /// # Errors
    /// What concerns every name: a model that does not fit, memory; what `progress` returns.
    pub fn portray(
        &self,
        names: &[NameEmbedding],
        mut progress: impl FnMut(usize) -> Result<(), StageError>,
    ) -> Result<Vec<Outcome>, StageError> {
        let sitters = names.iter().map(|name| self.sitter(name));
        let mut sitters = sitters.collect::<Result<Vec<_>, _>>()?;
        let first = match self.nets {
            Some(_) => LOOKED_AT,
            None => PORTRAITS,
        };
        self.draw(&mut sitters, 0..first, &mut progress)?;
        self.draw(&mut sitters, first..PORTRAITS, &mut progress)?;
        Ok(sitters.into_iter().map(Sitter::outcome).collect())
    }

    fn sitter<'n>(&self, name: &'n NameEmbedding) -> Result<Sitter<'n>, StageError> {
        let rows = name.embedding.0.iter().map(|v| v.to_f32()).collect();
        let embedding = NameTensor::new(rows, self.sdxl.name_width());
        Ok(Sitter {
            name,
            embedding: embedding.map_err(ModelError::from)?,
            settings: self.plan.digest(self.key, self.version, name).to_string(),
            portraits: Vec::new(),
            look: None,
            bad: None,
        })
    }

    /// Portraits `range` of the names that are to have them: those of earlier runs that were drawn alike, the others
    /// drawn now.
    fn draw(
        &self,
        sitters: &mut [Sitter<'_>],
        range: Range<u32>,
        progress: &mut impl FnMut(usize) -> Result<(), StageError>,
    ) -> Result<(), StageError> {
        let missing = self.take_earlier(sitters, range);
        for at in 0..sitters.len() {
            self.look(&mut sitters[at]).map_err(|Stop(error)| error)?;
            let finished = sitters.iter().filter(|sitter| sitter.is_finished());
            progress(finished.count())?;
        }
        let embeddings: Vec<NameTensor> = missing
            .iter()
            .map(|m| sitters[m.sitter].embedding.clone())
            .collect();
        let request = |(missing, name)| {
            let Missing { seed, .. }: &Missing = missing;
            ImageRequest {
                prompt: self.prompt,
                name: Some(name),
                negative: self.null,
                noise: Noise::Seed(*seed),
            }
        };
        let requests: Vec<_> = missing.iter().zip(&embeddings).map(request).collect();
        let drawn = |at: usize, picture: Result<RgbImage, SdxlError>| {
            let missing = &missing[at];
            let sitter = &mut sitters[missing.sitter];
            match picture {
                Ok(pixels) => sitter.add(missing, pixels)?,
                Err(SdxlError::NotFinite { what, .. }) => sitter.bad = Some(what),
                Err(error) => return Err(error.into()),
            }
            self.look(sitter)?;
            let finished = sitters.iter().filter(|sitter| sitter.is_finished());
            progress(finished.count()).map_err(Stop)
        };
        let ended = (self.sdxl).generate_each(&requests, self.sampling, self.threads, drawn);
        ended.map_err(|Stop(error)| error)
    }

    /// Gives every name that is to have portraits `range` what is left of them from earlier runs; the rest is missing.
    fn take_earlier(&self, sitters: &mut [Sitter<'_>], range: Range<u32>) -> Vec<Missing> {
        let mut missing = Vec::new();
        for (at, sitter) in sitters.iter_mut().enumerate() {
            if sitter.is_finished() {
                continue;
            }
            for index in range.clone() {
                let seed = self.plan.seed(sitter.name.name_id, index);
                match self.earlier_portrait(sitter, index, seed) {
                    Some(portrait) => sitter.portraits.push(portrait),
                    None => missing.push(Missing {
                        sitter: at,
                        index,
                        seed,
                    }),
                }
            }
        }
        missing
    }

    /// Looks at a name's first two portraits as soon as they are there.
    fn look(&self, sitter: &mut Sitter<'_>) -> Result<(), Stop> {
        let Some(nets) = self.nets else {
            sitter.forget_pixels();
            return Ok(());
        };
        if sitter.look.is_some() {
            sitter.forget_pixels();
            return Ok(());
        }
        if sitter.portraits.len() < LOOKED_AT as usize {
            return Ok(());
        }
        sitter.portraits.sort_by_key(|portrait| portrait.row.index);
        let mut faces = Vec::with_capacity(sitter.portraits.len());
        for pixels in sitter.portraits.iter().filter_map(|p| p.pixels.as_ref()) {
            let found = nets.faces(pixels);
            faces.push(found.map_err(ModelError::from)?);
        }
        let same_person = self.plan.look.as_ref().map_or(0.0, |look| look.same_person);
        let (agree, similarity) = match agreement::decide(&faces, same_person) {
            Verdict::Same { min, .. } => (true, Some(min)),
            Verdict::Different { min } => (false, Some(min)),
            Verdict::NoFace | Verdict::SeveralFaces => (false, None),
        };
        sitter.look = Some(Look { agree, similarity });
        sitter.forget_pixels();
        Ok(())
    }

    /// A portrait of an earlier run with the same seed, drawn by the same models and settings.
    fn earlier_portrait(&self, sitter: &Sitter<'_>, index: u32, seed: u64) -> Option<Drawn> {
        let same = |row: &&Portrait| row.seed == seed && row.settings == sitter.settings;
        let rows = self.earlier.get(&(sitter.name.name_id, index))?;
        let row = rows.iter().find(same)?;
        let pixels = decode_png(&row.image.bytes)?;
        Some(Drawn {
            row: row.clone(),
            pixels: Some(pixels),
            reused: true,
        })
    }
}

impl Sitter<'_> {
    /// Whether no more portraits are drawn of it.
    fn is_finished(&self) -> bool {
        let rejected = self.look.is_some_and(|look| !look.agree);
        self.bad.is_some() || rejected || self.portraits.len() == PORTRAITS as usize
    }

    fn add(&mut self, missing: &Missing, pixels: RgbImage) -> Result<(), Stop> {
        let name_id = self.name.name_id;
        let image = Image {
            bytes: encode_png(&pixels)?,
            path: format!("{name_id}-{}.png", missing.index),
        };
        self.portraits.push(Drawn {
            row: Portrait {
                name_id,
                index: missing.index,
                seed: missing.seed,
                image,
                settings: self.settings.clone(),
            },
            pixels: Some(pixels),
            reused: false,
        });
        Ok(())
    }

    fn forget_pixels(&mut self) {
        let portraits = self.portraits.iter_mut();
        portraits.for_each(|portrait| portrait.pixels = None);
    }

    fn outcome(mut self) -> Outcome {
        if let Some(what) = self.bad {
            return Outcome::Bad(what);
        }
        self.portraits.sort_by_key(|portrait| portrait.row.index);
        let pair = self.look.map(|look| PortraitPair {
            name_id: self.name.name_id,
            similarity: look.similarity,
            drawn: self.portraits.len() as u32,
        });
        Outcome::Drawn {
            pair,
            reused: self.portraits.iter().filter(|p| p.reused).count(),
            portraits: self.portraits.into_iter().map(|p| p.row).collect(),
        }
    }
}

/// Why drawing stops for all names.
struct Stop(StageError);

impl From<ModelError> for Stop {
    fn from(error: ModelError) -> Self {
        Self(error.into())
    }
}

impl From<SdxlError> for Stop {
    fn from(error: SdxlError) -> Self {
        ModelError::from(error).into()
    }
}

/// The pixels of a portrait that an earlier run wrote; `None` if it no longer decodes: it is then drawn again.
fn decode_png(bytes: &[u8]) -> Option<RgbImage> {
    let reader = image::ImageReader::with_format(Cursor::new(bytes), ImageFormat::Png);
    reader.decode().ok().map(DynamicImage::into_rgb8)
}
