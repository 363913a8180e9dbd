//! What an image of the web shows, and its file. A recipe takes some bytes; the server renders it
//! when it is requested.

use image::codecs::jpeg::JpegEncoder;
use image::codecs::png::PngEncoder;
use image::imageops::{self, FilterType};
use image::{ExtendedColorType, ImageEncoder, ImageError, RgbImage};
use rand::RngExt;
use serde::{Deserialize, Serialize};

use crate::random;
use crate::render::{self, Anatomy};

/// Heights in pixels that an image may have: `web.json` may come from anybody.
const HEIGHTS: std::ops::RangeInclusive<u32> = 8..=1024;

/// How to render an image. Equal recipes give equal files.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ImageRecipe {
    /// Who is in it, from left to right, as positions in [`crate::web::Web::people`]. At most two;
    /// nobody gives a landscape.
    #[serde(rename = "who")]
    pub people: Vec<usize>,
    /// Decides pose, light and everything else that varies between photos.
    pub seed: u32,
    /// Whether the face fills the frame.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub close_up: bool,
    /// Whether it is a posed portrait: square, with the whole head in the middle.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub posed: bool,
    /// Height in pixels.
    #[serde(rename = "side")]
    pub height: u32,
    /// JPEG quality, 1 to 100.
    pub quality: u8,
}

/// Why a recipe gives no image.
#[derive(Debug, thiserror::Error)]
pub enum RecipeError {
    /// The recipe names a person who does not exist, too many people, or a height out of range.
    #[error("not a valid image recipe: {0:?}")]
    Invalid(ImageRecipe),
    /// The encoder failed.
    #[error("the image cannot be encoded")]
    Encode(#[from] ImageError),
}

impl ImageRecipe {
    /// Width in pixels.
    pub fn width(&self) -> u32 {
        match self.people.len() {
            1 => {
                let crop = Crop::random(self.seed.into(), render::SIDE as u32, self.close_up);
                (crop.width * self.height).div_ceil(crop.height)
            }
            people => self.height * people.max(1) as u32,
        }
    }

    /// The image, `height` × [`Self::width`] pixels, with the people of `anatomies`.
    ///
    /// # Errors
    /// [`RecipeError::Invalid`].
    pub fn render(&self, anatomies: &[Anatomy]) -> Result<RgbImage, RecipeError> {
        let invalid = || RecipeError::Invalid(self.clone());
        if !HEIGHTS.contains(&self.height) || self.people.len() > 2 {
            return Err(invalid());
        }
        let seed = u64::from(self.seed);
        let mut photos = Vec::new();
        for (at, person) in self.people.iter().enumerate() {
            let anatomy = anatomies.get(*person).ok_or_else(invalid)?;
            photos.push(render::photo(anatomy, seed + at as u64, self.close_up));
        }
        let side = render::SIDE as u32;
        let image = match photos.len() {
            0 => render::landscape(seed, side, side),
            1 if !self.posed => Crop::random(seed, side, self.close_up).of(&photos[0]),
            _ => side_by_side(&photos),
        };
        let (width, height) = (self.width(), self.height);
        if image.dimensions() == (width, height) {
            return Ok(image);
        }
        Ok(imageops::resize(
            &image,
            width,
            height,
            FilterType::CatmullRom,
        ))
    }

    /// The image as a JPEG file.
    ///
    /// # Errors
    /// [`RecipeError`].
    pub fn jpeg(&self, anatomies: &[Anatomy]) -> Result<Vec<u8>, RecipeError> {
        let mut bytes = Vec::new();
        let quality = self.quality.clamp(1, 100);
        JpegEncoder::new_with_quality(&mut bytes, quality)
            .encode_image(&self.render(anatomies)?)?;
        Ok(bytes)
    }

    /// The image as a PNG file.
    ///
    /// # Errors
    /// [`RecipeError`].
    pub fn png(&self, anatomies: &[Anatomy]) -> Result<Vec<u8>, RecipeError> {
        let (mut bytes, image) = (Vec::new(), self.render(anatomies)?);
        let (width, height) = image.dimensions();
        PngEncoder::new(&mut bytes).write_image(&image, width, height, ExtendedColorType::Rgb8)?;
        Ok(bytes)
    }
}

/// The part of a rendered square that a photo shows, in pixels.
struct Crop {
    left: u32,
    top: u32,
    width: u32,
    height: u32,
}

impl Crop {
    /// A crop of a square of `side` pixels. As on the web, the face is seldom in the middle and the
    /// photo seldom square.
    fn random(seed: u64, side: u32, close_up: bool) -> Self {
        let mut rng = random::generator(seed, "framing", 0);
        // In a close-up there is little beside the face that could be cut off.
        let least = if close_up { 85 } else { 70 };
        let mut cut = || {
            let shown = rng.random_range(side * least / 100..=side);
            (rng.random_range(0..=side - shown), shown)
        };
        let ((left, width), (top, height)) = (cut(), cut());
        Self {
            left,
            top,
            width,
            height,
        }
    }

    fn of(&self, image: &RgbImage) -> RgbImage {
        imageops::crop_imm(image, self.left, self.top, self.width, self.height).to_image()
    }
}

fn side_by_side(images: &[RgbImage]) -> RgbImage {
    let width = images.iter().map(RgbImage::width).sum();
    let height = images.iter().map(RgbImage::height).max().unwrap_or(0);
    let mut whole = RgbImage::new(width, height);
    let mut x = 0;
    for image in images {
        imageops::replace(&mut whole, image, x, 0);
        x += i64::from(image.width());
    }
    whole
}
