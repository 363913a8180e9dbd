//! JPEG files read by our own entropy decoder: whether every block of a file is there, the means of its
//! blocks, and the image at some eighths of its size. Whole pixels are a library's.
//!
//! For the proof and the means, entropy-coded data is walked through by its lengths alone: no
//! dequantization, no transform, no colours. That proves what decoding proves, since nothing behind the
//! entropy decoder can fail.

mod bits;
mod file;
mod frame;
mod huffman;
mod pixels;
mod plane;
mod progressive;
mod scan;
mod sequential;

pub(crate) use file::{Walked, means, scaled};
pub(crate) use frame::Means;
pub(crate) use pixels::{pixels, prove, size, turn};
