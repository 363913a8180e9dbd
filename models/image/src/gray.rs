//! Gray as Pillow's `convert("L")` computes it.

use image::{GrayImage, Luma, RgbImage};

/// ITU-R 601 luma in 16-bit fixed point: (19595 R + 38470 G + 7471 B + 32768) / 65536, rounded
/// down.
pub fn gray(image: &RgbImage) -> GrayImage {
    GrayImage::from_fn(image.width(), image.height(), |x, y| {
        let [r, g, b] = image.get_pixel(x, y).0.map(u32::from);
        Luma([((19_595 * r + 38_470 * g + 7_471 * b + 0x8000) >> 16) as u8])
    })
}
