//! CLIP: the tokenizer, the text towers that SDXL reads prompts with, and the image towers whose features the
//! encoder is trained on, read from Hugging Face folders and equal to transformers in float32.
//!
//! [`nn`], [`ops`] and [`kernels`] are the layers underneath, which the SDXL crate builds on too. No stage and
//! no table is known here; [`ImageEncoders`] and [`TextEncoder`] take and give plain data.

pub mod config;
mod device;
#[cfg(all(
    feature = "cuda",
    target_os = "linux",
    any(target_arch = "x86_64", target_arch = "aarch64")
))]
mod driver;
mod encoders;
mod error;
#[cfg(feature = "cuda")]
mod fused;
mod gpu;
pub mod kernels;
mod layer;
pub mod nn;
pub mod ops;
mod preprocess;
mod text;
mod tokenizer;
mod vision;
mod weights;

pub use device::{DeviceChoice, Place, Precision};
pub use encoders::{ImageEncoder, ImageEncoders, TextEncoder, cosine, finite_numbers};
pub use error::{Error, Result, TensorReport};
pub use gpu::{Gpu, gpus};
pub use preprocess::{Preprocessor, flatten_over_white};
pub use text::{TextConfig, TextModel, TextStates};
pub use tokenizer::{Encoding, Tokenizer};
pub use vision::{VisionConfig, VisionModel, VisionStates};
pub use weights::{LoadOptions, Shapes, WeightVariant, Weights};
