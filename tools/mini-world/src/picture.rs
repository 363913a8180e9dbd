//! What a picture of the web shows, and its file: recipes that the server draws when they are asked for.

use image::codecs::jpeg::JpegEncoder;
use image::codecs::png::PngEncoder;
use image::imageops::{self, FilterType};
use image::{ExtendedColorType, ImageEncoder, ImageError, RgbImage};
use rand::RngExt;
use serde::{Deserialize, Serialize};

use crate::chance;
use crate::render::{self, Anatomy};

/// Sides in pixels that a picture may have; the web's file is hostile here too.
const SIDES: std::ops::RangeInclusive<u32> = 8..=1024;

/// How to draw a picture. Equal recipes give equal files.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Picture {
    /// Who stands in it, from left to right, as positions in [`crate::web::Web::people`]; nobody: a landscape.
    pub who: Vec<usize>,
    /// Of pose, light and everything else that varies between photos.
    pub seed: u32,
    /// Whether the face fills the frame.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub close_up: bool,
    /// Whether somebody sat for it: the whole head in the middle of a square.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub posed: bool,
    /// Height in pixels.
    pub side: u32,
    /// JPEG quality, 1 to 100.
    pub quality: u8,
}

/// Why a recipe gives no picture.
#[derive(Debug, thiserror::Error)]
pub enum PictureError {
    /// The recipe names somebody who is not there, or an absurd size.
    #[error("no such picture: {0:?}")]
    Recipe(Picture),
    /// The encoder failed.
    #[error("the picture cannot be encoded")]
    Encode(#[from] ImageError),
}

impl Picture {
    /// Width in pixels.
    pub fn width(&self) -> u32 {
        match self.who.len() {
            1 => {
                let [_, _, width, height] =
                    framing(self.seed.into(), render::SIDE as u32, self.close_up);
                (width * self.side).div_ceil(height)
            }
            people => self.side * people.max(1) as u32,
        }
    }

    /// Draws it. [side × width]
    ///
    /// # Errors
    /// [`PictureError::Recipe`].
    pub fn draw(&self, people: &[Anatomy]) -> Result<RgbImage, PictureError> {
        let wrong = || PictureError::Recipe(self.clone());
        if !SIDES.contains(&self.side) || self.who.len() > 2 {
            return Err(wrong());
        }
        let seed = u64::from(self.seed);
        let mut drawn = Vec::new();
        for (at, person) in self.who.iter().enumerate() {
            let anatomy = people.get(*person).ok_or_else(wrong)?;
            drawn.push(render::photo(anatomy, seed + at as u64, self.close_up));
        }
        let side = render::SIDE as u32;
        let whole = match drawn.len() {
            0 => render::landscape(seed, side, side),
            1 if !self.posed => {
                let [left, top, width, height] = framing(seed, side, self.close_up);
                imageops::crop_imm(&drawn[0], left, top, width, height).to_image()
            }
            _ => side_by_side(&drawn),
        };
        let width = self.width();
        if whole.dimensions() == (width, self.side) {
            return Ok(whole);
        }
        Ok(imageops::resize(
            &whole,
            width,
            self.side,
            FilterType::CatmullRom,
        ))
    }

    /// Its JPEG file.
    ///
    /// # Errors
    /// [`PictureError`].
    pub fn jpeg(&self, people: &[Anatomy]) -> Result<Vec<u8>, PictureError> {
        let mut bytes = Vec::new();
        let quality = self.quality.clamp(1, 100);
        JpegEncoder::new_with_quality(&mut bytes, quality).encode_image(&self.draw(people)?)?;
        Ok(bytes)
    }

    /// The same as a PNG file.
    ///
    /// # Errors
    /// [`PictureError`].
    pub fn png(&self, people: &[Anatomy]) -> Result<Vec<u8>, PictureError> {
        let (mut bytes, drawn) = (Vec::new(), self.draw(people)?);
        let (width, height) = drawn.dimensions();
        PngEncoder::new(&mut bytes).write_image(&drawn, width, height, ExtendedColorType::Rgb8)?;
        Ok(bytes)
    }
}

/// What a photographer shows of a square picture of `side` pixels: left, top, width, height. Some of the surroundings are
/// left out, the face is seldom in the middle, and hardly any photo is square.
fn framing(seed: u64, side: u32, close_up: bool) -> [u32; 4] {
    let mut rng = chance::generator(seed, "framing", 0);
    // A close-up has nothing left to leave out but some of the hair.
    let least = if close_up { 85 } else { 70 };
    let mut cut = || {
        let shown = rng.random_range(side * least / 100..=side);
        (rng.random_range(0..=side - shown), shown)
    };
    let ((left, width), (top, height)) = (cut(), cut());
    [left, top, width, height]
}

fn side_by_side(pictures: &[RgbImage]) -> RgbImage {
    let width = pictures.iter().map(RgbImage::width).sum();
    let height = pictures.iter().map(RgbImage::height).max().unwrap_or(0);
    let mut whole = RgbImage::new(width, height);
    let mut x = 0;
    for picture in pictures {
        imageops::replace(&mut whole, picture, x, 0);
        x += i64::from(picture.width());
    }
    whole
}
