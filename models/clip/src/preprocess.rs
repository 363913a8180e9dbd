//! Images to CLIP's pixels, byte for byte as Pillow and transformers make them: alpha over white,
//! antialiased bicubic resize, centre crop, normalization.

use std::path::{Path, PathBuf};

use image::{DynamicImage, RgbImage};
use serde::Deserialize;

use laioncele_nn::config::JsonFile;
use laioncele_nn::{Error, Result};

/// Bits after the point in Pillow's fixed-point filter weights.
const PRECISION_BITS: u32 = 22;

/// `preprocessor_config.json` of a CLIP image tower.
#[derive(Debug, Clone)]
pub struct Preprocessor {
    shortest_edge: usize,
    crop_height: usize,
    crop_width: usize,
    rescale_factor: f64,
    mean: [f32; 3],
    std: [f32; 3],
}

#[derive(Deserialize)]
struct PreprocessorJson {
    size: SizeJson,
    crop_size: SizeJson,
    image_mean: [f32; 3],
    image_std: [f32; 3],
    #[serde(default = "one_255th")]
    rescale_factor: f64,
}

/// An edge as newer or older files write it.
#[derive(Deserialize)]
#[serde(untagged)]
enum SizeJson {
    Edge(usize),
    Shortest { shortest_edge: usize },
    Sides { height: usize, width: usize },
}

fn one_255th() -> f64 {
    1.0 / 255.0
}

impl Preprocessor {
    /// The file that it is read from.
    pub(crate) fn file(folder: &Path) -> PathBuf {
        folder.join("preprocessor_config.json")
    }

    /// Reads `preprocessor_config.json` in `folder`.
    ///
    /// # Errors
    /// A configuration that is missing, damaged or not supported.
    pub fn load(folder: &Path) -> Result<Self> {
        let json = JsonFile::read(&Self::file(folder))?;
        for key in [
            "do_resize",
            "do_center_crop",
            "do_rescale",
            "do_normalize",
            "do_convert_rgb",
        ] {
            json.require(key, &["true", "null"])?;
        }
        json.require("resample", &["3"])?;
        let config: PreprocessorJson = json.parse()?;
        let shortest_edge = match config.size {
            SizeJson::Edge(edge)
            | SizeJson::Shortest {
                shortest_edge: edge,
            } => edge,
            SizeJson::Sides { .. } => {
                return Err(json.unsupported("size", &json.value()["size"], "a shortest_edge"));
            }
        };
        let (crop_height, crop_width) = match config.crop_size {
            SizeJson::Edge(edge) => (edge, edge),
            SizeJson::Sides { height, width } => (height, width),
            SizeJson::Shortest { .. } => {
                return Err(json.unsupported(
                    "crop_size",
                    &json.value()["crop_size"],
                    "height and width",
                ));
            }
        };
        json.check_count("size", shortest_edge, 4096)?;
        json.check_count("crop_size", crop_height.min(crop_width), shortest_edge)?;
        json.check_count("crop_size", crop_height.max(crop_width), shortest_edge)?;
        if config.image_std.contains(&0.0) {
            return Err(json.unsupported(
                "image_std",
                &json.value()["image_std"],
                "numbers other than 0",
            ));
        }
        Ok(Self {
            shortest_edge,
            crop_height,
            crop_width,
            rescale_factor: config.rescale_factor,
            mean: config.image_mean,
            std: config.image_std,
        })
    }

    /// CLIP's own: the shortest edge becomes `edge` pixels, the centre is cropped.
    pub fn clip(edge: usize) -> Self {
        Self {
            shortest_edge: edge,
            crop_height: edge,
            crop_width: edge,
            rescale_factor: one_255th(),
            mean: [0.481_454_66, 0.457_827_5, 0.408_210_73],
            std: [0.268_629_54, 0.261_302_6, 0.275_777_1],
        }
    }

    /// Height and width of the images made, in pixels.
    pub fn size(&self) -> (usize, usize) {
        (self.crop_height, self.crop_width)
    }

    /// Resizes the shorter edge and crops the centre; only what the crop keeps is computed.
    ///
    /// # Errors
    /// [`Error::EmptyImage`]
    pub fn crop(&self, image: &RgbImage) -> Result<RgbImage> {
        let (width, height) = (image.width() as usize, image.height() as usize);
        if width == 0 || height == 0 {
            return Err(Error::EmptyImage {
                width: image.width(),
                height: image.height(),
            });
        }
        let edge = self.shortest_edge;
        let (new_width, new_height) = if width <= height {
            (edge, edge * height / width)
        } else {
            (edge * width / height, edge)
        };
        self.window(image, (new_width, new_height))
    }

    /// The whole image, squeezed or stretched to the size of the crop.
    ///
    /// # Errors
    /// [`Error::EmptyImage`]
    pub fn squeeze(&self, image: &RgbImage) -> Result<RgbImage> {
        if image.width() == 0 || image.height() == 0 {
            return Err(Error::EmptyImage {
                width: image.width(),
                height: image.height(),
            });
        }
        self.window(image, (self.crop_width, self.crop_height))
    }

    /// The centre of `image` after it was resized to (width, height), which the crop is no larger
    /// than.
    fn window(
        &self,
        image: &RgbImage,
        (new_width, new_height): (usize, usize),
    ) -> Result<RgbImage> {
        let (width, height) = (image.width() as usize, image.height() as usize);
        let left = (new_width - self.crop_width) / 2;
        let top = (new_height - self.crop_height) / 2;
        let rows = resample(
            image.as_raw(),
            Axis {
                count: height,
                stride: width * 3,
            },
            Axis {
                count: width,
                stride: 3,
            },
            &Window {
                size: new_width,
                first: left,
                count: self.crop_width,
            },
        );
        // The second pass runs along columns: the axes change places, and so do its results.
        let across = self.crop_width * 3;
        let columns = resample(
            &rows,
            Axis {
                count: self.crop_width,
                stride: 3,
            },
            Axis {
                count: height,
                stride: across,
            },
            &Window {
                size: new_height,
                first: top,
                count: self.crop_height,
            },
        );
        let turned = transpose(&columns, self.crop_width, self.crop_height);
        RgbImage::from_raw(self.crop_width as u32, self.crop_height as u32, turned).ok_or(
            Error::EmptyImage {
                width: image.width(),
                height: image.height(),
            },
        )
    }

    /// Cropped bytes → normalized float32 [3 × height × width].
    pub fn pixel_values(&self, cropped: &RgbImage) -> Vec<f32> {
        let plane = cropped.as_raw().len() / 3;
        let mut out = vec![0f32; plane * 3];
        for (i, pixel) in cropped.as_raw().chunks_exact(3).enumerate() {
            for c in 0..3 {
                let value = (f64::from(pixel[c]) * self.rescale_factor) as f32;
                out[c * plane + i] = (value - self.mean[c]) / self.std[c];
            }
        }
        out
    }

    /// [`Preprocessor::crop`], then [`Preprocessor::pixel_values`].
    ///
    /// # Errors
    /// [`Error::EmptyImage`]
    pub fn preprocess(&self, image: &RgbImage) -> Result<Vec<f32>> {
        Ok(self.pixel_values(&self.crop(image)?))
    }
}

/// A decoded image as CLIP sees it: transparency laid over white in Pillow's integer arithmetic.
pub fn flatten_over_white(image: &DynamicImage) -> RgbImage {
    if !image.color().has_alpha() {
        return image.to_rgb8();
    }
    let rgba = image.to_rgba8();
    let mut out = Vec::with_capacity(rgba.as_raw().len() / 4 * 3);
    for pixel in rgba.as_raw().chunks_exact(4) {
        let alpha = u32::from(pixel[3]);
        for c in &pixel[..3] {
            let value = u32::from(*c) * alpha * 128 + 255 * (255 - alpha) * 128 + 16384;
            out.push(((((value >> 8) + value) >> 8) >> 7) as u8);
        }
    }
    // The buffer has exactly the size that from_raw asks for.
    RgbImage::from_raw(rgba.width(), rgba.height(), out).unwrap_or_default()
}

/// One axis of an image of interleaved RGB bytes.
#[derive(Clone, Copy)]
struct Axis {
    count: usize,
    stride: usize,
}

/// The outputs `first..first + count` of a pass that would make `size` of them.
struct Window {
    size: usize,
    first: usize,
    count: usize,
}

/// One bicubic pass along `along` for every line of `across`: bytes [across.count × window.count ×
/// 3].
fn resample(data: &[u8], across: Axis, along: Axis, window: &Window) -> Vec<u8> {
    let mut out = vec![0u8; across.count * window.count * 3];
    for i in 0..window.count {
        let (first, weights) = filter(along.count, window.size, window.first + i);
        for line in 0..across.count {
            let mut sums = [1i64 << (PRECISION_BITS - 1); 3];
            for (j, weight) in weights.iter().enumerate() {
                let pixel = &data[line * across.stride + (first + j) * along.stride..];
                for c in 0..3 {
                    sums[c] += i64::from(pixel[c]) * weight;
                }
            }
            for (c, sum) in sums.iter().enumerate() {
                out[(line * window.count + i) * 3 + c] =
                    (sum >> PRECISION_BITS).clamp(0, 255) as u8;
            }
        }
    }
    out
}

/// The first input and the fixed-point weights for output `i` of `size` from `count` inputs.
fn filter(count: usize, size: usize, i: usize) -> (usize, Vec<i64>) {
    if count == size {
        return (i, vec![1 << PRECISION_BITS]);
    }
    let scale = count as f64 / size as f64;
    let stretch = scale.max(1.0);
    let support = 2.0 * stretch;
    let centre = (i as f64 + 0.5) * scale;
    // `as` rounds towards zero and takes negative numbers to 0, as Pillow does.
    let first = (centre - support + 0.5) as usize;
    let last = ((centre + support + 0.5) as usize).min(count);
    let weights: Vec<f64> = (first..last)
        .map(|j| bicubic((j as f64 - centre + 0.5) * (1.0 / stretch)))
        .collect();
    let norm = 1.0 / weights.iter().sum::<f64>();
    let fixed = |weight: &f64| {
        let scaled = weight * norm * f64::from(1u32 << PRECISION_BITS);
        (scaled + if *weight < 0.0 { -0.5 } else { 0.5 }) as i64
    };
    (first, weights.iter().map(fixed).collect())
}

/// Keys' cubic with a = -0.5.
fn bicubic(x: f64) -> f64 {
    let x = x.abs();
    if x < 1.0 {
        (1.5 * x - 2.5) * x * x + 1.0
    } else if x < 2.0 {
        ((x - 5.0) * x + 8.0) * x * -0.5 + 2.0
    } else {
        0.0
    }
}

/// [columns × rows × 3] → [rows × columns × 3].
fn transpose(data: &[u8], columns: usize, rows: usize) -> Vec<u8> {
    let mut out = vec![0u8; data.len()];
    for y in 0..rows {
        for x in 0..columns {
            out[(y * columns + x) * 3..][..3].copy_from_slice(&data[(x * rows + y) * 3..][..3]);
        }
    }
    out
}
