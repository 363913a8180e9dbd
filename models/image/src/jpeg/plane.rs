//! Pixels of blocks at fewer than eight pixels a side, and the colours of them.

use image::RgbImage;

use super::frame::{Component, Frame};

/// The pixels of a component.
#[derive(Debug, Default)]
pub(crate) struct Plane {
    /// Pixels from one row to the next.
    stride: usize,
    pixels: Vec<u8>,
}

/// The inverse DCT to `side` × `side` pixels: of the coefficients of an 8 × 8 block those of the lowest
/// frequencies, as libjpeg scales images.
pub(crate) struct Transform {
    side: usize,
    /// By frequency and pixel; 0 beyond `side`.
    waves: [[f32; 8]; 8],
}

impl Transform {
    /// `side` is 1 to 7.
    pub(crate) fn new(side: usize) -> Self {
        let wave = |frequency: usize, pixel: usize| {
            let angle = (2 * pixel + 1) as f64 * frequency as f64 / (2 * side) as f64;
            match frequency < side && pixel < side {
                true => (angle * std::f64::consts::PI).cos() as f32,
                false => 0.0,
            }
        };
        Self {
            side,
            waves: std::array::from_fn(|f| std::array::from_fn(|p| wave(f, p))),
        }
    }

    /// What one step of a coefficient adds to a pixel where its waves are 1, in zigzag order as
    /// `quantization`.
    pub(crate) fn steps(&self, quantization: &[u16; 64]) -> [f32; 64] {
        let amplitude = |frequency| match frequency {
            0 => 0.125_f32.sqrt(),
            _ => 0.5,
        };
        std::array::from_fn(|place| {
            let natural = usize::from(super::sequential::NATURAL[place]);
            let weight = amplitude(natural / 8) * amplitude(natural % 8);
            f32::from(quantization[place]) * weight
        })
    }
}

impl Plane {
    /// For the blocks of a component at `side` pixels each.
    pub(crate) fn new(component: &Component, side: usize) -> Self {
        let stride = component.stride * side;
        Self {
            stride,
            pixels: vec![0; stride * component.rows * side],
        }
    }

    pub(crate) fn row(&self, row: usize) -> Option<&[u8]> {
        let start = row * self.stride;
        self.pixels.get(start..start + self.stride)
    }

    /// The pixels from a block of 8 × 8 on, at a row and a column of blocks, and how many lie from one row to the next.
    #[inline(always)]
    pub(crate) fn block(&mut self, row: usize, column: usize) -> (&mut [u8], usize) {
        let first = (row * self.stride + column) * 8;
        (
            self.pixels.get_mut(first..).unwrap_or_default(),
            self.stride,
        )
    }

    /// One pixel a block.
    pub(crate) fn of_means(component: &Component, dc_values: &[i32], step: f32) -> Self {
        let pixel = |value: &i32| byte(*value as f32 * step + 128.0);
        Self {
            stride: component.stride,
            pixels: dc_values.iter().map(pixel).collect(),
        }
    }

    /// Puts the block whose coefficients these are, row by row and scaled, at a row and a column of blocks. `rows` says
    /// which rows have coefficients besides the first of all.
    pub(crate) fn put(
        &mut self,
        row: usize,
        column: usize,
        transform: &Transform,
        coefficients: &[f32; 64],
        rows: u32,
    ) {
        let side = transform.side;
        let first = row * side * self.stride + column * side;
        let target = self.pixels.get_mut(first..).unwrap_or_default();
        let block = Block {
            coefficients,
            rows,
            waves: &transform.waves,
        };
        // Loops whose lengths are known are unrolled.
        match side {
            2 => block.put::<2>(target, self.stride),
            3 => block.put::<3>(target, self.stride),
            4 => block.put::<4>(target, self.stride),
            5 => block.put::<5>(target, self.stride),
            6 => block.put::<6>(target, self.stride),
            _ => block.put::<7>(target, self.stride),
        }
    }
}

/// A block on its way to pixels.
struct Block<'a> {
    coefficients: &'a [f32; 64],
    rows: u32,
    waves: &'a [[f32; 8]; 8],
}

impl Block<'_> {
    /// Writes `SIDE` pixels into each of as many lines.
    fn put<const SIDE: usize>(&self, target: &mut [u8], stride: usize) {
        let lines = target.chunks_mut(stride.max(1)).take(SIDE);
        if self.rows & ((1 << SIDE) - 1) == 0 {
            let plain = byte(self.coefficients[0] + 128.0);
            lines.for_each(|line| line[..SIDE].fill(plain));
            return;
        }
        let mut half = [[0.0_f32; 8]; SIDE];
        for v in (0..SIDE).filter(|v| (self.rows | 1) >> v & 1 == 1) {
            let mut sums = [0.0_f32; 8];
            for u in 0..SIDE {
                let coefficient = self.coefficients[v * 8 + u];
                (0..8).for_each(|x| sums[x] += coefficient * self.waves[u][x]);
            }
            half[v] = sums;
        }
        for (y, line) in lines.enumerate() {
            let mut sums = [128.0_f32; 8];
            for (wave, half) in self.waves.iter().zip(&half) {
                (0..8).for_each(|x| sums[x] += wave[y] * half[x]);
            }
            let pixels = sums.map(byte);
            line[..SIDE].copy_from_slice(&pixels[..SIDE]);
        }
    }
}

/// The nearest whole number of 0 to 255. 2²³ is where floats have no places behind the point left, so that
/// their last byte is the number: several at a time, which a cast is not.
#[inline(always)]
fn byte(value: f32) -> u8 {
    (value.clamp(0.0, 255.0) + 8_388_608.0).to_bits() as u8
}

/// The image of a frame's components, each block of the finest of them `side` pixels across and down. `None`
/// for frames of other colours than gray and luma with chroma.
pub(crate) fn image(frame: &Frame, planes: &[Plane; 4], side: usize) -> Option<RgbImage> {
    let [width, height] = [frame.width, frame.height].map(|pixels| (pixels * side).div_ceil(8));
    let mut pixels = vec![0; width * height * 3];
    let lines = pixels.chunks_exact_mut(width * 3).enumerate();
    match frame.components.as_slice() {
        [_] => {
            for (y, line) in lines {
                let gray = planes[0].row(y)?.get(..width)?;
                let pairs = line.chunks_exact_mut(3).zip(gray);
                pairs.for_each(|(pixel, v)| pixel.fill(*v));
            }
        }
        [luma, blue, red] => {
            let [across, down] = frame.coarseness(blue);
            let is_usual =
                frame.coarseness(luma) == [1, 1] && frame.coarseness(red) == [across, down];
            if !is_usual || across == 0 || down == 0 {
                return None;
            }
            let mut chroma = Chroma::new(width);
            for (y, line) in lines {
                if y % down == 0 {
                    let [blue, red] = [planes[1].row(y / down)?, planes[2].row(y / down)?];
                    chroma.set(blue, red, across);
                }
                chroma.colour(line, planes[0].row(y)?.get(..width)?);
            }
        }
        _ => return None,
    }
    RgbImage::from_raw(width as u32, height as u32, pixels)
}

/// What a row of chroma adds to each pixel's luma, by JFIF: red, green, blue.
struct Chroma([Vec<i16>; 3]);

impl Chroma {
    fn new(width: usize) -> Self {
        Self([const { Vec::new() }; 3].map(|_: Vec<i16>| vec![0; width]))
    }

    /// From rows of which each value stands for `across` pixels.
    fn set(&mut self, blue: &[u8], red: &[u8], across: usize) {
        let [reds, greens, blues] = &mut self.0;
        let targets = reds.chunks_mut(across).zip(greens.chunks_mut(across));
        let targets = targets.zip(blues.chunks_mut(across));
        for (((r, g), b), (blue, red)) in targets.zip(blue.iter().zip(red)) {
            let (blue, red) = (i32::from(*blue) - 128, i32::from(*red) - 128);
            // 16 bits behind the point.
            r.fill(((91_881 * red + 32_768) >> 16) as i16);
            g.fill(((-22_554 * blue - 46_802 * red + 32_768) >> 16) as i16);
            b.fill(((116_130 * blue + 32_768) >> 16) as i16);
        }
    }

    fn colour(&self, line: &mut [u8], luma: &[u8]) {
        let [reds, greens, blues] = &self.0;
        let added = reds.iter().zip(greens).zip(blues);
        for ((pixel, luma), ((r, g), b)) in line.chunks_exact_mut(3).zip(luma).zip(added) {
            let luma = i16::from(*luma);
            pixel[0] = (luma + r).clamp(0, 255) as u8;
            pixel[1] = (luma + g).clamp(0, 255) as u8;
            pixel[2] = (luma + b).clamp(0, 255) as u8;
        }
    }
}
