//! Image files into pixels, exactly as the reference tools do it: decoding with limits, Pillow's gray and resampling.
//!
//! Every byte is taken to be hostile: sizes are read from the header and refused before anything is allocated.

mod decode;
mod gray;
mod reduced;
mod resample;

pub use decode::{DecodeError, Format, Header, Limits, Orientation, decode, header, sniff};
pub use gray::gray;
pub use reduced::{Reduced, decode_reduced};
pub use resample::{Filter, resample};
