//! JPEG files read without making pixels: whether every block of a file is there, and the means of
//! its blocks.
//!
//! Entropy-coded data is walked through by its lengths alone: no dequantization, no transform, no
//! colours. That proves what decoding proves, since nothing behind the entropy decoder can fail.

mod bits;
mod file;
mod frame;
mod huffman;
mod pixels;
mod progressive;
mod sequential;

pub(crate) use file::{Walked, walk};
pub(crate) use frame::Means;
pub(crate) use pixels::{pixels, prove, size, turn};
