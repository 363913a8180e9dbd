//! The networks of the methods that the paper compares itself with, on the SDXL of
//! [`laioncele_sdxl`]:
//!
//! | | |
//! |---|---|
//! | [`IpAdapter`] | IP-Adapter for SDXL (arXiv 2308.06721), base and plus: a photo's CLIP features to image tokens, and those to keys and values of every cross-attention |
//! | [`AdapterPhotos`] | the adapter with its image encoder: photos to what the U-Net sees |
//! | [`PhotoMaker`] | PhotoMaker V1 (arXiv 2312.04461): photos to vectors that are fused into the class word of a prompt, and a LoRA |
//! | [`TriggerPrompt`] | the ids of a prompt in which a trigger word stands behind a class word |
//!
//! Weights are read from the official files in safetensors format, in float16, bfloat16 or float32;
//! every tensor's name and shape is checked. Numbers equal diffusers' (IP-Adapter) and TencentARC's
//! (PhotoMaker) within 2e-5 in float32. No stage and no table is known here.

mod error;
mod file;
mod ip_adapter;
mod photomaker;

pub use error::{Difference, Error, Result};
pub use ip_adapter::{AdapterInput, AdapterPhotos, IpAdapter, PhotoTokens, Square};
pub use photomaker::{PhotoMaker, TriggerPrompt};
