//! The sampling grid: an image has four samples per pixel and is painted tile by tile.

use super::lane::{COLUMNS, Lane, ROWS, lane};

/// Side of every image of a person, in pixels.
pub const SIDE: usize = 128;
/// Side of an image in samples. Each pixel is the mean of four samples.
pub(super) const SAMPLES: usize = SIDE * 2;
/// Tiles beside each other.
pub(super) const TILES_ACROSS: usize = SAMPLES / COLUMNS;
/// Tiles above each other. Each is one row of pixels.
pub(super) const TILES_DOWN: usize = SAMPLES / ROWS;
/// Pixels of a tile.
pub(super) const TILE_PIXELS: usize = COLUMNS / 2;

/// Where a tile's samples are in the image: x to the right and y up, both −1 to 1.
pub(super) fn sample_points(across: usize, down: usize) -> [Lane; 2] {
    let step = 2.0 / SAMPLES as f32;
    let (left, top) = ((across * COLUMNS) as f32 + 0.5, (down * ROWS) as f32 + 0.5);
    let x = lane(|i| (left + (i % COLUMNS) as f32) * step - 1.0);
    [x, lane(|i| 1.0 - (top + (i / COLUMNS) as f32) * step)]
}
