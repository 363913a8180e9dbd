//! Pictures as Inception sees them, 299 × 299: by the resizing of clean-fid, and by those that others compute FID
//! with. The modes give other distances; figures of two modes cannot be compared.

use image::RgbImage;
use serde::{Deserialize, Serialize};

/// Side of the pictures that Inception is given, in pixels.
pub const SIDE: usize = 299;

/// How pictures are brought to 299 × 299.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Resize {
    /// clean-fid: bicubic in floats with antialiasing, as Pillow resizes each channel; clipped to 0…255 and never
    /// rounded.
    #[default]
    Clean,
    /// pytorch-fid: bilinear without antialiasing.
    LegacyPytorch,
    /// The original TensorFlow graph's: bilinear from the corners, without antialiasing.
    LegacyTensorflow,
    /// torchmetrics: bilinear with antialiasing.
    Torchmetrics,
}

impl Resize {
    /// All of them.
    pub const ALL: [Self; 4] = [
        Self::Clean,
        Self::LegacyPytorch,
        Self::LegacyTensorflow,
        Self::Torchmetrics,
    ];

    /// Its name in manifests.
    pub fn name(self) -> &'static str {
        match self {
            Self::Clean => "clean",
            Self::LegacyPytorch => "legacy_pytorch",
            Self::LegacyTensorflow => "legacy_tensorflow",
            Self::Torchmetrics => "torchmetrics",
        }
    }

    fn is_clipped(self) -> bool {
        matches!(self, Self::Clean | Self::LegacyPytorch)
    }

    /// The pixels of `image` at 299 × 299, row by row, red, green and blue of each: 0 to 255, not rounded. The shape is
    /// not kept. An empty image gives zeros.
    pub fn pixels(self, image: &RgbImage) -> Vec<f32> {
        let (width, height) = (image.width() as usize, image.height() as usize);
        if width == 0 || height == 0 {
            return vec![0.0; SIDE * SIDE * 3];
        }
        let rows = self.across(image, width, height);
        let mut pixels = self.down(&rows, height);
        if self.is_clipped() {
            pixels.iter_mut().for_each(|v| *v = v.clamp(0.0, 255.0));
        }
        pixels
    }

    /// Each row at 299 pixels; float32 between the passes, as Pillow keeps it.
    fn across(self, image: &RgbImage, width: usize, height: usize) -> Vec<f32> {
        let taps = self.taps(width);
        let mut rows = Vec::with_capacity(height * SIDE * 3);
        for row in image.as_raw().chunks_exact(width * 3) {
            for (first, weights) in &taps {
                let mut sums = [0f64; 3];
                let (pixels, _) = row[first * 3..].as_chunks::<3>();
                for (pixel, weight) in pixels.iter().zip(weights) {
                    (0..3).for_each(|c| sums[c] += f64::from(pixel[c]) * weight);
                }
                rows.extend(sums.map(|sum| sum as f32));
            }
        }
        rows
    }

    fn down(self, rows: &[f32], height: usize) -> Vec<f32> {
        let line = SIDE * 3;
        let mut pixels = Vec::with_capacity(SIDE * line);
        let mut sums = vec![0f64; line];
        for (first, weights) in self.taps(height) {
            sums.fill(0.0);
            for (row, weight) in rows[first * line..].chunks_exact(line).zip(&weights) {
                let values = sums.iter_mut().zip(row);
                values.for_each(|(sum, v)| *sum += f64::from(*v) * weight);
            }
            pixels.extend(sums.iter().map(|sum| *sum as f32));
        }
        pixels
    }

    /// For each of the 299 places the first of `count` that it is made of and the weights from there.
    fn taps(self, count: usize) -> Vec<(usize, Vec<f64>)> {
        (0..SIDE).map(|place| self.tap(count, place)).collect()
    }

    fn tap(self, count: usize, place: usize) -> (usize, Vec<f64>) {
        let scale = count as f64 / SIDE as f64;
        let last = count - 1;
        let between = |at: f64| {
            let low = (at as usize).min(last);
            let share = at - low as f64;
            match low {
                low if low == last => (low, vec![1.0]),
                low => (low, vec![1.0 - share, share]),
            }
        };
        match self {
            Self::LegacyTensorflow => between(place as f64 * scale),
            Self::LegacyPytorch => between(((place as f64 + 0.5) * scale - 0.5).max(0.0)),
            // Pillow leaves out a pass that would keep the size.
            Self::Clean if count == SIDE => (place, vec![1.0]),
            Self::Clean => stretched(count, place, scale, 2.0, bicubic),
            Self::Torchmetrics => stretched(count, place, scale, 1.0, |x| (1.0 - x).max(0.0)),
        }
    }
}

/// A filter that is stretched where pixels are lost: antialiasing.
fn stretched(
    count: usize,
    place: usize,
    scale: f64,
    support: f64,
    filter: impl Fn(f64) -> f64,
) -> (usize, Vec<f64>) {
    let wide = scale.max(1.0);
    let (centre, support) = ((place as f64 + 0.5) * scale, support * wide);
    // `as` rounds towards zero and takes negative numbers to 0, as Pillow does.
    let first = (centre - support + 0.5) as usize;
    let past = ((centre + support + 0.5) as usize).min(count);
    let weight = |j: usize| filter(((j as f64 - centre + 0.5) / wide).abs());
    let weights: Vec<f64> = (first..past).map(weight).collect();
    let sum: f64 = weights.iter().sum();
    (first, weights.into_iter().map(|w| w / sum).collect())
}

/// Keys' cubic with a = −0.5, of a distance.
fn bicubic(x: f64) -> f64 {
    if x < 1.0 {
        (1.5 * x - 2.5) * x * x + 1.0
    } else if x < 2.0 {
        ((x - 5.0) * x + 8.0) * x * -0.5 + 2.0
    } else {
        0.0
    }
}

#[cfg(test)]
mod tests {
    use image::Rgb;
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// A plain picture stays plain at any size, to the edges.
        #[test]
        fn plain_stays_plain(width in 1u32..400, height in 1u32..20, value: u8) {
            let image = RgbImage::from_pixel(width, height, Rgb([value, 0, 255]));
            for resize in Resize::ALL {
                let pixels = resize.pixels(&image);
                prop_assert_eq!(pixels.len(), SIDE * SIDE * 3);
                let far = pixels.as_chunks::<3>().0.iter().map(|p| {
                    (p[0] - f32::from(value)).abs().max(p[1].abs()).max((p[2] - 255.0).abs())
                });
                prop_assert!(far.fold(0.0, f32::max) < 1e-3);
            }
        }
    }

    #[test]
    fn a_picture_of_the_size_stays_as_it_is() {
        let image = RgbImage::from_fn(299, 299, |x, y| Rgb([x as u8, y as u8, (x * y) as u8]));
        for resize in Resize::ALL {
            let pixels = resize.pixels(&image);
            let bytes = image.as_raw().iter().map(|v| f32::from(*v));
            assert!(
                pixels.iter().zip(bytes).all(|(a, b)| (a - b).abs() < 1e-3),
                "{resize:?}"
            );
        }
    }

    #[test]
    fn an_empty_picture_gives_zeros() {
        let pixels = Resize::Clean.pixels(&RgbImage::new(0, 5));
        assert!(pixels.len() == SIDE * SIDE * 3 && pixels.iter().all(|v| *v == 0.0));
    }
}
