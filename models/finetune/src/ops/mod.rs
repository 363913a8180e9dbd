//! Differentiable tensor operations of the U-Net: on the processor in float32 fused kernels with
//! gradients by hand, elsewhere candle's own operations, all of which have a backward pass.
//!
//! A gradient by hand is computed only for arguments that something trained depends on
//! (`Tensor::track_op`): frozen weights cost nothing going back.

pub(crate) mod attention;
pub(crate) mod conv;
pub(crate) mod gated;
pub(crate) mod gathered;
pub(crate) mod linear;
pub(crate) mod norm;
pub(crate) mod upsample;

use std::ops::{Deref, Range};

use candle_core::{Device, Result, Shape, Storage, StorageRef, Tensor, bail};

/// The numbers of a contiguous float32 tensor on the processor, borrowed.
pub(crate) struct Numbers<'a> {
    storage: StorageRef<'a>,
    range: Range<usize>,
}

impl Deref for Numbers<'_> {
    type Target = [f32];

    fn deref(&self) -> &[f32] {
        match &*self.storage {
            Storage::Cpu(storage) => storage
                .as_slice::<f32>()
                .map_or(&[], |all| &all[self.range.clone()]),
            _ => &[],
        }
    }
}

/// Borrows a tensor's numbers.
///
/// # Errors
/// A tensor with gaps, of another type or elsewhere.
pub(crate) fn numbers(tensor: &Tensor) -> Result<Numbers<'_>> {
    let (storage, layout) = tensor.storage_and_layout();
    let Some((start, end)) = layout.contiguous_offsets() else {
        bail!("the kernel needs a contiguous tensor")
    };
    match &*storage {
        Storage::Cpu(cpu) => {
            cpu.as_slice::<f32>()?;
        }
        _ => bail!("the kernel needs a tensor on the processor"),
    }
    Ok(Numbers {
        storage,
        range: start..end,
    })
}

/// Numbers of the processor as a tensor.
pub(crate) fn tensor(values: Vec<f32>, shape: impl Into<Shape>) -> Result<Tensor> {
    Tensor::from_vec(values, shape.into(), &Device::Cpu)
}

/// Calls `make` if the gradient by `argument` is wanted.
pub(crate) fn wanted(
    argument: &Tensor,
    make: impl FnOnce() -> Result<Tensor>,
) -> Result<Option<Tensor>> {
    argument.track_op().then(make).transpose()
}

/// Lanes in which sums are kept, so that they vectorize in one order.
const LANES: usize = 16;

/// Σ f(aᵢ, bᵢ), in lanes of float32 over short blocks, in float64 between them.
#[inline(always)]
pub(crate) fn sum_pairs(a: &[f32], b: &[f32], f: impl Fn(f32, f32) -> f32) -> f64 {
    let mut total = 0f64;
    for (a, b) in a.chunks(4096).zip(b.chunks(4096)) {
        let mut lanes = [0f32; LANES];
        let ((a, a_rest), (b, b_rest)) = (a.as_chunks::<LANES>(), b.as_chunks::<LANES>());
        for (a, b) in a.iter().zip(b) {
            for ((lane, a), b) in lanes.iter_mut().zip(a).zip(b) {
                *lane += f(*a, *b);
            }
        }
        total += lanes.iter().map(|lane| f64::from(*lane)).sum::<f64>();
        let rest = a_rest.iter().zip(b_rest);
        total += rest.map(|(a, b)| f64::from(f(*a, *b))).sum::<f64>();
    }
    total
}

#[cfg(test)]
pub(crate) mod tests {
    //! Every gradient by hand against candle's of plain operations, and against differences.

    use candle_core::{Device, Result, Tensor, Var};

    /// Numbers without a pattern that a mistake could hide behind.
    pub(crate) fn some(shape: &[usize], by: f32) -> Tensor {
        let count = shape.iter().product::<usize>();
        let values: Vec<f32> = (0..count)
            .map(|i| ((i as f32 + 1.0) * by).sin() * 1.3 + ((i * i) as f32 * 0.37 + by).cos() * 0.4)
            .collect();
        Tensor::from_vec(values, shape.to_vec(), &Device::Cpu).expect("a tensor")
    }

    /// Output and gradients of `f` by all `inputs`, of the sum of its output times fixed numbers.
    pub(crate) fn gradients(
        inputs: &[Tensor],
        f: impl Fn(&[Tensor]) -> Result<Tensor>,
    ) -> (Vec<f32>, Vec<Vec<f32>>) {
        let vars: Vec<Var> = inputs
            .iter()
            .map(|t| Var::from_tensor(t).expect("a variable"))
            .collect();
        let tensors: Vec<Tensor> = vars.iter().map(|v| v.as_tensor().clone()).collect();
        let y = f(&tensors).expect("an output");
        let seed = some(y.dims(), 0.61);
        let loss = (&y * seed).expect("a product").sum_all().expect("a sum");
        let store = loss.backward().expect("gradients");
        let flat = |t: &Tensor| t.flatten_all().and_then(|t| t.to_vec1()).expect("numbers");
        let by = |v: &Var| flat(store.get(v).expect("a gradient for every input"));
        (flat(&y), vars.iter().map(by).collect())
    }

    /// Compares two ways to compute the same.
    pub(crate) fn assert_same(
        inputs: &[Tensor],
        ours: impl Fn(&[Tensor]) -> Result<Tensor>,
        plain: impl Fn(&[Tensor]) -> Result<Tensor>,
    ) {
        let (y, by) = gradients(inputs, ours);
        let (expected, expected_by) = gradients(inputs, plain);
        close(&y, &expected, "output");
        for (i, (a, b)) in by.iter().zip(&expected_by).enumerate() {
            close(a, b, &format!("gradient {i}"));
        }
    }

    fn close(ours: &[f32], expected: &[f32], what: &str) {
        assert_eq!(ours.len(), expected.len(), "{what}");
        let top = expected.iter().fold(1e-3f32, |a, b| a.max(b.abs()));
        for (i, (a, b)) in ours.iter().zip(expected).enumerate() {
            assert!((a - b).abs() < 2e-5 * top, "{what} {i}: {a} {b}");
        }
    }
}
