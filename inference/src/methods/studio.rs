//! A method with the model that it generates with, loaded.

use std::collections::BTreeMap;
use std::sync::Arc;

use image::RgbImage;
use laioncele_baselines::{AdapterPhotos, IpAdapter, PhotoMaker};
use laioncele_clip::ImageEncoder;
use laioncele_encoder::Crop;
use laioncele_sdxl::{
    ConditionedRequest, ImageRequest, LoadOptions, Noise, PromptEmbedding, SamplingSettings, Sdxl,
    TextEncoders,
};

use super::baselines::{IpAdapterMethod, PhotoMakerMethod, SdxlByName};
use super::config::{BaselineMethod, MethodConfig};
use super::method::{ConditionedPrompt, Likeness, Method, Reference};
use super::seen::Seen;
use crate::generation::{
    GenerationConfig, GenerationError, GenerationPipeline, PipelineParts, Result, RunTables,
};
use crate::person_word::GenderGuess;
use crate::{IpAdapterSection, ModelError, ModelLoader, PhotoMakerSection};

/// An image to generate of some person.
#[derive(Clone, Copy, Debug)]
pub struct StudioRequest<'a> {
    /// What is shown.
    pub prompt: &'a str,
    /// The noise's seed.
    pub seed: u64,
}

/// Everything that a method needs, loaded. Any number of threads may share it.
pub struct Studio {
    parts: PipelineParts,
    method: Box<dyn Method>,
    /// How images are sampled; as configured at first.
    pub sampling: SamplingSettings,
    /// Images generated at once on the processor; 0 for as many as the machine has threads.
    pub threads: usize,
}

struct Stopped<Stop>(Stop);

impl<Stop: From<GenerationError>> From<laioncele_sdxl::Error> for Stopped<Stop> {
    fn from(error: laioncele_sdxl::Error) -> Self {
        Self(GenerationError::from(error).into())
    }
}

impl Studio {
    /// LaionCele, by the pipeline that `config` and the tables say.
    ///
    /// # Errors
    /// As [`GenerationPipeline::open`].
    pub fn laioncele(config: &GenerationConfig, tables: &RunTables<'_>) -> Result<Self> {
        let pipeline = GenerationPipeline::open(config, tables)?;
        Ok(Self {
            parts: pipeline.parts(),
            sampling: pipeline.sampling.clone(),
            threads: 0,
            method: Box::new(pipeline),
        })
    }

    /// Loads a method that LaionCele is compared with, and its models.
    ///
    /// # Errors
    /// Missing or wrong models, parts that do not fit each other, settings that cannot be met.
    pub fn open(config: &MethodConfig, loader: &ModelLoader<'_>) -> Result<Self> {
        let texts = loader.text_encoders(&config.sdxl)?;
        let faces = config.face.as_ref().map(|files| loader.face_nets(files));
        let faces = faces.transpose()?;
        let seen = |crop: Crop| Seen::new(crop, faces.clone());
        let (sdxl, method): (_, Box<dyn Method>) = match &config.method {
            BaselineMethod::SdxlName => {
                let texts = texts.clone();
                (loader.sdxl(&config.sdxl)?, Box::new(SdxlByName { texts }))
            }
            BaselineMethod::IpAdapter(section, scale) => {
                let sdxl = loader.sdxl(&config.sdxl)?;
                let adapter = load_adapter(section, config, &sdxl, loader)?;
                let method = IpAdapterMethod {
                    texts: texts.clone(),
                    seen: seen(section.photo),
                    scale: *scale,
                    adapter,
                };
                (sdxl, Box::new(method))
            }
            BaselineMethod::PhotoMaker(section, start) => {
                let (sdxl, maker) = load_photomaker(section, config, &texts, loader)?;
                if usize::try_from(*start).is_ok_and(|start| start >= config.sampling.steps) {
                    let steps = config.sampling.steps;
                    tracing::warn!(
                        "PhotoMaker's start_merge_step = {start} is none of the {steps} steps: the person never joins"
                    );
                }
                let method = PhotoMakerMethod {
                    texts: texts.clone(),
                    seen: seen(section.photo),
                    trigger: section.trigger.clone(),
                    start_merge_step: *start,
                    maker,
                };
                (sdxl, Box::new(method))
            }
        };
        sdxl.check(&config.sampling)?;
        let parts = PipelineParts {
            negative: texts.encode_negative(&config.negative)?,
            faces,
            sdxl,
            texts,
        };
        Ok(Self {
            sampling: config.sampling.clone(),
            threads: 0,
            parts,
            method,
        })
    }

    /// Nobody in particular: the base model's own images.
    pub fn nobody(&self) -> Box<dyn Likeness + '_> {
        Box::new(Nobody(&self.parts.texts))
    }

    /// A person, as the method keeps it.
    ///
    /// # Errors
    /// As [`Method::likeness`].
    pub fn likeness(&self, person: &Reference<'_>) -> Result<Box<dyn Likeness + '_>> {
        self.method.likeness(person)
    }

    /// The model that generates.
    pub fn sdxl(&self) -> &Sdxl {
        &self.parts.sdxl
    }

    /// What guidance guides away from.
    pub fn negative(&self) -> &PromptEmbedding {
        &self.parts.negative
    }

    /// What the gender network makes of the main face of a photo; `None` without such a network or a face.
    ///
    /// # Errors
    /// A network's error.
    pub fn gender_guess(&self, photo: &RgbImage) -> Result<Option<GenderGuess>> {
        match &self.parts.faces {
            Some(nets) => Ok(GenderGuess::of(nets, photo)?),
            None => Ok(None),
        }
    }

    /// Generates images of one person, several at once, handing each with its number to `each` as it comes.
    ///
    /// # Errors
    /// What `each` returns, which stops the rest; prompts that the method cannot take.
    pub fn generate_each<Stop: From<GenerationError>>(
        &self,
        person: &dyn Likeness,
        images: &[StudioRequest<'_>],
        mut each: impl FnMut(usize, Result<RgbImage>) -> std::result::Result<(), Stop>,
    ) -> std::result::Result<(), Stop> {
        let mut prompts: BTreeMap<&str, ConditionedPrompt> = BTreeMap::new();
        for image in images {
            if !prompts.contains_key(image.prompt) {
                prompts.insert(image.prompt, person.conditions(image.prompt)?);
            }
        }
        let request = |image: &StudioRequest<'_>| {
            let of = &prompts[image.prompt];
            ConditionedRequest {
                request: ImageRequest {
                    prompt: &of.prompt,
                    name: None,
                    negative: self.negative(),
                    noise: Noise::Seed(image.seed),
                },
                conditions: &of.conditions,
            }
        };
        let requests: Vec<_> = images.iter().map(request).collect();
        let each = |index, image: laioncele_sdxl::Result<RgbImage>| {
            each(index, image.map_err(GenerationError::from)).map_err(Stopped)
        };
        let ended =
            (self.sdxl()).generate_conditioned_each(&requests, &self.sampling, self.threads, each);
        ended.map_err(|Stopped(stop)| stop)
    }

    /// As [`Studio::generate_each`]; the images in the order of their requests.
    ///
    /// # Errors
    /// The first error of any image, numbers that are not finite among them.
    pub fn generate(
        &self,
        person: &dyn Likeness,
        requests: &[StudioRequest<'_>],
    ) -> Result<Vec<RgbImage>> {
        let mut images: Vec<Option<RgbImage>> = requests.iter().map(|_| None).collect();
        self.generate_each(person, requests, |index, image| {
            images[index] = Some(image?);
            Ok::<(), GenerationError>(())
        })?;
        Ok(images.into_iter().flatten().collect())
    }
}

/// Prompts as they are.
struct Nobody<'a>(&'a TextEncoders);

impl Likeness for Nobody<'_> {
    fn conditions(&self, prompt: &str) -> Result<ConditionedPrompt> {
        Ok(self.0.encode_prompt(prompt)?.into())
    }
}

/// How the networks beside SDXL are loaded: as its text encoders are.
fn options(config: &MethodConfig) -> std::result::Result<LoadOptions, ModelError> {
    Ok(config.sdxl.text_options()?)
}

fn load_adapter(
    section: &IpAdapterSection,
    config: &MethodConfig,
    sdxl: &Sdxl,
    loader: &ModelLoader<'_>,
) -> Result<Arc<AdapterPhotos>> {
    let (file, folder, square) = (&section.file, &section.image_encoder, section.square);
    let key = format!(
        "ip-adapter {} {} {square:?} {:?}",
        file.display(),
        folder.display(),
        config.sdxl
    );
    Ok(loader.keep_any(&key, || {
        let load = || -> std::result::Result<_, ModelError> {
            let adapter = IpAdapter::load(file, sdxl.unet(), false)?;
            let encoder = ImageEncoder::load(folder, &options(config)?)?;
            Ok(AdapterPhotos::new(adapter, encoder, folder, square)?)
        };
        Ok(load()?)
    })?)
}

/// PhotoMaker, and an SDXL of its own that has its LoRA.
fn load_photomaker(
    section: &PhotoMakerSection,
    config: &MethodConfig,
    texts: &TextEncoders,
    loader: &ModelLoader<'_>,
) -> Result<(Arc<Sdxl>, Arc<PhotoMaker>)> {
    let (file, vision, files) = (&section.file, section.vision.as_deref(), &config.sdxl);
    let key = format!("{} {vision:?} {files:?}", file.display());
    let maker = loader.keep_any(&format!("photomaker {key}"), || {
        let load = || -> std::result::Result<_, ModelError> {
            Ok(PhotoMaker::load(
                file,
                vision,
                texts.widths(),
                &options(config)?,
            )?)
        };
        Ok(load()?)
    })?;
    let sdxl = loader.keep_any(&format!("sdxl images with photomaker {key}"), || {
        let load = || -> std::result::Result<_, ModelError> {
            let mut sdxl = Sdxl::load_files(files)?;
            maker.merge_into(sdxl.unet_mut())?;
            Ok(sdxl)
        };
        Ok(load()?)
    })?;
    Ok((sdxl, maker))
}
