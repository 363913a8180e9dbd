//! Random tensors, streamed into a safetensors file.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::Path;

use clap::ValueEnum;
use half::f16;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};
use serde_json::{Map, json};

use crate::RandomError;

/// Half the width of the interval that biases and embedding tables are drawn from.
const SMALL: f32 = 0.02;

/// How numbers are stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Stored {
    /// IEEE half precision, in files of the `fp16` variant.
    F16,
    /// Single precision.
    F32,
}

impl Stored {
    /// The weight file's name.
    pub fn file_name(self, stem: &str) -> String {
        match self {
            Self::F16 => format!("{stem}.fp16.safetensors"),
            Self::F32 => format!("{stem}.safetensors"),
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::F16 => "F16",
            Self::F32 => "F32",
        }
    }

    fn bytes(self) -> u64 {
        match self {
            Self::F16 => 2,
            Self::F32 => 4,
        }
    }

    fn put(self, out: &mut impl Write, value: f32) -> io::Result<()> {
        match self {
            Self::F16 => out.write_all(&f16::from_f32(value).to_le_bytes()),
            Self::F32 => out.write_all(&value.to_le_bytes()),
        }
    }
}

/// Numbers of a tensor.
pub(crate) fn count(shape: &[usize]) -> u64 {
    shape.iter().map(|n| *n as u64).product()
}

/// Writes tensors of these names and shapes to `path`.
pub(crate) fn write(
    path: &Path,
    shapes: &[(String, Vec<usize>)],
    dtype: Stored,
    seed: u64,
    part: &str,
) -> Result<(), RandomError> {
    let failed = RandomError::at(path);
    let mut out = BufWriter::with_capacity(1 << 20, File::create(path).map_err(&failed)?);
    let header = header(shapes, dtype);
    out.write_all(&(header.len() as u64).to_le_bytes())
        .and_then(|()| out.write_all(&header))
        .map_err(&failed)?;
    for (name, shape) in shapes {
        let mut rng = ChaCha8Rng::from_seed(key(seed, part, name));
        let range = Range::of(name, shape);
        for _ in 0..count(shape) {
            let value = range.value(rng.next_u32());
            dtype.put(&mut out, value).map_err(&failed)?;
        }
    }
    out.flush().map_err(&failed)
}

/// The safetensors header, padded so that the numbers begin at a multiple of eight bytes.
fn header(shapes: &[(String, Vec<usize>)], dtype: Stored) -> Vec<u8> {
    let mut entries = Map::new();
    entries.insert("__metadata__".to_owned(), json!({ "format": "pt" }));
    let mut offset = 0;
    for (name, shape) in shapes {
        let end = offset + count(shape) * dtype.bytes();
        let entry = json!({ "dtype": dtype.name(), "shape": shape, "data_offsets": [offset, end] });
        entries.insert(name.clone(), entry);
        offset = end;
    }
    let mut header = serde_json::Value::Object(entries).to_string().into_bytes();
    header.resize(header.len().next_multiple_of(8), b' ');
    header
}

/// A tensor's own random numbers: the same whatever else is written.
fn key(seed: u64, part: &str, name: &str) -> [u8; 32] {
    // FNV-1a: any spread of names over keys will do.
    let hash = part.bytes().chain([0]).chain(name.bytes());
    let hash = hash.fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    let mut key = [0; 32];
    key[..8].copy_from_slice(&seed.to_le_bytes());
    key[8..16].copy_from_slice(&hash.to_le_bytes());
    key
}

/// The interval that a tensor's numbers are drawn from.
struct Range {
    middle: f32,
    reach: f32,
}

impl Range {
    /// Norms scale by about 1; matrices keep the variance of what they are applied to, so that the
    /// networks' outputs stay finite in half precision.
    fn of(name: &str, shape: &[usize]) -> Self {
        let (middle, reach) =
            if name.rsplit('.').next() == Some("bias") || name.contains("embedding.weight") {
                (0.0, SMALL)
            } else if let [_, inputs @ ..] = shape
                && !inputs.is_empty()
            {
                (0.0, (3.0 / count(inputs) as f32).sqrt())
            } else {
                (1.0, SMALL)
            };
        Self { middle, reach }
    }

    fn value(&self, bits: u32) -> f32 {
        let unit = (bits >> 8) as f32 / (1u32 << 23) as f32 - 1.0;
        self.middle + self.reach * unit
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_stay_in_their_interval() {
        let norm = Range::of("norm1.weight", &[320]);
        let matrix = Range::of("attn1.to_q.weight", &[640, 300]);
        let bias = Range::of("conv_in.bias", &[320]);
        for bits in [0, 1 << 31, u32::MAX] {
            assert!((0.98..=1.02).contains(&norm.value(bits)));
            assert!(matrix.value(bits).abs() <= 0.1001);
            assert!(bias.value(bits).abs() <= SMALL);
        }
        assert!(matrix.value(0) < -0.0999 && matrix.value(u32::MAX) > 0.0999);
    }

    #[test]
    fn every_tensor_has_its_own_numbers() {
        assert_ne!(key(0, "unet", "a"), key(0, "unet", "b"));
        assert_ne!(key(0, "unet", "a"), key(0, "vae", "a"));
        assert_ne!(key(0, "unet", "a"), key(1, "unet", "a"));
    }
}
