//! Images without people: hills under a sky. On the web they stand for wrong search results.

use std::f32::consts::TAU;

use image::{Rgb, RgbImage};

use super::lane::{Colour, smooth};
use super::stream::{Purpose, Stream};

/// Longest side of a landscape, in pixels.
const LONGEST: u32 = 4096;

/// One row of hills.
struct Ridge {
    colour: Colour,
    /// Height of the crest, from above, as a share of the image's height.
    height: f32,
    /// The crest is a sum of waves: amplitude, waves per width, phase.
    waves: [[f32; 3]; 4],
}

/// A landscape of `width` × `height` pixels. Each side is clamped to 1…4096.
pub fn landscape(seed: u64, width: u32, height: u32) -> RgbImage {
    let stream = &mut Stream::new(seed, Purpose::Landscape);
    let (width, height) = (width.clamp(1, LONGEST), height.clamp(1, LONGEST));
    let (zenith, horizon) = (
        [0.25, 0.45, 0.75].map(|c| c + stream.between(-0.1, 0.2)),
        [0.85, stream.between(0.7, 0.2), 0.8],
    );
    let sun = [stream.unit(), stream.between(0.05, 0.3)];
    let ridges: Vec<Ridge> = (0..stream.choose([2, 3, 4, 5]))
        .map(|depth| Ridge::new(stream, depth))
        .collect();
    let shape = width as f32 / height as f32;
    RgbImage::from_fn(width, height, |column, row| {
        let (x, y) = (
            (column as f32 + 0.5) / width as f32,
            (row as f32 + 0.5) / height as f32,
        );
        let from_sun = ((x - sun[0]) * shape).hypot(y - sun[1]);
        let glow = 1.0 - smooth(0.04, 0.25, from_sun);
        let mut colour = [0, 1, 2].map(|k| zenith[k] + (horizon[k] - zenith[k]) * y + 0.4 * glow);
        for ridge in &ridges {
            let below = smooth(0.0, 0.01, y - ridge.crest(x));
            let shade = 1.0 - 0.3 * (y - ridge.height);
            colour = [0, 1, 2].map(|k| colour[k] + (ridge.colour[k] * shade - colour[k]) * below);
        }
        Rgb(colour.map(|channel| (channel.clamp(0.0, 1.0) * 255.0) as u8))
    })
}

impl Ridge {
    fn new(stream: &mut Stream, depth: u8) -> Self {
        let near = f32::from(depth) / 4.0;
        let [red, green, blue] = stream.units();
        Self {
            colour: [
                0.45 - 0.3 * near + 0.15 * red,
                0.55 - 0.2 * near + 0.15 * green,
                0.6 - 0.5 * near + 0.1 * blue,
            ],
            height: 0.45 + 0.4 * near + stream.between(-0.04, 0.08),
            waves: [1.0, 2.7, 7.3, 19.0].map(|rate| {
                [
                    0.06 / rate,
                    rate * stream.between(1.0, 1.0),
                    stream.between(0.0, TAU),
                ]
            }),
        }
    }

    fn crest(&self, x: f32) -> f32 {
        let waves = self
            .waves
            .iter()
            .map(|[amplitude, rate, phase]| amplitude * (x * rate * TAU + phase).sin());
        self.height + waves.sum::<f32>()
    }
}
