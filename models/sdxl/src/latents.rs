//! Noise from a file, so that two implementations can start from the same latents and sample the
//! same later.

use std::path::Path;

use safetensors::tensor::TensorView;
use safetensors::{Dtype, SafeTensors};

use crate::error::Error;
use crate::noise::{LaterNoise, Noise};

/// The tensors as a [`crate::Trace`] calls them.
const FIRST: &str = "noise";
const LATER: &str = "step_noise";

/// Standard normal latents of one or more images, before the scheduler scales them (diffusers'
/// `latents`).
#[derive(Debug, Clone, PartialEq)]
pub struct InitialLatents {
    /// Each image's [channels × height × width].
    pub images: Vec<Vec<f32>>,
    /// For each image what a scheduler that needs more (LCM) gets, step by step; `None` if the file
    /// has none.
    pub later: Option<Vec<Vec<Vec<f32>>>>,
    /// Rows of the latents: an image's height / 8 for SDXL.
    pub height: usize,
    /// Columns.
    pub width: usize,
}

impl InitialLatents {
    /// Reads the float32 tensor `noise` of a safetensors file, or its only tensor: [images,
    /// channels, height, width], or without the first dimension; and `step_noise` [steps, images,
    /// channels, height, width] where there is one.
    ///
    /// # Errors
    /// [`Error::Latents`]
    pub fn read(path: &Path) -> crate::Result<Self> {
        let wrong = |reason: String| Error::Latents {
            path: path.into(),
            reason,
        };
        let bytes = std::fs::read(path).map_err(|e| wrong(e.to_string()))?;
        let file = SafeTensors::deserialize(&bytes).map_err(|e| wrong(e.to_string()))?;
        let names = file.names();
        let name = match names.as_slice() {
            [only] => only,
            _ => FIRST,
        };
        let view = file.tensor(name).map_err(|_| {
            let found = names.len();
            wrong(format!("no tensor `{FIRST}` among its {found}"))
        })?;
        let (count, latent) = match *view.shape() {
            [count, ref latent @ ..] if latent.len() == 3 => (count, latent),
            ref latent if latent.len() == 3 => (1, latent),
            ref other => {
                let expected = "[images, channels, height, width]";
                return Err(wrong(format!(
                    "`{name}` is {other:?} instead of {expected}"
                )));
            }
        };
        let first = floats(name, &view).map_err(wrong)?;
        let images = split(&first, count);
        let later = match file.tensor(LATER) {
            Ok(later) => Some(read_later(&later, count, latent).map_err(wrong)?),
            Err(_) => None,
        };
        Ok(Self {
            images,
            later,
            height: latent[1],
            width: latent[2],
        })
    }

    /// Each image's noise; where the file does not say what comes after its latents, it is that of
    /// `seed`, of the image after it of `seed` + 1.
    pub fn noises(self, seed: u64) -> Vec<Noise> {
        let mut given = self.later.map(Vec::into_iter);
        let noise = |(k, first)| {
            let later = given.as_mut().and_then(Iterator::next);
            let seeded = LaterNoise::Seed(seed.wrapping_add(k));
            let later = later.map_or(seeded, LaterNoise::Given);
            Noise::Latents { first, later }
        };
        (0u64..).zip(self.images).map(noise).collect()
    }
}

/// Per image, per step, of a tensor [steps, images, …].
fn read_later(
    view: &TensorView<'_>,
    images: usize,
    latent: &[usize],
) -> Result<Vec<Vec<Vec<f32>>>, String> {
    let [steps, ref rest @ ..] = *view.shape() else {
        return Err(format!("`{LATER}` has no dimensions"));
    };
    if *rest != [&[images][..], latent].concat() {
        let shape = view.shape();
        return Err(format!(
            "`{LATER}` is {shape:?} instead of [steps, {images}] and {latent:?} as `{FIRST}`"
        ));
    }
    let numbers = floats(LATER, view)?;
    let steps: Vec<_> = (split(&numbers, steps).iter())
        .map(|step| split(step, images))
        .collect();
    Ok((0..images)
        .map(|image| steps.iter().map(|step| step[image].clone()).collect())
        .collect())
}

/// `count` equal parts.
fn split(numbers: &[f32], count: usize) -> Vec<Vec<f32>> {
    let one = numbers.len() / count;
    numbers.chunks_exact(one).map(<[f32]>::to_vec).collect()
}

/// The numbers of a float32 tensor, all finite and at least one.
fn floats(name: &str, view: &TensorView<'_>) -> Result<Vec<f32>, String> {
    if view.dtype() != Dtype::F32 || view.data().is_empty() {
        let (dtype, shape) = (view.dtype(), view.shape());
        return Err(format!(
            "`{name}` is {dtype:?} {shape:?} instead of float32"
        ));
    }
    let numbers = view.data().as_chunks::<4>().0.iter();
    let numbers: Vec<f32> = numbers.map(|four| f32::from_le_bytes(*four)).collect();
    if numbers.iter().all(|v| v.is_finite()) {
        Ok(numbers)
    } else {
        Err(format!("`{name}` holds values that are not finite"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Result;
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
        assert_eq!(both.images[1], [6.0, 7.0, 8.0, 9.0, 10.0, 11.0]);
        let alone = read(&[("latents", &[1, 2, 3], numbers(6))]).expect("latents");
        assert_eq!(alone.images.len(), 1);
    }

    #[test]
    fn later_noise_is_given_or_seeded() {
        let numbers = |n: u8| TraceValues::F32((0..n).map(f32::from).collect());
        let first = ("noise", &[2, 1, 1, 2][..], numbers(4));
        let later = ("step_noise", &[3, 2, 1, 1, 2][..], numbers(12));
        let given = read(&[first.clone(), later]).expect("latents").noises(5);
        let expected = Noise::Latents {
            first: vec![2.0, 3.0],
            later: LaterNoise::Given(vec![vec![2.0, 3.0], vec![6.0, 7.0], vec![10.0, 11.0]]),
        };
        assert_eq!(given[1], expected);
        let seeded = read(std::slice::from_ref(&first))
            .expect("latents")
            .noises(5);
        let later = LaterNoise::Seed(6);
        assert!(matches!(&seeded[1], Noise::Latents { later: found, .. } if *found == later));
        let other = ("step_noise", &[3, 2, 1, 2, 1][..], numbers(12));
        let error = read(&[first, other]).expect_err("another shape");
        assert!(error.to_string().contains("step_noise"), "{error}");
    }

    #[test]
    fn read_rejects_non_latent_tensors() {
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
