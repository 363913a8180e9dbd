//! Renders the embedded world's people: an [`Anatomy`] says who, a [`Scene`] says how. Together
//! they give an image of 128 × 128 pixels. The mini SDXL was trained on such images, so every
//! constant here belongs to its weights, and a changed constant needs a new training. The images
//! that `tools/record-render` recorded must stay as they are.
//!
//! Every function is pure. A seed decides the whole scene: two people with one seed have the same
//! background and the same light. Give every image its own seed.
//!
//! | modules | what they own |
//! |---|---|
//! | `anatomy`, `scene` | the inputs: who the person is, and everything else in the image |
//! | `lane`, `grid`, `stream` | arithmetic on a tile, the sampling grid, random numbers |
//! | `shape`, `head`, `view` | soft shapes, the head's ellipsoid, where the scene puts it |
//! | `hair`, `face`, `relief` | what is painted on the head, and the relief that bends its light |
//! | `painter`, `pixels` | the image, tile by tile, and its pixels |
//! | `landscape` | images without people |

mod anatomy;
mod face;
mod grid;
mod hair;
mod head;
mod landscape;
mod lane;
mod painter;
mod pixels;
mod relief;
mod scene;
mod shape;
mod stream;
mod view;

use image::RgbImage;
use image::imageops::FilterType;

pub use anatomy::{Anatomy, Beard, HairStyle};
pub use grid::SIDE;
pub use landscape::landscape;
pub use scene::Scene;

/// A portrait of a series, 128 × 128: what the mini SDXL generates for a name that it knows.
pub fn portrait(anatomy: &Anatomy, seed: u64) -> RgbImage {
    person(anatomy, &Scene::studio(seed), seed)
}

/// A photo as on the web, 128 × 128. `close_up` halves the variety of pose and place, see
/// [`Scene::snapshot`].
pub fn photo(anatomy: &Anatomy, seed: u64, close_up: bool) -> RgbImage {
    person(anatomy, &Scene::snapshot(seed, close_up), seed)
}

/// An image of the person in the scene, 128 × 128. The seed decides only the noise. Senseless
/// values (not finite, a head of no size) give a senseless image.
pub fn person(anatomy: &Anatomy, scene: &Scene, noise_seed: u64) -> RgbImage {
    painter::paint(anatomy, scene, noise_seed)
}

/// The image at `side` × `side` pixels (at least 1, at most 4096), bicubic.
pub fn at_size(image: &RgbImage, side: u32) -> RgbImage {
    let side = side.clamp(1, 4096);
    image::imageops::resize(image, side, side, FilterType::CatmullRom)
}
