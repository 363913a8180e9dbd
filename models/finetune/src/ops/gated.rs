//! GEGLU, the feed-forward's gate.

use candle_core::{CpuStorage, CustomOp1, D, Layout, Result, Shape, Tensor, bail};
use laioncele_nn::kernels::{erf, exp, gelu};
use laioncele_nn::ops::{contiguous, on_cpu_in_f32};
use laioncele_sdxl::kernels;

use super::{numbers, tensor};

/// [value, gate] halves of the last dimension → value · gelu(gate), with the exact gelu.
pub(crate) fn geglu(x: &Tensor) -> Result<Tensor> {
    if on_cpu_in_f32(x) {
        return x.contiguous()?.apply_op1(GegluOp);
    }
    plain(x)
}

fn plain(x: &Tensor) -> Result<Tensor> {
    let halves = x.chunk(2, D::Minus1)?;
    &halves[0] * halves[1].gelu_erf()?
}

/// The derivative of x · Φ(x).
#[inline(always)]
fn gelu_slope(x: f32) -> f32 {
    const ROOT: f32 = std::f32::consts::FRAC_1_SQRT_2;
    let below = 0.5 * (1.0 + erf(x * ROOT));
    let density = exp(-0.5 * x * x) * (0.5 * std::f32::consts::FRAC_2_SQRT_PI * ROOT);
    below + x * density
}

struct GegluOp;

impl CustomOp1 for GegluOp {
    fn name(&self) -> &'static str {
        "geglu"
    }

    fn cpu_fwd(&self, x: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let x = contiguous(x, layout)?;
        let mut dims = layout.dims().to_vec();
        let width = match dims.last_mut() {
            Some(last) if *last > 0 && *last % 2 == 0 => {
                *last /= 2;
                *last
            }
            _ => bail!("geglu of {:?}", layout.shape()),
        };
        let mut output = vec![0f32; x.len() / 2];
        kernels::geglu(x, width, &mut output);
        Ok((CpuStorage::F32(output), dims.into()))
    }

    fn bwd(&self, x: &Tensor, _: &Tensor, grad: &Tensor) -> Result<Option<Tensor>> {
        let grad = grad.contiguous()?;
        let (values, grads) = (numbers(x)?, numbers(&grad)?);
        let width = x.dim(D::Minus1)? / 2;
        let mut by = vec![0f32; values.len()];
        let rows = values
            .chunks_exact(2 * width)
            .zip(grads.chunks_exact(width));
        for ((row, grad), by) in rows.zip(by.chunks_exact_mut(2 * width)) {
            let (values, gates) = row.split_at(width);
            let (by_value, by_gate) = by.split_at_mut(width);
            let inputs = values.iter().zip(gates).zip(grad);
            let outputs = by_value.iter_mut().zip(by_gate);
            for ((by_value, by_gate), ((value, gate), grad)) in outputs.zip(inputs) {
                *by_value = grad * gelu(*gate);
                *by_gate = grad * value * gelu_slope(*gate);
            }
        }
        Ok(Some(tensor(by, x.shape())?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::tests::{assert_same, some};

    #[test]
    fn gradients_of_the_gate_equal_candles() {
        assert_same(
            &[some(&[2, 3, 10], 0.7)],
            |t| geglu(&t[0]),
            |t| plain(&t[0]),
        );
    }
}
