//! CLIP: the tokenizer, the text towers that SDXL reads prompts with, and the image towers whose features the
//! encoder is trained on, read from Hugging Face folders and equal to transformers in float32.
//!
//! Devices, weight files, layers and errors are [`laioncele_nn`]'s.

mod encoders;
mod layer;
mod preprocess;
mod text;
mod tokenizer;
mod vision;

pub use encoders::{ImageEncoder, ImageEncoders, TextEncoder, cosine};
pub use preprocess::{Preprocessor, flatten_over_white};
pub use text::{TextConfig, TextModel, TextStates};
pub use tokenizer::{Encoding, Tokenizer};
pub use vision::{VisionConfig, VisionModel, VisionStates};
