//! The loaded models of Algorithm 1, and the steps from a photo to an image.

use std::collections::BTreeMap;
use std::sync::Arc;

use image::RgbImage;
use laioncele_clip::ImageEncoders;
use laioncele_core::TableId;
use laioncele_encoder::{CONFIG_FILE, Crop, Encoder, WEIGHTS_FILE};
use laioncele_face::FaceNets;
use laioncele_sdxl::{
    ImageRequest, NameTensor, Naming, Noise, PromptEmbedding, SamplingSettings, Sdxl, TextEncoders,
};

use super::config::{Eta, GenerationConfig, MeanLength};
use super::error::{GenerationError, Result};
use super::statistics::NameStatistics;
use super::tables::RunTables;

/// The name of a person in the N space.
#[derive(Clone, Debug, PartialEq)]
pub struct PersonName {
    /// Its embedding, before Equations 4 and 5.
    pub embedding: NameTensor,
    /// Whether it was predicted from photos: Equations 4 and 5 are for those; the text encoders' own names are used
    /// as they are.
    pub predicted: bool,
}

/// An image to generate.
#[derive(Clone, Debug)]
pub struct SampleRequest<'a> {
    /// Who is shown; nobody in particular without one.
    pub name: Option<&'a PersonName>,
    /// What is shown.
    pub prompt: &'a str,
    /// The noise's seed.
    pub seed: u64,
}

/// What turns photos into names.
struct NamePredictor {
    image_encoders: Arc<ImageEncoders>,
    encoder: Arc<Encoder>,
    statistics: Arc<NameStatistics>,
}

/// Everything that generation needs, loaded. Any number of threads may share it.
pub struct GenerationPipeline {
    sdxl: Arc<Sdxl>,
    texts: Arc<TextEncoders>,
    negative: PromptEmbedding,
    faces: Option<Arc<FaceNets>>,
    predictor: Option<NamePredictor>,
    crop: Crop,
    /// Whether the setting asks for a word and there is a network to choose it.
    gendered: bool,
    delta: f32,
    eta: Eta,
    /// How images are sampled; as configured at first.
    pub sampling: SamplingSettings,
    /// How names go into prompts; prepended at first.
    pub naming: Naming,
    /// Images generated at once on the processor; 0 for as many as the machine has threads.
    pub threads: usize,
}

/// The loaded parts of a pipeline that have nothing to do with the N space.
pub(crate) struct PipelineParts {
    pub(crate) sdxl: Arc<Sdxl>,
    pub(crate) texts: Arc<TextEncoders>,
    pub(crate) negative: PromptEmbedding,
    pub(crate) faces: Option<Arc<FaceNets>>,
    /// Whether a word is chosen for a person.
    pub(crate) gendered: bool,
}

/// What stops [`GenerationPipeline::generate_each`], on its way through the model.
struct Stopped<Stop>(Stop);

impl<Stop: From<GenerationError>> From<laioncele_sdxl::Error> for Stopped<Stop> {
    fn from(error: laioncele_sdxl::Error) -> Self {
        Self(GenerationError::from(error).into())
    }
}

impl GenerationPipeline {
    /// Loads models and the tables' means. Without an encoder among the tables, names come from texts only.
    ///
    /// # Errors
    /// Missing or wrong models, parts that do not fit them, settings that the model cannot meet.
    pub fn open(config: &GenerationConfig, tables: &RunTables<'_>) -> Result<Self> {
        let loader = tables.loader();
        let sdxl = loader.sdxl(&config.sdxl)?;
        let texts = loader.text_encoders(&config.sdxl)?;
        sdxl.check(&config.sampling)?;
        let faces = config.face.as_ref().map(|files| loader.face_nets(files));
        Ok(Self {
            negative: texts.encode_negative(&config.unconditional.negative())?,
            faces: faces.transpose()?,
            predictor: NamePredictor::load(config, tables)?,
            crop: config.crop,
            gendered: (config.face.as_ref()).is_some_and(|face| face.gender.is_some()),
            delta: config.delta,
            eta: config.eta,
            threads: 0,
            naming: Naming::Prepend,
            sampling: config.sampling.clone(),
            sdxl,
            texts,
        })
    }

    /// The name of the person in a photo.
    ///
    /// # Errors
    /// [`GenerationError::NoEncoder`], [`GenerationError::NoFace`], or a network's error.
    pub fn name_from_photo(&self, photo: &RgbImage) -> Result<PersonName> {
        self.name_from_photos(std::slice::from_ref(photo))
    }

    /// The name of one person in several photos: the mean of each photo's. Photos without a face are passed over.
    ///
    /// # Errors
    /// [`GenerationError::NoEncoder`], [`GenerationError::NoFace`] if no photo shows one, [`GenerationError::NoPhoto`], or a
    /// network's error.
    pub fn name_from_photos(&self, photos: &[RgbImage]) -> Result<PersonName> {
        let predictor = self.predictor.as_ref().ok_or(GenerationError::NoEncoder)?;
        if photos.is_empty() {
            return Err(GenerationError::NoPhoto);
        }
        let mut names = Vec::with_capacity(photos.len());
        for photo in photos {
            let Some(face_box) = self.face_box(photo)? else {
                continue;
            };
            let seen = self.crop.apply(photo, face_box);
            let predicted = predictor
                .encoder
                .predict(&predictor.image_encoders.feature(&seen)?)?;
            names.push(NameTensor::new(predicted, self.sdxl.name_width())?);
        }
        if names.is_empty() {
            return Err(GenerationError::NoFace);
        }
        Ok(PersonName {
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
    pub fn name_from_text(&self, name: &str) -> Result<PersonName> {
        Ok(PersonName {
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

    /// The words that the base model's images take turns with.
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
    pub fn mix(&self, a: &PersonName, b: &PersonName, share: f32) -> Result<PersonName> {
        Ok(PersonName {
            embedding: a.embedding.interpolate(&b.embedding, share)?,
            predicted: a.predicted || b.predicted,
        })
    }

    /// The embedding that is prepended: a predicted name after Equations 4 and 5, another as it is.
    ///
    /// # Errors
    /// [`GenerationError::NoEncoder`] for a predicted name in a pipeline without an encoder.
    pub fn prepended(&self, name: &PersonName) -> Result<NameTensor> {
        if !name.predicted {
            return Ok(name.embedding.clone());
        }
        let predictor = self.predictor.as_ref().ok_or(GenerationError::NoEncoder)?;
        let eta = match self.eta {
            Eta::Length(length) => length,
            Eta::Mean(MeanLength::Mean) => predictor.statistics.mean_length,
        };
        let guided = name
            .embedding
            .recentre(&predictor.statistics.mean, self.delta)?;
        Ok(guided.rescale(eta))
    }

    /// Generates images, several at once, and returns them in the order of their requests. An image depends on its request
    /// alone: to the byte on the processor, within rounding in a GPU's batch.
    ///
    /// # Errors
    /// The first error of any image, numbers that are not finite among them.
    pub fn generate(&self, requests: &[SampleRequest<'_>]) -> Result<Vec<RgbImage>> {
        let mut images: Vec<Option<RgbImage>> = requests.iter().map(|_| None).collect();
        self.generate_each(requests, |index, image| {
            images[index] = Some(image?);
            Ok::<(), GenerationError>(())
        })?;
        Ok(images.into_iter().flatten().collect())
    }

    /// Generates images, several at once ([`Sdxl::generate_each`]), handing each with its number to `each` as it comes.
    ///
    /// # Errors
    /// What `each` returns, which stops the rest; texts that cannot be encoded.
    pub fn generate_each<Stop: From<GenerationError>>(
        &self,
        samples: &[SampleRequest<'_>],
        mut each: impl FnMut(usize, Result<RgbImage>) -> std::result::Result<(), Stop>,
    ) -> std::result::Result<(), Stop> {
        let prompts = self.encode_prompts(samples)?;
        let named = samples.iter().map(|sample| self.named(sample, &prompts));
        let named: Vec<Option<PromptEmbedding>> = named.collect::<Result<_>>()?;
        let request = |(sample, named): (&SampleRequest<'_>, _)| ImageRequest {
            prompt: Option::unwrap_or(named, &prompts[sample.prompt]),
            name: None,
            negative: &self.negative,
            noise: Noise::Seed(sample.seed),
        };
        let named = named.iter().map(Option::as_ref);
        let requests: Vec<_> = samples.iter().zip(named).map(request).collect();
        let each = |index, image: laioncele_sdxl::Result<RgbImage>| {
            each(index, image.map_err(GenerationError::from)).map_err(Stopped)
        };
        let ended = (self.sdxl).generate_each(&requests, &self.sampling, self.threads, each);
        ended.map_err(|Stopped(stop)| stop)
    }

    /// What guidance is given for a sample: the prompt with the name in it, and what it guides away from. For programs that
    /// sample by themselves.
    ///
    /// # Errors
    /// Texts that cannot be encoded; a predicted name in a pipeline without an encoder.
    pub fn conditioning(
        &self,
        sample: &SampleRequest<'_>,
    ) -> Result<(PromptEmbedding, PromptEmbedding)> {
        let mut prompts = self.encode_prompts(std::slice::from_ref(sample))?;
        let named = self.named(sample, &prompts)?;
        let prompt = named.or_else(|| prompts.remove(sample.prompt));
        let prompt = match prompt {
            Some(prompt) => prompt,
            None => self.texts.encode_prompt(sample.prompt)?,
        };
        Ok((prompt, self.negative.clone()))
    }

    /// The embedding of each prompt, encoded once.
    fn encode_prompts<'a>(
        &self,
        samples: &[SampleRequest<'a>],
    ) -> Result<BTreeMap<&'a str, PromptEmbedding>> {
        let mut prompts = BTreeMap::new();
        for sample in samples {
            if !prompts.contains_key(sample.prompt) {
                prompts.insert(sample.prompt, self.texts.encode_prompt(sample.prompt)?);
            }
        }
        Ok(prompts)
    }

    /// The prompt of `sample` with its name in it; `None` without a name.
    fn named(
        &self,
        sample: &SampleRequest<'_>,
        prompts: &BTreeMap<&str, PromptEmbedding>,
    ) -> Result<Option<PromptEmbedding>> {
        let Some(name) = sample.name else {
            return Ok(None);
        };
        let (prompt, name) = (&prompts[sample.prompt], self.prepended(name)?);
        Ok(Some(self.texts.named(prompt, &name, self.naming)?))
    }

    /// A prompt with `name` in it, as images are generated from it.
    ///
    /// # Errors
    /// Texts that cannot be encoded; as [`GenerationPipeline::prepended`].
    pub fn prompt(&self, name: &PersonName, prompt: &str) -> Result<PromptEmbedding> {
        let encoded = self.texts.encode_prompt(prompt)?;
        let name = self.prepended(name)?;
        Ok(self.texts.named(&encoded, &name, self.naming)?)
    }

    /// What other methods share with this pipeline.
    pub(crate) fn parts(&self) -> PipelineParts {
        PipelineParts {
            sdxl: self.sdxl.clone(),
            texts: self.texts.clone(),
            negative: self.negative.clone(),
            faces: self.faces.clone(),
            gendered: self.gendered,
        }
    }

    /// Images of `steps` mixtures (at least 2) of two names, from the first to the second, all with one seed.
    ///
    /// # Errors
    /// As [`GenerationPipeline::generate`].
    pub fn interpolate(
        &self,
        (from, to): (&PersonName, &PersonName),
        steps: usize,
        prompt: &str,
        seed: u64,
    ) -> Result<Vec<RgbImage>> {
        let steps = steps.max(2);
        let share = |step: usize| step as f32 / (steps - 1) as f32;
        let names: Result<Vec<PersonName>> =
            (0..steps).map(|s| self.mix(from, to, share(s))).collect();
        let names = names?;
        let request = |name| SampleRequest {
            name: Some(name),
            prompt,
            seed,
        };
        self.generate(&names.iter().map(request).collect::<Vec<_>>())
    }
}

impl NamePredictor {
    /// The encoder of the run, if there is one yet, with what it needs.
    fn load(config: &GenerationConfig, tables: &RunTables<'_>) -> Result<Option<Self>> {
        let parts = tables.parts(TableId::Encoder);
        let find = |name: &str| parts.iter().find(|part| part.path.ends_with(name));
        let (Some(shape), Some(weights)) = (find(CONFIG_FILE), find(WEIGHTS_FILE)) else {
            return Ok(None);
        };
        let key = format!("{} {}", shape.digest, weights.digest);
        let loader = tables.loader();
        let encoder =
            loader.encoder(&key, || Ok([tables.bytes(shape)?, tables.bytes(weights)?]))?;
        let image_encoders = loader.image_encoders(&config.image_encoders)?;
        let name = tables.embedding_dims().name_tokens * tables.embedding_dims().name_channels;
        fit(
            "the encoder's input",
            encoder.config.input,
            image_encoders.width(),
        )?;
        fit("the encoder's output", encoder.config.output(), name)?;
        Ok(Some(Self {
            statistics: NameStatistics::kept(tables)?,
            image_encoders,
            encoder,
        }))
    }
}

fn fit(what: &'static str, found: usize, expected: usize) -> Result<()> {
    if found == expected {
        return Ok(());
    }
    Err(GenerationError::Dims {
        what,
        found,
        expected,
    })
}
