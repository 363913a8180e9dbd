//! The loaded models of Algorithm 1, and the steps from a photo to an image.

use std::collections::BTreeMap;
use std::sync::Arc;

use image::RgbImage;
use laioncele_face::FaceNets;
use laioncele_sdxl::{
    ImageRequest, NameTensor, Naming, Noise, PromptEmbedding, SamplingSettings, Sdxl, TextEncoders,
};

use super::config::{Eta, GenerationConfig};
use super::error::{GenerationError, Result};
use super::name::PersonName;
use super::predictor::NamePredictor;
use super::tables::RunTables;
use crate::ModelLoader;

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

/// Everything that generation needs, loaded. Any number of threads may share it.
pub struct GenerationPipeline {
    sdxl: Arc<Sdxl>,
    texts: Arc<TextEncoders>,
    negative: PromptEmbedding,
    faces: Option<Arc<FaceNets>>,
    predictor: Option<NamePredictor>,
    /// δ of Equation 4; as configured at first.
    pub delta: f32,
    /// η of Equation 5; as configured at first.
    pub eta: Eta,
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
        let faces = config.face.as_ref().map(|files| loader.face_nets(files));
        let faces = faces.transpose()?;
        let mut pipeline = Self::without_encoder(config, loader)?;
        pipeline.predictor = NamePredictor::of_run(config, tables, faces.clone())?;
        pipeline.faces = faces;
        Ok(pipeline)
    }

    /// Loads SDXL alone: names come from texts, from files, or from a predictor that is given to
    /// [`GenerationPipeline::with_predictor`].
    ///
    /// # Errors
    /// Missing or wrong models, settings that the model cannot meet.
    pub fn without_encoder(config: &GenerationConfig, loader: ModelLoader<'_>) -> Result<Self> {
        let sdxl = loader.sdxl(&config.sdxl)?;
        let texts = loader.text_encoders(&config.sdxl)?;
        sdxl.check(&config.sampling)?;
        Ok(Self {
            negative: texts.encode_negative(&config.negative)?,
            faces: None,
            predictor: None,
            delta: config.delta,
            eta: config.eta,
            threads: 0,
            naming: Naming::Prepend,
            sampling: config.sampling.clone(),
            sdxl,
            texts,
        })
    }

    /// With what turns photos into names.
    pub fn with_predictor(mut self, predictor: Option<NamePredictor>) -> Self {
        self.predictor = predictor;
        self
    }

    /// The model that generates.
    pub fn sdxl(&self) -> &Sdxl {
        &self.sdxl
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
        predictor.name_from_photos(photos)
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
        (predictor.statistics()).guided(&name.embedding, self.delta, self.eta)
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

    /// Tokens of a prompt, start and end not counted; at most 75 of them are read.
    ///
    /// # Errors
    /// A text that cannot be encoded.
    pub fn token_count(&self, prompt: &str) -> Result<usize> {
        let encoded = self.texts.encode_prompt(prompt)?;
        // Start and end take a row each.
        let read = encoded.tokens().saturating_sub(2);
        Ok(encoded.token_count.min(read))
    }

    /// What other methods share with this pipeline.
    pub(crate) fn parts(&self) -> PipelineParts {
        PipelineParts {
            sdxl: self.sdxl.clone(),
            texts: self.texts.clone(),
            negative: self.negative.clone(),
            faces: self.faces.clone(),
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
