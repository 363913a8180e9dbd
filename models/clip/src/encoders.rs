//! Whole encoders: images to features, and texts to embeddings that compare with them.

use std::path::{Path, PathBuf};

use image::RgbImage;

use crate::preprocess::Preprocessor;
use crate::text::TextModel;
use crate::tokenizer::Tokenizer;
use crate::vision::VisionModel;
use laioncele_nn::{Error, LoadOptions, Result, finite_numbers};

/// One image tower with its preprocessing.
#[derive(Debug)]
pub struct ImageEncoder {
    preprocessor: Preprocessor,
    model: VisionModel,
}

impl ImageEncoder {
    /// Loads a CLIPVisionModelWithProjection or CLIPModel folder with its
    /// `preprocessor_config.json`.
    ///
    /// # Errors
    /// A configuration, tokenizer or weight file that is missing, damaged or not supported.
    pub fn load(folder: &Path, options: &LoadOptions) -> Result<Self> {
        let preprocessor = Preprocessor::load(folder)?;
        let model = VisionModel::load(folder, options)?;
        let edge = model.config().image_size;
        if preprocessor.size() != (edge, edge) {
            let (height, width) = preprocessor.size();
            return Err(Error::Unsupported {
                path: folder.join("preprocessor_config.json"),
                key: "crop_size".into(),
                value: format!("{height} x {width}"),
                expected: format!("the tower's image_size {edge} x {edge}"),
            });
        }
        Ok(Self {
            preprocessor,
            model,
        })
    }

    /// The files that [`ImageEncoder::load`] reads.
    ///
    /// # Errors
    /// A folder without weights, an index that cannot be read.
    pub fn files_read(folder: &Path) -> Result<Vec<PathBuf>> {
        let mut files = VisionModel::files_read(folder)?;
        files.push(Preprocessor::file(folder));
        Ok(files)
    }

    /// The tower.
    pub fn model(&self) -> &VisionModel {
        &self.model
    }

    /// The preprocessing.
    pub fn preprocessor(&self) -> &Preprocessor {
        &self.preprocessor
    }

    /// Width of an image embedding.
    pub fn width(&self) -> usize {
        self.model.config().projection_dim
    }

    /// The projected embedding of one image, not of unit length.
    ///
    /// # Errors
    /// [`Error::EmptyImage`]; numbers that are not finite.
    pub fn image_embeds(&self, image: &RgbImage) -> Result<Vec<f32>> {
        let states = self.model.forward(&self.preprocessor.preprocess(image)?)?;
        finite_numbers(&states.image_embeds, "an image embedding")
    }
}

/// The two image towers of the paper, L then G.
#[derive(Debug)]
pub struct ImageEncoders {
    towers: [ImageEncoder; 2],
}

impl ImageEncoders {
    /// Loads both folders; for real weights clip-vit-large-patch14 and CLIP-ViT-bigG-14.
    ///
    /// # Errors
    /// A configuration, tokenizer or weight file that is missing, damaged or not supported.
    pub fn load(large: &Path, giant: &Path, options: &LoadOptions) -> Result<Self> {
        Ok(Self {
            towers: [
                ImageEncoder::load(large, options)?,
                ImageEncoder::load(giant, options)?,
            ],
        })
    }

    /// Width of a feature vector: the sum of both towers' (768 + 1280 for the real ones).
    pub fn width(&self) -> usize {
        self.towers.iter().map(ImageEncoder::width).sum()
    }

    /// The two towers, L first.
    pub fn towers(&self) -> &[ImageEncoder; 2] {
        &self.towers
    }

    /// For each image both towers' image embeddings, one after the other. Images are encoded one by
    /// one, so that a feature does not depend on what else was asked for.
    ///
    /// # Errors
    /// As [`ImageEncoder::image_embeds`].
    pub fn features(&self, images: &[RgbImage]) -> Result<Vec<Vec<f32>>> {
        images.iter().map(|image| self.feature(image)).collect()
    }

    /// [`ImageEncoders::features`] of one image.
    ///
    /// # Errors
    /// As [`ImageEncoder::image_embeds`].
    pub fn feature(&self, image: &RgbImage) -> Result<Vec<f32>> {
        let mut feature = self.towers[0].image_embeds(image)?;
        feature.extend(self.towers[1].image_embeds(image)?);
        Ok(feature)
    }
}

/// One text tower with its tokenizer, projected into the space of its image tower.
#[derive(Debug)]
pub struct TextEncoder {
    tokenizer: Tokenizer,
    model: TextModel,
}

impl TextEncoder {
    /// Loads a tokenizer folder and a text tower folder. `with_projection` says whether the weights
    /// hold `text_projection`.
    ///
    /// # Errors
    /// A configuration, tokenizer or weight file that is missing, damaged or not supported.
    pub fn load(
        tokenizer: &Path,
        model: &Path,
        with_projection: bool,
        options: &LoadOptions,
    ) -> Result<Self> {
        let text = TextModel::load(model, with_projection, options)?;
        let encoder = Self {
            tokenizer: Tokenizer::load(tokenizer)?,
            model: text,
        };
        encoder.check(tokenizer)?;
        Ok(encoder)
    }

    fn check(&self, folder: &Path) -> Result<()> {
        let (largest, rows) = (self.tokenizer.largest_id(), self.model.config().vocab_size);
        let (length, positions) = (
            self.tokenizer.length(),
            self.model.config().max_position_embeddings,
        );
        let reason = if largest as usize >= rows {
            format!(
                "the vocabulary reaches id {largest}, but the text tower has only {rows} embeddings"
            )
        } else if length > positions {
            format!("texts have {length} tokens, but the text tower has only {positions} positions")
        } else {
            return Ok(());
        };
        Err(Error::Tokenizer {
            path: folder.into(),
            reason,
        })
    }

    /// The tokenizer.
    pub fn tokenizer(&self) -> &Tokenizer {
        &self.tokenizer
    }

    /// The tower.
    pub fn model(&self) -> &TextModel {
        &self.model
    }

    /// The pooled, projected embedding of one text, not of unit length.
    ///
    /// # Errors
    /// Numbers that are not finite.
    pub fn text_embeds(&self, text: &str) -> Result<Vec<f32>> {
        let states = self.model.forward(&[self.tokenizer.encode(text).ids])?;
        finite_numbers(&states.pooled, "a text embedding")
    }
}

/// Cosine of two vectors, in [-1, 1]; 0 if one of them is zero.
pub fn cosine(a: &[f32], b: &[f32]) -> f32 {
    let dot = |a: &[f32], b: &[f32]| {
        a.iter()
            .zip(b)
            .map(|(a, b)| f64::from(*a) * f64::from(*b))
            .sum::<f64>()
    };
    let norms = (dot(a, a) * dot(b, b)).sqrt();
    if norms > 0.0 {
        (dot(a, b) / norms).clamp(-1.0, 1.0) as f32
    } else {
        0.0
    }
}
