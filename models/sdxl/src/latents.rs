//! Initial latents from a file, so that two implementations can start from the same noise.

use std::path::Path;

use safetensors::{Dtype, SafeTensors};

use crate::error::{Error, Result};

/// The tensor that is read where a file holds several: what a [`crate::Trace`] calls it.
const TENSOR: &str = "noise";

/// Standard normal latents of one or more pictures, before the scheduler scales them (diffusers' `latents`).
#[derive(Debug, Clone, PartialEq)]
pub struct InitialLatents {
    /// Each picture's [channels × height × width].
    pub pictures: Vec<Vec<f32>>,
    /// Rows of the latents: a picture's height / 8 for SDXL.
    pub height: usize,
    /// Columns.
    pub width: usize,
}

impl InitialLatents {
    /// Reads the float32 tensor `noise` of a safetensors file, or its only tensor: [pictures, channels, height, width],
    /// or without the first dimension.
    ///
    /// # Errors
    /// [`Error::Latents`]
    pub fn read(path: &Path) -> Result<Self> {
        let wrong = |reason: String| Error::Latents {
            path: path.into(),
            reason,
        };
        let bytes = std::fs::read(path).map_err(|e| wrong(e.to_string()))?;
        let file = SafeTensors::deserialize(&bytes).map_err(|e| wrong(e.to_string()))?;
        let names = file.names();
        let name = match names.as_slice() {
            [only] => only,
            _ => TENSOR,
        };
        let view = file.tensor(name).map_err(|_| {
            let found = names.len();
            wrong(format!("no tensor `{TENSOR}` among its {found}"))
        })?;
        let (count, height, width) = match *view.shape() {
            [count, _, height, width] => (count, height, width),
            [_, height, width] => (1, height, width),
            ref other => {
                let expected = "[pictures, channels, height, width]";
                return Err(wrong(format!(
                    "`{name}` is {other:?} instead of {expected}"
                )));
            }
        };
        if view.dtype() != Dtype::F32 || count == 0 || view.data().is_empty() {
            let (dtype, shape) = (view.dtype(), view.shape());
            return Err(wrong(format!(
                "`{name}` is {dtype:?} {shape:?} instead of float32"
            )));
        }
        let floats = view.data().as_chunks::<4>().0;
        let floats: Vec<f32> = floats
            .iter()
            .map(|four| f32::from_le_bytes(*four))
            .collect();
        if !floats.iter().all(|v| v.is_finite()) {
            return Err(wrong(format!("`{name}` holds values that are not finite")));
        }
        let one = floats.len() / count;
        Ok(Self {
            pictures: floats.chunks_exact(one).map(<[f32]>::to_vec).collect(),
            height,
            width,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::trace::{Trace, TraceValues};

    /// Name, shape and numbers of a tensor.
    type Named<'a> = (&'a str, &'a [usize], TraceValues);

    fn read(tensors: &[Named<'_>]) -> Result<InitialLatents> {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("latents.safetensors");
        let mut trace = Trace::default();
        for (name, shape, values) in tensors {
            trace.record(name, shape, values.clone());
        }
        trace.write(&path).expect("written");
        InitialLatents::read(&path)
    }

    #[test]
    fn noise_is_found_among_others_or_alone() {
        let numbers = |n: u8| TraceValues::F32((0..n).map(f32::from).collect());
        let other = ("decoded", &[1usize, 2][..], numbers(2));
        let both = read(&[("noise", &[2, 1, 2, 3], numbers(12)), other]).expect("latents");
        assert_eq!((both.height, both.width), (2, 3));
        assert_eq!(both.pictures[1], [6.0, 7.0, 8.0, 9.0, 10.0, 11.0]);
        let alone = read(&[("latents", &[1, 2, 3], numbers(6))]).expect("latents");
        assert_eq!(alone.pictures.len(), 1);
    }

    #[test]
    fn what_is_no_latents_is_named() {
        let numbers = |n: usize| TraceValues::F32(vec![0.5; n]);
        let ids = TraceValues::I32(vec![1; 6]);
        let nan = TraceValues::F32(vec![f32::NAN; 6]);
        let cases: [(&[Named<'_>], &str); 4] = [
            (
                &[("a", &[2], numbers(2)), ("b", &[2], numbers(2))],
                "no tensor `noise`",
            ),
            (&[("noise", &[6], numbers(6))], "[6] instead of"),
            (&[("noise", &[1, 2, 3], ids)], "instead of float32"),
            (&[("noise", &[1, 2, 3], nan)], "not finite"),
        ];
        for (tensors, words) in cases {
            let error = read(tensors).expect_err(words).to_string();
            assert!(error.contains(words), "{error}");
        }
        assert!(InitialLatents::read(Path::new("nowhere")).is_err());
    }
}
