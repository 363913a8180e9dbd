//! Pillow's resampling, bit for bit (up to 12; 13 sometimes goes vertically first, which may move a
//! byte by one): separable filters with antialias, horizontally then vertically, bytes after each
//! pass, weights in 22-bit fixed point.

use image::{ImageBuffer, Pixel};

/// A resampling filter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Filter {
    /// A triangle: linear interpolation, with antialias.
    Bilinear,
    /// Cubic convolution with a = −0.5.
    Bicubic,
    /// Windowed sinc over three lobes.
    Lanczos,
}

impl Filter {
    fn support(self) -> f64 {
        match self {
            Self::Bilinear => 1.0,
            Self::Bicubic => 2.0,
            Self::Lanczos => 3.0,
        }
    }

    pub(crate) fn weight(self, x: f64) -> f64 {
        match self {
            Self::Bilinear => (1.0 - x.abs()).max(0.0),
            Self::Bicubic => bicubic(x.abs()),
            Self::Lanczos if (-3.0..3.0).contains(&x) => sinc(x) * sinc(x / 3.0),
            Self::Lanczos => 0.0,
        }
    }
}

fn bicubic(x: f64) -> f64 {
    const A: f64 = -0.5;
    if x < 1.0 {
        ((A + 2.0) * x - (A + 3.0)) * x * x + 1.0
    } else if x < 2.0 {
        (((x - 5.0) * x + 8.0) * x - 4.0) * A
    } else {
        0.0
    }
}

fn sinc(x: f64) -> f64 {
    let y = x * std::f64::consts::PI;
    if x == 0.0 { 1.0 } else { y.sin() / y }
}

const PRECISION: u32 = 22;

/// The weights of one output position: first input and fixed-point weights.
struct Taps {
    first: usize,
    weights: Vec<i32>,
}

fn taps(filter: Filter, input: u32, output: u32) -> Vec<Taps> {
    let scale = f64::from(input) / f64::from(output);
    let stretch = scale.max(1.0);
    let support = filter.support() * stretch;
    let position = |out: u32| {
        let centre = (f64::from(out) + 0.5) * scale;
        let first = ((centre - support + 0.5) as i64).max(0) as usize;
        let last = ((centre + support + 0.5) as i64).min(i64::from(input)) as usize;
        let raw: Vec<f64> = (first..last)
            .map(|j| filter.weight((j as f64 - centre + 0.5) / stretch))
            .collect();
        let sum: f64 = raw.iter().sum();
        let scale_up = if sum == 0.0 { 1.0 } else { 1.0 / sum };
        let fixed = |w: f64| (w * scale_up * f64::from(1 << PRECISION)).round() as i32;
        Taps {
            first,
            weights: raw.into_iter().map(fixed).collect(),
        }
    };
    (0..output).map(position).collect()
}

/// `image` at `width` × `height`; a pass that would keep its size is left out. Both must be at
/// least 1.
pub fn resample<P: Pixel<Subpixel = u8>>(
    image: &ImageBuffer<P, Vec<u8>>,
    width: u32,
    height: u32,
    filter: Filter,
) -> ImageBuffer<P, Vec<u8>> {
    let (input_width, input_height) = image.dimensions();
    let channels = usize::from(P::CHANNEL_COUNT);
    let row = input_width as usize * channels;
    let mut pixels = image.as_raw().clone();
    if width != input_width {
        pixels = horizontal(&pixels, row, channels, &taps(filter, input_width, width));
    }
    if height != input_height {
        pixels = vertical(
            &pixels,
            width as usize * channels,
            &taps(filter, input_height, height),
        );
    }
    ImageBuffer::from_raw(width, height, pixels).unwrap_or_else(|| ImageBuffer::new(width, height))
}

fn horizontal(pixels: &[u8], row: usize, channels: usize, taps: &[Taps]) -> Vec<u8> {
    let mut out = Vec::with_capacity(pixels.len() / row.max(1) * taps.len() * channels);
    for line in pixels.chunks_exact(row.max(1)) {
        for tap in taps {
            for c in 0..channels {
                let samples = line[tap.first * channels + c..].iter().step_by(channels);
                out.push(weigh(samples, &tap.weights));
            }
        }
    }
    out
}

fn vertical(pixels: &[u8], row: usize, taps: &[Taps]) -> Vec<u8> {
    let mut out = Vec::with_capacity(row * taps.len());
    for tap in taps {
        for x in 0..row {
            out.push(weigh(
                pixels[tap.first * row + x..].iter().step_by(row),
                &tap.weights,
            ));
        }
    }
    out
}

/// Σ sample · weight, rounded and clamped to a byte.
fn weigh<'a>(samples: impl Iterator<Item = &'a u8>, weights: &[i32]) -> u8 {
    let sum: i32 = samples.zip(weights).map(|(s, w)| i32::from(*s) * w).sum();
    ((sum + (1 << (PRECISION - 1))) >> PRECISION).clamp(0, 255) as u8
}

#[cfg(test)]
mod tests {
    use image::RgbImage;

    use super::*;

    proptest::proptest! {
        #[test]
        fn a_plain_image_stays_plain(w in 1u32..40, h in 1u32..40, to_w in 1u32..40, to_h in 1u32..40, v: u8) {
            for filter in [Filter::Bilinear, Filter::Bicubic, Filter::Lanczos] {
                let out = resample(&RgbImage::from_pixel(w, h, image::Rgb([v; 3])), to_w, to_h, filter);
                proptest::prop_assert!(out.dimensions() == (to_w, to_h) && out.as_raw().iter().all(|p| p.abs_diff(v) <= 1));
            }
        }
    }
}
