//! What formats there are, what is known and asked of a file, and why one cannot be decoded.

use image::ImageFormat;

/// Bytes that a decoder may allocate besides pixels.
pub(crate) const SMALL: u64 = 32 << 20;

/// A format that this crate decodes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// JPEG, baseline or progressive.
    Jpeg,
    /// PNG, of any depth and colour type.
    Png,
    /// WebP, lossy or lossless; of an animation the first image.
    WebP,
    /// GIF; of an animation the first image.
    Gif,
    /// BMP.
    Bmp,
    /// TIFF; the first page.
    Tiff,
    /// AVIF.
    Avif,
}

impl Format {
    /// The usual file extension, without the dot.
    pub fn extension(self) -> &'static str {
        match self {
            Self::Jpeg => "jpg",
            Self::Png => "png",
            Self::WebP => "webp",
            Self::Gif => "gif",
            Self::Bmp => "bmp",
            Self::Tiff => "tif",
            Self::Avif => "avif",
        }
    }

    /// Its name as people write it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Jpeg => "JPEG",
            Self::Png => "PNG",
            Self::WebP => "WebP",
            Self::Gif => "GIF",
            Self::Bmp => "BMP",
            Self::Tiff => "TIFF",
            Self::Avif => "AVIF",
        }
    }

    pub(crate) fn of(format: ImageFormat) -> Option<Self> {
        match format {
            ImageFormat::Jpeg => Some(Self::Jpeg),
            ImageFormat::Png => Some(Self::Png),
            ImageFormat::WebP => Some(Self::WebP),
            ImageFormat::Gif => Some(Self::Gif),
            ImageFormat::Bmp => Some(Self::Bmp),
            ImageFormat::Tiff => Some(Self::Tiff),
            _ => None,
        }
    }
}

/// Format and size of a file, from its header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// The format, from the content and not from the file's name.
    pub format: Format,
    /// Width in pixels as stored, before orientation.
    pub width: u32,
    /// Height in pixels as stored, before orientation.
    pub height: u32,
}

impl Header {
    /// About how many bytes [`decode`](crate::decode()) takes for such an image beside the file.
    pub fn memory_to_decode(&self) -> u64 {
        self.pixels().saturating_mul(7)
    }

    /// Width × height.
    pub fn pixels(&self) -> u64 {
        u64::from(self.width) * u64::from(self.height)
    }

    /// Bytes that a decoder of this image may allocate: the largest pixels have 16.
    pub(crate) fn allowed(&self) -> u64 {
        self.pixels().saturating_mul(16).saturating_add(SMALL)
    }
}

/// Limits on what a decoder allocates.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// The most pixels, width × height, that an image may have.
    pub max_pixels: u64,
}

impl Default for Limits {
    /// 100 megapixels.
    fn default() -> Self {
        Self {
            max_pixels: 100_000_000,
        }
    }
}

/// Whether the EXIF orientation is applied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Orientation {
    /// Pixels as they are stored (what Pillow's `Image.open` gives, and so what imagehash sees).
    AsStored,
    /// Pixels as the image is meant to be looked at.
    Upright,
}

/// Why a file cannot be decoded. The texts are kept in the `dropped` table: they do not change.
#[derive(Debug, thiserror::Error)]
pub enum DecodeError {
    /// The content is of no format that this crate decodes.
    #[error("not a JPEG, PNG, WebP, GIF, BMP, TIFF or AVIF picture")]
    NotAnImage,
    /// More pixels than the limit, by the header.
    #[error("{width} × {height} pixels, more than {max_pixels} in all")]
    TooLarge {
        /// Width by the header, in pixels.
        width: u32,
        /// Height by the header, in pixels.
        height: u32,
        /// The most pixels allowed.
        max_pixels: u64,
    },
    /// The format is known, the content broken.
    #[error("broken picture: {0}")]
    Corrupt(String),
}
