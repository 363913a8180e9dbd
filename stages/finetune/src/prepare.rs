//! From a photo to what a training step takes of it: latents' distribution, text with the name in
//! it, sizes. None of it changes over a training, so that it is computed once.

use std::path::Path;
use std::sync::Arc;

use image::RgbImage;
use image::imageops::{crop_imm, flip_horizontal};
use laioncele_clip::ImageEncoders;
use laioncele_core::Manifest;
use laioncele_encoder::{CONFIG_FILE, Crop, Encoder, FACE_MARGIN, read_config};
use laioncele_face::FaceNets;
use laioncele_finetune::Stream;
use laioncele_image::{Filter, Limits, Orientation, decode, resample};
use laioncele_inference::{
    FaceSection, ImageEncoderSection, ModelLoader, SdxlSection, training_crop,
};
use laioncele_nn::LoadOptions;
use laioncele_sdxl::{
    NameTensor, NegativePrompt, Parts, PromptEmbedding, TextEncoders, TimeIds, Vae,
};
use serde::{Deserialize, Serialize};

use crate::dataset::{PLAIN_CAPTION, Photo, without_name};
use crate::error::{FinetuneError, Result};
use crate::settings::{CaptionRule, CropRule, Settings};

/// Why a photo is not trained on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Skipped {
    /// It cannot be decoded.
    NotAnImage,
    /// It shows no face.
    NoFace,
}

/// A photo as it was prepared: its numbers lie beside this in the examples' file.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Described {
    /// The photo's.
    pub key: String,
    /// Whose it is.
    pub person: String,
    /// The text that was encoded.
    pub caption: String,
    /// Whether the caption named the person.
    pub named: bool,
    /// Sizes and crop, plain and mirrored.
    pub time_ids: [TimeIds; 2],
}

/// All numbers of a prepared photo.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Numbers {
    /// Mean and logarithm of the variance of the latents, before scaling; of the plain photo and,
    /// if photos are mirrored, of the mirrored one.
    pub latents: Vec<[Vec<f32>; 2]>,
    /// The text with the name in it.
    pub context: Vec<f32>,
    /// The text's pooled vector.
    pub pooled: Vec<f32>,
    /// The face's embedding, to compare people by; empty where it is not asked for.
    pub face: Vec<f32>,
}

/// The frozen models that photos go through.
pub(crate) struct Models {
    texts: Arc<TextEncoders>,
    vae: Vae,
    faces: Arc<FaceNets>,
    image_encoders: Arc<ImageEncoders>,
    encoder: Encoder,
    crop: Crop,
    resolution: usize,
}

impl Models {
    /// Loads them: those of the manifest, the VAE of `parts`, and the name encoder in the folder
    /// `encoder`.
    ///
    /// # Errors
    /// Models that are missing, wrong or do not fit each other.
    pub(crate) fn load(
        manifest: &Manifest,
        parts: &Parts,
        encoder: &Path,
        settings: &Settings,
    ) -> Result<Self> {
        let loader = ModelLoader::without_task(&manifest.embedding_dims);
        let section = SdxlSection::from_manifest(manifest)?;
        let options = LoadOptions {
            device: section.files.device.open()?,
            ..LoadOptions::default()
        };
        let vae = parts.vae(&options)?;
        let crop = encoder_crop(encoder, manifest)?;
        let encoder = Encoder::load(encoder)?;
        let image_encoders =
            loader.image_encoders(&ImageEncoderSection::from_manifest(manifest)?)?;
        let faces = FaceSection::from_manifest(manifest)?.without_gender();
        let resolution = match settings.resolution {
            Some(given) => given,
            None => parts.unet_config()?.sample_size.unwrap_or(128) * vae.factor(),
        };
        let models = Self {
            texts: loader.text_encoders(&section.files)?,
            faces: loader.face_nets(&faces.files)?,
            crop,
            vae,
            image_encoders,
            encoder,
            resolution,
        };
        models.check()?;
        Ok(models)
    }

    fn check(&self) -> Result<()> {
        let factor = self.vae.factor();
        if self.resolution == 0 || self.resolution > 8192 || !self.resolution.is_multiple_of(factor)
        {
            return Err(FinetuneError::Setting(format!(
                "resolution = {} is not possible (a multiple of {factor} up to 8192)",
                self.resolution
            )));
        }
        let fits = [
            (
                "takes",
                self.encoder.config.input,
                self.image_encoders.width(),
            ),
            (
                "gives",
                self.encoder.config.output(),
                laioncele_sdxl::NAME_TOKENS * self.texts.name_width(),
            ),
        ];
        match fits
            .into_iter()
            .find(|(_, found, expected)| found != expected)
        {
            None => Ok(()),
            Some((what, found, expected)) => Err(FinetuneError::Setting(format!(
                "the name encoder {what} {found} numbers, the models have {expected}"
            ))),
        }
    }

    /// Edge of the photos in pixels.
    pub(crate) fn resolution(&self) -> usize {
        self.resolution
    }

    /// The VAE.
    pub(crate) fn vae(&self) -> &Vae {
        &self.vae
    }

    /// The face networks.
    pub(crate) fn faces(&self) -> &FaceNets {
        &self.faces
    }

    /// The null text, which stands for no text.
    ///
    /// # Errors
    /// A text that cannot be encoded.
    pub(crate) fn null_text(&self) -> Result<PromptEmbedding> {
        Ok(self.texts.encode_negative(&NegativePrompt::Model)?)
    }

    /// What a training takes of `photo`, or why it is skipped.
    ///
    /// # Errors
    /// A network that fails.
    pub(crate) fn prepare(
        &self,
        photo: &Photo,
        settings: &Settings,
    ) -> Result<std::result::Result<(Described, Numbers), Skipped>> {
        let Ok(image) = decode(&photo.bytes, &Limits::default(), Orientation::Upright) else {
            return Ok(Err(Skipped::NotAnImage));
        };
        let Some((face_box, face)) = self.face(photo, &image)? else {
            return Ok(Err(Skipped::NoFace));
        };
        let features = self
            .image_encoders
            .feature(&self.crop.apply(&image, face_box))?;
        let name = NameTensor::new(self.encoder.predict(&features)?, self.texts.name_width())?;
        let (caption, named) = caption(photo, settings.caption);
        let text = self.texts.encode_prompt(&caption)?;
        let (square, place) = self.square(photo, &image, settings);
        let mut latents = vec![self.latents(&square)?];
        if settings.flip {
            latents.push(self.latents(&flip_horizontal(&square))?);
        }
        let described = Described {
            key: photo.key.clone(),
            person: photo.person.clone(),
            caption,
            named,
            time_ids: place,
        };
        let numbers = Numbers {
            latents,
            context: text.prepend(&name)?.embeds,
            pooled: text.pooled,
            face,
        };
        Ok(Ok((described, numbers)))
    }

    /// The box of the photo's face, and the face's embedding: the one that the data set kept, else
    /// the main one.
    fn face(&self, photo: &Photo, image: &RgbImage) -> Result<Option<([f32; 4], Vec<f32>)>> {
        let found = self.faces.detect(image)?;
        let face = match photo.face_box {
            Some(kept) => found
                .iter()
                .max_by(|a, b| overlap(a.bbox, kept).total_cmp(&overlap(b.bbox, kept)))
                .filter(|face| overlap(face.bbox, kept) > 0.0),
            None => found.first(),
        };
        let embed = |face: &laioncele_face::Detection| self.faces.embed(image, &face.landmarks);
        // A face that the data set kept stays, though it may not be found again.
        let embedding = face.and_then(|face| embed(face).ok()).unwrap_or_default();
        let face_box = photo.face_box.or(face.map(|face| face.bbox));
        Ok(face_box.map(|face_box| (face_box, embedding)))
    }

    /// The square that is trained on, and the sizes that the U-Net is told, plain and mirrored: the
    /// size before resizing, the crop's corner after it.
    fn square(
        &self,
        photo: &Photo,
        image: &RgbImage,
        settings: &Settings,
    ) -> (RgbImage, [TimeIds; 2]) {
        let edge = self.resolution as u32;
        let (width, height) = image.dimensions();
        let (to_width, to_height) = resized((width, height), edge);
        let resized = resample(image, to_width, to_height, Filter::Bilinear);
        let (beyond_x, beyond_y) = (to_width - edge, to_height - edge);
        let (left, top) = match settings.crop {
            CropRule::Center => (beyond_x / 2, beyond_y / 2),
            CropRule::Random => {
                let mut draws = Stream::new(settings.seed(), "crop", &photo.key, 0);
                let mut below = |beyond: u32| draws.below(u64::from(beyond) + 1) as u32;
                (below(beyond_x), below(beyond_y))
            }
        };
        let ids = |left: u32| [height, width, top, left, edge, edge].map(|v| v as f32);
        let square = crop_imm(&resized, left, top, edge, edge).to_image();
        (square, [ids(left), ids(beyond_x - left)])
    }

    fn latents(&self, square: &RgbImage) -> Result<[Vec<f32>; 2]> {
        let pixels = to_planes(square);
        let found = self.vae.encode(&pixels, self.resolution, self.resolution)?;
        Ok([found.mean, found.logvar])
    }
}

/// What of a photo the name encoder in `folder` was trained on: what its own file says, else, in
/// files of earlier versions, the manifest.
///
/// # Errors
/// A file that is missing, damaged, or says what cannot be done.
pub(crate) fn encoder_crop(folder: &Path, manifest: &Manifest) -> Result<Crop> {
    let Ok(text) = std::fs::read(folder.join(CONFIG_FILE)) else {
        // Loading the encoder says better what is missing.
        return Ok(training_crop(manifest)?);
    };
    let Some(crop) = read_config(&text)?.1 else {
        return Ok(training_crop(manifest)?);
    };
    match crop.margin.filter(|margin| *margin != FACE_MARGIN) {
        None => Ok(crop.part),
        Some(margin) => Err(FinetuneError::Setting(format!(
            "faces are cropped with a margin of {FACE_MARGIN}; the encoder in {} wants {margin}",
            folder.display()
        ))),
    }
}

/// The caption that is encoded, and whether it named the person.
fn caption(photo: &Photo, rule: CaptionRule) -> (String, bool) {
    let caption = photo.caption.as_deref().unwrap_or(PLAIN_CAPTION);
    let plain = without_name(caption, &photo.person);
    let named = plain.is_some();
    match (rule, plain) {
        (CaptionRule::NameToPerson, Some(plain)) => (plain, named),
        _ => (caption.to_owned(), named),
    }
}

/// A size whose shorter edge is `edge`, as torchvision rounds it: the longer one down.
fn resized((width, height): (u32, u32), edge: u32) -> (u32, u32) {
    let longer = |long: u32, short: u32| {
        (u64::from(edge) * u64::from(long) / u64::from(short.max(1))).max(u64::from(edge)) as u32
    };
    match width <= height {
        true => (edge, longer(height, width)),
        false => (longer(width, height), edge),
    }
}

/// Pixels in [−1, 1], [3 × height × width].
fn to_planes(image: &RgbImage) -> Vec<f32> {
    let channel = |c: usize| {
        let values = image.pixels().map(move |pixel| f32::from(pixel.0[c]));
        values.map(|v| (v / 255.0 - 0.5) / 0.5)
    };
    (0..3).flat_map(channel).collect()
}

/// Area that two boxes share, of both together.
fn overlap(a: [f32; 4], b: [f32; 4]) -> f32 {
    let area = |x: [f32; 4]| (x[2] - x[0]).max(0.0) * (x[3] - x[1]).max(0.0);
    let shared = area([
        a[0].max(b[0]),
        a[1].max(b[1]),
        a[2].min(b[2]),
        a[3].min(b[3]),
    ]);
    let both = area(a) + area(b) - shared;
    if both > 0.0 { shared / both } else { 0.0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_shorter_edge_gets_the_resolution() {
        assert_eq!(resized((200, 100), 64), (128, 64));
        assert_eq!(resized((100, 201), 64), (64, 128));
        assert_eq!(resized((64, 64), 64), (64, 64));
        assert_eq!(resized((1, 3), 64), (64, 192));
    }

    #[test]
    fn pixels_lie_between_minus_one_and_one() {
        let image = RgbImage::from_fn(2, 1, |x, _| image::Rgb([255 * x as u8, 0, 51]));
        assert_eq!(to_planes(&image)[..4], [-1.0, 1.0, -1.0, -1.0]);
        assert!((to_planes(&image)[4] + 0.6).abs() < 1e-6);
    }

    #[test]
    fn boxes_overlap_by_their_shared_area() {
        assert_eq!(
            overlap([0.0, 0.0, 2.0, 2.0], [1.0, 0.0, 3.0, 2.0]),
            1.0 / 3.0
        );
        assert_eq!(overlap([0.0, 0.0, 1.0, 1.0], [2.0, 2.0, 3.0, 3.0]), 0.0);
    }

    #[test]
    fn captions_follow_the_rule() {
        let photo = |caption: Option<&str>| Photo {
            key: String::new(),
            person: "Ada".into(),
            caption: caption.map(str::to_owned),
            bytes: Vec::new(),
            face_box: None,
        };
        let of = |text, rule| caption(&photo(text), rule);
        let plain = CaptionRule::NameToPerson;
        assert_eq!(
            of(Some("Ada smiles"), plain),
            ("a person smiles".into(), true)
        );
        assert_eq!(of(Some("a cat"), plain), ("a cat".into(), false));
        assert_eq!(of(None, plain), (PLAIN_CAPTION.into(), false));
        let kept = of(Some("Ada smiles"), CaptionRule::AsItIs);
        assert_eq!(kept, ("Ada smiles".into(), true));
    }
}
