//! Gray images of a few pixels from the means of a JPEG's blocks: no pixels are made.

use std::sync::LazyLock;

use image::metadata::Orientation as Turn;
use image::{DynamicImage, GrayImage};

use crate::decode::{admit, guarded, turn};
use crate::format::{DecodeError, Format, Limits, Orientation};
use crate::jpeg::{self, Means, Walked};
use crate::resample::Filter;

/// Blocks that a pixel must stand for at least, across and down.
const FINE: u32 = 3;

/// The image as gray of `side` × `side` pixels, by Lanczos from the means of its blocks of 8 × 8
/// pixels: nearly what [`resample`](crate::resample()) makes of its [`gray`](crate::gray()) pixels,
/// at the cost of stepping over the file. `None` for everything but JPEGs of gray or of luma and
/// chroma in which each pixel stands for at least 3 × 3 blocks.
///
/// # Errors
/// As [`decode`](crate::decode()); of a progressive file what its finer scans hold is not looked at.
pub fn tiny_gray(
    bytes: &[u8],
    limits: &Limits,
    orientation: Orientation,
    side: u32,
) -> Result<Option<GrayImage>, DecodeError> {
    let header = admit(bytes, limits)?;
    let is_fine = header.width.min(header.height) >= side.saturating_mul(8 * FINE);
    if header.format != Format::Jpeg || !is_fine {
        return Ok(None);
    }
    let Some(means) = guarded(|| means(bytes))? else {
        return Ok(None);
    };
    let small = shrunk(&means, side as usize);
    let Some(small) = GrayImage::from_raw(side, side, small) else {
        return Ok(None);
    };
    let turn = match orientation {
        Orientation::AsStored => Turn::NoTransforms,
        Orientation::Upright => turn(bytes),
    };
    let mut small = DynamicImage::from(small);
    small.apply_orientation(turn);
    Ok(Some(small.into_luma8()))
}

fn means(bytes: &[u8]) -> Result<Option<Means>, DecodeError> {
    match jpeg::means(bytes) {
        Walked::Whole(means) => Ok(Some(means)),
        Walked::Unusual => Ok(None),
        Walked::Broken(what) => Err(DecodeError::Corrupt(what.to_owned())),
    }
}

/// Lanczos, first across, then down.
fn shrunk(means: &Means, side: usize) -> Vec<u8> {
    let [across, down] = means.blocks;
    let columns = weights(means.size[0], across, side);
    let rows = weights(means.size[1], down, side);
    let mut narrow = vec![0.0; side * down];
    let lines = means.values.chunks_exact(across);
    for (line, out) in lines.zip(narrow.chunks_exact_mut(side)) {
        for ((first, weights), value) in columns.iter().zip(out) {
            let sum: f32 = line[*first..].iter().zip(weights).map(|(v, w)| v * w).sum();
            *value = sum.clamp(0.0, 255.0);
        }
    }
    let mut small = Vec::with_capacity(side * side);
    for (first, weights) in &rows {
        for x in 0..side {
            let column = narrow[first * side + x..].iter().step_by(side);
            let sum: f32 = column.zip(weights).map(|(v, w)| v * w).sum();
            small.push((sum + 0.5) as u8);
        }
    }
    small
}

/// For each pixel the first block that counts, and the weights of it and of those behind it: of each the
/// sum of what Lanczos gives its pixels. The last block may stand for fewer pixels than the others.
fn weights(pixels: usize, blocks: usize, side: usize) -> Vec<(usize, Vec<f32>)> {
    let length = pixels as f64 / 8.0;
    let scale = length / side as f64;
    let of = |out: usize| {
        let centre = (out as f64 + 0.5) * scale;
        let first = (centre - 3.0 * scale).max(0.0) as usize;
        let last = ((centre + 3.0 * scale).ceil() as usize).min(blocks);
        let below = |edge: usize| sum_below(((edge as f64).min(length) - centre) / scale);
        let raw: Vec<f64> = (first..last).map(|b| below(b + 1) - below(b)).collect();
        let sum: f64 = raw.iter().sum();
        (first, raw.iter().map(|w| (w / sum) as f32).collect())
    };
    (0..side).map(of).collect()
}

/// Steps of the table behind [`sum_below`] for each lobe.
const STEPS: usize = 512;

/// The integral of Lanczos from −3 to `x`.
fn sum_below(x: f64) -> f64 {
    static SUMS: LazyLock<Vec<f64>> = LazyLock::new(|| {
        let middle = |step: usize| (step as f64 + 0.5) / STEPS as f64 - 3.0;
        let mut sum = 0.0;
        let steps = (0..6 * STEPS).map(|step| {
            sum += Filter::Lanczos.weight(middle(step)) / STEPS as f64;
            sum
        });
        std::iter::once(0.0).chain(steps).collect()
    });
    let at = (x.clamp(-3.0, 3.0) + 3.0) * STEPS as f64;
    let step = (at as usize).min(6 * STEPS - 1);
    let [before, behind] = [SUMS[step], SUMS[step + 1]];
    before + (behind - before) * (at - step as f64)
}
