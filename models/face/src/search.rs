//! Further looks at an image: within a margin, for faces larger than the detector's anchors, and at
//! larger sizes, for faces too small at the working size.

use image::RgbImage;

use crate::decode::Detector;
use crate::detection::Detection;
use crate::error::FaceError;
use crate::resize;

/// The longest side at which an image is looked at, in pixels: what a look takes in memory and time
/// grows with its square. A face of 40 pixels in an image of 4,000 still has 25 there.
const LONGEST: u32 = 2560;

/// Looks at `image` made `times` smaller, in the middle of a frame of its own size and of the
/// detector's mean colour.
pub(crate) fn within_margin(
    detector: &Detector,
    image: &RgbImage,
    times: u32,
) -> Result<Vec<Detection>, FaceError> {
    let (width, height) = image.dimensions();
    let small = resize::shrink(image, (width / times).max(1), (height / times).max(1));
    let (left, top) = ((width - small.width()) / 2, (height - small.height()) / 2);
    let mut canvas = RgbImage::from_pixel(width, height, detector.spec.pixels.neutral());
    image::imageops::replace(&mut canvas, &small, i64::from(left), i64::from(top));
    let mut found = detector.detect(&canvas)?;
    let back = [
        width as f32 / small.width() as f32,
        height as f32 / small.height() as f32,
    ];
    for detection in &mut found {
        detection.map(|[x, y]| [(x - left as f32) * back[0], (y - top as f32) * back[1]]);
    }
    Ok(found)
}

/// Looks at `image` at twice the largest working size, at four times, …, up to its own size or
/// [`LONGEST`]; the first size that shows a face decides. In pixels of `image`.
pub(crate) fn at_larger_sizes(
    detector: &Detector,
    image: &RgbImage,
) -> Result<Vec<Detection>, FaceError> {
    if !detector.takes_every_size() {
        return Ok(Vec::new());
    }
    for size in larger_sizes(detector.spec.options.max_side, image.dimensions()) {
        let found = look_at(detector, image, size)?;
        if !found.is_empty() {
            return Ok(found);
        }
    }
    Ok(Vec::new())
}

/// The sizes, smallest first.
fn larger_sizes(max_side: u32, (width, height): (u32, u32)) -> Vec<[u32; 2]> {
    let longest = width.max(height);
    let last = longest.min(LONGEST);
    let mut sizes = Vec::new();
    let mut side = max_side;
    while side < last {
        side = side.saturating_mul(2).min(last);
        let scaled = |s: u32| {
            let exact = f64::from(s) * f64::from(side) / f64::from(longest);
            (exact.round() as u32).max(1)
        };
        sizes.push([scaled(width), scaled(height)]);
    }
    sizes
}

fn look_at(
    detector: &Detector,
    image: &RgbImage,
    [width, height]: [u32; 2],
) -> Result<Vec<Detection>, FaceError> {
    if image.dimensions() == (width, height) {
        return detector.detect(image);
    }
    let mut found = detector.detect(&resize::shrink(image, width, height))?;
    let back = [
        image.width() as f32 / width as f32,
        image.height() as f32 / height as f32,
    ];
    for detection in &mut found {
        detection.map(|[x, y]| [x * back[0], y * back[1]]);
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_double_up_to_the_images_own() {
        assert_eq!(larger_sizes(640, (640, 480)), [[0; 2]; 0]);
        assert_eq!(larger_sizes(640, (800, 400)), [[800, 400]]);
        assert_eq!(larger_sizes(640, (2000, 1500)), [[1280, 960], [2000, 1500]]);
        let large = larger_sizes(640, (6000, 9000));
        assert_eq!(large, [[853, 1280], [1707, 2560]]);
        assert_eq!(larger_sizes(640, (1, 10_000)).last(), Some(&[1, 2560]));
    }
}
