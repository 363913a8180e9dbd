//! One safetensors file, checked and memory-mapped, whose numbers are read as float32 whatever they
//! are stored as.

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::{Path, PathBuf};

use candle_core::safetensors::MmapedSafetensors;
use candle_core::{Device, Tensor};
use half::{bf16, f16};

use crate::error::{Error, Result};
use crate::header::{Header, StoredTensor, StoredType};

/// Endings of tensors that only other quantizations have, which are not read.
const QUANTIZED: [&str; 4] = [".comfy_quant", ".absmax", ".quant_map", ".qweight"];

/// A safetensors file.
pub struct TensorFile {
    path: PathBuf,
    header: Header,
    mapped: MmapedSafetensors,
}

impl TensorFile {
    /// Checks the header of `path` against the file and maps it.
    ///
    /// # Errors
    /// A file that cannot be read, is damaged, is plainly something else, or is quantized in a way
    /// that is not read.
    pub fn open(path: &Path) -> Result<Self> {
        let header = Header::read(path)?;
        let quantized = |name: &&String| QUANTIZED.iter().any(|end| name.ends_with(end));
        if let Some(name) = header.tensors.keys().find(quantized) {
            return Err(Error::Quantized {
                path: path.into(),
                name: name.clone(),
            });
        }
        let mapped = map_file(path)?;
        tracing::debug!(path = %path.display(), "weights opened");
        Ok(Self {
            path: path.into(),
            header,
            mapped,
        })
    }

    /// Where it lies.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Its tensors by name.
    pub fn tensors(&self) -> &BTreeMap<String, StoredTensor> {
        &self.header.tensors
    }

    /// The texts that its header carries besides.
    pub fn metadata(&self) -> &BTreeMap<String, String> {
        &self.header.metadata
    }

    /// The numbers of `name` in float32: exact but for float64, which is rounded once.
    ///
    /// # Errors
    /// A name that is not there, a type that is not read, [`Error::NotFinite`].
    pub fn numbers(&self, name: &str) -> Result<Vec<f32>> {
        self.part(name, None)
    }

    /// The same of some of its rows: entries of the first dimension, which must be there.
    ///
    /// # Errors
    /// As [`TensorFile::numbers`].
    pub(crate) fn rows(&self, name: &str, rows: Range<usize>) -> Result<Vec<f32>> {
        self.part(name, Some(rows))
    }

    fn part(&self, name: &str, rows: Option<Range<usize>>) -> Result<Vec<f32>> {
        let (bytes, stored) = self.bytes(name)?;
        let bytes = match rows {
            None => bytes,
            Some(rows) => {
                let row = bytes.len() / stored.shape.first().copied().unwrap_or(1).max(1);
                bytes
                    .get(rows.start * row..rows.end * row)
                    .ok_or_else(|| self.unreadable(name, "too short"))?
            }
        };
        let numbers = decoded(bytes, &stored.dtype)
            .ok_or_else(|| self.unreadable(name, &format!("stored as {:?}", stored.dtype)))?;
        match numbers.iter().all(|v| v.is_finite()) {
            true => Ok(numbers),
            false => Err(self.not_finite(name)),
        }
    }

    /// The one number of `name`.
    ///
    /// # Errors
    /// As [`TensorFile::numbers`]; more or fewer numbers.
    pub fn number(&self, name: &str) -> Result<f32> {
        match self.numbers(name)?.as_slice() {
            [number] => Ok(*number),
            numbers => {
                let reason = format!("{} numbers instead of one", numbers.len());
                Err(self.unreadable(name, &reason))
            }
        }
    }

    /// A tensor of 16 or 32 bits as it is stored, on the processor.
    ///
    /// # Errors
    /// As [`TensorFile::numbers`].
    pub(crate) fn tensor(&self, name: &str) -> Result<Tensor> {
        let (bytes, stored) = self.bytes(name)?;
        let finite = match stored.dtype {
            StoredType::F16 => all_finite_16(bytes, 0x7c00),
            StoredType::Bf16 => all_finite_16(bytes, 0x7f80),
            _ => all_finite_32(bytes),
        };
        if !finite {
            return Err(self.not_finite(name));
        }
        Ok(self.mapped.load(name, &Device::Cpu)?)
    }

    fn bytes(&self, name: &str) -> Result<(&[u8], &StoredTensor)> {
        let stored = self.header.tensors.get(name);
        let stored = stored.ok_or_else(|| self.unreadable(name, "absent"))?;
        let view = self.mapped.get(name)?;
        Ok((view.data(), stored))
    }

    fn unreadable(&self, name: &str, reason: &str) -> Error {
        Error::Tensor {
            path: self.path.clone(),
            name: name.into(),
            reason: reason.into(),
        }
    }

    pub(crate) fn not_finite(&self, name: &str) -> Error {
        Error::NotFinite {
            path: self.path.clone(),
            name: name.into(),
        }
    }
}

impl std::fmt::Debug for TensorFile {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("TensorFile").field(&self.path).finish()
    }
}

/// Little-endian numbers of a type in float32; `None` of a type that is not read.
fn decoded(bytes: &[u8], dtype: &StoredType) -> Option<Vec<f32>> {
    let two = || bytes.as_chunks::<2>().0.iter();
    Some(match dtype {
        StoredType::F16 => two().map(|b| f16::from_le_bytes(*b).to_f32()).collect(),
        StoredType::Bf16 => two().map(|b| bf16::from_le_bytes(*b).to_f32()).collect(),
        StoredType::F32 => {
            let four = bytes.as_chunks::<4>().0.iter();
            four.map(|b| f32::from_le_bytes(*b)).collect()
        }
        StoredType::F64 => {
            let eight = bytes.as_chunks::<8>().0.iter();
            eight.map(|b| f64::from_le_bytes(*b) as f32).collect()
        }
        StoredType::F8E4m3 => bytes.iter().map(|b| from_e4m3(*b)).collect(),
        StoredType::F8E5m2 => bytes.iter().map(|b| from_e5m2(*b)).collect(),
        StoredType::Integer(_) | StoredType::Other(_) => return None,
    })
}

/// Sign, four exponent bits, three of the fraction: no infinities, all bits set is no number.
fn from_e4m3(byte: u8) -> f32 {
    let (exponent, fraction) = (i32::from(byte >> 3 & 15), f32::from(byte & 7));
    let magnitude = match (exponent, byte & 7) {
        (15, 7) => f32::NAN,
        (0, _) => fraction * 2f32.powi(-9),
        _ => (8.0 + fraction) * 2f32.powi(exponent - 10),
    };
    if byte & 0x80 == 0 {
        magnitude
    } else {
        -magnitude
    }
}

/// The upper byte of a half-precision number.
fn from_e5m2(byte: u8) -> f32 {
    f16::from_bits(u16::from(byte) << 8).to_f32()
}

/// No number among little-endian 16-bit floats has all the exponent bits of `mask` set.
fn all_finite_16(bytes: &[u8], mask: u16) -> bool {
    let pairs = bytes.as_chunks::<2>().0.iter();
    pairs
        .map(|pair| u16::from_le_bytes(*pair))
        .all(|bits| bits & mask != mask)
}

fn all_finite_32(bytes: &[u8]) -> bool {
    let fours = bytes.as_chunks::<4>().0.iter();
    fours
        .map(|four| f32::from_le_bytes(*four))
        .all(f32::is_finite)
}

#[allow(unsafe_code)]
fn map_file(path: &Path) -> Result<MmapedSafetensors> {
    // SAFETY: the map is read-only and private to this process's readers. As with every memory map,
    // another process that truncates the file meanwhile would end this one by a signal; model
    // folders are not written while a run reads them, and every value read is plain numbers, valid
    // for any bits.
    let mapped = unsafe { MmapedSafetensors::new(path) };
    mapped.map_err(|source| Error::Safetensors {
        path: path.into(),
        reason: source.to_string(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn eight_bit_numbers_are_those_of_their_formats() {
        let cases = [
            (0x01, 2f32.powi(-9)),
            (0x07, 7.0 * 2f32.powi(-9)),
            (0x08, 2f32.powi(-6)),
            (0x38, 1.0),
            (0x3c, 1.5),
            (0x7e, 448.0),
            (0xfe, -448.0),
            (0x80, -0.0),
        ];
        for (byte, expected) in cases {
            assert_eq!(
                from_e4m3(byte).to_bits(),
                f32::to_bits(expected),
                "{byte:#x}"
            );
        }
        assert!(from_e4m3(0x7f).is_nan() && from_e4m3(0xff).is_nan());
        assert_eq!((from_e5m2(0x3c), from_e5m2(0x01)), (1.0, 2f32.powi(-16)));
        assert_eq!(from_e5m2(0x7b), 57344.0);
        assert!(from_e5m2(0x7c).is_infinite() && from_e5m2(0x7d).is_nan());
    }

    /// Every 8-bit number is exact in both 16-bit types.
    #[test]
    fn eight_bit_numbers_fit_sixteen_bits() {
        for byte in 0..=255u8 {
            for number in [from_e4m3(byte), from_e5m2(byte)] {
                if number.is_finite() {
                    assert_eq!(f16::from_f32(number).to_f32(), number);
                    assert_eq!(bf16::from_f32(number).to_f32(), number);
                }
            }
        }
    }
}
