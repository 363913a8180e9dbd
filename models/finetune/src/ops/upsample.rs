//! Nearest-neighbour upsampling.

use candle_core::{CpuStorage, CustomOp1, Layout, Result, Shape, Tensor};
use laioncele_nn::ops::{contiguous, on_cpu_in_f32};
use laioncele_sdxl::kernels;

use super::{numbers, tensor};

/// x [batch × channels × h × w] at `height` × `width`; off the processor a whole multiple of its
/// size, for candle has no gradient of others.
pub(crate) fn upsample_nearest(x: &Tensor, height: usize, width: usize) -> Result<Tensor> {
    if on_cpu_in_f32(x) {
        return x.contiguous()?.apply_op1(UpsampleOp { height, width });
    }
    x.upsample_nearest2d(height, width)
}

struct UpsampleOp {
    height: usize,
    width: usize,
}

impl UpsampleOp {
    /// For every output of a plane in turn, the input that it copies.
    fn sources(&self, height: usize, width: usize) -> impl Iterator<Item = usize> {
        let (to_height, to_width) = (self.height, self.width);
        (0..to_height).flat_map(move |y| {
            let row = y * height / to_height * width;
            (0..to_width).map(move |x| row + x * width / to_width)
        })
    }
}

impl CustomOp1 for UpsampleOp {
    fn name(&self) -> &'static str {
        "upsample-nearest"
    }

    fn cpu_fwd(&self, x: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let (batch, channels, height, width) = layout.shape().dims4()?;
        let x = contiguous(x, layout)?;
        let (from, to) = ((height, width), (self.height, self.width));
        let mut output = vec![0f32; batch * channels * self.height * self.width];
        let planes = x.chunks_exact((height * width).max(1));
        for (plane, out) in planes.zip(output.chunks_exact_mut((to.0 * to.1).max(1))) {
            kernels::upsample_nearest(plane, from, to, out);
        }
        let shape = (batch, channels, self.height, self.width);
        Ok((CpuStorage::F32(output), shape.into()))
    }

    fn bwd(&self, x: &Tensor, _: &Tensor, grad: &Tensor) -> Result<Option<Tensor>> {
        let (.., height, width) = x.dims4()?;
        let grad = grad.contiguous()?;
        let grad = numbers(&grad)?;
        let sources: Vec<usize> = self.sources(height, width).collect();
        let mut by = vec![0f32; x.elem_count()];
        let planes = grad.chunks_exact(sources.len().max(1));
        for (grad, by) in planes.zip(by.chunks_exact_mut((height * width).max(1))) {
            sources
                .iter()
                .zip(grad)
                .for_each(|(i, grad)| by[*i] += grad);
        }
        Ok(Some(tensor(by, x.shape())?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::tests::{assert_same, gradients, some};

    #[test]
    fn doubling_has_candles_gradient() {
        assert_same(
            &[some(&[2, 3, 2, 4], 0.7)],
            |t| upsample_nearest(&t[0], 4, 8),
            |t| t[0].upsample_nearest2d(4, 8),
        );
    }

    /// To a skip's odd size: every output's gradient arrives once.
    #[test]
    fn uneven_sizes_keep_the_sum_of_gradients() {
        let (_, by) = gradients(&[some(&[1, 1, 2, 2], 0.7)], |t| {
            upsample_nearest(&t[0], 3, 3)
        });
        let seed = some(&[1, 1, 3, 3], 0.61)
            .sum_all()
            .and_then(|s| s.to_scalar::<f32>());
        let sum: f32 = by[0].iter().sum();
        assert!((sum - seed.expect("a sum")).abs() < 1e-5);
    }
}
