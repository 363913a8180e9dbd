//! JPEG files read by our own decoder: their pixels, equal to those of libjpeg-turbo as Pillow calls it, whether
//! every block of a file is there, the means of its blocks, and the image at some eighths of its size.
//!
//! For the proof and the means, entropy-coded data is walked through by its lengths alone: no
//! dequantization, no transform, no colours. That proves what decoding proves, since nothing behind the
//! entropy decoder can fail.

mod bits;
mod colour;
mod file;
mod frame;
mod huffman;
mod idct;
mod pixels;
mod plane;
mod progressive;
mod scan;
mod sequential;
mod smooth;
mod upsample;

pub(crate) use file::{Walked, is_usual, means, prove, scaled};
pub(crate) use frame::Means;
pub(crate) use pixels::{pixels, size, turn};
