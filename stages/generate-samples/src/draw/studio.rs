//! The loaded networks of Algorithm 1, and the steps from a photo to a picture.

use std::collections::BTreeMap;
use std::sync::Arc;

use image::RgbImage;
use laioncele_clip::ImageEncoders;
use laioncele_core::store::Store;
use laioncele_core::{Manifest, Part, TableId};
use laioncele_encoder::{CONFIG_FILE, Crop, Encoder, WEIGHTS_FILE};
use laioncele_face::FaceNets;
use laioncele_sdxl::{
    ImageRequest, NameTensor, Naming, NegativePrompt, Noise, PromptEmbedding, SamplingSettings,
    Sdxl, TextEncoders,
};

use super::error::{DrawError, Result};
use super::names::NameStatistics;
use super::source::Source;
use crate::settings::{Eta, MeanLength, Plan};

/// A name to draw with.
#[derive(Clone, Debug, PartialEq)]
pub struct Name {
    /// Its embedding, before Equations 4 and 5.
    pub embedding: NameTensor,
    /// Whether it was predicted from photos: Equations 4 and 5 are for those; the text encoders' own names are drawn as
    /// they are.
    pub predicted: bool,
}

/// A picture to draw.
#[derive(Clone, Debug)]
pub struct Picture<'a> {
    /// Who; nobody in particular without one.
    pub name: Option<&'a Name>,
    /// What.
    pub prompt: &'a str,
    /// The noise's seed.
    pub seed: u64,
}

/// From photos to names.
struct Reader {
    image_encoders: Arc<ImageEncoders>,
    encoder: Arc<Encoder>,
    statistics: Arc<NameStatistics>,
}

/// Everything that drawing needs, loaded. All of it is for any number of threads.
pub struct Studio {
    sdxl: Arc<Sdxl>,
    texts: Arc<TextEncoders>,
    null: PromptEmbedding,
    faces: Option<Arc<FaceNets>>,
    reader: Option<Reader>,
    crop: Crop,
    /// Whether the setting asks for a word and there is a network to choose it.
    gendered: bool,
    delta: f32,
    eta: Eta,
    /// How pictures are drawn; as the manifest says at first.
    pub sampling: SamplingSettings,
    /// How names go into prompts; prepended at first.
    pub naming: Naming,
    /// Pictures drawn at once on the processor; 0 for as many as the machine has threads.
    pub threads: usize,
}

/// What stops [`Studio::draw_each`], on its way through the model.
struct Stopped<Stop>(Stop);

impl<Stop: From<DrawError>> From<laioncele_sdxl::Error> for Stopped<Stop> {
    fn from(error: laioncele_sdxl::Error) -> Self {
        Self(DrawError::from(error).into())
    }
}

impl Studio {
    /// Loads what a run's manifest names. `parts` gives the current parts of a table: those of `encoder`, `identities`
    /// and `name_embeddings` are read. Without an encoder, names come from texts only.
    ///
    /// # Errors
    /// Missing or wrong models, parts that do not fit them.
    pub fn open(
        manifest: &Manifest,
        store: &Store,
        parts: &dyn Fn(TableId) -> Vec<Part>,
    ) -> Result<Self> {
        let dims = &manifest.embedding_dims;
        let source = Source::Run { store, dims, parts };
        Self::assemble(&Plan::read(manifest)?, &source)
    }

    pub(crate) fn assemble(plan: &Plan, source: &Source<'_>) -> Result<Self> {
        let loader = source.loader();
        let sdxl = loader.sdxl(&plan.sdxl.files)?;
        let texts = loader.text_encoders(&plan.sdxl.files)?;
        let sampling = plan.settings.sampling();
        sdxl.check(&sampling)?;
        Ok(Self {
            null: texts.encode_negative(&NegativePrompt::Model)?,
            faces: (plan.face.as_ref())
                .map(|face| loader.face_nets(&face.files))
                .transpose()?,
            reader: Reader::load(plan, source)?,
            crop: plan.crop,
            gendered: plan
                .face
                .as_ref()
                .is_some_and(|face| face.files.gender.is_some()),
            delta: plan.settings.delta,
            eta: plan.settings.eta,
            threads: 0,
            naming: Naming::Prepend,
            sdxl,
            texts,
            sampling,
        })
    }

    /// The name of the person in a photo.
    ///
    /// # Errors
    /// [`DrawError::NoEncoder`], [`DrawError::NoFace`], or a network's error.
    pub fn name_from_photo(&self, photo: &RgbImage) -> Result<Name> {
        self.name_from_photos(std::slice::from_ref(photo))
    }

    /// The name of one person in several photos: the mean of each photo's. Photos without a face are passed over.
    ///
    /// # Errors
    /// [`DrawError::NoEncoder`], [`DrawError::NoFace`] if no photo shows one, [`DrawError::NoPhoto`], or a network's error.
    pub fn name_from_photos(&self, photos: &[RgbImage]) -> Result<Name> {
        let reader = self.reader.as_ref().ok_or(DrawError::NoEncoder)?;
        if photos.is_empty() {
            return Err(DrawError::NoPhoto);
        }
        let mut names = Vec::with_capacity(photos.len());
        for photo in photos {
            let Some(face_box) = self.face_box(photo)? else {
                continue;
            };
            let seen = self.crop.apply(photo, face_box);
            let predicted = reader
                .encoder
                .predict(&reader.image_encoders.feature(&seen)?)?;
            names.push(NameTensor::new(predicted, self.sdxl.name_width())?);
        }
        if names.is_empty() {
            return Err(DrawError::NoFace);
        }
        Ok(Name {
            embedding: NameTensor::mean(&names)?,
            predicted: true,
        })
    }

    /// The box that is cropped to: the most prominent face's, anything for a crop that needs none.
    fn face_box(&self, photo: &RgbImage) -> Result<Option<[f32; 4]>> {
        match (self.crop, &self.faces) {
            (Crop::Whole, _) => Ok(Some([0.0; 4])),
            (Crop::Face, Some(nets)) => Ok(nets.detect(photo)?.first().map(|face| face.bbox)),
            (Crop::Face, None) => Ok(None),
        }
    }

    /// A name as SDXL's text encoders read it.
    ///
    /// # Errors
    /// A network's error.
    pub fn name_from_text(&self, name: &str) -> Result<Name> {
        Ok(Name {
            embedding: self.texts.encode_name(name)?,
            predicted: false,
        })
    }

    /// The word for a photo's person: `man` or `woman` as the gender network guesses, `person` where it is unsure and
    /// without such a network, a face, or the setting.
    ///
    /// # Errors
    /// A network's error.
    pub fn word_for(&self, photo: &RgbImage) -> Result<&'static str> {
        let Some(nets) = self.faces.as_ref().filter(|_| self.gendered) else {
            return Ok("person");
        };
        let Some(face) = nets.detect(photo)?.into_iter().next() else {
            return Ok("person");
        };
        Ok(nets.gender_age(photo, &face)?.word())
    }

    /// The words that plain pictures take turns with.
    pub fn words(&self) -> &'static [&'static str] {
        if self.gendered {
            &["man", "woman"]
        } else {
            &["person"]
        }
    }

    /// (1 − share) a + share b, before Equations 4 and 5, which the mixture goes through if either name does.
    ///
    /// # Errors
    /// Names of different embedding dims.
    pub fn mix(&self, a: &Name, b: &Name, share: f32) -> Result<Name> {
        Ok(Name {
            embedding: a.embedding.interpolate(&b.embedding, share)?,
            predicted: a.predicted || b.predicted,
        })
    }

    /// The embedding that is prepended: a predicted name after Equations 4 and 5, another as it is.
    ///
    /// # Errors
    /// [`DrawError::NoEncoder`] for a predicted name in a studio without an encoder.
    pub fn prepended(&self, name: &Name) -> Result<NameTensor> {
        if !name.predicted {
            return Ok(name.embedding.clone());
        }
        let reader = self.reader.as_ref().ok_or(DrawError::NoEncoder)?;
        let eta = match self.eta {
            Eta::Length(length) => length,
            Eta::Mean(MeanLength::Mean) => reader.statistics.mean_length,
        };
        let guided = name
            .embedding
            .recentre(&reader.statistics.mean, self.delta)?;
        Ok(guided.rescale(eta))
    }

    /// Draws one picture, on all threads. It depends on its name, prompt and seed alone.
    ///
    /// # Errors
    /// A network's error, numbers that are not finite among them.
    pub fn draw(&self, name: Option<&Name>, prompt: &str, seed: u64) -> Result<RgbImage> {
        let mut drawn = self.draw_all(&[Picture { name, prompt, seed }])?;
        drawn.pop().ok_or(DrawError::NoPhoto)
    }

    /// Draws pictures, several at once; in their order.
    ///
    /// # Errors
    /// The first picture's that could not be drawn.
    pub fn draw_all(&self, pictures: &[Picture<'_>]) -> Result<Vec<RgbImage>> {
        let mut drawn: Vec<Option<RgbImage>> = pictures.iter().map(|_| None).collect();
        self.draw_each(pictures, |index, image| {
            drawn[index] = Some(image?);
            Ok::<(), DrawError>(())
        })?;
        Ok(drawn.into_iter().flatten().collect())
    }

    /// Draws pictures, several at once ([`Sdxl::generate_each`]), handing each with its number to `each` as it comes.
    ///
    /// # Errors
    /// What `each` returns, which stops the rest; texts that cannot be encoded.
    pub fn draw_each<Stop: From<DrawError>>(
        &self,
        pictures: &[Picture<'_>],
        mut each: impl FnMut(usize, Result<RgbImage>) -> std::result::Result<(), Stop>,
    ) -> std::result::Result<(), Stop> {
        let mut prompts: BTreeMap<&str, PromptEmbedding> = BTreeMap::new();
        for picture in pictures {
            if !prompts.contains_key(picture.prompt) {
                let prompt = self.texts.encode_prompt(picture.prompt);
                prompts.insert(picture.prompt, prompt.map_err(DrawError::from)?);
            }
        }
        let named = pictures.iter().map(|picture| {
            let name = picture.name.map(|name| self.prepended(name)).transpose()?;
            let name = name.map(|name| {
                self.texts
                    .named(&prompts[picture.prompt], &name, self.naming)
            });
            Ok(name.transpose()?)
        });
        let named: Vec<Option<PromptEmbedding>> = named.collect::<Result<_>>()?;
        let request = |(picture, named): (&Picture<'_>, _)| ImageRequest {
            prompt: Option::unwrap_or(named, &prompts[picture.prompt]),
            name: None,
            negative: &self.null,
            noise: Noise::Seed(picture.seed),
        };
        let named = named.iter().map(Option::as_ref);
        let requests: Vec<_> = pictures.iter().zip(named).map(request).collect();
        let each = |index, image: laioncele_sdxl::Result<RgbImage>| {
            each(index, image.map_err(DrawError::from)).map_err(Stopped)
        };
        let drawn = (self.sdxl).generate_each(&requests, &self.sampling, self.threads, each);
        drawn.map_err(|Stopped(stop)| stop)
    }

    /// Pictures of `steps` mixtures of two names from the first to the second (at least 2), all with one seed.
    ///
    /// # Errors
    /// As [`Studio::draw_all`].
    pub fn interpolate(
        &self,
        (from, to): (&Name, &Name),
        steps: usize,
        prompt: &str,
        seed: u64,
    ) -> Result<Vec<RgbImage>> {
        let steps = steps.max(2);
        let share = |step: usize| step as f32 / (steps - 1) as f32;
        let names: Result<Vec<Name>> = (0..steps).map(|s| self.mix(from, to, share(s))).collect();
        let names = names?;
        let picture = |name| Picture {
            name: Some(name),
            prompt,
            seed,
        };
        self.draw_all(&names.iter().map(picture).collect::<Vec<_>>())
    }
}

impl Reader {
    /// The encoder of the run, if there is one yet, with what it needs.
    fn load(plan: &Plan, source: &Source<'_>) -> Result<Option<Self>> {
        let parts = source.parts(TableId::Encoder);
        let find = |name: &str| parts.iter().find(|part| part.path.ends_with(name));
        let (Some(config), Some(weights)) = (find(CONFIG_FILE), find(WEIGHTS_FILE)) else {
            return Ok(None);
        };
        let key = format!("{} {}", config.digest, weights.digest);
        let loader = source.loader();
        let encoder =
            loader.encoder(&key, || Ok([source.bytes(config)?, source.bytes(weights)?]))?;
        let image_encoders = loader.image_encoders(&plan.image_encoders)?;
        let name = source.embedding_dims().name_tokens * source.embedding_dims().name_channels;
        fit(
            "the encoder's input",
            encoder.config.input,
            image_encoders.width(),
        )?;
        fit("the encoder's output", encoder.config.output(), name)?;
        Ok(Some(Self {
            statistics: NameStatistics::kept(source)?,
            image_encoders,
            encoder,
        }))
    }
}

fn fit(what: &'static str, found: usize, expected: usize) -> Result<()> {
    if found == expected {
        return Ok(());
    }
    Err(DrawError::Width {
        what,
        found,
        expected,
    })
}
