//! SDXL in Diffusers folder layout, equal to diffusers in float32: texts to prompt and name
//! embeddings ([`TextEncoders`]), embeddings and seeds to images ([`Sdxl`]), and the arithmetic of
//! the N space:
//!
//! | | |
//! |---|---|
//! | [`TextEncoders::encode_name`] | a name → [`NameTensor`], [8 × 2048] |
//! | [`NameTensor::interpolate`] | the way from one to another, before the two equations |
//! | [`NameTensor::recentre`] | Equation 4: away from the mean name, by δ |
//! | [`NameTensor::rescale`] | Equation 5: to the length η |
//! | [`PromptEmbedding::prepend`] | Name Prepending |
//! | [`PromptEmbedding::substitute`] | name substitution, for comparison |
//!
//! ```
//! use std::path::Path;
//!
//! use laioncele_sdxl::{
//!     ImageRequest, LoadOptions, NegativePrompt, Noise, SamplingSettings, Sdxl, SdxlOptions,
//!     TextEncoders,
//! };
//!
//! # fn main() -> laioncele_sdxl::Result<()> {
//! // A tiny SDXL of the tests; stable-diffusion-xl-base-1.0 has the same layout.
//! let folder = Path::new("../clip/tests/fixtures/tiny-a/model");
//! let texts = TextEncoders::load(folder, &LoadOptions::default())?;
//! let name = texts.encode_name("Maria Johnson")?;
//! let prompt = texts.encode_prompt("a portrait of a person")?;
//! let negative = texts.encode_negative(&NegativePrompt::Model)?;
//!
//! let sdxl = Sdxl::load(folder, &SdxlOptions::default())?;
//! let request = ImageRequest {
//!     prompt: &prompt,
//!     name: Some(&name),
//!     negative: &negative,
//!     noise: Noise::Seed(0),
//! };
//! let settings = SamplingSettings {
//!     steps: 2,
//!     height: Some(64),
//!     width: Some(48),
//!     ..SamplingSettings::default()
//! };
//! let images = sdxl.generate(&[request], &settings, None)?;
//! assert_eq!(images[0].dimensions(), (48, 64));
//! # Ok(())
//! # }
//! ```
//!
//! Everything is read from the folder's own JSON files; a value that is not implemented is an error
//! that names its key. No stage and no table is known here.

mod base;
mod batch;
mod check;
mod checkpoint;
#[cfg(feature = "cudnn")]
#[allow(unsafe_code)]
mod cudnn;
mod diffusion;
mod error;
mod files;
mod folder;
mod generate;
mod inversion;
pub mod kernels;
mod latents;
mod layers;
mod lora;
mod name;
mod name_file;
mod noise;
mod ops;
mod options;
mod parallel;
mod parts;
mod pipeline;
mod prediction;
mod recorder;
mod request;
mod sampling;
pub mod scheduler;
mod sources;
mod text;
mod trace;
mod unet;
mod vae;

pub use batch::BatchSize;
pub use check::{ModelWidths, PartCheck, PartFacts, part_shapes};
pub use checkpoint::Recognition;
pub use error::{Error, Result};
pub use files::SdxlFiles;
pub use inversion::Inversion;
pub use laioncele_nn::{DeviceChoice, LoadOptions, Precision, WeightVariant};
pub use latents::InitialLatents;
pub use lora::Lora;
pub use name::{NAME_TOKENS, NameTensor, Naming, PromptEmbedding};
pub use name_file::{NameFile, NameSource};
pub use noise::{LaterNoise, Noise};
pub use options::SdxlOptions;
pub use parallel::in_parallel;
pub use parts::Parts;
pub use pipeline::Sdxl;
pub use prediction::{Prediction, PredictionSettings};
pub use request::{
    ConditionedRequest, Conditions, ImageRequest, LaterPrompt, SamplingSettings, SizeConditioning,
    StepCounter,
};
pub use scheduler::{PredictionType, SchedulerKind, TimestepSpacing};
pub use text::{NegativePrompt, TextEncoders};
pub use trace::{Trace, TraceTensor, TraceValues};
pub use unet::{
    Conditioning, CrossAttention, ImageAttention, ImageKeyValue, ImageLayer, Level, StepBiases,
    TimeIds, UNet, UNetConfig, sinusoid,
};
pub use vae::{LatentDistribution, Vae};
