//! Image files into pixels, exactly as the reference tools do it: decoding with limits, Pillow's
//! gray and resampling.
//!
//! All bytes are treated as hostile: sizes are read from the header and refused before anything is
//! allocated.
//!
//! ```
//! use laioncele_image::{Filter, Format, Limits, Orientation, decode, header, resample};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let bytes = std::fs::read("../face/tests/fixtures/first-a.png")?;
//! let header = header(&bytes)?;
//! assert_eq!((header.format, header.width, header.height), (Format::Png, 128, 128));
//! let image = decode(&bytes, &Limits::default(), Orientation::Upright)?;
//! assert_eq!(resample(&image, 32, 24, Filter::Bicubic).dimensions(), (32, 24));
//! // More pixels than the limit are refused by the header.
//! assert!(decode(&bytes, &Limits { max_pixels: 1000 }, Orientation::Upright).is_err());
//! # Ok(())
//! # }
//! ```

mod avif;
mod decode;
mod facts;
mod format;
mod gif;
mod gray;
mod isobmff;
mod jpeg;
mod reduced;
mod resample;
mod resize;
mod rows;
mod structure;
mod tiff;
mod tiny;
mod webp;

pub use decode::{check, decode, header, memory_to_check, quiet_panics, sniff};
pub use facts::{Facts, facts};
pub use format::{DecodeError, Format, Header, Limits, Orientation};
pub use gray::gray;
pub use reduced::{Reduced, decode_reduced};
pub use resample::{Filter, resample};
pub use resize::{Resized, resize_to};
pub use tiny::tiny_gray;
