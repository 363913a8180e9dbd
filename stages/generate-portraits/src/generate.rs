//! The portraits of some names: which are generated, which are taken from earlier, and the comparison of each name's
//! first two.

use std::collections::HashMap;
use std::ops::Range;

use image::RgbImage;
use laioncele_core::table::{Image, NameEmbedding, Portrait, PortraitPair};
use laioncele_core::{NameId, StageError};
use laioncele_face::FaceNets;
use laioncele_inference::ModelError;
use laioncele_inference::agreement::{self, AgreementVerdict, PORTRAITS};
use laioncele_sdxl::{
    Error as SdxlError, ImageRequest, NameTensor, Noise, PromptEmbedding, SamplingSettings, Sdxl,
};

use crate::format::{Encoding, decode};
use crate::settings::StageConfig;

/// Portraits that a lazy run compares before it generates the others.
const COMPARED: usize = 2;

/// Generates the portraits of names.
pub(crate) struct PortraitGenerator<'a> {
    pub config: &'a StageConfig,
    /// What each name's portraits are generated with.
    pub wanted: &'a HashMap<NameId, Wanted>,
    pub sdxl: &'a Sdxl,
    pub prompt: &'a PromptEmbedding,
    pub negative: &'a PromptEmbedding,
    pub sampling: &'a SamplingSettings,
    /// Images generated beside each other on the processor.
    pub threads: usize,
    /// The face networks; `None` generates all portraits.
    pub nets: Option<&'a FaceNets>,
    /// Portraits of earlier runs by name and index, of the names at hand.
    pub earlier: HashMap<(NameId, u32), Portrait>,
}

/// What a name's portraits are generated with: digests of all that their pixels depend on besides the seed.
#[derive(Clone, Debug, Default)]
pub(crate) struct Wanted {
    /// In the format that is set.
    pub settings: String,
    /// In a lossless format: such a portrait can become one of any format.
    pub lossless: String,
}

impl Wanted {
    /// Whether a portrait with this digest can be taken over.
    pub(crate) fn accepts(&self, settings: &str) -> bool {
        settings == self.settings || settings == self.lossless
    }
}

/// What became of a name.
pub(crate) enum Outcome {
    /// Its portraits, how the first two agree (if they were compared), and how many portraits were taken from earlier.
    Generated {
        portraits: Vec<Portrait>,
        pair: Option<PortraitPair>,
        reused: usize,
    },
    /// Numbers that were not finite came out; where.
    Bad(String),
}

/// A name and its portraits so far.
struct NamePortraits<'a> {
    name: &'a NameEmbedding,
    embedding: NameTensor,
    wanted: Wanted,
    encoding: Encoding,
    portraits: Vec<NewPortrait>,
    pair: Option<PairAgreement>,
    bad: Option<String>,
}

/// A portrait of this task, generated or taken from earlier.
struct NewPortrait {
    row: Portrait,
    /// Until the pair is compared.
    pixels: Option<RgbImage>,
    reused: bool,
}

/// Whether the first two portraits show one person.
#[derive(Clone, Copy)]
struct PairAgreement {
    agree: bool,
    /// Their faces' cosine where each has one face.
    similarity: Option<f32>,
}

/// A portrait to generate.
struct Missing {
    /// Its name's place among the names.
    name: usize,
    index: u32,
    seed: u64,
}

impl PortraitGenerator<'_> {
    /// Generates what is missing of the names' portraits: the first two of all names, then the others of those whose two
    /// agree, so that a GPU's batches are full. `progress` hears how many names are finished.
    ///
    /// # Errors
    /// What concerns every name: a model that does not fit, memory; what `progress` returns.
    pub(crate) fn generate(
        &self,
        names: &[NameEmbedding],
        mut progress: impl FnMut(usize) -> Result<(), StageError>,
    ) -> Result<Vec<Outcome>, StageError> {
        let begun = names.iter().map(|name| self.begin(name));
        let mut names = begun.collect::<Result<Vec<_>, _>>()?;
        let first = match self.nets {
            Some(_) => COMPARED,
            None => PORTRAITS,
        };
        self.generate_range(&mut names, 0..first, &mut progress)?;
        self.generate_range(&mut names, first..PORTRAITS, &mut progress)?;
        Ok(names.into_iter().map(NamePortraits::outcome).collect())
    }

    fn begin<'n>(&self, name: &'n NameEmbedding) -> Result<NamePortraits<'n>, StageError> {
        let rows = name.embedding.0.iter().map(|v| v.to_f32()).collect();
        let embedding = NameTensor::new(rows, self.sdxl.name_width());
        Ok(NamePortraits {
            name,
            embedding: embedding.map_err(ModelError::from)?,
            wanted: self.wanted.get(&name.name_id).cloned().unwrap_or_default(),
            encoding: self.config.encoding(),
            portraits: Vec::new(),
            pair: None,
            bad: None,
        })
    }

    /// Portraits `range` of the names that are to have them: those of earlier runs that were generated alike, the others
    /// generated now.
    fn generate_range(
        &self,
        names: &mut [NamePortraits<'_>],
        range: Range<usize>,
        progress: &mut impl FnMut(usize) -> Result<(), StageError>,
    ) -> Result<(), StageError> {
        let missing = self.take_earlier(names, range);
        for at in 0..names.len() {
            self.compare(&mut names[at]).map_err(|Stop(error)| error)?;
            progress(finished(names))?;
        }
        let embeddings: Vec<NameTensor> = missing
            .iter()
            .map(|m| names[m.name].embedding.clone())
            .collect();
        let requests = self.requests(&missing, &embeddings);
        let each = |at: usize, image: Result<RgbImage, SdxlError>| {
            let missing = &missing[at];
            let name = &mut names[missing.name];
            match image {
                Ok(pixels) => name.add(missing, pixels)?,
                Err(SdxlError::NotFinite { what, .. }) => name.bad = Some(what),
                Err(error) => return Err(error.into()),
            }
            self.compare(name)?;
            progress(finished(names)).map_err(Stop)
        };
        let ended = (self.sdxl).generate_each(&requests, self.sampling, self.threads, each);
        ended.map_err(|Stop(error)| error)
    }

    fn requests<'r>(
        &'r self,
        missing: &[Missing],
        embeddings: &'r [NameTensor],
    ) -> Vec<ImageRequest<'r>> {
        let request = |(missing, name): (&Missing, &'r NameTensor)| ImageRequest {
            prompt: self.prompt,
            name: Some(name),
            negative: self.negative,
            noise: Noise::Seed(missing.seed),
        };
        missing.iter().zip(embeddings).map(request).collect()
    }

    /// Gives every name that is to have portraits `range` what is left of them from earlier runs; the rest is missing.
    fn take_earlier(&self, names: &mut [NamePortraits<'_>], range: Range<usize>) -> Vec<Missing> {
        let mut missing = Vec::new();
        for (at, name) in names.iter_mut().enumerate() {
            if name.is_finished() {
                continue;
            }
            for index in range.clone() {
                let index = index as u32;
                let seed = self.config.seed(name.name.name_id, index);
                match self.earlier_portrait(name, index, seed) {
                    Some(portrait) => name.portraits.push(portrait),
                    None => missing.push(Missing {
                        name: at,
                        index,
                        seed,
                    }),
                }
            }
        }
        missing
    }

    /// Compares a name's first two portraits as soon as they are there.
    fn compare(&self, name: &mut NamePortraits<'_>) -> Result<(), Stop> {
        let Some(nets) = self.nets.filter(|_| name.pair.is_none()) else {
            name.forget_pixels();
            return Ok(());
        };
        if name.portraits.len() < COMPARED {
            return Ok(());
        }
        name.portraits.sort_by_key(|portrait| portrait.row.index);
        let mut faces = Vec::with_capacity(name.portraits.len());
        for pixels in name.portraits.iter().filter_map(|p| p.pixels.as_ref()) {
            faces.push(nets.faces(pixels).map_err(ModelError::from)?);
        }
        let same_person = (self.config.pair_check.as_ref()).map_or(0.0, |check| check.same_person);
        let (agree, similarity) = match agreement::decide(&faces, same_person) {
            AgreementVerdict::Same { min, .. } => (true, Some(min)),
            AgreementVerdict::Different { min } => (false, Some(min)),
            AgreementVerdict::NoFace | AgreementVerdict::SeveralFaces => (false, None),
        };
        name.pair = Some(PairAgreement { agree, similarity });
        name.forget_pixels();
        Ok(())
    }

    /// A portrait of an earlier run with the same seed, generated by the same models and settings.
    fn earlier_portrait(
        &self,
        name: &NamePortraits<'_>,
        index: u32,
        seed: u64,
    ) -> Option<NewPortrait> {
        let row = self.earlier.get(&(name.name.name_id, index))?;
        if row.seed != seed || !name.wanted.accepts(&row.settings) {
            return None;
        }
        let pixels = decode(&row.image.bytes)?;
        let mut row = row.clone();
        let mut seen = pixels;
        if row.settings != name.wanted.settings || !name.encoding.is_of(&row.image.bytes) {
            (row.image, seen) = name.file(index, seen).ok()?;
            row.settings.clone_from(&name.wanted.settings);
        }
        Some(NewPortrait {
            row,
            pixels: Some(seen),
            reused: true,
        })
    }
}

fn finished(names: &[NamePortraits<'_>]) -> usize {
    names.iter().filter(|name| name.is_finished()).count()
}

impl NamePortraits<'_> {
    /// Whether it gets no more portraits.
    fn is_finished(&self) -> bool {
        let rejected = self.pair.is_some_and(|pair| !pair.agree);
        self.bad.is_some() || rejected || self.portraits.len() == PORTRAITS
    }

    fn add(&mut self, missing: &Missing, pixels: RgbImage) -> Result<(), Stop> {
        let (image, pixels) = self.file(missing.index, pixels)?;
        self.portraits.push(NewPortrait {
            row: Portrait {
                name_id: self.name.name_id,
                index: missing.index,
                seed: missing.seed,
                image,
                settings: self.wanted.settings.clone(),
            },
            pixels: Some(pixels),
            reused: false,
        });
        Ok(())
    }

    /// The file of a portrait, and the pixels that its readers see.
    fn file(&self, index: u32, pixels: RgbImage) -> Result<(Image, RgbImage), ModelError> {
        let (bytes, pixels) = self.encoding.encode(pixels)?;
        let path = format!(
            "{}-{index}.{}",
            self.name.name_id,
            self.encoding.extension()
        );
        Ok((Image { bytes, path }, pixels))
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
        let pair = self.pair.map(|pair| PortraitPair {
            name_id: self.name.name_id,
            similarity: pair.similarity,
            drawn: self.portraits.len() as u32,
        });
        Outcome::Generated {
            pair,
            reused: self.portraits.iter().filter(|p| p.reused).count(),
            portraits: self.portraits.into_iter().map(|p| p.row).collect(),
        }
    }
}

/// Why generation stops for all names.
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
