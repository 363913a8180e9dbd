//! From images to tensors: the order of colours, means and scales, and the planes that networks are
//! given.

use std::cell::Cell;

use image::{Rgb, RgbImage};
use serde::Deserialize;

/// Numbers that a thread keeps memory for: planes of a megapixel.
const MOST_KEPT: usize = 3 << 20;

thread_local! {
    static PLANES: Cell<Vec<f32>> = const { Cell::new(Vec::new()) };
}

/// Order of the colours in a tensor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Channels {
    /// Red, green, blue.
    Rgb,
    /// Blue, green, red.
    Bgr,
}

/// From pixels to a tensor's numbers: (value in 0…255 − mean) / scale, channel by channel in the
/// tensor's order.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Pixels {
    pub(crate) channels: Channels,
    pub(crate) mean: [f32; 3],
    pub(crate) scale: [f32; 3],
}

impl Pixels {
    /// Bytes as they are: red, green, blue.
    pub(crate) const RAW: Self = Self {
        channels: Channels::Rgb,
        mean: [0.0; 3],
        scale: [1.0; 3],
    };

    /// What `work` makes of the planes of `images`, one image after the other, row-major. The
    /// thread keeps their memory: fresh pages for each image take longer than filling them.
    pub(crate) fn with_planes<T>(&self, images: &[&RgbImage], work: impl FnOnce(&[f32]) -> T) -> T {
        let mut planes = PLANES.take();
        planes.clear();
        // Grown by doubling, it would soon be too large to keep.
        planes.reserve_exact(images.iter().map(|p| p.as_raw().len()).sum());
        for image in images {
            self.add_planes(image, &mut planes);
        }
        let made = work(&planes);
        if planes.capacity() <= MOST_KEPT {
            PLANES.set(planes);
        }
        made
    }

    fn add_planes(&self, image: &RgbImage, planes: &mut Vec<f32>) {
        for k in 0..3 {
            let (mean, scale, channel) = (self.mean[k], self.scale[k], self.channel(k));
            let number: [f32; 256] = std::array::from_fn(|value| (value as f32 - mean) / scale);
            let (pixels, _) = image.as_raw().as_chunks::<3>();
            planes.extend(pixels.iter().map(|p| number[usize::from(p[channel])]));
        }
    }

    /// The colour that becomes zeros, as near as bytes come.
    pub(crate) fn neutral(&self) -> Rgb<u8> {
        let mut colour = [0; 3];
        for k in 0..3 {
            colour[self.channel(k)] = self.mean[k] as u8;
        }
        Rgb(colour)
    }

    fn channel(&self, k: usize) -> usize {
        match self.channels {
            Channels::Rgb => k,
            Channels::Bgr => 2 - k,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colours_come_in_the_tensors_order() {
        let image = RgbImage::from_pixel(1, 1, Rgb([10, 20, 30]));
        let pixels = |channels| Pixels {
            channels,
            mean: [1.0, 2.0, 3.0],
            scale: [1.0, 2.0, 3.0],
        };
        let planes = |channels| pixels(channels).with_planes(&[&image], <[f32]>::to_vec);
        assert_eq!(planes(Channels::Rgb), [9.0, 9.0, 9.0]);
        assert_eq!(planes(Channels::Bgr), [29.0, 9.0, 7.0 / 3.0]);
        assert_eq!(pixels(Channels::Bgr).neutral().0, [3, 2, 1]);
    }
}
