//! What the model runtimes on candle share: where to compute ([`DeviceChoice`], [`gpus`]), model
//! folders ([`config`], [`Weights`]), and the [`layers`], tensor operations ([`ops`]) and float32
//! [`kernels`] that CLIP, SDXL, BERT and the encoder are built of.
//!
//! It knows no particular model. With the feature `cuda` it also brings the attention kernel for
//! GPUs.

pub mod config;
mod device;
#[cfg(all(
    feature = "cuda",
    target_os = "linux",
    any(target_arch = "x86_64", target_arch = "aarch64")
))]
mod driver;
mod error;
mod foreign;
#[cfg(feature = "cuda")]
mod fused;
mod gpu;
mod header;
pub mod kernels;
pub mod layers;
mod open;
pub mod ops;
mod tensor_file;
mod weight_files;
mod weights;

pub use device::{DeviceChoice, Precision};
pub use error::{Error, Result, TensorReport};
pub use gpu::{Gpu, gpus};
pub use header::{StoredTensor, StoredType};
pub use open::ResolvedDevice;
pub use ops::finite_numbers;
pub use tensor_file::TensorFile;
pub use weight_files::WeightVariant;
pub use weights::{LoadOptions, Seen, Shapes, Stored, WeightChange, Weights};
