//! A face cut out by its box, as facenet-pytorch does it without a margin.

use image::RgbImage;
use image::imageops::crop_imm;
use laioncele_image::{Filter, resample};

/// The pixels within `bbox` (x0 y0 x1 y1; whole ones, rounded down, at least one), resized to a square of `side` by
/// Pillow's bilinear filter. An empty image gives black.
pub(crate) fn cut_out(image: &RgbImage, bbox: &[f32; 4], side: u32) -> RgbImage {
    let (width, height) = image.dimensions();
    if width == 0 || height == 0 {
        return RgbImage::new(side, side);
    }
    // `as` takes what is below zero, and NaN, to 0.
    let [x0, y0, x1, y1] = bbox.map(|v| v as u32);
    let (x0, y0) = (x0.min(width - 1), y0.min(height - 1));
    let (x1, y1) = (x1.clamp(x0 + 1, width), y1.clamp(y0 + 1, height));
    let face = crop_imm(image, x0, y0, x1 - x0, y1 - y0).to_image();
    resample(&face, side, side, Filter::Bilinear)
}

#[cfg(test)]
mod tests {
    use image::Rgb;

    use super::*;

    #[test]
    fn boxes_are_cut_at_whole_pixels_within_the_image() {
        let image = RgbImage::from_fn(40, 30, |x, y| Rgb([x as u8, y as u8, 0]));
        let cut = cut_out(&image, &[10.9, 5.2, 20.9, 15.7], 10);
        assert_eq!(*cut.get_pixel(0, 0), Rgb([10, 5, 0]));
        assert_eq!(*cut.get_pixel(9, 9), Rgb([19, 14, 0]));
        for bbox in [
            [-9.0, -9.0, 99.0, 99.0],
            [f32::NAN; 4],
            [60.0, 60.0, 50.0, 50.0],
        ] {
            assert_eq!(cut_out(&image, &bbox, 160).dimensions(), (160, 160));
        }
        assert_eq!(
            cut_out(&RgbImage::new(0, 3), &[0.0; 4], 8).dimensions(),
            (8, 8)
        );
    }
}
