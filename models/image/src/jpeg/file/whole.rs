//! A whole image, as libjpeg-turbo makes it with its own settings and Pillow hands it on.

use image::{DynamicImage, GrayImage, RgbImage};

use super::{File, ODD, OTHER, Stop};
use crate::jpeg::colour::{Colours, from_cmyk, from_rgb, from_ycc, from_ycck};
use crate::jpeg::frame::{Component, Frame};
use crate::jpeg::idct::inverse;
use crate::jpeg::plane::Plane;
use crate::jpeg::sequential::NATURAL;
use crate::jpeg::smooth::{Smooth, is_needed};
use crate::jpeg::upsample::Finer;

impl File<'_> {
    /// The pixels of what was read.
    pub(super) fn pixels(&mut self) -> Result<DynamicImage, Stop> {
        let frame = self.frame.take().ok_or(ODD)?;
        if frame.is_progressive {
            self.transform(&frame)?;
        }
        let names: Vec<u8> = frame.components.iter().map(|c| c.id).collect();
        let colours = Colours::find(&names, self.has_jfif, self.adobe).ok_or(OTHER)?;
        coloured(&frame, &self.planes, colours).ok_or(ODD)
    }

    /// Pixels of the coefficients that a progressive file's scans left.
    fn transform(&mut self, frame: &Frame) -> Result<(), Stop> {
        let count = frame.components.len();
        let steps = self.steps[..count].iter().map(|steps| steps.map(by_rows));
        let steps: Vec<[i16; 64]> = steps.collect::<Option<_>>().ok_or(ODD)?;
        let is_smoothed = is_needed(&self.known[..count], &steps);
        for (index, component) in frame.components.iter().enumerate() {
            // Coefficients go as pixels come.
            let values = std::mem::take(&mut self.values[index]);
            let means = std::mem::take(&mut self.dc_values[index]);
            self.filled[index] = Vec::new();
            let steps = &steps[index];
            let smooth = is_smoothed.then_some(Smooth {
                component,
                means: &means,
                known: self.known[index],
                steps,
            });
            let blocks = Blocks {
                values: &values,
                means: &means,
                steps,
                smooth,
            };
            self.planes[index] = blocks.plane(component);
        }
        Ok(())
    }
}

/// Steps in zigzag order, row by row.
fn by_rows(steps: [u16; 64]) -> [i16; 64] {
    let mut sorted = [0; 64];
    let places = NATURAL.iter().zip(steps);
    places.for_each(|(place, step)| sorted[usize::from(place & 63)] = step as i16);
    sorted
}

/// A component's coefficients.
struct Blocks<'a> {
    /// Row by row, without the first; none where no scan has them.
    values: &'a [i16],
    means: &'a [i32],
    steps: &'a [i16; 64],
    smooth: Option<Smooth<'a>>,
}

impl Blocks<'_> {
    fn plane(&self, component: &Component) -> Plane {
        let mut plane = Plane::new(component, 8);
        let [across, down] = component.blocks;
        for row in 0..down.min(component.rows) {
            for column in 0..across.min(component.stride) {
                let block = self.block(row, column, component.stride);
                let (target, stride) = plane.block(row, column);
                inverse(&block, target, stride);
            }
        }
        plane
    }

    fn block(&self, row: usize, column: usize, stride: usize) -> [i16; 64] {
        let at = row * stride + column;
        let (all, _) = self.values.as_chunks();
        let mut block: [i16; 64] = all.get(at).copied().unwrap_or([0; 64]);
        block[0] = self.means.get(at).copied().unwrap_or_default() as i16;
        if let Some(smooth) = &self.smooth {
            smooth.guess(row, column, &mut block);
        }
        let pairs = block.iter_mut().zip(self.steps);
        pairs.for_each(|(value, step)| *value = value.wrapping_mul(*step));
        block
    }
}

/// Planes brought to the image's size and colours; `None` where pixels are missing.
fn coloured(frame: &Frame, planes: &[Plane; 4], colours: Colours) -> Option<DynamicImage> {
    let (width, height) = (frame.width, frame.height);
    let finer = |(component, plane)| {
        Finer::new(plane, frame.size_of(component), frame.coarseness(component))
    };
    let mut rows: Vec<Finer> = frame.components.iter().zip(planes).map(finer).collect();
    let size = (width as u32, height as u32);
    if let ([gray], Colours::Gray) = (rows.as_mut_slice(), colours) {
        let mut pixels = Vec::with_capacity(width * height);
        for y in 0..height {
            pixels.extend_from_slice(gray.row(y)?.get(..width)?);
        }
        return GrayImage::from_raw(size.0, size.1, pixels).map(DynamicImage::from);
    }
    let mut pixels = vec![0; width * height * 3];
    for (y, line) in pixels.chunks_exact_mut(width * 3).enumerate() {
        match rows.as_mut_slice() {
            [a, b, c] => {
                let (a, b, c) = (a.row(y)?, b.row(y)?, c.row(y)?);
                match colours {
                    Colours::Rgb => from_rgb(line, a, b, c),
                    _ => from_ycc(line, a, b, c),
                }
            }
            [a, b, c, black] => {
                let inks = [a.row(y)?, b.row(y)?, c.row(y)?];
                match colours {
                    Colours::Ycck => from_ycck(line, inks, black.row(y)?),
                    _ => from_cmyk(line, inks, black.row(y)?),
                }
            }
            _ => return None,
        }
    }
    RgbImage::from_raw(size.0, size.1, pixels).map(DynamicImage::from)
}
