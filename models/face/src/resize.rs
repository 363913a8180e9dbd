//! The two resizings that detection needs, as OpenCV computes them: bicubic to enlarge, area
//! averages to shrink.

use image::RgbImage;

/// OpenCV's bicubic parameter.
const A: f32 = -0.75;

/// `image` at `width` × `height`, bicubic without antialiasing (`INTER_CUBIC`): for enlarging.
/// Empty stays empty.
pub(crate) fn enlarge(image: &RgbImage, width: u32, height: u32) -> RgbImage {
    if image.width() == 0 || image.height() == 0 {
        return RgbImage::new(width, height);
    }
    let across = cubic_taps(image.width(), width);
    let down = cubic_taps(image.height(), height);
    let rows: Vec<Vec<f32>> = image
        .as_raw()
        .chunks_exact(image.width() as usize * 3)
        .map(|row| cubic_row(row, &across))
        .collect();
    let mut pixels = Vec::with_capacity(width as usize * height as usize * 3);
    for (places, weights) in down {
        let [a, b, c, d] = places.map(|y| &rows[y]);
        for i in 0..a.len() {
            let sum = a[i] * weights[0] + b[i] * weights[1] + c[i] * weights[2] + d[i] * weights[3];
            pixels.push(to_byte(sum.clamp(0.0, 255.0)));
        }
    }
    RgbImage::from_raw(width, height, pixels).unwrap_or_default()
}

/// The nearest byte of a number in [0, 255], ties to even. Added to 2²³, a float has no room for
/// fractions, and its lowest bits are the byte: what every processor does on many numbers at once,
/// where `round_ties_even` is a call for each.
fn to_byte(value: f32) -> u8 {
    (value + 8_388_608.0).to_bits() as u8
}

type CubicTap = ([usize; 4], [f32; 4]);

/// For each of `to` places the four source places (clamped at the edges) and their weights.
fn cubic_taps(from: u32, to: u32) -> Vec<CubicTap> {
    let step = f64::from(from) / f64::from(to);
    let last = i64::from(from) - 1;
    let tap = |k: u32| {
        let at = ((f64::from(k) + 0.5) * step - 0.5) as f32;
        let (floor, t) = (at.floor(), at - at.floor());
        let place = |i: i64| (floor as i64 + i - 1).clamp(0, last) as usize;
        (std::array::from_fn(|i| place(i as i64)), cubic_weights(t))
    };
    (0..to).map(tap).collect()
}

fn cubic_weights(t: f32) -> [f32; 4] {
    let far = ((A * (t + 1.0) - 5.0 * A) * (t + 1.0) + 8.0 * A) * (t + 1.0) - 4.0 * A;
    let near = |t: f32| ((A + 2.0) * t - (A + 3.0)) * t * t + 1.0;
    let (left, right) = (near(t), near(1.0 - t));
    [far, left, right, 1.0 - far - left - right]
}

fn cubic_row(row: &[u8], taps: &[CubicTap]) -> Vec<f32> {
    let mut sums = Vec::with_capacity(taps.len() * 3);
    for (places, weights) in taps {
        for channel in 0..3 {
            let term = |i: usize| f32::from(row[places[i] * 3 + channel]) * weights[i];
            sums.push(term(0) + term(1) + term(2) + term(3));
        }
    }
    sums
}

/// `image` at `width` × `height`, each pixel the mean of the area it covers (`INTER_AREA`): for
/// shrinking. `width` and `height` are at most the image's; an empty image gives an empty one.
pub(crate) fn shrink(image: &RgbImage, width: u32, height: u32) -> RgbImage {
    let (width, height) = (width.min(image.width()), height.min(image.height()));
    if width == 0 || height == 0 {
        return RgbImage::new(width, height);
    }
    if image.width().is_multiple_of(width) && image.height().is_multiple_of(height) {
        return average_blocks(image, width, height);
    }
    let across = area_taps(image.width(), width);
    let mut means = RowMeans {
        across: &across,
        latest: None,
        values: vec![0.0; width as usize * 3],
    };
    let source: Vec<&[u8]> = image
        .as_raw()
        .chunks_exact(image.width() as usize * 3)
        .collect();
    let mut pixels = Vec::with_capacity(width as usize * height as usize * 3);
    let mut sums = vec![0f32; width as usize * 3];
    for (first, weights) in area_taps(image.height(), height) {
        sums.fill(0.0);
        for (row, weight) in (first..).zip(weights) {
            let means = means.of(row, source[row]);
            for (sum, mean) in sums.iter_mut().zip(means) {
                *sum += mean * weight;
            }
        }
        pixels.extend(sums.iter().map(|sum| to_byte(*sum)));
    }
    RgbImage::from_raw(width, height, pixels).unwrap_or_default()
}

/// Means of whole blocks: OpenCV adds integers here, and ties round otherwise than with weighted
/// sums.
fn average_blocks(image: &RgbImage, width: u32, height: u32) -> RgbImage {
    let (across, down) = (image.width() / width, image.height() / height);
    let scale = 1.0 / (across * down) as f32;
    let row = image.width() as usize * 3;
    let mut pixels = Vec::with_capacity(width as usize * height as usize * 3);
    let (mut columns, mut blocks) = (vec![0u32; row], vec![0u32; width as usize * 3]);
    for rows in image.as_raw().chunks_exact(row * down as usize) {
        columns.fill(0);
        for row in rows.chunks_exact(row) {
            for (sum, value) in columns.iter_mut().zip(row) {
                *sum += u32::from(*value);
            }
        }
        let parts = columns.chunks_exact(across as usize * 3);
        for (block, columns) in blocks.as_chunks_mut::<3>().0.iter_mut().zip(parts) {
            *block = [0; 3];
            for column in columns.as_chunks::<3>().0 {
                (0..3).for_each(|channel| block[channel] += column[channel]);
            }
        }
        pixels.extend(blocks.iter().map(|sum| to_byte(*sum as f32 * scale)));
    }
    RgbImage::from_raw(width, height, pixels).unwrap_or_default()
}

/// A row of the source averaged across, kept for the next row of the result, which often begins
/// with it.
struct RowMeans<'a> {
    across: &'a [(usize, Vec<f32>)],
    /// The row that `values` are of.
    latest: Option<usize>,
    values: Vec<f32>,
}

impl RowMeans<'_> {
    fn of(&mut self, row: usize, pixels: &[u8]) -> &[f32] {
        if self.latest != Some(row) {
            self.latest = Some(row);
            let pixels = pixels.as_chunks::<3>().0;
            let values = self.values.as_chunks_mut::<3>().0;
            for (mean, (first, shares)) in values.iter_mut().zip(self.across) {
                *mean = [0.0; 3];
                for (pixel, share) in pixels[*first..].iter().zip(shares) {
                    for channel in 0..3 {
                        mean[channel] += f32::from(pixel[channel]) * share;
                    }
                }
            }
        }
        &self.values
    }
}

/// For each of `to` places the first source place it covers and the share of each place from there;
/// shares sum to 1.
fn area_taps(from: u32, to: u32) -> Vec<(usize, Vec<f32>)> {
    let step = f64::from(from) / f64::from(to.max(1));
    let tap = |k: u32| {
        let begin = f64::from(k) * step;
        let end = (begin + step).min(f64::from(from));
        let first = (begin.floor() as u32).min(from.saturating_sub(1));
        let past = (end.ceil() as u32).clamp(first + 1, from);
        let share = |i: u32| {
            let covered = end.min(f64::from(i) + 1.0) - begin.max(f64::from(i));
            (covered.max(0.0) / (end - begin)) as f32
        };
        (first as usize, (first..past).map(share).collect())
    };
    (0..to).map(tap).collect()
}

#[cfg(test)]
mod tests {
    use image::Rgb;
    use proptest::prelude::*;
    use serde::Deserialize;

    use super::*;

    #[derive(Deserialize)]
    struct Recorded {
        how: String,
        size: [u32; 2],
        pixels: Vec<u8>,
        to: [u32; 2],
        expected: Vec<u8>,
    }

    /// OpenCV's own results, recorded with `tools/record-face`: at most one step of 255 away, in at
    /// most one number of 50 (sums that end near a half).
    #[test]
    fn pixels_are_opencvs() -> Result<(), Box<dyn std::error::Error>> {
        let recorded: Vec<Recorded> =
            serde_json::from_str(include_str!("../tests/fixtures/resizings.json"))?;
        assert_eq!(recorded.len(), 4);
        for Recorded {
            how,
            size: [w, h],
            pixels,
            to,
            expected,
        } in recorded
        {
            let image = RgbImage::from_raw(w, h, pixels).ok_or("wrong size")?;
            let resize = if how == "cubic" { enlarge } else { shrink };
            let found = resize(&image, to[0], to[1]).into_raw();
            assert_eq!(found.len(), expected.len());
            let steps: Vec<_> = found
                .iter()
                .zip(&expected)
                .map(|(a, b)| a.abs_diff(*b))
                .collect();
            assert!(steps.iter().all(|s| *s <= 1), "{how} {to:?}: {steps:?}");
            assert!(
                steps.iter().filter(|s| **s > 0).count() * 50 <= steps.len(),
                "{how} {to:?}: {steps:?}"
            );
        }
        Ok(())
    }

    proptest! {
        /// A plain image stays plain at every size, without a seam at the edges.
        #[test]
        fn plain_stays_plain(w in 1u32..40, h in 1u32..40, to_w in 1u32..80, to_h in 1u32..80, value: u8) {
            let plain = RgbImage::from_pixel(w, h, Rgb([value, 255 - value, 7]));
            for resized in [enlarge(&plain, to_w, to_h), shrink(&plain, to_w, to_h)] {
                for pixel in resized.pixels() {
                    prop_assert_eq!(*pixel, Rgb([value, 255 - value, 7]));
                }
            }
        }

        /// Whole blocks are averaged exactly, ties to even.
        #[test]
        fn a_half_is_the_mean_of_fours(w in 1u32..9, h in 1u32..9, seed: u32) {
            let noise = |x: u32, y: u32| (seed ^ (x * 40_503 + y * 9_973)).wrapping_mul(2_654_435_761) >> 24;
            let image = RgbImage::from_fn(2 * w, 2 * h, |x, y| Rgb([noise(x, y) as u8, x as u8, y as u8]));
            let half = shrink(&image, w, h);
            for (x, y, pixel) in half.enumerate_pixels() {
                let four = [(0, 0), (1, 0), (0, 1), (1, 1)].map(|(i, k)| image.get_pixel(2 * x + i, 2 * y + k).0);
                for channel in 0..3 {
                    let mean = four.map(|p| f32::from(p[channel])).iter().sum::<f32>() / 4.0;
                    prop_assert_eq!(f32::from(pixel[channel]), mean.round_ties_even());
                }
            }
        }

        /// Shrinking keeps the mean.
        #[test]
        fn shrinking_keeps_the_mean(seed: u32, to_w in 1u32..30, to_h in 1u32..23) {
            let noise = |x: u32, y: u32| (seed ^ (x * 40_503 + y * 9_973)).wrapping_mul(2_654_435_761) >> 24;
            let image = RgbImage::from_fn(30, 23, |x, y| Rgb([noise(x, y) as u8; 3]));
            let mean = |p: &RgbImage| p.pixels().map(|p| f64::from(p[0])).sum::<f64>() / f64::from(p.width() * p.height());
            prop_assert!((mean(&image) - mean(&shrink(&image, to_w, to_h))).abs() < 0.51);
        }
    }

    #[test]
    fn an_empty_image_is_no_panic() {
        assert_eq!(enlarge(&RgbImage::new(0, 5), 4, 4).dimensions(), (4, 4));
        assert_eq!(shrink(&RgbImage::new(0, 5), 4, 4).dimensions(), (0, 4));
        assert_eq!(shrink(&RgbImage::new(5, 0), 4, 4).dimensions(), (4, 0));
    }
}
