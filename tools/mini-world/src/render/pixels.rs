//! Turns samples into pixels: the mean of each square of four samples, brightness, warmth, noise.

use image::RgbImage;

use super::grid::{SIDE, TILE_PIXELS};
use super::lane::{COLUMNS, Colour, Colours, LANES};
use super::scene::Scene;
use super::stream::{Purpose, Stream};

/// An image while it is being painted.
pub(super) struct PixelBuffer {
    image: RgbImage,
    /// The current row of pixels, as red, green, blue, red, …
    row: [f32; SIDE * 3],
    gain: Colour,
    noise: f32,
    stream: Stream,
}

impl PixelBuffer {
    pub(super) fn new(scene: &Scene, seed: u64) -> Self {
        Self {
            image: RgbImage::new(SIDE as u32, SIDE as u32),
            row: [0.0; SIDE * 3],
            gain: [1.0 + scene.warmth, 1.0, 1.0 - scene.warmth].map(|factor| factor * scene.gain),
            noise: scene.noise,
            stream: Stream::new(seed, Purpose::Noise),
        }
    }

    /// Writes the pixels of a tile into the current row.
    pub(super) fn set_tile(&mut self, across: usize, samples: &Colours) {
        let pixels = &mut self.row[across * TILE_PIXELS * 3..][..TILE_PIXELS * 3];
        for (k, channel) in samples.iter().enumerate() {
            for (p, pixel) in pixels.chunks_exact_mut(3).enumerate() {
                let (upper, lower) = (2 * p, COLUMNS + 2 * p);
                let sum = channel[upper] + channel[upper + 1] + channel[lower] + channel[lower + 1];
                pixel[k] = sum * 0.25 * self.gain[k];
            }
        }
    }

    /// Adds noise to the current row and writes it to the image as row `down`.
    pub(super) fn finish_row(&mut self, down: usize) {
        if self.noise != 0.0 {
            for values in self.row.chunks_mut(LANES) {
                for (value, noise) in values.iter_mut().zip(self.stream.normals()) {
                    *value += noise * self.noise;
                }
            }
        }
        let bytes = &mut self.image.as_flat_samples_mut().samples[down * SIDE * 3..][..SIDE * 3];
        for (byte, value) in bytes.iter_mut().zip(&self.row) {
            *byte = (value.clamp(0.0, 1.0) * 255.0) as u8;
        }
    }

    /// The image, when all rows are finished.
    pub(super) fn into_image(self) -> RgbImage {
        self.image
    }
}
