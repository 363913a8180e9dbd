//! Group norm, with silu after it or without, and layer norm.

use candle_core::{CpuStorage, CustomOp3, D, DType, Layout, Result, Shape, Tensor, bail};
use laioncele_nn::kernels::{self, exp, moments};
use laioncele_nn::ops::{contiguous, on_cpu_in_f32};
use laioncele_sdxl::kernels::group_norm as group_norm_of;

use super::gathered::gradient;
use super::{numbers, sum_pairs, tensor, wanted};

/// What follows a group norm.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Then {
    /// Nothing.
    Nothing,
    /// x · σ(x).
    Silu,
}

/// Group norm of x [batch × channels × …] in float32 whatever its type.
pub(crate) fn group_norm(
    x: &Tensor,
    weight: &Tensor,
    bias: &Tensor,
    groups: usize,
    eps: f64,
    then: Then,
) -> Result<Tensor> {
    if on_cpu_in_f32(x) {
        return x
            .contiguous()?
            .apply_op3(weight, bias, GroupNormOp { groups, eps, then });
    }
    plain_group_norm(x, weight, bias, groups, eps, then)
}

fn plain_group_norm(
    x: &Tensor,
    weight: &Tensor,
    bias: &Tensor,
    groups: usize,
    eps: f64,
    then: Then,
) -> Result<Tensor> {
    let (batch, channels) = (x.dim(0)?, x.dim(1)?);
    let grouped = x.to_dtype(DType::F32)?.reshape((batch, groups, ()))?;
    let normed = standardized(&grouped, eps)?.reshape((batch, channels, ()))?;
    let column = |t: &Tensor| t.to_dtype(DType::F32)?.reshape((1, channels, 1));
    let normed = normed
        .broadcast_mul(&column(weight)?)?
        .broadcast_add(&column(bias)?)?;
    let y = match then {
        Then::Silu => normed.silu()?,
        Then::Nothing => normed,
    };
    y.to_dtype(x.dtype())?.reshape(x.shape())
}

/// (x − mean) / √(variance + ε) over the last dimension.
fn standardized(x: &Tensor, eps: f64) -> Result<Tensor> {
    let centred = x.broadcast_sub(&x.mean_keepdim(D::Minus1)?)?;
    let variance = centred.sqr()?.mean_keepdim(D::Minus1)?;
    centred.broadcast_div(&(variance + eps)?.sqrt()?)
}

/// Layer norm over the last dimension, in float32 whatever the type of x.
pub(crate) fn layer_norm(x: &Tensor, weight: &Tensor, bias: &Tensor, eps: f64) -> Result<Tensor> {
    if on_cpu_in_f32(x) {
        return x.contiguous()?.apply_op3(weight, bias, LayerNormOp { eps });
    }
    plain_layer_norm(x, weight, bias, eps)
}

fn plain_layer_norm(x: &Tensor, weight: &Tensor, bias: &Tensor, eps: f64) -> Result<Tensor> {
    let wide = x.to_dtype(DType::F32)?;
    standardized(&wide, eps)?
        .broadcast_mul(&weight.to_dtype(DType::F32)?)?
        .broadcast_add(&bias.to_dtype(DType::F32)?)?
        .to_dtype(x.dtype())
}

/// The derivative of x · σ(x).
#[inline(always)]
pub(crate) fn silu_slope(x: f32) -> f32 {
    let sigmoid = 1.0 / (1.0 + exp(-x));
    sigmoid * (1.0 + x * (1.0 - sigmoid))
}

/// Adds numbers to numbers.
fn add(to: &mut [f32], values: &[f32]) -> Result<()> {
    to.iter_mut().zip(values).for_each(|(to, v)| *to += v);
    Ok(())
}

struct GroupNormOp {
    groups: usize,
    eps: f64,
    then: Then,
}

impl GroupNormOp {
    /// Numbers of one image, of one channel, and channels of a group.
    fn sizes(&self, x: &Shape, channels: usize) -> Result<(usize, usize, usize)> {
        let image = x.dims().iter().skip(1).product::<usize>();
        if x.dims().get(1) != Some(&channels) || !channels.is_multiple_of(self.groups) || image == 0
        {
            bail!("a group norm of {x:?} in {} groups", self.groups);
        }
        Ok((image, image / channels, channels / self.groups))
    }

    /// One group's gradients: x, result's gradient and ∂loss/∂x of it, and its channels' weights,
    /// biases and their gradients.
    fn group_gradient(&self, x: &[f32], into: &mut [f32], affine: Affine<'_>) {
        let Affine {
            weight,
            bias,
            by_weight,
            by_bias,
        } = affine;
        let plane = x.len() / weight.len();
        let (mean, scale) = moments(x, self.eps);
        let (mut sum, mut sum_normed) = (0f64, 0f64);
        for (channel, grad) in into.chunks_exact_mut(plane).enumerate() {
            let x = &x[channel * plane..][..plane];
            let (factor, shift) = (weight[channel], bias[channel]);
            if self.then == Then::Silu {
                for (grad, x) in grad.iter_mut().zip(x) {
                    *grad *= silu_slope((x - mean) * scale * factor + shift);
                }
            }
            let total = sum_pairs(grad, x, |grad, _| grad);
            let total_normed = sum_pairs(grad, x, |grad, x| grad * ((x - mean) * scale));
            by_bias[channel] += total as f32;
            by_weight[channel] += total_normed as f32;
            sum += total * f64::from(factor);
            sum_normed += total_normed * f64::from(factor);
        }
        let count = x.len() as f64;
        let (of_one, of_normed) = ((sum / count) as f32, (sum_normed / count) as f32);
        for (channel, grad) in into.chunks_exact_mut(plane).enumerate() {
            let x = &x[channel * plane..][..plane];
            let factor = weight[channel];
            for (grad, x) in grad.iter_mut().zip(x) {
                *grad = scale * (*grad * factor - of_one - (x - mean) * scale * of_normed);
            }
        }
    }
}

/// A norm's own numbers and their gradients.
struct Affine<'a> {
    weight: &'a [f32],
    bias: &'a [f32],
    by_weight: &'a mut [f32],
    by_bias: &'a mut [f32],
}

impl CustomOp3 for GroupNormOp {
    fn name(&self) -> &'static str {
        "group-norm"
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        xl: &Layout,
        w: &CpuStorage,
        wl: &Layout,
        b: &CpuStorage,
        bl: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let (weight, bias) = (contiguous(w, wl)?, contiguous(b, bl)?);
        let (image, ..) = self.sizes(xl.shape(), weight.len())?;
        let x = contiguous(x, xl)?;
        let mut output = vec![0f32; x.len()];
        let (groups, eps, silu) = (self.groups, self.eps, self.then == Then::Silu);
        for (x, y) in x.chunks_exact(image).zip(output.chunks_exact_mut(image)) {
            group_norm_of(x, weight, bias, groups, eps, silu, y);
        }
        Ok((CpuStorage::F32(output), xl.shape().clone()))
    }

    fn bwd(
        &self,
        x: &Tensor,
        weight: &Tensor,
        bias: &Tensor,
        _: &Tensor,
        grad: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
        let channels = weight.elem_count();
        let (_, plane, per_group) = self.sizes(x.shape(), channels)?;
        let grad = grad.contiguous()?;
        let mut by_x = numbers(&grad)?.to_vec();
        let (values, weights, biases) = (numbers(x)?, numbers(weight)?, numbers(bias)?);
        let (mut by_weight, mut by_bias) = (vec![0f32; channels], vec![0f32; channels]);
        let groups = values.chunks_exact(per_group * plane).enumerate();
        for ((group, x), into) in groups.zip(by_x.chunks_exact_mut(per_group * plane)) {
            let first = group % self.groups * per_group;
            let own = first..first + per_group;
            let affine = Affine {
                weight: &weights[own.clone()],
                bias: &biases[own.clone()],
                by_weight: &mut by_weight[own.clone()],
                by_bias: &mut by_bias[own],
            };
            self.group_gradient(x, into, affine);
        }
        Ok((
            wanted(x, || tensor(by_x, x.shape()))?,
            gradient(weight, |by| add(by, &by_weight))?,
            gradient(bias, |by| add(by, &by_bias))?,
        ))
    }
}

struct LayerNormOp {
    eps: f64,
}

impl CustomOp3 for LayerNormOp {
    fn name(&self) -> &'static str {
        "layer-norm"
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        xl: &Layout,
        w: &CpuStorage,
        wl: &Layout,
        b: &CpuStorage,
        bl: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let (x, weight, bias) = (contiguous(x, xl)?, contiguous(w, wl)?, contiguous(b, bl)?);
        if xl.dims().last() != Some(&weight.len()) || weight.is_empty() {
            bail!("a layer norm of {:?} with {:?}", xl.shape(), wl.shape());
        }
        let mut output = vec![0f32; x.len()];
        kernels::layer_norm(x, weight, bias, self.eps, &mut output);
        Ok((CpuStorage::F32(output), xl.shape().clone()))
    }

    fn bwd(
        &self,
        x: &Tensor,
        weight: &Tensor,
        bias: &Tensor,
        _: &Tensor,
        grad: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
        let width = weight.elem_count();
        let grad = grad.contiguous()?;
        let mut by_x = numbers(&grad)?.to_vec();
        let (values, weights) = (numbers(x)?, numbers(weight)?);
        let (mut by_weight, mut by_bias) = (vec![0f32; width], vec![0f32; width]);
        let affine = weight.track_op() || bias.track_op();
        for (x, grad) in values.chunks_exact(width).zip(by_x.chunks_exact_mut(width)) {
            let (mean, scale) = moments(x, self.eps);
            if affine {
                let sums = by_weight.iter_mut().zip(&mut by_bias);
                for ((by_weight, by_bias), (grad, x)) in sums.zip(grad.iter().zip(x)) {
                    *by_weight += grad * ((x - mean) * scale);
                    *by_bias += grad;
                }
            }
            grad.iter_mut()
                .zip(weights.iter())
                .for_each(|(g, w)| *g *= w);
            let of_one = (sum_pairs(grad, x, |g, _| g) / width as f64) as f32;
            let of_normed = sum_pairs(grad, x, |g, x| g * ((x - mean) * scale));
            let of_normed = (of_normed / width as f64) as f32;
            for (grad, x) in grad.iter_mut().zip(x) {
                *grad = scale * (*grad - of_one - (x - mean) * scale * of_normed);
            }
        }
        Ok((
            wanted(x, || tensor(by_x, x.shape()))?,
            gradient(weight, |by| add(by, &by_weight))?,
            gradient(bias, |by| add(by, &by_bias))?,
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::tests::{assert_same, some};

    #[test]
    fn gradients_of_group_norms_equal_candles() {
        let inputs = [some(&[2, 6, 3, 5], 0.7), some(&[6], 1.1), some(&[6], 0.4)];
        for then in [Then::Nothing, Then::Silu] {
            assert_same(
                &inputs,
                |t| group_norm(&t[0], &t[1], &t[2], 3, 1e-5, then),
                |t| plain_group_norm(&t[0], &t[1], &t[2], 3, 1e-5, then),
            );
        }
    }

    #[test]
    fn gradients_of_layer_norms_equal_candles() {
        let inputs = [some(&[2, 3, 21], 0.7), some(&[21], 1.1), some(&[21], 0.4)];
        assert_same(
            &inputs,
            |t| layer_norm(&t[0], &t[1], &t[2], 1e-5),
            |t| plain_layer_norm(&t[0], &t[1], &t[2], 1e-5),
        );
    }
}
