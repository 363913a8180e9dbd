//! Whole encoders: images to features, and texts to embeddings that compare with them.

use std::path::{Path, PathBuf};

use image::RgbImage;

use crate::preprocess::Preprocessor;
use crate::text::TextModel;
use crate::tokenizer::Tokenizer;
use crate::vision::VisionModel;
use laioncele_nn::{Error, LoadOptions, Result, finite_numbers};

/// Images that a GPU encodes together.
const BATCH: usize = 16;

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

    /// The projected embeddings of at most `size` images in one batch of `size`: what is missing is filled with zeros. A
    /// network's arithmetic depends on the batch's shape, which is thus always the same, and never on the other images.
    fn batch_embeds(&self, images: &[RgbImage], size: usize) -> Result<Vec<Vec<f32>>> {
        let edge = self.model.config().image_size;
        let mut pixels = Vec::with_capacity(size * 3 * edge * edge);
        for image in images {
            pixels.extend(self.preprocessor.preprocess(image)?);
        }
        pixels.resize(size * 3 * edge * edge, 0.0);
        let states = self.model.forward(&pixels)?;
        let row = |at| {
            let row = states.image_embeds.narrow(0, at, 1)?;
            finite_numbers(&row, "an image embedding")
        };
        (0..images.len()).map(row).collect()
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

    /// Images that go through the towers together: 1 on the processor, whose threads have one image each. A tower
    /// keeps the states of all its layers, 80 MB for an image through bigG: batches would cost memory and no time less.
    pub fn batch(&self) -> usize {
        if self.towers[0].model.is_on_gpu() {
            BATCH
        } else {
            1
        }
    }

    /// For each image both towers' image embeddings, one after the other: on the processor image by image, on a GPU
    /// in batches of a fixed size, so that a feature does not depend on what else was asked for.
    ///
    /// # Errors
    /// As [`ImageEncoder::image_embeds`].
    pub fn features(&self, images: &[RgbImage]) -> Result<Vec<Vec<f32>>> {
        match self.batch() {
            1 => images.iter().map(|image| self.feature(image)).collect(),
            size => self.batch_features(images, size),
        }
    }

    fn batch_features(&self, images: &[RgbImage], size: usize) -> Result<Vec<Vec<f32>>> {
        let mut features = Vec::with_capacity(images.len());
        for images in images.chunks(size) {
            let [large, giant] = &self.towers;
            let large = large.batch_embeds(images, size)?;
            let giant = giant.batch_embeds(images, size)?;
            features.extend(large.into_iter().zip(giant).map(|(a, b)| [a, b].concat()));
        }
        Ok(features)
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
        Self::new(Tokenizer::load(tokenizer)?, text, tokenizer)
    }

    /// A tokenizer with a tower; `place` is what errors call the tokenizer.
    ///
    /// # Errors
    /// [`Error::Tokenizer`] where they do not fit each other.
    pub fn new(tokenizer: Tokenizer, model: TextModel, place: &Path) -> Result<Self> {
        let encoder = Self { tokenizer, model };
        encoder.check(place)?;
        Ok(encoder)
    }

    /// Gives a text of its own `rows` of embeddings, one token each, wherever `token` stands.
    ///
    /// # Errors
    /// A token that the vocabulary has, or that was given before; rows of another width.
    pub fn add_token(&mut self, token: &str, rows: &[Vec<f32>]) -> Result<()> {
        let first = self.tokenizer.add_token(token, rows.len())?;
        self.model.set_tokens(first, rows)
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

#[cfg(test)]
mod tests {
    use image::Rgb;

    use super::*;

    fn image(seed: u32) -> RgbImage {
        RgbImage::from_fn(40 + seed, 30, |x, y| {
            Rgb([(x * 5 + seed) as u8, (y * 7) as u8, (x * y + seed) as u8])
        })
    }

    /// In a batch of one size an image's feature is the same beside any others and at any place, to the bit, and that
    /// of the image alone but for rounding.
    #[test]
    fn features_of_a_batch_do_not_depend_on_neighbours() {
        let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/tiny-a");
        let folder = |name: &str| fixtures.join(name);
        let encoders = ImageEncoders::load(
            &folder("clip-l"),
            &folder("clip-g"),
            &LoadOptions::default(),
        );
        let encoders = encoders.expect("two towers");
        assert_eq!(encoders.batch(), 1, "on the processor");
        let images: Vec<RgbImage> = (0..6).map(image).collect();
        let batch = |images: &[RgbImage]| encoders.batch_features(images, 4).expect("features");
        let all = batch(&images);
        let mut backwards = images.clone();
        backwards.reverse();
        let mut reversed = batch(&backwards);
        reversed.reverse();
        assert_eq!(all, reversed);
        for (image, together) in images.iter().zip(&all) {
            assert_eq!(batch(std::slice::from_ref(image))[0], *together);
            let alone = encoders.feature(image).expect("features");
            let pairs = alone.iter().zip(together);
            assert!(
                pairs
                    .into_iter()
                    .all(|(a, b)| (a - b).abs() <= 1e-4 * (1.0 + a.abs()))
            );
        }
    }
}
