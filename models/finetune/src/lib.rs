//! Fine-tuning SDXL's U-Net with name embeddings in the texts (Eq. 6 of the paper): a LoRA, or all
//! weights.
//!
//! [`Network`] is the U-Net with gradients, [`Objective`] what a row is trained towards,
//! [`Trainer`] takes steps. [`checkpoint`] writes a training down so that it goes on as if it had
//! not been interrupted, [`save`] writes what was trained for diffusers, for ComfyUI and A1111.
//! [`Stream`] is where all randomness comes from.
//!
//! On the processor in float32, operations are fused kernels with gradients by hand; on a GPU they
//! are candle's. No data set and no manifest is known here: rows come as latents and embeddings.

pub mod checkpoint;
mod error;
mod file;
mod network;
mod objective;
mod ops;
mod optimizer;
mod parameters;
mod random;
pub mod save;
mod trainer;

pub use error::{Error, Result};
pub use network::{Inputs, Network, NetworkOptions};
pub use objective::Objective;
pub use optimizer::{AdamW, OptimizerSettings};
pub use parameters::{Parameter, Trained};
pub use random::Stream;
pub use trainer::{Row, StepReport, Trainer, TrainerOptions};
