//! An adapter with its image encoder: photos of a person to what the U-Net sees of them.

use std::path::{Path, PathBuf};

use candle_core::Tensor;
use image::RgbImage;
use laioncele_clip::ImageEncoder;
use laioncele_nn::finite_numbers;
use laioncele_sdxl::ImageAttention;
use serde::{Deserialize, Serialize};

use super::{AdapterInput, IpAdapter};
use crate::error::{Error, Result};

/// How a photo that is no square becomes one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Square {
    /// By its centre, as diffusers does.
    #[default]
    Crop,
    /// By squeezing it, which loses nothing and distorts.
    Squeeze,
}

/// Image tokens of a person, and of nobody.
#[derive(Debug, Clone)]
pub struct PhotoTokens {
    /// What the encoder gave of each photo: [photos, width], or [photos, tokens, width].
    pub seen: Tensor,
    /// What stands for no photo, as the encoder gives it: [1, …].
    pub null_seen: Tensor,
    /// [1, photos × tokens, context width]: one after the other in the photos' order.
    pub person: Tensor,
    /// [1, tokens, context width]
    pub null: Tensor,
}

/// An adapter, and the image encoder whose features it takes.
#[derive(Debug)]
pub struct AdapterPhotos {
    adapter: IpAdapter,
    encoder: ImageEncoder,
    square: Square,
}

/// Image encoders by what they give, to say which would fit.
const EMBEDDINGS: [(usize, &str); 3] =
    [(1280, "ViT-bigG-14"), (1024, "ViT-H-14"), (768, "ViT-L-14")];
const STATES: [(usize, &str); 3] = [
    (1664, "ViT-bigG-14"),
    (1280, "ViT-H-14"),
    (1024, "ViT-L-14"),
];

impl AdapterPhotos {
    /// `encoder` was loaded from `folder`.
    ///
    /// # Errors
    /// [`Error::Encoder`] where its features are not those that the adapter takes.
    pub fn new(
        adapter: IpAdapter,
        encoder: ImageEncoder,
        folder: &Path,
        square: Square,
    ) -> Result<Self> {
        let config = encoder.model().config();
        let (what, expected, found, known) = match adapter.input() {
            AdapterInput::Embedding { width } => {
                ("image embeddings", width, config.projection_dim, EMBEDDINGS)
            }
            AdapterInput::States { width } => ("hidden states", width, config.hidden_size, STATES),
        };
        if expected != found {
            let fitting = known.iter().find(|(width, _)| *width == expected);
            let fitting = match fitting {
                Some((_, name)) => format!("; {name} would fit"),
                // What InsightFace gives of a face.
                None if expected == 512 => {
                    "; it may be an InstantID adapter, which is not supported".to_owned()
                }
                None => String::new(),
            };
            return Err(Error::Encoder {
                path: adapter.path().into(),
                what,
                expected,
                encoder: PathBuf::from(folder),
                found,
                fitting,
            });
        }
        Ok(Self {
            adapter,
            encoder,
            square,
        })
    }

    /// The adapter.
    pub fn adapter(&self) -> &IpAdapter {
        &self.adapter
    }

    /// Image tokens of one person's photos.
    ///
    /// # Errors
    /// [`Error::NoPhoto`], a photo without pixels, numbers that are not finite.
    pub fn tokens(&self, photos: &[RgbImage]) -> Result<PhotoTokens> {
        if photos.is_empty() {
            return Err(Error::NoPhoto);
        }
        let seen = photos.iter().map(|photo| self.see(&self.pixels(photo)?));
        let seen = seen.collect::<Result<Vec<_>>>()?;
        let tokens = seen.iter().map(|seen| self.adapter.tokens(seen));
        let tokens = tokens.collect::<Result<Vec<_>>>()?;
        let null_seen = self.see_nothing()?;
        let tokens = PhotoTokens {
            seen: Tensor::cat(&seen, 0)?,
            person: Tensor::cat(&tokens, 1)?,
            null: self.adapter.tokens(&null_seen)?,
            null_seen,
        };
        finite_numbers(&tokens.person, "the image tokens")?;
        finite_numbers(&tokens.null, "the image tokens of no photo")?;
        Ok(tokens)
    }

    /// What the U-Net sees of one person's photos, `scale` times as much as of the text.
    ///
    /// # Errors
    /// As [`AdapterPhotos::tokens`]; a scale that is not finite.
    pub fn attention(&self, photos: &[RgbImage], scale: f64) -> Result<ImageAttention> {
        if !scale.is_finite() {
            return Err(Error::Scale { scale });
        }
        let tokens = self.tokens(photos)?;
        self.adapter.attention(&tokens.null, &tokens.person, scale)
    }

    fn pixels(&self, photo: &RgbImage) -> Result<Vec<f32>> {
        let preprocessor = self.encoder.preprocessor();
        Ok(match self.square {
            Square::Crop => preprocessor.preprocess(photo)?,
            Square::Squeeze => preprocessor.pixel_values(&preprocessor.squeeze(photo)?),
        })
    }

    fn see(&self, pixels: &[f32]) -> Result<Tensor> {
        let states = self.encoder.model().forward(pixels)?;
        let seen = match self.adapter.input() {
            AdapterInput::Embedding { .. } => &states.image_embeds,
            AdapterInput::States { .. } => states.penultimate(),
        };
        let seen = seen.to_device(&self.adapter.device)?;
        Ok(seen.to_dtype(self.adapter.dtype)?)
    }

    /// No photo: an embedding of zeros, or the states of a picture whose normalized pixels are all
    /// zero, which is neither black nor states of zeros.
    fn see_nothing(&self) -> Result<Tensor> {
        let model = self.encoder.model();
        match self.adapter.input() {
            AdapterInput::States { .. } => self.see(&vec![0.0; model.config().pixels()]),
            AdapterInput::Embedding { width } => {
                let (dtype, device) = (self.adapter.dtype, &self.adapter.device);
                Ok(Tensor::zeros((1, width), dtype, device)?)
            }
        }
    }
}
