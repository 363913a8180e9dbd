//! AVIF: the primary image of the file, decoded by one thread.
//!
//! Not read: images made of a grid of tiles, gain maps, colour profiles (as Pillow, which keeps them
//! aside too). Alpha is left out.

use avif_parse::AvifData;
use image::metadata::Orientation as Turn;
use image::{DynamicImage, RgbImage};
use re_rav1d::dav1d::pixel::{MatrixCoefficients, YUVRange};
use re_rav1d::dav1d::{Decoder, Picture, PixelLayout, PlanarImageComponent, Settings};

use crate::format::DecodeError;
use crate::isobmff;

/// Whether the file says by its brands that it is AVIF.
pub(crate) fn is_avif(bytes: &[u8]) -> bool {
    let Some(&[a, b, c, d, b'f', b't', b'y', b'p', ..]) = bytes.get(..12) else {
        return false;
    };
    let size = (u32::from_be_bytes([a, b, c, d]) as usize)
        .min(bytes.len())
        .min(256);
    let brands = bytes.get(8..size).unwrap_or_default();
    // The second four bytes are a version.
    let mut brands = brands.chunks_exact(4).enumerate().filter(|(i, _)| *i != 1);
    brands.any(|(_, brand)| brand == b"avif" || brand == b"avis")
}

/// Width and height as stored. A container that says nothing but other sizes gives the largest of them and the image's own:
/// readers make room for what it says.
pub(crate) fn size(bytes: &[u8]) -> Result<(u32, u32), DecodeError> {
    let own = size_of(&open(bytes)?)?;
    let said = isobmff::sizes(bytes);
    if said.is_empty() || said.contains(&own) {
        return Ok(own);
    }
    let area = |(width, height): &(u32, u32)| u64::from(*width) * u64::from(*height);
    let all = said.into_iter().chain([own]);
    Ok(all.max_by_key(area).unwrap_or(own))
}

fn open(bytes: &[u8]) -> Result<AvifData, DecodeError> {
    let mut file = bytes.to_vec();
    // The parser refuses animations by their first brand; they have a primary image as others do.
    if let Some(brand) = file.get_mut(8..12)
        && brand == b"avis"
    {
        brand.copy_from_slice(b"avif");
    }
    // Nor does it read a last box that goes on to the end without saying how long it is.
    isobmff::say_length_of_last(&mut file);
    AvifData::from_reader(&mut file.as_slice()).map_err(|e| corrupt(&e))
}

fn corrupt(error: &dyn std::fmt::Display) -> DecodeError {
    DecodeError::Corrupt(error.to_string())
}

fn size_of(file: &AvifData) -> Result<(u32, u32), DecodeError> {
    let data = file.primary_item_metadata().map_err(|e| corrupt(&e))?;
    Ok((data.max_frame_width.get(), data.max_frame_height.get()))
}

/// Proves that the image decodes, without making colours of its planes.
pub(crate) fn prove(bytes: &[u8]) -> Result<(), DecodeError> {
    picture(bytes).map(|_| ())
}

/// The pixels as they are stored, and how they must be turned to be looked at.
pub(crate) fn pixels(bytes: &[u8]) -> Result<(DynamicImage, Turn), DecodeError> {
    let picture = picture(bytes)?;
    let image = rgb(&picture, colours(bytes, &picture))?;
    Ok((DynamicImage::from(image), turn(bytes)))
}

/// The primary image, of the size that headers and container say.
fn picture(bytes: &[u8]) -> Result<Picture, DecodeError> {
    let file = open(bytes)?;
    let (width, height) = size_of(&file)?;
    let said = isobmff::sizes(bytes);
    if !said.is_empty() && !said.contains(&(width, height)) {
        return Err(corrupt(
            &"the AVIF's container says another size than its image",
        ));
    }
    let picture = decoded(&file.primary_item, width.saturating_mul(height))?;
    if (picture.width(), picture.height()) != (width, height) {
        return Err(corrupt(
            &"the AVIF's image has another size than its header says",
        ));
    }
    Ok(picture)
}

fn decoded(data: &[u8], max_pixels: u32) -> Result<Picture, DecodeError> {
    let mut settings = Settings::new();
    settings.set_n_threads(1);
    settings.set_max_frame_delay(1);
    settings.set_frame_size_limit(max_pixels);
    settings.set_strict_std_compliance(false);
    let mut decoder = Decoder::with_settings(&settings).map_err(|e| corrupt(&e))?;
    match decoder.send_data(data.to_vec(), None, None, None) {
        Ok(()) => {}
        // Data of more frames is left over: the first is there.
        Err(error) if error.is_again() => {}
        Err(error) => return Err(corrupt(&error)),
    }
    decoder
        .get_picture()
        .map_err(|error| match error.is_again() {
            true => corrupt(&"the AVIF is cut off"),
            false => corrupt(&error),
        })
}

/// How luma and chroma make colours.
#[derive(Clone, Copy)]
struct Colours {
    /// Weights of red and blue in luma; none for planes that are green, blue and red themselves.
    weights: Option<[f32; 2]>,
    is_full_range: bool,
}

/// As the container says (`colr` of kind `nclx`), else as the image data does.
fn colours(bytes: &[u8], picture: &Picture) -> Colours {
    let nclx = memchr::memmem::find(bytes, b"colrnclx").and_then(|at| bytes.get(at + 8..at + 15));
    let (matrix, is_full_range) = match nclx {
        Some(&[.., high, low, range]) => (u16::from_be_bytes([high, low]), range >> 7 == 1),
        _ => (
            match picture.matrix_coefficients() {
                MatrixCoefficients::Identity => 0,
                MatrixCoefficients::BT709 => 1,
                MatrixCoefficients::BT470M => 4,
                MatrixCoefficients::ST240M => 7,
                MatrixCoefficients::BT2020NonConstantLuminance => 9,
                _ => 6,
            },
            picture.color_range() == YUVRange::Full,
        ),
    };
    // ITU-T H.273, table 4.
    let weights = match matrix {
        0 => None,
        1 => Some([0.2126, 0.0722]),
        4 => Some([0.30, 0.11]),
        7 => Some([0.212, 0.087]),
        9 => Some([0.2627, 0.0593]),
        _ => Some([0.299, 0.114]),
    };
    Colours {
        weights,
        is_full_range,
    }
}

/// `irot` and `imir` of the container, rotation first.
fn turn(bytes: &[u8]) -> Turn {
    let property = |name: &[u8]| {
        let at = memchr::memmem::find(bytes, name)?;
        // A box of nine bytes: size, name, one byte.
        let size = bytes.get(at.checked_sub(4)?..at)?;
        (size == [0, 0, 0, 9]).then_some(bytes.get(at + 4)? & 3)
    };
    // Quarter turns are counted against the clock; the mirror is across 0 the horizontal axis, 1 the vertical one.
    match (
        property(b"irot").unwrap_or(0),
        property(b"imir").map(|axis| axis & 1),
    ) {
        (0, None) => Turn::NoTransforms,
        (1, None) => Turn::Rotate270,
        (2, None) => Turn::Rotate180,
        (_, None) => Turn::Rotate90,
        (0, Some(1)) | (2, Some(0)) => Turn::FlipHorizontal,
        (0 | 2, Some(_)) => Turn::FlipVertical,
        (1, Some(0)) | (3, Some(1)) => Turn::Rotate270FlipH,
        (_, Some(_)) => Turn::Rotate90FlipH,
    }
}

/// One plane's rows as numbers.
struct Rows {
    plane: re_rav1d::dav1d::Plane,
    stride: usize,
    is_wide: bool,
}

impl Rows {
    fn of(picture: &Picture, component: PlanarImageComponent) -> Self {
        Self {
            plane: picture.plane(component),
            stride: picture.stride(component) as usize,
            is_wide: picture.bit_depth() > 8,
        }
    }

    /// Puts `width` values of row `y` into `into`, each less `zero`.
    fn read(&self, y: usize, width: usize, zero: f32, into: &mut Vec<f32>) {
        let row = self.plane.get(y * self.stride..).unwrap_or_default();
        into.clear();
        match self.is_wide {
            true => into.extend(
                row.chunks_exact(2)
                    .take(width)
                    .map(|v| f32::from(u16::from_le_bytes([v[0], v[1]])) - zero),
            ),
            false => into.extend(row.iter().take(width).map(|v| f32::from(*v) - zero)),
        }
        into.resize(width, 0.0);
    }
}

fn rgb(picture: &Picture, colours: Colours) -> Result<RgbImage, DecodeError> {
    let (width, height) = (picture.width() as usize, picture.height() as usize);
    let mut bytes = Vec::with_capacity(width * height * 3);
    let luma = Rows::of(picture, PlanarImageComponent::Y);
    let layout = picture.pixel_layout();
    let chroma = (layout != PixelLayout::I400).then(|| {
        [PlanarImageComponent::U, PlanarImageComponent::V].map(|c| Chroma::new(picture, c, layout))
    });
    let [mut y_row, mut u_row, mut v_row] = [(); 3].map(|()| vec![0.0; width]);
    let scale = Scale::new(picture.bit_depth(), colours);
    for y in 0..height {
        luma.read(y, width, scale.black, &mut y_row);
        if let Some([u, v]) = &chroma {
            u.read(y, [width, height], scale.gray, &mut u_row);
            v.read(y, [width, height], scale.gray, &mut v_row);
        }
        for ((y, u), v) in y_row.iter().zip(&u_row).zip(&v_row) {
            bytes.extend(scale.rgb(*y, *u, *v));
        }
    }
    RgbImage::from_raw(picture.width(), picture.height(), bytes)
        .ok_or_else(|| corrupt(&"pixels are missing"))
}

/// From stored values to bytes of red, green and blue.
struct Scale {
    black: f32,
    gray: f32,
    luma: f32,
    chroma: f32,
    weights: Option<[f32; 2]>,
}

impl Scale {
    fn new(bits: usize, colours: Colours) -> Self {
        let one = (1 << (bits - 8)) as f32;
        let highest = ((1_u32 << bits) - 1) as f32;
        let (black, luma, chroma) = match colours.is_full_range {
            true => (0.0, highest, highest),
            false => (16.0 * one, 219.0 * one, 224.0 * one),
        };
        // Without a matrix, "chroma" is blue and red.
        let (gray, chroma) = match colours.weights {
            Some(_) => (128.0 * one, chroma),
            None => (black, luma),
        };
        Self {
            black,
            gray,
            luma: 255.0 / luma,
            chroma: 255.0 / chroma,
            weights: colours.weights,
        }
    }

    fn rgb(&self, y: f32, u: f32, v: f32) -> [u8; 3] {
        let (y, u, v) = (y * self.luma, u * self.chroma, v * self.chroma);
        let colours = match self.weights {
            None => [v, y, u],
            Some([red, blue]) => {
                let r = y + 2.0 * (1.0 - red) * v;
                let b = y + 2.0 * (1.0 - blue) * u;
                [r, (y - red * r - blue * b) / (1.0 - red - blue), b]
            }
        };
        colours.map(|c| (c + 0.5) as u8)
    }
}

/// A chroma plane, brought to the size of luma.
struct Chroma {
    rows: Rows,
    halves: [bool; 2],
}

impl Chroma {
    fn new(picture: &Picture, component: PlanarImageComponent, layout: PixelLayout) -> Self {
        Self {
            rows: Rows::of(picture, component),
            halves: match layout {
                PixelLayout::I420 => [true, true],
                PixelLayout::I422 => [true, false],
                PixelLayout::I444 | PixelLayout::I400 => [false, false],
            },
        }
    }

    /// Row `y` of the whole size, each less `zero`: three parts of the nearest value, one of the
    /// next, both ways.
    fn read(&self, y: usize, [width, height]: [usize; 2], zero: f32, into: &mut Vec<f32>) {
        let [half_width, half_height] = self.halves;
        let stored_width = if half_width { width.div_ceil(2) } else { width };
        let mut near = Vec::new();
        if half_height {
            let last = height.div_ceil(2) - 1;
            let mut far = Vec::new();
            self.rows.read(y / 2, stored_width, zero, &mut near);
            let next = if y.is_multiple_of(2) {
                (y / 2).saturating_sub(1)
            } else {
                (y / 2 + 1).min(last)
            };
            self.rows.read(next, stored_width, zero, &mut far);
            for (near, far) in near.iter_mut().zip(&far) {
                *near = *near * 0.75 + far * 0.25;
            }
        } else {
            self.rows.read(y, stored_width, zero, &mut near);
        }
        into.clear();
        match half_width {
            false => into.append(&mut near),
            true => into.extend((0..width).map(|x| {
                let next = if x % 2 == 0 {
                    (x / 2).saturating_sub(1)
                } else {
                    (x / 2 + 1).min(stored_width - 1)
                };
                near[x / 2] * 0.75 + near[next] * 0.25
            })),
        }
    }
}
