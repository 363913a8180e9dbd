//! CLIP: the tokenizer, the text towers that SDXL reads prompts with, and the image towers whose
//! features the encoder is trained on, read from Hugging Face folders and equal to transformers in
//! float32.
//!
//! Devices, weight files, layers and errors are [`laioncele_nn`]'s.
//!
//! ```
//! use std::path::Path;
//!
//! use image::RgbImage;
//! use laioncele_clip::{ImageEncoder, TextModel, Tokenizer, cosine};
//! use laioncele_nn::LoadOptions;
//!
//! # fn main() -> laioncele_nn::Result<()> {
//! // Tiny models of the tests; any CLIP folder of Hugging Face has the same layout.
//! let folder = Path::new("tests/fixtures/tiny-a");
//! let options = LoadOptions::default();
//!
//! // A text: start token, text, end token, padding, 77 ids in all.
//! let tokenizer = Tokenizer::load(&folder.join("model/tokenizer_2"))?;
//! let encoding = tokenizer.encode("a portrait of a person");
//! assert_eq!(encoding.ids.len(), 77);
//! let tower = TextModel::load(&folder.join("model/text_encoder_2"), true, &options)?;
//! let states = tower.forward(&[encoding.ids])?;
//! assert_eq!(states.penultimate().dims(), [1, 77, 40]);
//!
//! // An image of any size: one vector, not of unit length.
//! let encoder = ImageEncoder::load(&folder.join("clip-l"), &options)?;
//! let image = RgbImage::from_fn(320, 200, |x, y| image::Rgb([x as u8, y as u8, 128]));
//! let embedding = encoder.image_embeds(&image)?;
//! assert_eq!(embedding.len(), encoder.width());
//! assert!((cosine(&embedding, &embedding) - 1.0).abs() < 1e-6);
//! # Ok(())
//! # }
//! ```

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
