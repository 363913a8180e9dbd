//! Draws the embedded world's people: an [`Anatomy`] says who, a [`Scene`] how; together they give a picture of
//! 128 × 128 pixels. The mini SDXL was trained on such pictures, so that every constant here is part of its weights:
//! what `tools/record-render` records must keep coming out.
//!
//! Every function is pure. A seed decides the whole scene, so that two people with one seed stand in the same room under
//! the same light: give every picture its own seed.

mod anatomy;
mod face;
mod hair;
mod head;
mod landscape;
mod lane;
mod painter;
mod relief;
mod scene;
mod shape;
mod stream;

use image::RgbImage;
use image::imageops::FilterType;

pub use anatomy::{Anatomy, Beard, HairStyle};
pub use landscape::landscape;
pub use scene::Scene;

/// Side of every picture of a person, in pixels.
pub const SIDE: usize = 128;
/// Side in samples: each pixel is the mean of four.
const SAMPLES: usize = SIDE * 2;

/// A portrait of a series: what SDXL draws for a name that it knows.
pub fn portrait(anatomy: &Anatomy, seed: u64) -> RgbImage {
    draw(anatomy, &Scene::studio(seed), seed)
}

/// A photo as on the web. `close_up`: less variety of pose and place, see [`Scene::snapshot`].
pub fn photo(anatomy: &Anatomy, seed: u64, close_up: bool) -> RgbImage {
    draw(anatomy, &Scene::snapshot(seed, close_up), seed)
}

/// A picture of the person in the scene, 128 × 128. The seed decides the noise only. Values without sense (not finite,
/// a head of no size) give a picture without sense.
pub fn draw(anatomy: &Anatomy, scene: &Scene, noise_seed: u64) -> RgbImage {
    painter::draw(anatomy, scene, noise_seed)
}

/// The image at `side` × `side` pixels (at least 1, at most 4096), bicubic.
pub fn at_size(image: &RgbImage, side: u32) -> RgbImage {
    let side = side.clamp(1, 4096);
    image::imageops::resize(image, side, side, FilterType::CatmullRom)
}
